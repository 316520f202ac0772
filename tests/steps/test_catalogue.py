# SPDX-License-Identifier: Apache-2.0
"""The catalogue of one's own scenario, from the command line and from Python."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.errors import UnknownFeatureError
from ringfence.engine.stats import FAMILIES
from ringfence.steps.opened import OpenWorkspace
from ringfence.workspace import Workspace
from tests.steps.conftest import YAML


@pytest.fixture
def unread(tmp_path: Path) -> OpenWorkspace:
    """A workspace without a ledger: a catalogue needs none."""
    (tmp_path / "ringfence.yaml").write_text(
        YAML.replace("windows: [7d]", "windows: [7d]\n    features: {velocity: false}")
    )
    opened: OpenWorkspace = ringfence.open(tmp_path)
    return opened


def test_catalogue_holds_every_feature_with_all_that_is_known_of_it(unread: OpenWorkspace) -> None:
    built = Catalogue.build(Workspace(unread.path).scenario())
    found = unread.catalogue()
    on = found.filter("is_on")
    assert sorted(on["feature"]) == sorted(built.names)
    assert found["feature"].is_unique().all()
    assert found["family"].unique(maintain_order=True).to_list() == [f for f in FAMILIES if f in set(found["family"])]
    for feature in built.features:
        row = on.row(by_predicate=pl.col("feature") == feature.name, named=True)
        assert {name: row[name] for name in ("family", "sentence", "unit", "missing", "version", "role")} == {
            name: getattr(feature, name) for name in ("family", "sentence", "unit", "missing", "version", "role")
        }
        assert (row["window_ms"], row["granule_ms"]) == (feature.window_ms, feature.granule_ms)
        assert row["cost_ns"] == feature.cost_ns


def test_families_that_are_off_are_listed_as_what_they_would_add(unread: OpenWorkspace) -> None:
    off = unread.catalogue().filter(~pl.col("is_on"))
    assert set(off["family"]) == {"velocity", "control_charts"}  # no text attribute, no strong role
    (unread.path / "ringfence.yaml").write_text(YAML)
    on = ringfence.open(unread.path).catalogue(family="velocity")
    assert on["is_on"].all()
    assert on["feature"].to_list() == off.filter(family="velocity")["feature"].to_list()


def test_catalogue_is_searched_in_names_and_meanings(unread: OpenWorkspace) -> None:
    assert set(unread.catalogue(family="label_risk")["family"]) == {"label_risk"}
    found = unread.catalogue(like="FRAUD", family="label_risk")
    texts = (found["feature"] + "\n" + found["sentence"]).str.to_lowercase()
    assert 0 < found.height < unread.catalogue().height
    assert texts.str.contains("fraud").all()
    assert unread.catalogue(like="no such thing").is_empty()
    with pytest.raises(UnknownFeatureError, match=r"feature family 'speed'.*velocity"):
        unread.catalogue(family="speed")


def test_command_lists_what_the_method_returns(unread: OpenWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["features", "-w", str(unread.path), "--list"]
    assert run([*arguments, "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert said["features"] == unread.catalogue().to_dicts()
    assert run([*arguments, "--family", "label_risk", "--like", "CARD."]) == Exit.OK
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("label_risk: ")
    assert shown[0].endswith(", on")
    assert shown[1].split("  ")[0] == "feature"
    assert run([*arguments, "--family", "velocity"]) == Exit.OK
    assert "velocity: true}` in ringfence.yaml adds them" in capsys.readouterr().out
    assert run([*arguments, "--like", "no such thing"]) == Exit.OK
    assert "no such feature" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--list for what features there are"),
        (["--spine", "a.csv"], "give --spine FILE and --output FILE"),
        (["--list", "--spine", "a.csv"], "leave out --spine"),
        (["--family", "velocity"], "add --list"),
    ],
)
def test_command_says_what_goes_together(
    unread: OpenWorkspace, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["features", "-w", str(unread.path), *options]) == Exit.USAGE
    assert message in capsys.readouterr().err

# SPDX-License-Identifier: Apache-2.0
"""`ringfence rings` over a workspace with one ring, drawn by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.cli.rings import Sort
from ringfence.ledger.erasable import Erasable
from ringfence.rings import RingOrder

SCENARIO = """
scenarios:
  claims:
    decide: claim
    sources: {claim: claims.csv}
    events:
      claim:
        event_id: id
        event_time: at
        amount: {field: amount, currency: EUR}
        entities:
          claimant: {column: claimant, type: person, strong: true}
          car: {column: car, strong: true}
          shop: shop
        label: {field: fraud, known_at: known}
"""
#  anna and bert share the car x, bert and carl the car y; all four claims go to shop 1. dora is alone with her claims.
CLAIMS = """id,at,amount,claimant,car,shop,fraud,known
c1,2024-01-01,1000,anna,x,1,1,2024-02-01
c2,2024-01-10,2000,bert,x,1,,
c3,2024-01-20,3000,bert,y,1,0,2024-03-01
c4,2024-02-10,4000,carl,y,1,,
d1,2024-01-05,100,dora,z,2,,
d2,2024-01-06,100,dora,z,2,,
d3,2024-01-07,100,dora,z,2,,
"""
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def insurer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rings")
    (folder / "ringfence.yaml").write_text(SCENARIO)
    (folder / "claims.csv").write_text(CLAIMS)
    assert run(["import", "-w", str(folder)]) == Exit.OK
    return folder


@pytest.fixture
def rings(insurer: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert run(["rings", "-w", str(insurer), *arguments, "--json"]) == Exit.OK
        return json.loads(capsys.readouterr().out)

    return call


def test_rings_are_listed_with_what_is_at_stake_and_the_riskiest_first(rings: Call) -> None:
    found = rings("--as-of", "2024-03-02")
    assert found["strong"] == ["claimant", "car"]
    first, second = found["rings"]
    assert first["risk"] > second["risk"] == 0.0
    counted = ("n_events", "n_entities", "n_known", "n_fraud", "fraud_share", "exposure_minor", "unlabelled_minor")
    assert [first[name] for name in counted] == [4, 5, 2, 1, 0.5, 1_000_000, 600_000]
    assert [second[name] for name in counted] == [3, 2, 0, 0, None, 30_000, 30_000]
    assert (first["founded"], first["last_event"], first["currency"]) == (
        "2024-01-01T00:00:00Z", "2024-02-10T00:00:00Z", "EUR",
    )  # fmt: skip


#  day      Jan 1  10   20    Feb 1         Feb 10
#  claims   c1     c2   c3                  c4
#  T                        ^ Jan 25: no label is known, c4 has not happened
def test_as_of_an_earlier_moment_later_claims_and_labels_are_not_known(rings: Call) -> None:
    found = rings("--as-of", "2024-01-25", "--min-size", "3")["rings"]
    assert [(ring["n_events"], ring["n_known"], ring["risk"]) for ring in found] == [(3, 0, 0.0), (3, 0, 0.0)]
    two_weeks_later = rings("--as-of", "2024-02-12")["rings"][0]
    assert (two_weeks_later["n_events"], two_weeks_later["grown_events"], two_weeks_later["n_known"]) == (4, 1, 1)
    assert two_weeks_later["ring"] in {ring["ring"] for ring in found}


def test_rings_can_be_listed_by_what_an_investigator_can_still_save_and_by_what_is_new(rings: Call) -> None:
    assert {name.value for name in Sort} == {order.value for order in RingOrder}
    for sort, figure in (("unlabelled", "unlabelled_minor"), ("new", "grown_events"), ("recent", "last_event")):
        for moment in ("2024-01-08", "2024-02-12"):
            listed = [ring[figure] for ring in rings("--as-of", moment, "--sort", sort, "--min-size", "1")["rings"]]
            assert listed == sorted(listed, reverse=True)


def test_one_ring_is_told_by_name_with_the_claims_and_what_ties_them(rings: Call) -> None:
    ring = rings("--as-of", "2024-03-02")["rings"][0]["ring"]
    shown = rings("--as-of", "2024-03-02", "--ring", ring[:10])
    assert shown["ring"] == ring
    members = {person["entity"]: person for person in shown["entities"] if person["member"]}
    assert set(members) == {"person:anna", "person:bert", "person:carl", "car:x", "car:y"}
    assert members["person:bert"]["roles"] == ["claimant"]
    assert [person["entity"] for person in shown["entities"] if not person["member"]] == ["shop:1"]
    assert [(act["event"], act["label"]) for act in shown["events"]] == [
        ("c1", "fraud"), ("c2", "unknown"), ("c3", "legit"), ("c4", "unknown"),
    ]  # fmt: skip
    ties = {(piece["event"], piece["other"]): piece["entity"] for piece in shown["evidence"]}
    assert ties == {("c1", "c2"): "car:x", ("c2", "c3"): "person:bert", ("c3", "c4"): "car:y"}


def test_text_names_the_same_ring(insurer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rings", "-w", str(insurer), "--top", "1"]) == Exit.OK
    listed = capsys.readouterr().out
    assert "tied by claimant, car" in listed
    ring = next(word for word in listed.split() if word.startswith("R-"))
    assert run(["rings", "-w", str(insurer), "--ring", ring]) == Exit.OK
    shown = capsys.readouterr().out
    assert "c1 and c2 share car:x (as car; 2 events name it)" in shown
    assert "named once here and nowhere else: 2 claimant" in shown
    assert "10,000 EUR, 6,000 EUR of it unlabelled" in shown


def test_entity_above_the_cap_ties_nobody(rings: Call) -> None:
    assert rings("--hub-cap", "1", "--min-size", "2")["rings"] == []


def test_shorter_ties_leave_those_who_acted_soon_after_each_other(rings: Call) -> None:
    found = rings("--as-of", "2024-03-02", "--tie", "15d")["rings"]
    assert [(ring["n_events"], ring["last_event"]) for ring in found] == [
        (3, "2024-01-20T00:00:00Z"), (3, "2024-01-07T00:00:00Z"),
    ]  # fmt: skip


def test_no_large_ring_says_what_to_do(insurer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rings", "-w", str(insurer), "--min-size", "50"]) == Exit.OK
    assert "no ring of 50 events or more; see fewer with --min-size" in capsys.readouterr().out


def test_erased_names_stay_erased(insurer: Path, rings: Call) -> None:
    ring = rings()["rings"][0]["ring"]
    names = Erasable(insurer / "ledger" / "claims")
    kept = names.names([bytes.fromhex("00" * 16)])
    assert kept == {}
    names.clear()
    names.close()
    shown = rings("--ring", ring)
    assert all(person["entity"].startswith("erased:") for person in shown["entities"])
    assert shown["n_events"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--ring", "R-0000"], Exit.BAD_INPUT, "no ring of this moment has that id"),
        (["--ring", "anna"], Exit.BAD_INPUT, "list the rings"),
        (["--active", "30"], Exit.USAGE, "--active '30' is not a duration"),
        (["--active", "0d"], Exit.BAD_INPUT, "active_ms"),
        (["--tie", "30"], Exit.USAGE, "--tie '30' is not a duration"),
        (["--tie", "0d"], Exit.BAD_INPUT, "tie_ms"),
        (["--as-of", "yesterday"], Exit.USAGE, "--as-of"),
        (["--min-size", "0"], Exit.USAGE, "min-size"),
    ],
)
def test_wrong_arguments_are_refused_with_a_reason(
    arguments: list[str], code: Exit, said: str, insurer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rings", "-w", str(insurer), *arguments]) == code
    assert said in capsys.readouterr().err


def test_scenario_without_strong_roles_says_so_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ringfence.yaml").write_text(SCENARIO.replace(", strong: true", ""))
    (tmp_path / "claims.csv").write_text(CLAIMS)
    assert run(["import", "-w", str(tmp_path)]) == Exit.OK
    assert run(["rings", "-w", str(tmp_path)]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert "no role of claims is marked strong" in said
    assert "claimant, car, shop" in said


def test_empty_ledger_has_no_rings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ringfence.yaml").write_text(SCENARIO)
    assert run(["rings", "-w", str(tmp_path)]) == Exit.OK
    assert "no ring of 3 events or more" in capsys.readouterr().out


def test_rings_go_by_the_settings_of_the_scenario_and_options_override_them(
    insurer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = "    rings: {every: 3d, active: 200d, tie: 15d, hub_cap: 50}\n"
    (tmp_path / "ringfence.yaml").write_text(SCENARIO.rstrip("\n") + "\n" + settings)
    (tmp_path / "claims.csv").write_text(CLAIMS)
    assert run(["import", "-w", str(tmp_path)]) == Exit.OK

    def found(folder: Path, *options: str) -> Any:
        capsys.readouterr()
        assert run(["rings", "-w", str(folder), "--as-of", "2024-02-29", *options, "--json"]) == Exit.OK
        return json.loads(capsys.readouterr().out)

    day_ms = 86_400_000
    short = found(tmp_path)
    assert short["settings"] == {
        "every_ms": 3 * day_ms, "active_ms": 200 * day_ms, "tie_ms": 15 * day_ms, "hub_cap": 50,
    }  # fmt: skip
    sizes = [ring["n_events"] for ring in short["rings"]]
    assert sizes == [ring["n_events"] for ring in found(insurer, "--tie", "15d")["rings"]]
    longer = found(tmp_path, "--tie", "30d", "--hub-cap", "100")
    assert (longer["settings"]["tie_ms"], longer["settings"]["hub_cap"]) == (30 * day_ms, 100)
    assert longer["settings"]["active_ms"] == 200 * day_ms
    assert [ring["n_events"] for ring in longer["rings"]] == [ring["n_events"] for ring in found(insurer)["rings"]]
    assert sizes != [ring["n_events"] for ring in longer["rings"]]


def test_id_that_several_rings_begin_with_names_them(
    insurer: Path, rings: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = {ring["ring"] for ring in rings()["rings"]}
    assert len(ids) == 2
    assert run(["rings", "-w", str(insurer), "--ring", "r-"]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert "2 rings begin so" in said
    assert all(ring in said for ring in ids)


@pytest.mark.parametrize(("moment", "where"), [("2020-01-01", "before the first"), ("2031-01-01", "after the last")])
def test_moment_outside_the_ledger_is_told_with_its_span(
    insurer: Path, moment: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rings", "-w", str(insurer), "--as-of", moment, "--json"]) == Exit.OK
    told = capsys.readouterr()
    span = "the ledger spans 2024-01-01T00:00:00Z to 2024-03-01T00:00:00Z"
    assert json.loads(told.out)["warnings"][0] in told.err
    assert where in told.err
    assert span in told.err
    assert run(["rings", "-w", str(insurer), "--as-of", "2024-02-01", "--json"]) == Exit.OK
    told = capsys.readouterr()
    assert (json.loads(told.out)["warnings"], told.err) == ([], "")

# SPDX-License-Identifier: Apache-2.0
"""`features`: a spine's rows against training rows, and against histories in which the question was an event."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.errors import UnknownFeatureError
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.steps.errors import SpineColumnsError, SpineFileError, SpineRowsError
from ringfence.steps.opened import OpenWorkspace
from ringfence.workspace import Workspace
from tests.steps.conftest import YAML, payments

AS_ROLES = {"at": "event_time", "sum": "amount", "pan": "card", "shop_id": "shop", "helpers": "helper"}


def ledger_of(folder: Path) -> Ledger:
    here = Workspace(folder)
    return Ledger.open(here.ledger_dir("payments"), here.scenario())


def training_rows(folder: Path) -> pl.DataFrame:
    """The rows that `train` learns from, with their event ids."""
    ledger = ledger_of(folder)
    catalogue = Catalogue.build(ledger.scenario)
    events = ledger.events(0)
    rows = feature_rows(ledger, catalogue, events["seq"].to_numpy()).rows
    return events.select("event_id").hstack(pl.DataFrame(rows, schema=list(catalogue.names)))


def as_bytes(frame: pl.DataFrame) -> bytes:
    return frame.to_numpy(order="c").tobytes()


def spine_of_all() -> pl.DataFrame:
    return payments().rename(AS_ROLES).drop("fraud")


def test_spine_of_the_ledgers_own_events_equals_the_training_rows(opened: OpenWorkspace) -> None:
    spine = spine_of_all().sample(fraction=1.0, shuffle=True, seed=5)
    found = opened.features(spine)
    assert found.select(spine.columns).equals(spine)
    trained = training_rows(opened.path)
    expected = spine.select("id").join(trained, left_on="id", right_on="event_id", how="left", maintain_order="left")
    names = trained.columns[1:]
    assert len(names) > 100
    assert as_bytes(found.select(names)) == as_bytes(expected.select(names))


@settings(max_examples=6)
@given(whose=st.integers(0, 899), minutes=st.integers(-200, 1_500 * 60), amount=st.booleans())
def test_row_equals_that_of_an_event_imported_first_at_its_time(
    opened: OpenWorkspace, tmp_path_factory: pytest.TempPathFactory, whose: int, minutes: int, amount: bool
) -> None:
    row = payments()[whose]
    at = (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    question = row.with_columns(
        pl.lit("question").alias("id"),
        pl.lit(at).alias("at"),
        pl.lit(None, pl.Int64).alias("fraud"),
        pl.col("sum") if amount else pl.lit(None, pl.Float64).alias("sum"),
    )
    found = opened.features(question.rename(AS_ROLES).drop("fraud", "id"))
    folder = tmp_path_factory.mktemp("twin")
    (folder / "ringfence.yaml").write_text(YAML)
    pl.concat([question, payments().cast({"fraud": pl.Int64})]).write_csv(folder / "payments.csv")
    ringfence.open(folder).import_()
    expected = training_rows(folder).filter(event_id="question").drop("event_id")
    assert as_bytes(found.select(expected.columns)) == as_bytes(expected)


def test_an_event_at_the_same_time_is_not_seen_but_one_a_moment_before_is(opened: OpenWorkspace) -> None:
    event = payments()[100]
    at = datetime.fromisoformat(event["at"][0])
    spine = pl.DataFrame({"time": [at, at + timedelta(milliseconds=1)], "card": [event["pan"][0]] * 2})
    counts = opened.features(spine, only=["card.count_7d"])["card.count_7d"]
    assert counts[1] == counts[0] + 1


def test_one_entity_a_row_equals_columns_named_as_roles(opened: OpenWorkspace) -> None:
    times = ["2024-01-20", "2024-01-10T12:00:00Z", "2024-02-01"]
    long = pl.DataFrame({"time": times, "role": ["shop", "card", "helper"], "id": ["s2", "7", "h3;h4"]})
    wide = pl.DataFrame(
        {"time": times, "card": [None, 7, None], "shop": ["s2", None, None], "helper": [None, None, ["h3", "h4"]]}
    )
    one, other = opened.features(long), opened.features(wide)
    names = one.columns[3:]
    assert as_bytes(one.select(names)) == as_bytes(other.select(names))
    assert one["shop.count_7d"][0] > 0
    assert np.isnan(one["card.count_7d"][0])


def test_other_columns_are_carried_along_and_mean_nothing(opened: OpenWorkspace) -> None:
    spine = pl.DataFrame({"time": ["2024-01-20"], "card": [3], "fraud": [True], "pan": [9]})
    found = opened.features(spine)
    assert found.select(spine.columns).equals(spine)
    plain = opened.features(spine.select("time", "card"))
    assert as_bytes(found.drop(spine.columns)) == as_bytes(plain.drop("time", "card"))


def test_arrow_and_pandas_frames_are_taken(opened: OpenWorkspace) -> None:
    spine = spine_of_all()[:20]
    expected = opened.features(spine, only=["card.count_7d"])
    assert opened.features(spine.to_arrow(), only=["card.count_7d"]).equals(expected)
    pytest.importorskip("pandas")
    assert opened.features(spine.to_pandas(), only=["card.count_7d"]).equals(expected)


def test_only_some_features_have_their_usual_values(opened: OpenWorkspace) -> None:
    spine = spine_of_all()[:50]
    some = opened.features(spine, only=["shop.count_7d", "card.is_new"])
    assert some.columns == [*spine.columns, *[n for n in opened.features(spine).columns if n in some.columns[7:]]]
    assert some.equals(opened.features(spine).select(some.columns))
    with pytest.raises(UnknownFeatureError, match=r"card\.nosuch"):
        opened.features(spine, only=["card.nosuch"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_command_writes_what_the_method_returns(
    opened: OpenWorkspace, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spine = spine_of_all()[::7]
    file = tmp_path / f"spine.{suffix}"
    spine.write_csv(file) if suffix == "csv" else spine.write_parquet(file)
    output = tmp_path / "features.parquet"
    arguments = ["features", "-w", str(opened.path), "--spine", str(file), "-o", str(output), "--json"]
    assert run(arguments) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    found, expected = pl.read_parquet(output), opened.features(spine).drop(spine.columns)
    assert (said["n_rows"], said["n_features"]) == (spine.height, expected.width)
    assert as_bytes(found.drop(spine.columns)) == as_bytes(expected)
    assert found["id"].to_list() == spine["id"].to_list()


WRONG_COLUMNS = {
    "no time": ({"card": [1]}, "when each row asks.*event_time"),
    "nobody": ({"time": ["2024-01-02"], "pan": [1]}, "whose features.*card, shop, helper"),
    "two ways": ({"time": ["2024-01-02"], "card": [1], "role": ["card"], "id": [1]}, "take out role and id"),
    "name taken": ({"time": ["2024-01-02"], "card": [1], "card.count_7d": [1]}, "card.count_7d; rename those"),
}


@pytest.mark.parametrize("case", WRONG_COLUMNS)
def test_spine_without_who_or_when_says_what_is_missing(opened: OpenWorkspace, case: str) -> None:
    columns, message = WRONG_COLUMNS[case]
    with pytest.raises(SpineColumnsError, match=message):
        opened.features(pl.DataFrame(columns))


WRONG_CELLS = {
    "time": ({"time": ["2024-01-02", "soon"], "card": [1, 2]}, "1 of 2 rows.*row 2, time.*soon"),
    "no time": ({"time": ["2024-01-02", None], "card": [1, 2]}, "row 2, time"),
    "seconds": ({"time": [1_704_067_200], "card": [1]}, "row 1, time"),
    "id": ({"time": ["2024-01-02"], "card": [1.5]}, "row 1, card 1.5: an id is"),
    "amount": ({"time": ["2024-01-02"], "card": [1], "amount": ["ten"]}, "row 1, amount"),
    "below zero": ({"time": ["2024-01-02"], "card": [1], "amount": [-1.0]}, "row 1, amount"),
    "unknown role": ({"time": ["2024-01-02"], "role": ["bank"], "id": ["1"]}, "row 1, role.*bank.*one of card, shop"),
    "no id": ({"time": ["2024-01-02"], "role": ["card"], "id": [None]}, "row 1, id.*names an entity"),
    "many ids": ({"time": ["2024-01-02"], "card": [["1", "2"]]}, "row 1, card.*holds one entity"),
}


@pytest.mark.parametrize("case", WRONG_CELLS)
def test_cells_that_cannot_be_read_are_named(opened: OpenWorkspace, case: str) -> None:
    columns, message = WRONG_CELLS[case]
    with pytest.raises(SpineRowsError, match=f"(?s){message}"):
        opened.features(pl.DataFrame(columns))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "is empty"),
        ("time,card\n", "holds no row"),
        ("time,card\n2024-01-02,1,2\n", "line 2 has 3 fields"),
        ("time,card,time\n2024-01-02,1,2\n", "names a column twice"),
    ],
)
def test_file_that_is_no_spine_is_a_clear_error(
    opened: OpenWorkspace, tmp_path: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = tmp_path / "spine.csv", tmp_path / "features.parquet"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SpineFileError, match=message):
        opened.features(file)
    assert run(["features", "-w", str(opened.path), "--spine", str(file), "-o", str(output)]) == Exit.BAD_INPUT
    assert message in capsys.readouterr().err
    assert not output.exists()

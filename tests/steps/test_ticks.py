# SPDX-License-Identifier: Apache-2.0
"""`OpenWorkspace.ticks`: who is due, as the command says it, until a record decides on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.steps.errors import NoTicksError, NoTimeError
from ringfence.steps.opened import OpenWorkspace
from tests.ledger.test_entity_ticks import DAY_MS, EVERY, drawn, write
from tests.scenario.test_load_ticks import CHURN


def test_ticks_are_those_of_the_command_until_they_are_imported(tmp_path: Path) -> None:
    history = drawn(10)
    write(tmp_path, history)
    (tmp_path / "ringfence.yaml").write_text(json.dumps({"scenarios": {"churn": CHURN}}), encoding="utf-8")
    opened = ringfence.open(tmp_path)
    opened.import_()
    until_day = (max(ms for _, ms, _ in history) // DAY_MS // EVERY + 1) * EVERY
    until = str(np.datetime64(until_day, "D"))
    due = opened.ticks(until)
    assert due.height > 10
    assert due["tick_time"].dt.epoch("ms").unique().to_list() == [until_day * DAY_MS]
    assert run(["ticks", "-w", str(tmp_path), "--until", until, "--output", str(tmp_path / "due.csv")]) == Exit.OK
    as_told = pl.read_csv(tmp_path / "due.csv").cast({"tick_time": pl.Datetime("ms")})
    assert due.with_columns(pl.col("tick_time").dt.replace_time_zone(None)).equals(as_told)
    assert opened.ticks(until, until).equals(due)
    due.write_parquet(tmp_path / "due.parquet")
    assert opened.import_(tmp_path / "due.parquet")["n_events"].to_list() == [due.height]
    assert opened.ticks(until).is_empty()
    assert opened.ticks(until).schema == due.schema
    with pytest.raises(NoTimeError, match="from_"):
        opened.ticks(until, "once")


def test_a_scenario_without_ticks_says_how_to_have_them(opened: OpenWorkspace) -> None:
    with pytest.raises(NoTicksError, match="has no `ticks`"):
        opened.ticks()

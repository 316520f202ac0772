# SPDX-License-Identifier: Apache-2.0
"""Ticks per entity that are due now: the events to decide tonight, as a service or an import takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringfence.steps.errors import NoTicksError

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace


def due_ticks(here: Workspace, scenario: Scenario, *, until_ms: int, from_ms: int | None = None) -> pl.DataFrame:
    """Return the ticks with `from_ms` <= time <= `until_ms` that no record decides on yet. Reads only.

    Parameters
    ----------
    from_ms : None: one period before `until_ms`, so that each entity has its newest tick alone.

    Returns
    -------
    Columns tick_id, tick_time (ms since 1970) and the role's, in order of time: a source of the decided event type.

    Raises
    ------
    NoTicksError
        If the scenario has none.
    """
    import polars as pl

    from ringfence.ledger.entity_ticks import TickCollector
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.load_ticks import TICK_ID, TICK_TIME

    ticks = scenario.ticks
    if ticks is None:
        raise NoTicksError(scenario.name)
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    collector = TickCollector(scenario, ticks)
    collector.add_record(ledger)
    begins_ms = until_ms - ticks.every_ms + 1 if from_ms is None else from_ms
    schema = {TICK_ID: pl.String, TICK_TIME: pl.Int64, scenario.decided.roles[0].column: pl.String}
    return pl.concat([pl.DataFrame(schema=schema), *collector.frames(ledger, until_ms, begins_ms)])


def dated(due: pl.DataFrame) -> pl.DataFrame:
    """Turn the times of ticks into moments (UTC, ms)."""
    import polars as pl

    from ringfence.scenario.load_ticks import TICK_TIME

    return due.with_columns(pl.col(TICK_TIME).cast(pl.Datetime("ms", "UTC")))


def as_events(due: pl.DataFrame, scenario: Scenario) -> list[dict[str, object]]:
    """Turn ticks into messages for `POST /v1/decisions/batch`, one a line."""
    role = scenario.decided.roles[0].role
    return [
        {"event_type": scenario.decide, "event_id": tick, "event_time": time_ms, "entities": {role: entity}}
        for tick, time_ms, entity in due.iter_rows()
    ]

# SPDX-License-Identifier: Apache-2.0
"""Labels by a later event, told from the files alone: which of the rows looked at would be fraud, and from when on.

application  A at day 0 ......... first default of the same applicant at day 120    within 180 days: fraud, from 120
application  B at day 10, nobody defaulted, the files end at day 400                legit, from day 190
application  C at day 300, nobody defaulted, the files end at day 400               not settled: silent
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from ringfence.drafting.evidence import Floats
from ringfence.drafting.profile import Profile
from ringfence.ledger.sources import SourceFile, column_names, read_plain_frames
from ringfence.scenario.columns import Columns
from ringfence.scenario.dialect import plainly
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.spec import EventType, Outcome, Scenario

_ANY_KEY = IdentityKey(bytes(32))  # of rows that are only looked at, and kept nowhere
_KEY = ["hi", "lo"]


class Followed(NamedTuple):
    truth: Floats  # (sample,) 1 fraud, 0 legit, NaN while not settled, or where nobody is named
    known_ms: Floats  # (sample,) from when on; NaN where the truth is


def followed(
    scenario: Scenario, outcome: Outcome, files: list[SourceFile], first: SourceFile, profile: Profile
) -> Followed | None:
    """Tell which rows of a sample an outcome follows; None where the files alone do not say whom both are about.

    Parameters
    ----------
    files : all that the scenario reads; those of the outcome's event type are read as a whole.
    first, profile : the file of the decided event type that was looked at, and its sample.
    """
    telling = [file for file in files if file.event_type.name == outcome.event_type]
    asked = _reduced(scenario.decided, outcome)
    answer = _reduced(scenario.event_type(outcome.event_type), outcome)
    if not telling or asked is None or answer is None or not _has(asked, profile.table.names):
        return None
    if not all(_has(answer, column_names(file.path, file.dialect)) for file in telling):
        return None
    plain = msgspec.structs.replace(scenario, event_types=(asked,), segments=(), kmeans=None, travel=None)
    columns = Columns(plain, _ANY_KEY)
    sample = pl.DataFrame([profile.column(name).sample for name in _names(asked)])
    rows = _named(columns, asked, plainly(sample, first.dialect, ()))
    parts = [rows.clear().drop("row")]
    last_ms = _last(rows)
    for file in telling:
        for frame in read_plain_frames(file, _names(answer), lambda *_: None):
            found = _named(columns, answer, frame.rows)
            last_ms = max(last_ms, _last(found))
            parts.append(found.drop("row").join(rows, on=_KEY, how="semi"))
    return _told(rows, pl.concat(parts), outcome.horizon_ms, last_ms, len(profile.row))


def _told(rows: pl.DataFrame, outcomes: pl.DataFrame, horizon_ms: int, last_ms: int, n: int) -> Followed:
    # The first outcome strictly after each row; whether it lies within the horizon is seen afterwards.
    first = (
        rows.with_columns(from_ms=pl.col("time_ms") + 1)
        .sort("from_ms")
        .join_asof(
            outcomes.select(*_KEY, then_ms="time_ms", from_ms="time_ms").sort("from_ms"),
            on="from_ms",
            by=_KEY,
            strategy="forward",
            check_sortedness=False,
        )
    )
    within = pl.col("then_ms") <= pl.col("time_ms") + horizon_ms
    by_row = first.group_by("row").agg(pl.col("time_ms").first(), pl.col("then_ms").filter(within).min())
    at, time_ms = by_row["row"].to_numpy(), by_row["time_ms"].to_numpy()
    then_ms = by_row["then_ms"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    legit = np.isnan(then_ms) & (time_ms + horizon_ms < last_ms)
    truth, known_ms = np.full(n, np.nan), np.full(n, np.nan)
    truth[at] = np.where(legit, 0.0, np.where(np.isnan(then_ms), np.nan, 1.0))
    known_ms[at] = np.where(legit, time_ms + horizon_ms + 1, then_ms)
    return Followed(truth, known_ms)


def _last(named: pl.DataFrame) -> int:
    return int(named["time_ms"].to_numpy().max(initial=0))


def _reduced(event_type: EventType, outcome: Outcome) -> EventType | None:
    """An event type of nothing but its time and the role; None where the role is derived."""
    role = next(column for column in event_type.roles if column.role == outcome.role)
    if role.derived:
        return None
    return msgspec.structs.replace(
        event_type, event_id_column=None, roles=(role,), attributes=(), amount=None, label=None, derived=()
    )


def _names(event_type: EventType) -> list[str]:
    names = [event_type.event_time_column, *(column.column for column in event_type.roles)]
    return list(dict.fromkeys(name for name in names if name is not None))


def _has(event_type: EventType, names: list[str]) -> bool:
    return set(_names(event_type)) <= set(names)


def _named(columns: Columns, event_type: EventType, frame: pl.DataFrame) -> pl.DataFrame:
    """Return row, time_ms, hi, lo: a line for each entity of each row that the door lets in."""
    found = columns.admit(event_type, frame, 0)
    n_links = np.diff(found.link_start)
    return pl.DataFrame(
        {
            "row": np.repeat(found.row, n_links),
            "time_ms": np.repeat(found.time_ms, n_links),
            "hi": found.link_hi,
            "lo": found.link_lo,
        }
    )

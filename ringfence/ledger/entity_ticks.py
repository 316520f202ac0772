# SPDX-License-Identifier: Apache-2.0
"""Ticks per entity: decided events at fixed times for whoever was active, made of what a ledger and an import hold.

    every 30 days    |        |        |        |        |        |     ticks at multiples of `every` since 1970
    customer A         a   a  T   a    T        T        T              active 90 days: three ticks after the last a
    customer B             b  T  b  o           .  b     T              after an outcome (o) none until b comes back

A tick sees what lies at its very time, as any event does that is reported last at that time. Whether it is due follows
from the records alone, so the same files make the same ticks, and an import of more files adds those that are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import EVENT
from ringfence.scenario.columns import ColumnarAdmission
from ringfence.scenario.duration import DAY_MS
from ringfence.scenario.load_ticks import TICK_ID, TICK_TIME
from ringfence.scenario.spec import EntityTicks, Scenario

FRAME_ROWS: Final = 131_072
_COMPACTED: Final = 2_000_000  # rows that may wait before they are put together
_ENTITY: Final = ["hi", "lo"]
_NEVER: Final = -1  # before every time
_SEEN: Final = {"hi": pl.UInt64, "lo": pl.UInt64, "period": pl.Int64, "active_ms": pl.Int64, "ended_ms": pl.Int64}
_DONE: Final = {"hi": pl.UInt64, "lo": pl.UInt64, "period": pl.Int64}


class TickCollector:
    """Takes note of events, and tells which ticks they make due.

    Memory grows with entities times the periods in which they did something, about 40 bytes each.
    """

    def __init__(self, scenario: Scenario, ticks: EntityTicks) -> None:
        self._ticks = ticks
        self._decided = scenario.decided
        self._role = scenario.role(ticks.role)
        label = scenario.decided.label
        outcome = None if label is None else label.outcome
        self._ending = {t.index for t in scenario.event_types if outcome is not None and t.name == outcome.event_type}
        self._seen = [pl.DataFrame(schema=_SEEN)]
        self._done = pl.DataFrame(schema=_DONE)
        self._n_waiting = 0
        self._names = pl.DataFrame(schema={"hi": pl.UInt64, "lo": pl.UInt64, "entity_id": pl.String})
        self.last_ms = _NEVER  # the newest event noted

    def add_rows(self, admission: ColumnarAdmission, keep: NDArray[np.bool_]) -> None:
        """Take note of rows of an import that are let in, those where `keep`, shape (n,)."""
        n = len(admission)
        event = np.repeat(np.arange(n), np.diff(admission.link_start))
        wanted = (admission.link_role == self._role.index) & keep[event]
        kinds = np.full(n, admission.event_type.index)
        self._note(kinds, admission.time_ms, event[wanted], admission.link_hi[wanted], admission.link_lo[wanted])
        if n:
            self.last_ms = max(self.last_ms, int(admission.time_ms[keep].max(initial=_NEVER)))
        named = admission.directory.filter(pl.col("entity_type") == self._role.entity_type)
        self._names = pl.concat([self._names, named.select("hi", "lo", "entity_id")]).unique(_ENTITY, keep="first")

    def add_record(self, ledger: Ledger) -> None:
        """Take note of all events that a ledger holds, and of the ticks that are on record there."""
        for batch in ledger.batches():
            event = np.repeat(np.arange(len(batch)), np.diff(batch.link_start))
            wanted = (batch.link_role == self._role.index) & (batch.kind[event] == EVENT)
            self._note(batch.event_type, batch.time_ms, event[wanted], batch.link_hi[wanted], batch.link_lo[wanted])
            times = batch.time_ms[batch.kind == EVENT]
            self.last_ms = max(self.last_ms, int(times.max(initial=_NEVER)))

    def due(self, until_ms: int, from_ms: int = 0) -> pl.DataFrame:
        """The ticks with `from_ms` <= time <= `until_ms` that are not on record: hi, lo, time_ms, in order of time."""
        every_ms = self._ticks.every_ms
        last = until_ms // every_ms
        active = pl.col("active_ms").cum_max().over(_ENTITY)
        ended = pl.col("ended_ms").cum_max().over(_ENTITY)
        following = pl.col("period").shift(-1).over(_ENTITY).fill_null(last + 1)
        newest = (pl.col("active_ms") + every_ms - 1) // every_ms  # the period of the newest event
        to = pl.min_horizontal(pl.col("following") - 1, newest + self._ticks.n_active - 1, pl.lit(last))
        return (
            self._compacted()
            .sort([*_ENTITY, "period"])
            .with_columns(active_ms=active, ended_ms=ended, following=following)
            .filter(pl.col("active_ms") > pl.col("ended_ms"))
            .with_columns(to=to)
            .filter(pl.col("to") >= pl.col("period"))
            .select(*_ENTITY, period=pl.int_ranges(pl.col("period"), pl.col("to") + 1))
            .explode("period")
            .join(self._done, on=[*_ENTITY, "period"], how="anti")
            .select(*_ENTITY, time_ms=pl.col("period") * every_ms)
            .filter(pl.col("time_ms") >= from_ms)
            .sort("time_ms", *_ENTITY)
        )

    def frames(self, ledger: Ledger, until_ms: int, from_ms: int = 0) -> Iterator[pl.DataFrame]:
        """Yield the ticks that are due as rows of the decided event type's source; see `due`.

        An entity whose name has been erased has none.
        """
        due = self.due(until_ms, from_ms).join(self._names, on=_ENTITY, how="left", maintain_order="left")
        for frame in due.iter_slices(FRAME_ROWS):
            pairs = list(zip(frame["hi"].to_list(), frame["lo"].to_list(), strict=True))
            digests = [hi.to_bytes(8, "big") + lo.to_bytes(8, "big") for hi, lo in pairs]
            names = frame["entity_id"].to_list()
            unknown = ledger.entity_names({digest for digest, name in zip(digests, names, strict=True) if name is None})
            names = [name or unknown.get(digest, ("", None))[1] for digest, name in zip(digests, names, strict=True)]
            times_ms = frame["time_ms"].to_list()
            said = {time_ms: _time_text(time_ms, self._ticks.every_ms) for time_ms in set(times_ms)}
            rows = pl.DataFrame(
                {
                    TICK_ID: [f"{digest.hex()}@{said[ms]}" for digest, ms in zip(digests, times_ms, strict=True)],
                    TICK_TIME: frame["time_ms"],
                    self._decided.roles[0].column: pl.Series(names, dtype=pl.String),
                }
            )
            yield rows.drop_nulls()

    def _note(
        self,
        kinds: NDArray[np.integer],
        time_ms: NDArray[np.int64],
        event: NDArray[np.int64],
        hi: NDArray[np.uint64],
        lo: NDArray[np.uint64],
    ) -> None:
        """Note links, shape (m,), of events: `event` is each one's place in `kinds` and `time_ms`."""
        times, kind = time_ms[event], kinds[event]
        period = -(-times // self._ticks.every_ms)
        is_tick = kind == self._decided.index
        if is_tick.any():
            exact = is_tick & (times % self._ticks.every_ms == 0)
            done = pl.DataFrame({"hi": hi[exact], "lo": lo[exact], "period": period[exact]}, schema=_DONE)
            self._done = pl.concat([self._done, done])
        is_ending = np.isin(kind, list(self._ending))
        seen = {
            "hi": hi,
            "lo": lo,
            "period": period,
            "active_ms": np.where(is_ending, _NEVER, times),
            "ended_ms": np.where(is_ending, times, _NEVER),
        }
        self._seen.append(pl.DataFrame({name: values[~is_tick] for name, values in seen.items()}, schema=_SEEN))
        self._n_waiting += self._seen[-1].height
        if self._n_waiting > _COMPACTED:
            self._compacted()

    def _compacted(self) -> pl.DataFrame:
        if len(self._seen) > 1:
            together = pl.concat(self._seen).group_by(*_ENTITY, "period").agg(pl.col("active_ms", "ended_ms").max())
            self._seen, self._n_waiting = [together], 0
        return self._seen[0]


def _time_text(time_ms: int, every_ms: int) -> str:
    at = datetime.fromtimestamp(time_ms / 1_000, UTC)
    return at.strftime("%Y-%m-%d" if every_ms % DAY_MS == 0 else "%Y-%m-%dT%H:%M:%SZ")

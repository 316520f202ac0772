# SPDX-License-Identifier: Apache-2.0
"""Which trials are run, in which order, and when a contender is given up."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from benchmarks.engine.stream import Graph, Stream
from benchmarks.engine.trial import BULK, Measured, Trial

RINGFENCE: Final = "ringfence"
LIBRARIES: Final = (RINGFENCE, "snapml", "duckdb", "river", "pandas")
LIVE_BATCHES: Final = {1: 20_000, 128: 100_000}  # batch size -> events timed, after history
PER_ACCOUNT: Final = (5, 20, 80)
LONG_S: Final = 30.0  # a trial whose timed part takes longer is not repeated


class Table(StrEnum):
    GROWTH = "growth"
    LIVE = "live"
    DENSITY = "density"
    TICKS = "ticks"


_GROWTH: Final = (
    ("ringfence-rolling", BULK), ("ringfence", BULK), ("ringfence-labels", BULK), ("ringfence", 128),
    ("snapml", 128), ("snapml-2", 128), ("snapml-statistics", 128),
    ("duckdb", BULK), ("duckdb-2", BULK), ("pandas", BULK), ("river", 1),
)  # fmt: skip
_LIVE: Final = (
    "ringfence", "ringfence-labels", "ringfence-rolling",
    "snapml", "snapml-2", "snapml-statistics", "snapml-degrees", "snapml-patterns",
)  # fmt: skip
_DENSITY: Final = ("ringfence", "snapml", "snapml-statistics")
_TICKS: Final = ("ringfence-labels", "ringfence-rings")


class Found(msgspec.Struct, frozen=True):
    """One line of a table: a trial and its repetitions."""

    table: Table
    runs: tuple[Measured, ...]  # at least one

    @property
    def trial(self) -> Trial:
        return self.runs[0].trial

    @property
    def median(self) -> Measured:
        """The repetition of median wall time, the lower one of two."""
        middle = statistics.median_low([run.wall_s for run in self.runs])
        return next(run for run in self.runs if run.wall_s == middle)

    @property
    def processor_us(self) -> float:
        """Processor time an event, median over the repetitions."""
        return statistics.median(1e6 * run.processor_s / run.n_done for run in self.runs) if self.median.n_done else 0.0


class Programme(msgspec.Struct, frozen=True, kw_only=True):
    sizes: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)  # ascending, at least two
    libraries: tuple[str, ...] = LIBRARIES
    tables: tuple[Table, ...] = tuple(Table)
    repeats: int = 3
    cap_s: float = 120.0  # timed seconds after which a rival stops; the engine runs to the end
    tick_sizes: int = 2  # ticks are measured at so many of the sizes

    @property
    def history(self) -> int:
        """Transfers in the streams whose last ones are timed live."""
        return self.sizes[min(1, len(self.sizes) - 1)]

    def n_live(self, batch_size: int) -> int:
        """How many of the last transfers are timed in batches of that size."""
        return min(LIVE_BATCHES[batch_size], self.history // 2)

    def trials(self, table: Table) -> Iterator[Trial]:
        """Yield the trials of a table, smaller streams first."""
        for graph in Graph:
            if table is Table.GROWTH:
                for n in self.sizes:
                    stream = Stream(graph=graph, n_events=n)
                    yield from (self._trial(name, stream, size) for name, size in _GROWTH)
            elif table is Table.LIVE:
                for size in LIVE_BATCHES:
                    stream = Stream(graph=graph, n_events=self.history)
                    yield from (self._trial(name, stream, size, self.n_live(size)) for name in _LIVE)
            elif table is Table.DENSITY:
                for per_account in PER_ACCOUNT:
                    stream = Stream(graph=graph, n_events=2 * self.sizes[0], per_account=per_account)
                    yield from (self._trial(name, stream, 128) for name in _DENSITY)
            else:
                for n in self.sizes[: self.tick_sizes]:
                    stream = Stream(graph=graph, n_events=n)
                    yield from (self._trial(name, stream, BULK) for name in _TICKS)

    def run(self, run: Callable[[Trial], Measured], tell: Callable[[str], None]) -> list[Found]:
        """Run everything; repetitions go around the table, so that a noisy moment hits all contenders."""
        found = []
        for table in self.tables:
            trials = [trial for trial in self.trials(table) if library_of(trial.contender) in self.libraries]
            runs: dict[Trial, list[Measured]] = {}
            for repetition in range(self.repeats):
                for trial in trials:
                    if repetition and runs[trial][0].wall_s > LONG_S:
                        continue
                    hopeless = self._is_hopeless(trial, [run for (run, *_) in runs.values()])
                    measured = _given_up(trial) if hopeless else run(trial)
                    runs.setdefault(trial, []).append(measured)
                    tell(f"{table}, {described(trial)}: {measured.events_per_s:,.0f} events/s, {measured.wall_s:.1f} s")
            found += [Found(table, tuple(measured)) for measured in runs.values()]
        return found

    def _trial(self, contender: str, stream: Stream, batch_size: int, n_timed: int | None = None) -> Trial:
        is_ours = library_of(contender) == RINGFENCE
        return Trial(
            contender=contender,
            stream=stream,
            batch_size=batch_size,
            n_timed=n_timed,
            cap_s=None if is_ours else self.cap_s,
        )

    def _is_hopeless(self, trial: Trial, earlier: Sequence[Measured]) -> bool:
        # It stopped on a smaller stream already, or needs all events at once and would take longer than the cap.
        for run in earlier:
            n = run.trial.stream.n_events
            at_n = msgspec.structs.replace(trial, stream=msgspec.structs.replace(trial.stream, n_events=n))
            if run.trial == at_n and n < trial.stream.n_events and trial.cap_s is not None:
                takes_all = library_of(trial.contender) in ("duckdb", "pandas")
                if run.stopped or (takes_all and run.wall_s * trial.stream.n_events / n > trial.cap_s):
                    return True
        return False


def library_of(contender: str) -> str:
    return contender.partition("-")[0]


def described(trial: Trial) -> str:
    stream = trial.stream
    return f"{trial.contender} in batches of {trial.batch_size}, {stream.n_events:,} {stream.graph}"


def _given_up(trial: Trial) -> Measured:
    return Measured(trial=trial, n_values=0, n_done=0, stopped=True, wall_s=0.0, processor_s=0.0)

# SPDX-License-Identifier: Apache-2.0
"""One contender on one stream, in a process of its own, so that its memory and its threads are its own."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.commands import ROOT
from benchmarks.engine.contender import Contender, Learner, Rows
from benchmarks.engine.stream import CHUNK, Stream, Transfers

_RINGFENCE, _SNAPML, _DUCKDB = (
    "ringfence_engine:RingfenceEngine",
    "snapml_graph:SnapmlGraph",
    "duckdb_windows:DuckdbWindows",
)
# Name -> class and settings. A trial imports nothing but its own contender.
CONTENDERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "ringfence": (_RINGFENCE, {}),
    "ringfence-rolling": (_RINGFENCE, {"rolling": True}),
    "ringfence-labels": (_RINGFENCE, {"labels": True}),
    "ringfence-rings": (_RINGFENCE, {"rings": True}),
    "snapml": (_SNAPML, {}),
    "snapml-2": (_SNAPML, {"threads": 2}),
    "snapml-statistics": (_SNAPML, {"level": "statistics"}),
    "snapml-degrees": (_SNAPML, {"level": "degrees"}),
    "snapml-patterns": (_SNAPML, {"level": "patterns"}),
    "duckdb": (_DUCKDB, {}),
    "duckdb-2": (_DUCKDB, {"threads": 2}),
    "duckdb-floored": (_DUCKDB, {"floored": True}),
    "pandas": ("pandas_rolling:PandasRolling", {}),
    "river": ("river_keys:RiverKeys", {}),
}
BULK: Final = CHUNK
SET_UP_S: Final = 120.0  # what a process may take beside the timed part
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")
_WARM_UP: Final = 256


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    contender: str  # one of CONTENDERS
    stream: Stream
    batch_size: int = BULK  # ignored by those that take all events at once
    n_timed: int | None = None  # the last so many events are timed, those before are learned; None: all
    cap_s: float | None = None  # timed seconds after which it stops; None: never
    rows_file: str | None = None  # where to keep all rows, as .npy


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial found. Times hold only the timed part."""

    trial: Trial
    n_values: int
    n_done: int  # events timed; fewer than asked for where the cap stopped it
    stopped: bool
    wall_s: float
    processor_s: float  # of all threads
    call_us: dict[str, float] = {}  # p50, p99 of a call of batch_size events, and the same of its processor time
    n_accounts: int = 0  # different accounts in all events seen
    peak_bytes: int = 0  # of the process
    first_bytes: int = 0  # resident before the first event, libraries imported and warmed up
    last_bytes: int = 0  # resident after the last one
    facts: dict[str, float] = {}

    @property
    def events_per_s(self) -> float:
        return self.n_done / self.wall_s if self.n_done else 0.0

    @property
    def values_per_s(self) -> float:
        return self.events_per_s * self.n_values


def contender_of(name: str) -> Contender:
    """Make the contender of that name, empty."""
    place, settings = CONTENDERS[name]
    module, _, kind = place.partition(":")
    made: Contender = getattr(importlib.import_module(f"benchmarks.engine.{module}"), kind)(**settings)
    return made


def run(trial: Trial) -> Measured:
    """Run the trial in this process."""
    _warm_up(trial)
    contender, stream = contender_of(trial.contender), trial.stream
    n_timed = stream.n_events if trial.n_timed is None else min(trial.n_timed, stream.n_events)
    clock, seen = _Clock(trial.cap_s), np.zeros(stream.n_accounts, np.bool_)
    kept: list[Rows] = []
    _trim()
    before = _resident_bytes()
    gc.freeze()
    for chunk in [stream.whole()] if contender.whole else stream.chunks():
        n_learned = min(max(stream.n_events - n_timed - chunk.first, 0), len(chunk))
        if n_learned:
            if not isinstance(contender, Learner):
                raise ValueError(f"{trial.contender} takes all events at once: not the last {n_timed:,} of them alone")
            for piece in contender.prepare(chunk.part(0, n_learned), BULK):
                contender.learn(piece)
        if n_learned < len(chunk):
            timed = chunk.part(n_learned, len(chunk))
            _observe(contender, timed, trial, clock, kept)
        seen[chunk.source] = seen[chunk.destination] = True
        if clock.is_over:
            break
    gc.unfreeze()
    facts = contender.facts()
    if trial.rows_file is not None:
        np.save(trial.rows_file, np.concatenate(kept))
    _trim()
    calls = np.array(clock.call_ns).reshape(-1, 2) / 1e3
    is_live = not contender.whole and trial.batch_size < BULK
    return Measured(
        trial=trial,
        n_values=contender.n_values,
        n_done=clock.n_done,
        stopped=clock.is_over and clock.n_done < n_timed,
        wall_s=float(calls[:, 0].sum()) / 1e6,
        processor_s=float(calls[:, 1].sum()) / 1e6,
        call_us=_percentiles(calls) if is_live else {},
        n_accounts=int(seen.sum()),
        peak_bytes=_peak_bytes(),
        first_bytes=before,
        last_bytes=_resident_bytes(),
        facts=facts,
    )


class _Clock:
    def __init__(self, cap_s: float | None) -> None:
        self.cap_ns = float("inf") if cap_s is None else cap_s * 1e9
        self.call_ns: list[tuple[int, int]] = []  # on the wall, and of the processors
        self.wall_ns = self.n_done = 0

    @property
    def is_over(self) -> bool:
        return self.wall_ns > self.cap_ns


def _observe(contender: Contender, events: Transfers, trial: Trial, clock: _Clock, kept: list[Rows]) -> None:
    done_before = clock.n_done
    for piece in contender.prepare(events, trial.batch_size):
        processor, began = time.process_time_ns(), time.perf_counter_ns()
        found = contender.observe(piece)
        took = time.perf_counter_ns() - began
        clock.wall_ns += took
        clock.call_ns.append((took, time.process_time_ns() - processor))
        if trial.rows_file is not None:
            kept.append(contender.as_rows(found))
        clock.n_done = min(clock.n_done + trial.batch_size, done_before + len(events))
        if clock.is_over:
            return
    clock.n_done = done_before + len(events)


def _warm_up(trial: Trial) -> None:
    # Compiles, or loads what is compiled; imports what a library imports late.
    contender = contender_of(trial.contender)
    few = Stream(graph=trial.stream.graph, n_events=_WARM_UP).whole()
    for size in {1, trial.batch_size}:
        if not contender.whole or size == trial.batch_size:
            for piece in contender.prepare(few, size):
                contender.observe(piece)


def _trim() -> None:
    # What was freed goes back to the system, so that resident memory is memory in use.
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _percentiles(calls: NDArray[np.float64]) -> dict[str, float]:
    clocks = (("", calls[:, 0]), ("processor ", calls[:, 1]))
    return {f"{clock}p{q}": round(float(np.percentile(us, q)), 2) for clock, us in clocks for q in (50, 99)}


def _peak_bytes() -> int:
    # Not resource's ru_maxrss: a child inherits the peak that its parent had before it started it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1_024


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_apart(trial: Trial) -> Measured:
    """Run the trial in a process of its own; one that takes all at once and passes its cap is ended."""
    command = [sys.executable, "-m", "benchmarks.engine.trial", msgspec.json.encode(trial).decode()]
    environment: dict[str, Any] = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": str(ROOT)}
    patience_s = None if trial.cap_s is None else trial.cap_s + SET_UP_S
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=patience_s
        )
    except subprocess.TimeoutExpired:
        return Measured(trial=trial, n_values=0, n_done=0, stopped=True, wall_s=0.0, processor_s=0.0)
    if done.returncode != 0:
        raise SystemExit(f"{trial.contender} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return msgspec.json.decode(done.stdout, type=Measured)


if __name__ == "__main__":
    print(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=Trial))).decode())

# SPDX-License-Identifier: Apache-2.0
"""What the machine and its processes did while a load ran: stolen time, load average, processor time, memory."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.subject import cpu_seconds, steal_seconds

_EVERY_S: Final = 0.5
_FRONT: Final = "ringfence-front"  # what the front process calls itself


class Look(NamedTuple):
    """The machine at one moment."""

    at_ns: int  # of the clock that latencies are told by, one for all processes
    steal_s: float  # so far, over all processors
    load_average: float  # of the last minute


class Surroundings:
    """Looks at the machine twice a second while it is entered."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Surroundings:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        self.looks.append(Look(time.perf_counter_ns(), steal_seconds(), os.getloadavg()[0]))

    def between(self, from_ns: float, to_ns: float) -> tuple[float, float]:
        """Return seconds stolen, and the load average at the end, from the looks nearest to both moments."""
        begin, end = self._nearest(from_ns), self._nearest(to_ns)
        return end.steal_s - begin.steal_s, end.load_average

    def _nearest(self, when_ns: float) -> Look:
        at = bisect_left(self.looks, when_ns, key=lambda look: look.at_ns)
        around = self.looks[max(0, at - 1) : at + 1]
        return min(around, key=lambda look: abs(look.at_ns - when_ns))


class Memory(NamedTuple):
    """What a process holds, in bytes."""

    rss: int  # resident, shared pages counted in full
    pss: int  # shared pages counted by their share


def memory(pid: int) -> Memory:
    """Read what a process holds; zeros where it has ended."""
    found = {"Rss": 0, "Pss": 0}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        lines = []
    for line in lines:
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) * 1024
    return Memory(found["Rss"], found["Pss"])


def children(pid: int) -> list[int]:
    """Return the processes below one, at any depth."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *children(child)]
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def with_fronts(pids: tuple[int, ...]) -> tuple[int, ...]:
    """Return processes and the front processes below them, which read and answer requests for them."""
    return (*pids, *(child for pid in pids for child in children(pid) if _name(child) == _FRONT))


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_of(pids: tuple[int, ...]) -> float:
    """Processor time so far of processes and all below them, in seconds; those that have ended are not in it."""
    return sum(cpu_by_process(pids).values())


def cpu_by_process(pids: tuple[int, ...]) -> dict[int, float]:
    """What `cpu_of` adds up, by process."""
    found = {}
    for pid in {one for parent in pids for one in (parent, *children(parent))}:
        try:
            found[pid] = cpu_seconds(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found

# SPDX-License-Identifier: Apache-2.0
"""Time and memory of each phase of long work, seen through the progress that it reports."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ringfence.cli.terminal import table

_STATUS: Final = Path("/proc/self/status")
_RESET: Final = Path("/proc/self/clear_refs")  # 5: the peak of resident memory begins anew


class Phase(NamedTuple):
    name: str
    seconds: float
    peak_bytes: int  # of resident memory; where the system cannot begin anew (macOS), the peak up to then


class Phases:
    """Passes progress on, and notes when each stage begins and ends. A stage that comes again goes on.

    Parameters
    ----------
    first : what happens before the first stage is told.
    report : called with (stage, done, total).
    """

    def __init__(self, first: str, report: Callable[[str, int, int], None]) -> None:
        self._report = report
        self._found: dict[str, Phase] = {}
        self._begin(first)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._name:
            self._end()
            self._begin(stage)
        self._report(stage, done, total)

    def end(self) -> list[Phase]:
        """Return the phases in the order of their beginning, the last one up to now."""
        self._end()
        self._begin(self._name)
        return list(self._found.values())

    def _begin(self, name: str) -> None:
        self._name, self._began = name, time.monotonic()
        with suppress(OSError):
            _RESET.write_text("5")

    def _end(self) -> None:
        before = self._found.get(self._name, Phase(self._name, 0.0, 0))
        seconds = before.seconds + time.monotonic() - self._began
        self._found[self._name] = Phase(self._name, seconds, max(before.peak_bytes, peak_bytes()))


def peak_bytes() -> int:
    """The most resident memory of this process, since the peak was last begun anew where that is possible."""
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s+([0-9]+) kB$", _STATUS.read_text("ascii"), re.MULTILINE):
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def phase_table(phases: list[Phase]) -> str:
    """Lay phases out for people."""
    rows = [[p.name, f"{p.seconds:.1f} s".rjust(8), f"{p.peak_bytes / 1e9:.2f} GB".rjust(8)] for p in phases]
    return table(["phase", "    time", "  memory"], rows)

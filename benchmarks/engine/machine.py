# SPDX-License-Identifier: Apache-2.0
"""What the times were taken on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.subject import steal_seconds


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    processor: str
    n_processors: int
    memory_bytes: int
    python: str
    versions: dict[str, str]
    load: float  # 1 minute
    stolen_s: float  # since boot


def machine_facts(libraries: Sequence[str]) -> Machine:
    """Look at the machine; versions of `libraries` and of what the engine compiles with."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return Machine(
        processor=models[0].partition(":")[2].strip() if models else platform.machine(),
        n_processors=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        python=platform.python_version(),
        versions={name: version(name) for name in (*libraries, "numba", "numpy")} if libraries else {},
        load=os.getloadavg()[0],
        stolen_s=steal_seconds(),
    )

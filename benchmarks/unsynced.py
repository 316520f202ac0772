# SPDX-License-Identifier: Apache-2.0
"""Build the preloaded shim of `unsynced.c`, and take files back to what their last fsync made durable."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

_HEAD = struct.Struct("<Qqqq")
_MAGIC = 0x554E53594E434544


def build(directory: Path) -> Path:
    """Compile the shim into `directory`; needs gcc."""
    library = directory / "unsynced.so"
    source = Path(__file__).with_name("unsynced.c")
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o", str(library), str(source)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return library


def environment(library: Path, watched: Path, logs: Path) -> dict[str, str]:
    """Return the variables that put the shim under a process; creates `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    return {"LD_PRELOAD": str(library), "UNSYNCED_DIR": str(watched.resolve()), "UNSYNCED_LOG": str(logs.resolve())}


def undo(logs: Path) -> int:
    """Undo every write that was not durable when its process was killed, newest first; return how many there were."""
    n_undone = 0
    for log in sorted(logs.glob("*.undo")):
        path = Path(log.with_suffix(".path").read_text())
        if path.exists() and path.stat().st_ino == int(log.stem):
            entries = _entries(log.read_bytes())
            with path.open("r+b") as file:
                for old_size, offset, old in reversed(entries):
                    os.pwrite(file.fileno(), old, offset)
                    os.ftruncate(file.fileno(), old_size)
            n_undone += len(entries)
        log.unlink()
    return n_undone


def _entries(data: bytes) -> list[tuple[int, int, bytes]]:
    entries, at = [], 0
    while at + _HEAD.size <= len(data):
        magic, old_size, offset, n_bytes = _HEAD.unpack_from(data, at)
        if magic != _MAGIC:
            raise ValueError(f"undo log damaged at byte {at}")
        end = at + _HEAD.size + n_bytes
        if end > len(data):
            break  # killed while remembering: the write itself never happened
        entries.append((old_size, offset, data[at + _HEAD.size : end]))
        at = end
    return entries

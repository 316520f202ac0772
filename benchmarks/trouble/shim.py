# SPDX-License-Identifier: Apache-2.0
"""The switches of the preloaded shim (`shim.c`): a full disk, a slow one, a wrong clock, a model that fails."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from pathlib import Path
from typing import Final

CONTROL: Final = "TROUBLE_CONTROL"
_PLACES: Final = {"is_full": 0, "fsync_ms": 8, "clock_offset": 16, "model": 24}
_SIZE: Final = 32
RAISES, SLEEPS = 1, 2


def build(folder: Path) -> Path:
    """Compile the shim into `folder`; needs gcc."""
    library, source = folder / "trouble.so", Path(__file__).with_name("shim.c")
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


class Switches:
    """What goes wrong, from the next system call or model call on."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_SIZE))
        self._path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def environment(self, library: Path, below: Path) -> dict[str, str]:
        """Return the variables that put a process under these switches; its files below a folder are meant."""
        return {"LD_PRELOAD": str(library), CONTROL: str(self._path), "TROUBLE_DIR": str(below.resolve())}

    def set(self, name: str, value: int) -> None:
        """Set `is_full`, `fsync_ms`, `clock_offset` in seconds, or `model`; 0 is as it should be."""
        struct.pack_into("=q", self._map, _PLACES[name], value)

    def reset(self) -> None:
        self._map[:] = bytes(_SIZE)


class Reading:
    """The same switches, as the process under them sees them."""

    def __init__(self) -> None:
        with Path(os.environ[CONTROL]).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE, access=mmap.ACCESS_READ)

    def __getitem__(self, name: str) -> int:
        value: int = struct.unpack_from("=q", self._map, _PLACES[name])[0]
        return value

# SPDX-License-Identifier: Apache-2.0
"""A folder that a long run is kept in, so that it goes on where it stopped: one JSON file for each thing measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

SETTINGS: Final = "settings.json"
FORMAT: Final = 1  # bump when what is kept means something else


class OtherSettings(SystemExit):
    """The folder holds a run of other settings."""

    def __init__(self, folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        differing = [name for name in wanted if found.get(name) != wanted[name]]
        told = ", ".join(f"{name} {found.get(name)!r} instead of {wanted[name]!r}" for name in differing)
        super().__init__(f"{folder} is of a run with {told}; give another --work, or delete it")


@dataclass(frozen=True)
class Work:
    """Where results are kept, and what is waited for before each step."""

    folder: Path
    tell: Callable[[str], None]
    pause_while: Path | None = None  # no step begins while this file exists

    @classmethod
    def open(
        cls, folder: Path, settings: dict[str, Any], tell: Callable[[str], None], pause_while: Path | None = None
    ) -> Work:
        """Begin a run in a folder, or go on with one of the same settings.

        Raises
        ------
        OtherSettings
            If the folder is of a run with other settings.
        """
        wanted = {"format": FORMAT, **settings}
        path = folder / SETTINGS
        if path.exists():
            found = msgspec.json.decode(path.read_bytes())
            if found != wanted:
                raise OtherSettings(folder, found, wanted)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(wanted), indent=1))
        return cls(folder, tell, pause_while)

    def step(self, what: str) -> None:
        """Say what comes next, and wait while others are not to be disturbed."""
        if self.pause_while is not None and self.pause_while.exists():
            self.tell(f"waiting while {self.pause_while} exists")
            while self.pause_while.exists():
                time.sleep(2.0)
        self.tell(what)

    def path(self, *names: str) -> Path:
        """Return the file of a result."""
        return self.folder.joinpath(*names).with_suffix(".json")

    def read(self, path: Path, kind: type[T]) -> T | None:
        """Return what was kept; None where nothing was."""
        return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None

    def keep(self, path: Path, result: Any) -> None:
        """Write a result as a whole, or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_bytes(msgspec.json.encode(result))
        beside.replace(path)

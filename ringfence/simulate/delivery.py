# SPDX-License-Identifier: Apache-2.0
"""Files that appear together: each is written under a name of its own, and renamed once all are complete."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

UNFINISHED: Final = ".unfinished"


class Delivery:
    """The files of one folder, as a context: at its end they get their names, in the order asked for.

    After an error or an interruption what was written is removed, and the folder is as it was. A process that is
    killed leaves files that end in `.unfinished`; the next delivery of the same names writes over them.

    Parameters
    ----------
    folder : made where missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: list[str] = []

    def path(self, name: str) -> Path:
        """Where to write the file that will have this name in the folder; `name` may lie in a folder of its own."""
        self._names.append(name)
        path = self._unfinished(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in self._names:
            path = self._unfinished(name)
            if kind is not None:
                path.unlink(missing_ok=True)
            elif path.exists():  # a table without rows is not written at all
                path.replace(self._folder / name)

    def _unfinished(self, name: str) -> Path:
        return self._folder / f"{name}{UNFINISHED}"

# SPDX-License-Identifier: Apache-2.0
"""The writer lock: whoever holds it is the only appender. The kernel releases it when the holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ringfence.ledger.errors import LedgerLockedError

LOCK: Final = "writer.lock"


@contextmanager
def writer_lock(directory: Path) -> Iterator[None]:
    """Hold `directory/writer.lock` exclusively, with our process id in it.

    Raises
    ------
    LedgerLockedError
        If someone else holds it; never waits.
    """
    path = directory / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerLockedError(path, _holder(path)) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(path: Path) -> int | None:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return int(text) if text.isdigit() else None

# SPDX-License-Identifier: Apache-2.0
"""Locks of the kernel's, which releases them when the holder dies: the writer's of a ledger, and one a small file."""

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


def writer_of(directory: Path) -> str | None:
    """Say who writes to a ledger now, such as `process 4711`; None where nobody does, whoever died with the lock."""
    path = directory / LOCK
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(path)
        return "another process" if holder is None else f"process {holder}"
    finally:
        os.close(descriptor)
    return None


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold `path` with `.lock` behind it, and wait for whoever does; the folder is made where it is missing.

    For a file that is read, changed and replaced as a whole: two that read it together would each lose the other's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> int | None:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return int(text) if text.isdigit() else None

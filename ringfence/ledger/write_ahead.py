# SPDX-License-Identifier: Apache-2.0
"""A SQLite file with a write-ahead log, opened by several threads and processes at the same moment."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

_APART_MS: Final = 10
_PRIMARY: Final = 0xFF  # of an error's code; the rest says which kind of it


def connect_write_ahead(
    path: Path, *, busy_ms: int = 5_000, check_same_thread: bool = True, cached_statements: int = 128
) -> sqlite3.Connection:
    """Open `path` in WAL mode with explicit transactions, creating the file where missing.

    Two who open a new file at once both want it for themselves while they switch its mode, and SQLite refuses one of
    them at once, without the wait that every other statement has. So the switch is tried again, as long as any other
    statement would wait.

    Parameters
    ----------
    busy_ms : how long the connection waits for somebody else's lock, > 0.
    check_same_thread, cached_statements : as `sqlite3.connect` has them.

    Raises
    ------
    sqlite3.DatabaseError
        If the file is no SQLite database; an `OperationalError` if it cannot be opened or stays locked.
    """
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=0.0,  # each try is one: the waits of all of them would add up
        check_same_thread=check_same_thread,
        cached_statements=cached_statements,
    )
    waited_ms = 0
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.DatabaseError as error:
            if waited_ms >= busy_ms or error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY:
                connection.close()
                raise
            time.sleep(_APART_MS / 1000)
            waited_ms += _APART_MS
    connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
    return connection

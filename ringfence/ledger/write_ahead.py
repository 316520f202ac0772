# SPDX-License-Identifier: Apache-2.0
"""A SQLite file with a write-ahead log, opened by several threads and processes at the same moment."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

_TRIES: Final = 200
_APART_S: Final = 0.01


def connect_write_ahead(
    path: Path, *, busy_ms: int = 5_000, check_same_thread: bool = True, cached_statements: int = 128
) -> sqlite3.Connection:
    """Open `path` in WAL mode with explicit transactions, creating the file where missing.

    Two who open a new file at once both want it for themselves while they switch its mode, and SQLite refuses one of
    them at once, without the wait of `busy_ms` that every other statement has. So the switch is tried again, for as
    long as two seconds.

    Raises
    ------
    sqlite3.DatabaseError
        If the file is no SQLite database; an `OperationalError` if it cannot be opened or stays locked.
    """
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=busy_ms / 1000,
        check_same_thread=check_same_thread,
        cached_statements=cached_statements,
    )
    n_tried = 0
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return connection
        except sqlite3.DatabaseError as error:
            n_tried += 1
            if n_tried == _TRIES or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                connection.close()
                raise
            time.sleep(_APART_S)

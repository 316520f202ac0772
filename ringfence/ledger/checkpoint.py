# SPDX-License-Identifier: Apache-2.0
"""SQLite's checkpoints on a thread of their own, so that no commit ever waits for one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ringfence.ledger.schema import connect

EVERY_COMMITS: Final = 64
# A log starts again from its beginning only when all of it has been copied at the moment of a commit. Under constant
# load one pass always misses the commits made during it, so the log would grow without end, and an fsync that also
# extends a file costs more. The later passes copy next to nothing and mostly end between two commits.
_PASSES: Final = 3
# Where the thread cannot keep up, the writer bounds the log itself, at 16 MB. Measured at 450 commits/s, p50 / p99 /
# p99.9: 0.48 / 2.2 / 4.7 ms with one pass every 256 commits and no bound, 0.37 / 0.9 / 1.7 ms so.
_PAGES_AT_MOST: Final = 4_000


class Checkpointer:
    """Copies the write-ahead log into the database each time enough commits have been counted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._due = threading.Event()
        self._is_over = False
        self._n_commits = 0
        self._thread = threading.Thread(target=self._work, name="ledger-checkpoint", daemon=True)

    def count_commit(self) -> None:
        """Say that a commit was made; called by the writer's thread."""
        self._n_commits += 1
        if self._n_commits % EVERY_COMMITS == 0:
            self._due.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait for a checkpoint under way, and end."""
        self._is_over = True
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        connection = connect(self._directory)
        try:
            while True:
                self._due.wait()
                self._due.clear()
                if self._is_over:
                    return
                try:
                    # PASSIVE neither blocks the writer nor waits for readers; what it leaves comes next time.
                    for _ in range(_PASSES):
                        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                except sqlite3.Error:
                    continue  # a full disk shows at the next commit, to someone who can tell
        finally:
            connection.close()


@contextmanager
def checkpoints(directory: Path, connection: sqlite3.Connection) -> Iterator[Checkpointer]:
    """Take over the checkpoints of a writer's connection."""
    connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_AT_MOST}")
    checkpointer = Checkpointer(directory)
    checkpointer.start()
    try:
        yield checkpointer
    finally:
        checkpointer.stop()

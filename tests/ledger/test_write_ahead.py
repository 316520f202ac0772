# SPDX-License-Identifier: Apache-2.0
"""A file with a write-ahead log that several open at the same moment."""

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from ringfence.ledger.write_ahead import connect_write_ahead


def test_everybody_who_opens_a_new_file_at_the_same_moment_gets_it(tmp_path: Path) -> None:
    failed: list[BaseException] = []
    for turn in range(60):
        path, together = tmp_path / f"{turn}.db", threading.Barrier(4)

        def open_it(path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                with contextlib.closing(connect_write_ahead(path)) as connection:
                    connection.execute("CREATE TABLE IF NOT EXISTS noted (one INTEGER)")
                    connection.execute("INSERT INTO noted VALUES (1)")
            except sqlite3.Error as error:
                failed.append(error)

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("SELECT count(*) FROM noted").fetchone() == (4,)
    assert failed == []


def test_a_file_that_somebody_keeps_to_himself_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE noted (one INTEGER)")
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connect_write_ahead(path, busy_ms=200)
        assert 0.2 <= time.monotonic() - began < 5.0
        holder.execute("ROLLBACK")
    with contextlib.closing(connect_write_ahead(path, busy_ms=200)) as connection:
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (200,)


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to be read as the head of one" * 40)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        connect_write_ahead(tmp_path / "x.db")

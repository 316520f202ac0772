# SPDX-License-Identifier: Apache-2.0
"""Durable means durable: the shim that drops un-fsynced writes can tell who fsyncs, and the service does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.serving.keys import Scope, create_key
from ringfence.workspace import Workspace

from .conftest import claim, copy_of

pytestmark = pytest.mark.services

_INSERT = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("CREATE TABLE numbers (n INTEGER)")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.execute("PRAGMA synchronous=" + sys.argv[2])
for n in range(20):
    connection.execute("INSERT INTO numbers VALUES (?)", (n,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_and_undone(folder: Path, synchronous: str) -> tuple[int, int]:
    """Insert 20 rows under the shim, kill, undo; return (rows left, writes undone)."""
    import sqlite3

    from benchmarks import unsynced

    data = folder / "data"
    data.mkdir()
    environment = {**os.environ, **unsynced.environment(unsynced.build(folder), data, folder / "undo")}
    database = data / "test.db"
    subprocess.run([sys.executable, "-c", _INSERT, str(database), synchronous], env=environment, check=False)
    n_undone = unsynced.undo(folder / "undo")
    connection = sqlite3.connect(database)
    n_left: int = connection.execute("SELECT count(*) FROM numbers").fetchone()[0]
    connection.close()
    return n_left, n_undone


def test_the_shim_loses_what_was_not_fsynced(tmp_path: Path) -> None:
    n_left, n_undone = killed_and_undone(tmp_path, "NORMAL")
    assert n_left == 0
    assert n_undone > 0


def test_the_shim_leaves_what_was_fsynced(tmp_path: Path) -> None:
    assert killed_and_undone(tmp_path, "FULL") == (20, 0)


@pytest.mark.parametrize("drop_unsynced", [False, True], ids=["kill -9", "and un-fsynced writes lost"])
def test_nothing_acknowledged_is_lost_or_there_twice(template: Workspace, tmp_path: Path, drop_unsynced: bool) -> None:
    from benchmarks.durability import torture
    from benchmarks.subject import Subject

    workspace = copy_of(template, tmp_path / "workspace")
    token = create_key(workspace.keys_path, "torture", {Scope.ADMIN})
    subject = Subject(workspace.path, token, lambda: (claim(number) for number in range(10_000)))
    found = torture(subject, tmp_path, rounds=2, rate=200, seconds=1.5, drop_unsynced=drop_unsynced, seed=5)
    assert found["faults"] == []
    assert found["still_unanswered"] == 0
    assert found["acknowledged"]["decisions"] > 0

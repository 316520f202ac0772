# SPDX-License-Identifier: Apache-2.0
"""Groups of records with all that is written beside them: what one transaction makes durable, or nothing of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from ringfence.ledger.codec import Row
from ringfence.ledger.erasable import Erasable, Name, PersonalValue
from ringfence.ledger.outcomes import Change
from ringfence.ledger.pending import NOTE, SETTLE, TABLE


class Group(msgspec.Struct):
    """Rows that one transaction writes."""

    records: list[Row] = []
    identity: list[tuple[bytes, int, bytes]] = []  # key, seq, payload digest
    decisions: list[tuple[int, int]] = []  # event seq, seq
    pending: list[tuple[int, int]] = []
    settled: list[tuple[int]] = []
    standing: list[tuple[int, int, str, int, int]] = []
    maturing: list[tuple[int, int]] = []
    matured: list[tuple[int, int]] = []
    outcomes: list[Change] = []
    names: list[Name] = []
    personal: list[PersonalValue] = []
    was_tried: bool = False  # a COMMIT that failed may still have reached the file


class AbandonedError(Exception):
    """Nobody waits for these groups any more, and another writer may have taken over: nothing was written."""


def write_groups(
    connection: sqlite3.Connection,
    erasable: Erasable,
    groups: Sequence[Group],
    *,
    is_abandoned: Callable[[], bool] = lambda: False,
) -> None:
    """Make groups durable together, each once however often this is called; returns after the fsync.

    Parameters
    ----------
    connection : to the ledger's database, in the calling thread, without a transaction.
    groups : in seq order, at least one.
    is_abandoned : asked once the database is ours to write.

    Raises
    ------
    sqlite3.Error
        If they could not be written; the caller rolls back (`roll_back`). They may be there all the same.
    AbandonedError
        If `is_abandoned` said so.
    """
    names = [name for group in groups for name in group.names]
    personal = [value for group in groups for value in group.personal]
    if names or personal:
        erasable.add(names, personal)
    connection.execute("BEGIN IMMEDIATE")
    if is_abandoned():
        raise AbandonedError
    for group in groups:
        is_there, group.was_tried = group.was_tried and _is_there(connection, group.records[-1]), True
        if not is_there:  # it must not come twice
            _insert(connection, group)
    connection.execute("COMMIT")


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed, if there is one."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # SQLite has rolled back by itself, as it does when the disk is full


def _insert(connection: sqlite3.Connection, group: Group) -> None:
    connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", group.records)
    connection.executemany("INSERT INTO identity VALUES (?, ?, ?)", group.identity)
    connection.executemany("INSERT INTO decisions VALUES (?, ?)", group.decisions)
    if group.pending:
        connection.execute(TABLE)
        connection.executemany(NOTE, group.pending)
    if group.settled:
        connection.executemany(SETTLE, group.settled)
    if group.standing:
        connection.executemany("INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?)", group.standing)
    if group.maturing:
        connection.executemany("INSERT OR IGNORE INTO maturing VALUES (?, ?)", group.maturing)
    if group.matured:
        connection.executemany("DELETE FROM maturing WHERE due_ms = ? AND event_seq = ?", group.matured)
    for statement, changes in groupby(group.outcomes, key=itemgetter(0)):
        connection.executemany(statement, [values for _, values in changes])


def _is_there(connection: sqlite3.Connection, last: Row) -> bool:
    row = connection.execute("SELECT chain FROM records WHERE seq = ?", (last[0],)).fetchone()
    return row is not None and row[0] == last[5]

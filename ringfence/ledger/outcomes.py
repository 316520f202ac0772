# SPDX-License-Identifier: Apache-2.0
"""Labels by outcome: which decided events wait for an outcome and which outcomes there were, by whom they name.

    awaited     (entity, time, seq)         decided events that no outcome has answered yet
    outcomes    (entity, time, known_at)    what answers each decided event in [time - horizon, time)

Both are tables beside the records and change with them, in one transaction. An event leaves `awaited` when it is
answered and never else: an outcome may be reported long after its time. They exist only where a label asks for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from ringfence.ledger.errors import LabelRuleChangedError
from ringfence.scenario.event import Event, Link
from ringfence.scenario.spec import Outcome, Scenario

INSERT_AWAITED: Final = "INSERT OR IGNORE INTO awaited VALUES (?, ?, ?)"
DELETE_AWAITED: Final = "DELETE FROM awaited WHERE key = ? AND time_ms = ? AND event_seq = ?"
INSERT_OUTCOME: Final = """INSERT INTO outcomes VALUES (?, ?, ?)
  ON CONFLICT DO UPDATE SET known_at_ms = min(known_at_ms, excluded.known_at_ms)"""  # of one moment, the first known

CHANGES: Final = (INSERT_AWAITED, DELETE_AWAITED, INSERT_OUTCOME)
Change = tuple[str, tuple[Any, ...]]  # a statement and its values

_META: Final = "outcome"
_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS awaited (
    key BLOB NOT NULL, time_ms INTEGER NOT NULL, event_seq INTEGER NOT NULL,
    PRIMARY KEY (key, time_ms, event_seq)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS outcomes (
    key BLOB NOT NULL, time_ms INTEGER NOT NULL, known_at_ms INTEGER NOT NULL,
    PRIMARY KEY (key, time_ms)) WITHOUT ROWID""",
)


def outcome_of(scenario: Scenario) -> Outcome | None:
    """The outcome that labels the decided event type; None where labels come from elsewhere."""
    label = scenario.decided.label
    return None if label is None else label.outcome


def check_outcome(connection: sqlite3.Connection, scenario: Scenario) -> None:
    """Insist that the ledger's labels by outcome are those of this scenario; an empty ledger fits every scenario.

    Raises
    ------
    LabelRuleChangedError
        If there are records, and they were labelled by another outcome, or by none.
    """
    if _stored(connection) != outcome_of(scenario) and _has_records(connection):
        raise LabelRuleChangedError(scenario.name, _words(_stored(connection)), _words(outcome_of(scenario)))


def open_index(connection: sqlite3.Connection, scenario: Scenario) -> None:
    """Make the tables that the scenario's label needs, if it needs them, and note by which outcome it labels.

    Raises
    ------
    LabelRuleChangedError
        As `check_outcome`.
    """
    check_outcome(connection, scenario)
    outcome = outcome_of(scenario)
    if outcome != _stored(connection):
        connection.execute("DELETE FROM meta WHERE name = ?", (_META,))
        if outcome is not None:
            connection.execute("INSERT INTO meta VALUES (?, ?)", (_META, msgspec.msgpack.encode(outcome)))
    if outcome is not None:
        for table in _TABLES:
            connection.execute(table)


def drop_index(connection: sqlite3.Connection) -> None:
    """Forget both tables, as an import that begins the ledger anew does."""
    connection.execute("DROP TABLE IF EXISTS awaited")
    connection.execute("DROP TABLE IF EXISTS outcomes")


def keys_of(links: tuple[Link, ...], role: int) -> list[bytes]:
    """The digests (hi then lo, big endian) of whom links name in a role."""
    return [link.hi.to_bytes(8, "big") + link.lo.to_bytes(8, "big") for link in links if link.role == role]


class Answers(NamedTuple):
    """What an event means to those before it, and they to it."""

    keys: list[bytes]  # of whom it names in the role
    seqs: list[int]  # of the decided events that it answers, ascending
    leaving: list[Change]  # what takes them out of `awaited`
    followed: bool  # it is decided on, and its outcome came before it


class OutcomeIndex:
    """The writer's side: what is staged and not committed yet is known here, the rest is in the tables.

    Parameters
    ----------
    about : seq of an event, staged or durable -> event type index, event_time_ms, links.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        scenario: Scenario,
        outcome: Outcome,
        about: Callable[[int], tuple[int, int, tuple[Link, ...]]],
    ) -> None:
        self._connection = connection
        self._decide = scenario.decide
        self._outcome = outcome
        self.source = outcome.event_type  # of the labels that it gives
        self._role = scenario.role(outcome.role).index
        self._about = about
        self._awaited: dict[bytes, list[tuple[int, int]]] = {}  # key -> (time_ms, seq)
        self._outcomes: dict[bytes, list[int]] = {}  # key -> time_ms
        self._answered: set[int] = set()
        self._latest_ms: int = connection.execute("SELECT coalesce(max(time_ms), -1) FROM outcomes").fetchone()[0]

    def look(self, event: Event) -> Answers:
        """Find what an event answers, and whether it is answered itself. Changes nothing: it may have no place yet."""
        keys = keys_of(event.links, self._role)
        time_ms, seqs = event.event_time_ms, set[int]()
        if event.event_type == self._outcome.event_type:
            for key in keys:
                seqs.update(self._answered_at(key, time_ms))
        leaving: list[Change] = []
        for seq in sorted(seqs):
            _, at_ms, links = self._about(seq)
            leaving += changes_of_leaving(seq, at_ms, links, self._role)
        followed = event.event_type == self._decide and any(self._was_followed(key, time_ms) for key in keys)
        return Answers(keys=keys, seqs=sorted(seqs), leaving=leaving, followed=followed)

    def note(self, seq: int, event: Event, known_at_ms: int, found: Answers, changes: list[Change]) -> list[int]:
        """Take note of an event that got its place; `changes` are to be written with it.

        Returns
        -------
        Seqs of the decided events that are fraud now, ascending. No seq is ever returned twice.
        """
        time_ms = event.event_time_ms
        self._answered.update(found.seqs)
        changes += found.leaving
        if event.event_type == self._decide and not found.followed:
            for key in found.keys:
                changes.append((INSERT_AWAITED, (key, time_ms, seq)))
                self._awaited.setdefault(key, []).append((time_ms, seq))
        if event.event_type == self._outcome.event_type:
            self._latest_ms = max(self._latest_ms, time_ms)
            for key in found.keys:
                changes.append((INSERT_OUTCOME, (key, time_ms, known_at_ms)))
                self._outcomes.setdefault(key, []).append(time_ms)
        return [*found.seqs, seq] if found.followed else found.seqs

    def settle(self) -> None:
        """All changes are durable: the tables know."""
        self._awaited.clear()
        self._outcomes.clear()
        self._answered.clear()

    def _answered_at(self, key: bytes, time_ms: int) -> list[int]:
        # Events in [time - horizon, time): an outcome counts strictly after its event, and at the end of the horizon.
        from_ms = time_ms - self._outcome.horizon_ms
        query = "SELECT event_seq FROM awaited WHERE key = ? AND time_ms >= ? AND time_ms < ?"
        stored = [row[0] for row in self._connection.execute(query, (key, from_ms, time_ms))]
        staged = [seq for at_ms, seq in self._awaited.get(key, ()) if from_ms <= at_ms < time_ms]
        return [seq for seq in (*stored, *staged) if seq not in self._answered]

    def _was_followed(self, key: bytes, time_ms: int) -> bool:
        if time_ms >= self._latest_ms:  # as it nearly always is: events come in the order of time
            return False
        until_ms = time_ms + self._outcome.horizon_ms
        if any(time_ms < at_ms <= until_ms for at_ms in self._outcomes.get(key, ())):
            return True
        query = "SELECT 1 FROM outcomes WHERE key = ? AND time_ms > ? AND time_ms <= ? LIMIT 1"
        return self._connection.execute(query, (key, time_ms, until_ms)).fetchone() is not None


def changes_of_leaving(seq: int, time_ms: int, links: tuple[Link, ...], role: int) -> list[Change]:
    """What to change when an event is answered."""
    return [(DELETE_AWAITED, (key, time_ms, seq)) for key in keys_of(links, role)]


def _stored(connection: sqlite3.Connection) -> Outcome | None:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_META,)).fetchone()
    return msgspec.msgpack.decode(row[0], type=Outcome) if row else None


def _has_records(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM records LIMIT 1").fetchone() is not None


def _words(outcome: Outcome | None) -> str:
    if outcome is None:
        return "no later event"
    return f"{outcome.event_type!r} of the same {outcome.role} within {outcome.horizon_ms // 1_000} s"

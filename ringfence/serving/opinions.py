# SPDX-License-Identifier: Apache-2.0
"""What the shadow found: how far it is, what it would have done beside what was done, and what is not on record yet.

It is state, not truth: it follows from ledger and release, so losing the file costs the time to score again since the
shadow began. What one portion of the ledger came to is written in one transaction with the place that it ended at, so
that a crash counts nothing twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from ringfence.ledger.records import DisagreementBody
from ringfence.ledger.write_ahead import connect_write_ahead
from ringfence.rollout.registry import Shadow

OPINIONS: Final = "shadow.db"
MOST_WAITING: Final = 100_000  # scored events that are not decided; beyond it the oldest are forgotten

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS shadow (
    one INTEGER PRIMARY KEY CHECK (one = 1), release TEXT NOT NULL, since_seq INTEGER NOT NULL,
    through_seq INTEGER NOT NULL, n_impossible INTEGER NOT NULL, failure TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (event_seq INTEGER PRIMARY KEY, score REAL NOT NULL, amount_minor INTEGER);
CREATE TABLE IF NOT EXISTS pairs (
    action TEXT NOT NULL, shadow_action TEXT NOT NULL, n INTEGER NOT NULL, difference REAL NOT NULL,
    PRIMARY KEY (action, shadow_action)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disagreements (decision_seq INTEGER, shadow TEXT, body BLOB NOT NULL,
    PRIMARY KEY (decision_seq, shadow)) WITHOUT ROWID;
"""
_COUNT: Final = (
    "INSERT INTO pairs VALUES (?, ?, 1, ?) "
    "ON CONFLICT DO UPDATE SET n = n + 1, difference = difference + excluded.difference"
)
_FORGET: Final = (
    "DELETE FROM waiting WHERE event_seq <= (SELECT event_seq FROM waiting ORDER BY event_seq DESC LIMIT 1 OFFSET ?)"
)

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(DisagreementBody).decode


class Opinion(msgspec.Struct, frozen=True):
    """The shadow's score of an event that is not decided yet."""

    event_seq: int
    score: float
    amount_minor: int | None


class Comparison(msgspec.Struct, frozen=True):
    """A decision beside what the shadow would have done."""

    event_seq: int
    action: str
    shadow_action: str
    difference: float  # of the scores, shadow minus decision
    disagreement: DisagreementBody | None  # where the actions differ


class Pair(msgspec.Struct, frozen=True):
    """How many decisions came to these two actions."""

    action: str
    shadow_action: str
    n: int
    difference: float  # sum, shadow's score minus the decision's


class Standing(msgspec.Struct, frozen=True):
    """How far a shadow is, and what it found."""

    through_seq: int  # events up to here have been scored
    n_waiting: int  # scored, and not decided yet
    n_impossible: int  # that it could not score
    failure: str  # what keeps it from going on; empty where nothing does
    pairs: tuple[Pair, ...]

    @property
    def n_same(self) -> int:
        return sum(pair.n for pair in self.pairs if pair.action == pair.shadow_action)

    @property
    def n_different(self) -> int:
        return sum(pair.n for pair in self.pairs if pair.action != pair.shadow_action)

    @property
    def mean_difference(self) -> float | None:
        """Of the scores of all decisions compared, shadow minus decision; None before the first."""
        n = self.n_same + self.n_different
        return sum(pair.difference for pair in self.pairs) / n if n else None


class Opinions:
    """What one shadow found. One thread uses it; another process may read it meanwhile, or take disagreements away."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._connection = connect_write_ahead(directory / OPINIONS)
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_TABLES)

    def begin(self, shadow: Shadow) -> int:
        """Go on with a shadow, or begin with it; return the seq through which it scored events.

        What another one found is forgotten, but for disagreements that are not on record yet.
        """
        with self._transaction():
            found = self._connection.execute("SELECT release, since_seq, through_seq FROM shadow").fetchone()
            if found is None or found[:2] != (shadow.release, shadow.since_seq):
                self._connection.execute("DELETE FROM waiting")
                self._connection.execute("DELETE FROM pairs")
                row = (shadow.release, shadow.since_seq, shadow.since_seq)
                self._connection.execute("INSERT OR REPLACE INTO shadow VALUES (1, ?, ?, ?, 0, '')", row)
                return shadow.since_seq
        return int(found[2])

    def put(
        self,
        through_seq: int,
        *,
        waits: Iterable[Opinion] = (),
        compared: Iterable[Comparison] = (),
        n_impossible: int = 0,
    ) -> None:
        """Keep what the events up to `through_seq` came to; a decision that was waited for is waited for no more."""
        compared = list(compared)
        with self._transaction() as connection:
            rows = [(one.event_seq, one.score, one.amount_minor) for one in waits]
            connection.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", rows)
            connection.executemany(_COUNT, [(one.action, one.shadow_action, one.difference) for one in compared])
            connection.executemany("DELETE FROM waiting WHERE event_seq = ?", [(one.event_seq,) for one in compared])
            if rows:
                connection.execute(_FORGET, (MOST_WAITING,))
            found = [one.disagreement for one in compared if one.disagreement is not None]
            connection.executemany(
                "INSERT OR REPLACE INTO disagreements VALUES (?, ?, ?)",
                [(body.decision_seq, body.shadow, _encode(body)) for body in found],
            )
            update = "UPDATE shadow SET through_seq = max(through_seq, ?), n_impossible = n_impossible + ?"
            connection.execute(update, (through_seq, n_impossible))

    def tell_failure(self, why: str) -> None:
        """Say what keeps the shadow from going on; an empty text: nothing does."""
        self._connection.execute("UPDATE shadow SET failure = ?", (why,))

    def waiting(self, after_event_seq: int, limit: int) -> list[Opinion]:
        """Scores of events that were not decided when they were scored, in the order of the events."""
        query = "SELECT event_seq, score, amount_minor FROM waiting WHERE event_seq > ? ORDER BY event_seq LIMIT ?"
        return [Opinion(*row) for row in self._connection.execute(query, (after_event_seq, limit)).fetchall()]

    def disagreements(self, limit: int) -> list[DisagreementBody]:
        """The oldest disagreements that may not be on record yet."""
        query = "SELECT body FROM disagreements ORDER BY decision_seq LIMIT ?"
        return [_decode(body) for (body,) in self._connection.execute(query, (limit,)).fetchall()]

    def recorded(self, body: DisagreementBody) -> None:
        """Forget a disagreement, which is durable in the ledger."""
        forget = "DELETE FROM disagreements WHERE decision_seq = ? AND shadow = ?"
        self._connection.execute(forget, (body.decision_seq, body.shadow))

    def standing(self, shadow: Shadow) -> Standing | None:
        """Tell what a shadow found; None where it has not begun."""
        query = "SELECT through_seq, n_impossible, failure FROM shadow WHERE release = ? AND since_seq = ?"
        with self._transaction("BEGIN") as connection:
            found = connection.execute(query, (shadow.release, shadow.since_seq)).fetchone()
            pairs = connection.execute("SELECT action, shadow_action, n, difference FROM pairs").fetchall()
            n_waiting = connection.execute("SELECT count(*) FROM waiting").fetchone()[0]
        if found is None:
            return None
        return Standing(found[0], n_waiting, found[1], found[2], tuple(Pair(*pair) for pair in pairs))

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        self._connection.execute(begin)
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

# SPDX-License-Identifier: Apache-2.0
"""Explanations of whole scores, worked out after the answer and kept beside the exact reasons.

    follower's engine   folds up to just before a decided event, reads it again without each of its entities, goes on
          | readings: rows and neighbourhoods, a bounded number of them
    explainer           scores the readings when nobody else wants the processor, keeps what came out

What is kept holds digests and seqs, no id. It follows from ledger and release, so that losing it costs only the time to
compute it again (`ringfence explain`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.engine.without import Reading
from ringfence.ledger.write_ahead import connect_write_ahead
from ringfence.scoring.whole import Whole
from ringfence.serving.explanations import EXPLANATIONS

MOST_WAITING: Final = 512  # readings that wait to be scored; some tens of kilobytes each

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS wholes (decision_seq INTEGER PRIMARY KEY, whole BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS readings (decision_seq INTEGER PRIMARY KEY, reading BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS read_through (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
"""
_THROUGH: Final = "INSERT INTO read_through VALUES (1, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"


class Status(StrEnum):
    """What became of the explanation of a whole score."""

    COMPUTED = "computed"
    PENDING = "pending"  # the follower has yet to come to it
    REPLAY = "replay"  # not kept: `ringfence explain` computes it from the ledger


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    entities: tuple[tuple[int, int], ...]
    roles: tuple[tuple[int, ...], ...]
    n_entities: int
    rows: bytes
    n_rows: int
    near: dict[str, tuple[str, tuple[int, ...], bytes]]  # name -> dtype, shape, bytes; empty where none is sampled


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_whole: Final = msgspec.msgpack.Decoder(Whole).decode
_decode_stored: Final = msgspec.msgpack.Decoder(_Stored).decode


class Wholes:
    """Explanations by decision seq, and readings that wait to become some. One thread uses it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._connection = connect_write_ahead(directory / EXPLANATIONS)
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_TABLES)

    @property
    def read_through(self) -> int:
        """Events up to this seq have been passed by the follower; 0 at first."""
        found = self._connection.execute("SELECT seq FROM read_through").fetchone()
        return int(found[0]) if found else 0

    @property
    def n_waiting(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM readings").fetchone()[0])

    def add(self, readings: Iterable[tuple[int, Reading]], read_through: int) -> None:
        """Keep readings by decision seq until they are scored, and how far the follower has come."""
        rows = [(seq, _encode(_stored(reading))) for seq, reading in readings]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO readings VALUES (?, ?)", rows)
        self._connection.execute(_THROUGH, (read_through,))
        self._connection.execute("COMMIT")

    def waiting(self, limit: int) -> list[tuple[int, Reading]]:
        """Return the oldest readings that wait."""
        query = "SELECT decision_seq, reading FROM readings ORDER BY decision_seq LIMIT ?"
        return [(seq, _read(_decode_stored(data))) for seq, data in self._connection.execute(query, (limit,))]

    def put(self, decision_seq: int, whole: Whole | None) -> None:
        """Keep an explanation in place of its reading; None: it could not be explained."""
        self._connection.execute("BEGIN IMMEDIATE")
        if whole is not None:
            self._connection.execute("INSERT OR REPLACE INTO wholes VALUES (?, ?)", (decision_seq, _encode(whole)))
        self._connection.execute("DELETE FROM readings WHERE decision_seq = ?", (decision_seq,))
        self._connection.execute("COMMIT")

    def get(self, decision_seq: int) -> Whole | None:
        query = "SELECT whole FROM wholes WHERE decision_seq = ?"
        found = self._connection.execute(query, (decision_seq,)).fetchone()
        return _decode_whole(found[0]) if found else None

    def is_known(self, decision_seq: int) -> bool:
        """Whether a decision is explained, or its reading waits."""
        query = "SELECT 1 FROM wholes WHERE decision_seq = ?1 UNION ALL SELECT 1 FROM readings WHERE decision_seq = ?1"
        return self._connection.execute(query, (decision_seq,)).fetchone() is not None

    def status(self, decision_seq: int, event_seq: int, *, is_approval: bool) -> Status:
        """Say what became of one decision's explanation."""
        query = "SELECT 1 FROM wholes WHERE decision_seq = ?"
        if self._connection.execute(query, (decision_seq,)).fetchone() is not None:
            return Status.COMPUTED
        is_to_come = self.is_known(decision_seq) or event_seq > self.read_through
        return Status.PENDING if is_to_come and not is_approval else Status.REPLAY

    def close(self) -> None:
        self._connection.close()


def _stored(reading: Reading) -> _Stored:
    near = reading.neighbourhoods
    arrays = {} if near is None else {name: getattr(near, name) for name in Neighbourhoods.__struct_fields__}
    return _Stored(
        reading.entities,
        reading.roles,
        reading.n_entities,
        reading.rows.tobytes(),
        int(reading.rows.shape[0]),
        {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()},
    )


def _read(stored: _Stored) -> Reading:
    arrays = {
        name: np.frombuffer(data, np.dtype(kind)).reshape(shape) for name, (kind, shape, data) in stored.near.items()
    }
    return Reading(
        entities=stored.entities,
        roles=stored.roles,
        n_entities=stored.n_entities,
        rows=np.frombuffer(stored.rows, np.float64).reshape(stored.n_rows, -1),
        neighbourhoods=Neighbourhoods(**arrays) if arrays else None,
    )

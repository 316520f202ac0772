# SPDX-License-Identifier: Apache-2.0
"""Exact TreeSHAP of decisions that were not approvals: computed after the answer, kept beside the ledger.

They follow from ledger and release, so losing the file costs only the time to compute them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from ringfence.ledger.write_ahead import connect_write_ahead
from ringfence.scoring.exact import ExactReason

EXPLANATIONS: Final = "explanations.db"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[ExactReason]).decode


class Explanations:
    """Exact reasons by decision seq, and how far the decisions have been worked through."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._connection = connect_write_ahead(directory / EXPLANATIONS)
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(
            "CREATE TABLE IF NOT EXISTS explanations (decision_seq INTEGER PRIMARY KEY, reasons BLOB NOT NULL);"
            "CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);"
        )

    @property
    def done_seq(self) -> int:
        """Decisions up to this seq have been looked at; 0 at first."""
        found = self._connection.execute("SELECT seq FROM progress").fetchone()
        return int(found[0]) if found else 0

    def put(self, reasons: Iterable[tuple[int, list[ExactReason]]], done_seq: int) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT OR REPLACE INTO explanations VALUES (?, ?)", [(seq, _encode(exact)) for seq, exact in reasons]
        )
        self._connection.execute("INSERT OR REPLACE INTO progress VALUES (1, ?)", (done_seq,))
        self._connection.execute("COMMIT")

    def get(self, decision_seq: int) -> list[ExactReason] | None:
        query = "SELECT reasons FROM explanations WHERE decision_seq = ?"
        found = self._connection.execute(query, (decision_seq,)).fetchone()
        return _decode(found[0]) if found else None

    def close(self) -> None:
        self._connection.close()

# SPDX-License-Identifier: Apache-2.0
"""Kept rows on their way: the commit thread writes them before the records of a turn; the engine reads them at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from ringfence.serving.kept import Kept, KeptRows, StoredRow


class Beside(msgspec.Struct, array_like=True):
    """What goes with a group of records, as the spool holds it."""

    rows: list[StoredRow] = []
    forgotten: list[int] = []  # event seqs


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Beside).decode


class LateKept:
    """Stands in for the `KeptRows` of the release in force, which only reads then. For the engine's thread."""

    def __init__(self) -> None:
        self._below: KeptRows | None = None
        self._on_the_way: dict[int, tuple[int, bytes, Kept]] = {}  # by event seq
        self._rows: list[tuple[int, bytes, Kept]] = []
        self._forgotten: list[int] = []

    def over(self, kept: KeptRows) -> LateKept:
        """Go on over these, with nothing on the way."""
        self._below = kept
        return self

    @property
    def path(self) -> Path:
        assert self._below is not None
        return self._below.path

    def get(self, seq: int, payload_digest: bytes) -> Kept | None:
        """As `KeptRows.get`."""
        found = self._on_the_way.get(seq)
        if found is not None and found[1] == payload_digest:
            return found[2]
        assert self._below is not None
        return self._below.get(seq, payload_digest)

    def put(self, rows: Iterable[tuple[int, bytes, Kept]], *, synced: bool = True) -> None:
        """Have them written before the records of this turn; readable at once. They are synced with those of others."""
        for row in rows:
            self._rows.append(row)
            self._on_the_way[row[0]] = row

    def forget(self, event_seqs: Iterable[int]) -> None:
        """Have them dropped after the records of a later turn."""
        self._forgotten += event_seqs

    def take(self) -> tuple[bytes, list[tuple[int, bytes, Kept]]]:
        """Hand over what is to be written with this turn, laid out, and as it is for `settle`."""
        rows, forgotten = self._rows, self._forgotten
        if not (rows or forgotten):
            return b"", []
        assert self._below is not None
        self._rows, self._forgotten = [], []
        return _encode(Beside(self._below.stored(rows), forgotten)), rows

    def settle(self, rows: list[tuple[int, bytes, Kept]]) -> None:
        """They are durable: the table knows."""
        for row in rows:
            if self._on_the_way.get(row[0]) is row:
                del self._on_the_way[row[0]]


class BesideFile:
    """Writes what goes with groups of records. One thread uses it."""

    def __init__(self, state_dir: Path) -> None:
        self._kept = KeptRows(state_dir, "", 0)

    def put(self, payloads: Iterable[bytes]) -> None:
        """Make the rows durable, in one transaction; before the records that they belong to."""
        if rows := [row for payload in payloads for row in _decode(payload).rows]:
            self._kept.put_stored(rows)

    def forget(self, payloads: Iterable[bytes]) -> None:
        """Drop what is not needed any more; after those records."""
        if seqs := [seq for payload in payloads for seq in _decode(payload).forgotten]:
            self._kept.forget(seqs)

    def close(self) -> None:
        self._kept.close()


def put_beside(state_dir: Path, payloads: list[bytes]) -> None:
    """Make the rows durable that the spool held, at a start."""
    with contextlib.closing(BesideFile(state_dir)) as file:
        file.put(payloads)

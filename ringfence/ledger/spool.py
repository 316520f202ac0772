# SPDX-License-Identifier: Apache-2.0
"""Records that wait for a ledger which cannot be written, in files beside it, so that a killed process loses none.

    spool/00000000000000104213.spool      named by its first seq
      b"RFSPOOL1"
      length, crc32 of the payload        little endian, 4 bytes each
      payload                             msgpack of a `Spooled`
      ...

Frames are appended in seq order and not fsynced: they outlive the process, and not the loss of power. Their seqs and
chain values are those of the ledger, so that a frame is either there already, or next, or of another history. The
folder may be a link to one on another disk. It is no cache: what it holds has been answered.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any, Final

import msgspec

from ringfence.ledger import chain
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.errors import CommitFailedError, SpoolForeignError, SpoolHoldsNamesError, SpoolWaitsError
from ringfence.ledger.groups import Group, roll_back, write_groups
from ringfence.ledger.outcomes import CHANGES
from ringfence.ledger.recovery import sync_directory
from ringfence.ledger.schema import DATABASE

SPOOL: Final = "spool"  # below the ledger's folder
RECORDS_A_FILE: Final = 8_192
RECORDS_A_COMMIT: Final = 8_192
_MAGIC: Final = b"RFSPOOL1"
_HEADER: Final = Struct("<II")

PutBeside = Callable[[list[bytes]], None]


class Spooled(msgspec.Struct, array_like=True):
    """A group, and what somebody else wants to have written before it. `outcomes` go by their place in CHANGES."""

    group: Group
    outcomes: list[tuple[int, tuple[Any, ...]]]
    beside: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Spooled).decode


class SpoolFiles:
    """Appends to the spool of a ledger. One thread uses it."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / SPOOL
        self._descriptor: int | None = None
        self._path = self._folder
        self._size = self._n_records = 0
        self._last_seqs: dict[Path, int] = {}

    def append(self, group: Group, beside: bytes) -> None:
        """Append a group that holds records; returns when the system has it, which is before it is on the disk.

        Raises
        ------
        OSError
            Nothing of it stays in the file.
        """
        outcomes = [(CHANGES.index(statement), values) for statement, values in group.outcomes]
        payload = _encode(Spooled(msgspec.structs.replace(group, outcomes=[]), outcomes, beside))
        frame = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        if self._n_records >= RECORDS_A_FILE:
            self._end_file()
        if self._descriptor is None:
            self._begin_file(group.records[0][0])
        assert self._descriptor is not None
        try:
            _write(self._descriptor, frame)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(frame)
        self._n_records += len(group.records)
        self._last_seqs[self._path] = group.records[-1][0]

    def drop(self, durable_seq: int) -> None:
        """Remove the files of which the ledger holds every record."""
        for path, last_seq in list(self._last_seqs.items()):
            if last_seq <= durable_seq:
                if path == self._path:
                    self._end_file()
                path.unlink(missing_ok=True)
                del self._last_seqs[path]

    def close(self) -> None:
        self._end_file()

    def _begin_file(self, first_seq: int) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"{first_seq:020d}.spool"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, _MAGIC)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        self._path, self._descriptor, self._size, self._n_records = path, descriptor, len(_MAGIC), 0
        self._last_seqs[path] = first_seq - 1

    def _end_file(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def append_spooled(
    directory: Path, connection: sqlite3.Connection, erasable: Erasable, put_beside: PutBeside | None
) -> int:
    """Make what the spool holds durable, in order, and remove it; return how many records the ledger lacked.

    Only the holder of the writer lock may call this, before it gives a seq.

    Parameters
    ----------
    put_beside : writes what was spooled beside the groups that are about to be written; None where the caller cannot.

    Raises
    ------
    SpoolForeignError
        If the records do not follow those of the ledger. Nothing is removed.
    SpoolWaitsError
        If something is to be written beside them, and the caller cannot.
    CommitFailedError
        If the ledger still cannot be written.
    """
    folder = directory / SPOOL
    paths = sorted(folder.glob("*.spool"))
    n, waiting = 0, list[Spooled]()

    def write() -> None:
        nonlocal n
        groups = [spooled.group for spooled in waiting]
        if not groups:
            return
        if beside := [spooled.beside for spooled in waiting if spooled.beside]:
            if put_beside is None:
                raise SpoolWaitsError(folder, groups[0].records[0][0])
            put_beside(beside)
        try:
            write_groups(connection, erasable, groups)
        except sqlite3.Error as error:
            roll_back(connection)
            first, last = groups[0].records[0][0], groups[-1].records[-1][0]
            raise CommitFailedError(directory / DATABASE, first, last, str(error)) from error
        n += sum(len(group.records) for group in groups)
        waiting.clear()

    row = connection.execute("SELECT seq, chain FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    last_seq, last_chain = (row[0], bytes(row[1])) if row else (0, chain.GENESIS)
    for path in paths:
        for spooled in frames(path):
            records = spooled.group.records
            if records[-1][0] <= last_seq:
                _require_same(path, connection, records[-1][0], records[-1][5])
                continue
            for seq, kind, recorded_at_ms, watermark_ms, body, found in records:
                last_chain = chain.link(last_chain, seq, kind, recorded_at_ms, watermark_ms, body)
                if seq != last_seq + 1 or found != last_chain:
                    raise SpoolForeignError(path, seq, last_seq)
                last_seq = seq
            waiting.append(spooled)
            if sum(len(one.group.records) for one in waiting) >= RECORDS_A_COMMIT:
                write()
    write()
    for path in paths:
        path.unlink()
    if paths:
        sync_directory(folder)
    return n


def n_spooled(directory: Path, after_seq: int = 0) -> int:
    """How many records with seq > `after_seq` lie in the spool of the ledger in `directory`."""
    return sum(
        record[0] > after_seq
        for path in (directory / SPOOL).glob("*.spool")
        for spooled in frames(path)
        for record in spooled.group.records
    )


def require_no_spool(directory: Path) -> None:
    """Raise `SpoolHoldsNamesError` where anything lies in the spool of the ledger in `directory`."""
    folder = directory / SPOOL
    if any(folder.glob("*.spool")):
        raise SpoolHoldsNamesError(folder)


def frames(path: Path) -> Iterator[Spooled]:
    """Yield what a file holds whole; a frame that was cut off ends it, as nothing was written after that."""
    data = path.read_bytes()
    at = len(_MAGIC)
    while data[: len(_MAGIC)] == _MAGIC and at + _HEADER.size <= len(data):
        length, crc = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        if len(payload) < length or zlib.crc32(payload) != crc:
            return
        spooled = _decode(payload)
        spooled.group.outcomes = [(CHANGES[place], values) for place, values in spooled.outcomes]
        yield spooled
        at += _HEADER.size + length


def _require_same(path: Path, connection: sqlite3.Connection, seq: int, found: bytes) -> None:
    row = connection.execute("SELECT chain FROM records WHERE seq = ?", (seq,)).fetchone()
    if row is None or bytes(row[0]) != found:
        raise SpoolForeignError(path, seq, seq)


def _write(descriptor: int, data: bytes) -> None:
    at = 0
    while at < len(data):
        at += os.write(descriptor, data[at:])

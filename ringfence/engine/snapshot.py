# SPDX-License-Identifier: Apache-2.0
"""Snapshots of engine state: raw arrays behind a header, in front of a checksum. Recovery without one is a replay.

magic (8) | header length (8, little endian) | header (JSON) | arrays, in header order | blake2b-256 of all before
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine, empty_state
from ringfence.engine.errors import SnapshotError
from ringfence.engine.state import State, used, with_tables, with_used

SUFFIX: Final = ".snapshot"
_UNFINISHED: Final = ".unfinished"
KEEP: Final = 3
_MAGIC: Final = b"RFSTATE\n"
_DIGEST_SIZE: Final = 32
_CHUNK: Final = 1 << 22
_GIVEN_BACK: Final = 1 << 24


class _Part(msgspec.Struct, frozen=True):
    name: str
    descr: list[Any] | str
    shape: tuple[int, ...]
    nbytes: int


class _Header(msgspec.Struct, frozen=True):
    state_format: int
    spec_hash: str
    seq: int
    parts: tuple[_Part, ...]


def write_snapshot(engine: Engine, directory: Path, *, keep: int = KEEP, rest: float = 0.0) -> Path:
    """Write the engine's state durably and atomically; keep the newest `keep` snapshots of the directory.

    Parameters
    ----------
    rest : times as long as a portion of the file took to write, or to give back, nothing is done after it. Whoever
        shares the disk, such as a ledger that syncs each commit, waits behind one portion at most.

    Returns
    -------
    The file `<seq>.snapshot`, complete and fsynced: a crash at any moment leaves it whole or absent.
    """
    directory.mkdir(parents=True, exist_ok=True)
    state = engine.state
    parts = {name: np.ascontiguousarray(part) for name, part in used(state).items()}
    header = msgspec.json.encode(
        _Header(
            state_format=at.STATE_FORMAT,
            spec_hash=engine.catalogue.spec_hash,
            seq=engine.seq,
            parts=tuple(
                _Part(name, part.dtype.descr if part.dtype.names else part.dtype.str, part.shape, part.nbytes)
                for name, part in parts.items()
            ),
        )
    )
    path = directory / f"{engine.seq:020d}{SUFFIX}"
    unfinished = path.with_suffix(f".{os.getpid()}{_UNFINISHED}")
    digest = hashlib.blake2b(digest_size=_DIGEST_SIZE)
    try:
        with unfinished.open("wb") as file:
            for piece in (_MAGIC, len(header).to_bytes(8, "little"), header):
                digest.update(piece)
                file.write(piece)
            for part in parts.values():
                data = part.reshape(-1).view(np.uint8).data
                for begin in range(0, len(data), _CHUNK):
                    began = time.perf_counter()
                    chunk = data[begin : begin + _CHUNK]
                    digest.update(chunk)
                    file.write(chunk)
                    # In portions to the disk: a gigabyte at once would make the ledger's own syncs wait behind it.
                    file.flush()
                    os.fdatasync(file.fileno())
                    time.sleep(rest * (time.perf_counter() - began))
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    for old in list_snapshots(directory)[keep:]:
        _remove(old, rest)
    return path


def _remove(path: Path, rest: float) -> None:
    # To give back a gigabyte at once stops every sync of the file system for a tenth of a second.
    left = path.with_suffix(f".{os.getpid()}{_UNFINISHED}")
    try:
        path.replace(left)
    except FileNotFoundError:
        return  # another writer of this directory was first
    size = left.stat().st_size
    while size > 0:
        began = time.perf_counter()
        size = max(0, size - _GIVEN_BACK)
        os.truncate(left, size)
        time.sleep(rest * (time.perf_counter() - began))
    left.unlink()


def clear_unfinished(directory: Path) -> None:
    """Remove what writers left that were killed while they wrote; to be called before this process writes any.

    A name with the id of this process is from an earlier life: in a container each has the same.
    """
    for left in directory.glob(f"*{_UNFINISHED}"):
        writer = left.name.removesuffix(_UNFINISHED).rpartition(".")[2]
        if not writer.isdecimal() or int(writer) == os.getpid() or not _runs(int(writer)):
            left.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def list_snapshots(directory: Path) -> list[Path]:
    """Return the snapshots of a directory, newest first."""
    return sorted(directory.glob(f"*{SUFFIX}"), reverse=True)


def read_snapshot(catalogue: Catalogue, path: Path, *, last_seq: int | None = None) -> Engine:
    """Restore one snapshot.

    Parameters
    ----------
    last_seq : the ledger's last seq; a snapshot beyond it belongs to another ledger. None: not checked.

    Raises
    ------
    SnapshotError
        If the file is damaged, of another state format, of other features, or ahead of the ledger.
    """
    with ThreadPoolExecutor(1) as beside:
        verified = beside.submit(_verify, path)
        try:
            state = _copied(catalogue, path, last_seq)
        finally:
            verified.result()  # of a damaged file this is what is wrong, whatever else was found in it
    return Engine(catalogue, state=with_tables(state))


def _copied(catalogue: Catalogue, path: Path, last_seq: int | None) -> State:
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        try:
            header = msgspec.json.decode(file.read(int.from_bytes(file.read(8), "little")), type=_Header)
        except msgspec.DecodeError as error:
            raise SnapshotError(path=path, reason=f"its header cannot be read ({error})") from None
        if header.state_format != at.STATE_FORMAT:
            raise SnapshotError(
                path=path, reason=f"it has state format {header.state_format}, this version writes {at.STATE_FORMAT}"
            )
        if header.spec_hash != catalogue.spec_hash:
            raise SnapshotError(
                path=path, reason=f"it holds features {header.spec_hash[:12]}, not {catalogue.spec_hash[:12]}"
            )
        if last_seq is not None and header.seq > last_seq:
            raise SnapshotError(path=path, reason=f"it is at seq {header.seq}, the ledger ends at {last_seq}")
        begin = file.tell()
        parts: dict[str, NDArray[Any]] = {}
        for part in header.parts:
            parts[part.name] = _mapped(file, begin, part)
            begin += part.nbytes
        return with_used(empty_state(catalogue), parts)


def _mapped(file: BinaryIO, begin: int, part: _Part) -> NDArray[Any]:
    # Copied once, from the file's pages to where it belongs.
    dtype = _dtype_of(part.descr)
    if part.nbytes == 0:
        return np.zeros(part.shape, dtype)
    flat: NDArray[Any] = np.memmap(file, dtype=np.uint8, mode="r", offset=begin, shape=(part.nbytes,))
    return flat.view(dtype).reshape(part.shape)


def _dtype_of(descr: list[Any] | str) -> np.dtype[Any]:
    if isinstance(descr, str):
        return np.dtype(descr)
    # A field is (name, type) or (name, type, shape), and JSON has no tuples.
    return np.dtype([(str(field[0]), field[1], *(tuple(shape) for shape in field[2:])) for field in descr])


def _verify(path: Path) -> None:
    try:
        size = path.stat().st_size
        if size < len(_MAGIC) + 8 + _DIGEST_SIZE:
            raise SnapshotError(path=path, reason=f"it has only {size} bytes")
        digest = hashlib.blake2b(digest_size=_DIGEST_SIZE)
        left = size - _DIGEST_SIZE
        with path.open("rb") as file:
            if (magic := file.read(len(_MAGIC))) != _MAGIC:
                raise SnapshotError(path=path, reason="it is no snapshot of ringfence")
            digest.update(magic)
            left -= len(magic)
            while left and (chunk := file.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
            if file.read(_DIGEST_SIZE) != digest.digest():
                raise SnapshotError(path=path, reason="its checksum does not match")
    except OSError as error:
        raise SnapshotError(path=path, reason=f"it cannot be read ({error.strerror})") from None


def restore_newest(
    catalogue: Catalogue,
    directory: Path,
    *,
    last_seq: int | None = None,
    refused: Callable[[SnapshotError], None] | None = None,
) -> Engine | None:
    """Restore the newest snapshot that can be trusted; None where there is none, and a full replay is due.

    Parameters
    ----------
    last_seq : as in `read_snapshot`.
    refused : told about each snapshot that was passed over, with its reason.
    """
    for path in list_snapshots(directory):
        try:
            return read_snapshot(catalogue, path, last_seq=last_seq)
        except SnapshotError as error:
            if refused is not None:
                refused(error)
    return None

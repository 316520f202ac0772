# SPDX-License-Identifier: Apache-2.0
"""Feature rows of earlier trainings on disk: a bounded cache that is used only where it cannot be wrong.

state/<scenario>/rows/<id>.arrow   columns of float64 and the seqs they are of, LZ4
state/<scenario>/rows/<id>.json    its own digest and what they are of; written last: a file without it is nothing

A column is used again where the records are the same (the ledger's hash chain still holds at the last record there was
then), the feature and all that decides its value are the same, the code and the libraries are the same, and nobody was
forgotten for want of memory who would not be forgotten now (and, where somebody was, only for the same last record:
how many were forgotten is told). All of it can be deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from platform import machine
from typing import Final, Protocol

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.memory import Room
from ringfence.engine.spec_hash import spec_hash
from ringfence.engine.stats import RINGS
from ringfence.training.memory_use import Forgotten, Usage

FORMAT: Final = 2
DEFAULT_BYTES: Final = 4 << 30
_BLOCK: Final = 16_384  # rows written, and read, at once
_TURNED: Final = 256  # rows turned into columns at once: what fits the processor's own memory
_ROOMS: Final = ("engine", "rings", "ledger", "scenario")  # whose code a row is made by
_LIBRARIES: Final = ("numpy", "numba", "llvmlite", "scipy", "polars", "pyarrow")
_SEQ: Final = "seq"


class Chain(Protocol):
    """The part of a ledger that says whether its records are still those of another time."""

    def chain_at(self, seq: int) -> bytes | None: ...


class Anchor(msgspec.Struct, frozen=True):
    """A record of the ledger, and the hash of all that came up to it."""

    seq: int
    chain: bytes


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of one file."""

    format: int
    code: str
    anchor: Anchor
    usage: Usage
    n_rows: int
    first_seq: int
    last_seq: int
    columns: dict[str, int]  # key of a column -> its place in the file
    digest: str  # of the file's bytes
    n_bytes: int


@cache
def code_digest(rooms: tuple[str, ...] = _ROOMS, libraries: tuple[str, ...] = _LIBRARIES) -> str:
    """Hash the sources of rooms, libraries, machine; by default what rows are made by, from the ledger on."""
    digest = blake2b(digest_size=16)
    package = Path(__file__).resolve().parents[1]
    for path in sorted(path for room in rooms for path in (package / room).rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    for library in libraries:
        digest.update(f"{library} {version(library)};".encode())
    digest.update(machine().encode())
    return digest.hexdigest()


def column_keys(catalogue: Catalogue) -> list[str]:
    """Name what decides each column's values, memory aside: equal keys, equal values from equal records."""
    nothing = Room(0, 0, 0, 0)
    return [
        spec_hash(
            catalogue.scenario,
            [(feature.name, feature.version)],
            nothing,
            neighbourhoods=None,
            rings=feature.family == RINGS,
        )
        for feature in catalogue.features
    ]


class RowCache:
    """The files of one scenario. Processes may share a folder: files are whole or absent, and never change.

    Parameters
    ----------
    directory : made when something is kept.
    limit_bytes : of all files together, > 0; what was used longest ago goes first. What is larger is not kept.
    code : as `code_digest` has it.
    """

    def __init__(self, directory: Path, *, limit_bytes: int = DEFAULT_BYTES, code: str | None = None) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.code = code_digest() if code is None else code
        self.n_reused = 0  # columns of the last `recalled_rows`
        self.n_replayed = 0
        self.forgotten = Forgotten()  # in the replays that the columns of the last `fill` are from

    def fill(
        self, rows: NDArray[np.float64], seqs: NDArray[np.int64], keys: Sequence[str], room: Room, chain: Chain
    ) -> list[int]:
        """Write into `rows` what is kept of them.

        Parameters
        ----------
        rows : shape (n, k), C order; columns that are not kept stay as they are, though they may be written to.
        seqs : shape (n,), ascending.
        keys : of the k columns.

        Returns
        -------
        Columns that are not kept, ascending.
        """
        left = dict(zip(keys, range(len(keys)), strict=True))
        self.forgotten = Forgotten()
        for path, part in self._parts(chain):
            useful = _useful(part, left, seqs, room)
            if useful and self._read(path, part, useful, left, rows, seqs):
                os.utime(path)
                self.forgotten = part.usage.forgotten
                for key in useful:
                    del left[key]
        return sorted(left.values())

    def likely_missing(self, seqs: NDArray[np.int64], keys: Sequence[str], room: Room, chain: Chain) -> list[int]:
        """Say what `fill` will return unless a file turns out to be damaged or to lack a row: no row is read."""
        left = dict(zip(keys, range(len(keys)), strict=True))
        for _, part in self._parts(chain):
            for key in _useful(part, left, seqs, room):
                del left[key]
        return sorted(left.values())

    def keep(
        self,
        rows: NDArray[np.float64],
        seqs: NDArray[np.int64],
        keys: Sequence[str],
        anchor: Anchor,
        usage: Usage,
    ) -> None:
        """Keep columns of rows; shapes as in `fill`. A disk that refuses costs the cache and nothing else."""
        if not seqs.shape[0] or not keys:
            return
        name = blake2b("".join([*keys, str(anchor.seq), anchor.chain.hex(), self.code]).encode(), digest_size=8)
        name.update(seqs.tobytes())
        path = self.directory / f"{name.hexdigest()}.json"
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            _write(unfinished, rows, seqs)
            n_bytes = unfinished.stat().st_size
            if n_bytes > self.limit_bytes:
                return
            self._make_room(self.limit_bytes - n_bytes, besides=path)
            part = Part(
                format=FORMAT,
                code=self.code,
                anchor=anchor,
                usage=usage,
                n_rows=seqs.shape[0],
                first_seq=int(seqs[0]),
                last_seq=int(seqs[-1]),
                columns={key: place for place, key in enumerate(keys)},
                digest=_digest(unfinished),
                n_bytes=n_bytes,
            )
            unfinished.replace(path.with_suffix(".arrow"))
            manifest = msgspec.json.encode(part)
            unfinished.write_bytes(blake2b(manifest, digest_size=16).hexdigest().encode() + b"\n" + manifest)
            unfinished.replace(path)
        except OSError:
            _discard(path)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete every file of the cache, and what a killed process left behind."""
        for path in self.directory.glob("*.json"):
            _discard(path)
        for path in (*self.directory.glob("*.arrow"), *self.directory.glob("*.unfinished")):
            path.unlink(missing_ok=True)

    def _parts(self, chain: Chain) -> list[tuple[Path, Part]]:
        """Those of this code and these records, the last used first; all others are deleted."""
        found = []
        for path in self.directory.glob("*.json"):
            part = _manifest(path)
            if part is None or part.code != self.code or chain.chain_at(part.anchor.seq) != part.anchor.chain:
                _discard(path)
            else:
                found.append((_last_used(path), path, part))
        return [(path, part) for _, path, part in sorted(found, key=lambda one: (-one[0], one[1].name))]

    def _read(
        self,
        path: Path,
        part: Part,
        useful: dict[str, int],
        left: dict[str, int],
        rows: NDArray[np.float64],
        seqs: NDArray[np.int64],
    ) -> bool:
        """Copy columns of a file; False where it does not hold all rows, or is damaged (it is deleted then)."""
        data = path.with_suffix(".arrow")
        try:
            if _digest(data) != part.digest:
                raise pa.ArrowInvalid("not the bytes that were written")
            given = np.concatenate([block[0] for block in _blocks(data, [])])
            places = np.searchsorted(given, seqs)
            if (places == given.shape[0]).any() or (given[places] != seqs).any():
                return False
            to = [left[key] for key in useful]
            begin = 0
            for mine, columns in _blocks(data, list(useful.values())):
                low, high = (int(np.searchsorted(places, edge)) for edge in (begin, begin + mine.shape[0]))
                is_all = high - low == mine.shape[0]
                own = slice(None) if is_all else places[low:high] - begin
                for place, column in zip(to, columns, strict=True):
                    rows[low:high, place] = column[own]
                begin += mine.shape[0]
        except (OSError, pa.ArrowInvalid):
            _discard(path)
            return False
        return True

    def _make_room(self, n_bytes: int, *, besides: Path) -> None:
        for path in self.directory.glob("*.unfinished"):
            if not _is_alive(path):
                path.unlink(missing_ok=True)
        ages = sorted((_last_used(path), path) for path in self.directory.glob("*.json") if path != besides)
        sizes = {path: part.n_bytes if (part := _manifest(path)) is not None else 0 for _, path in ages}
        total = sum(sizes.values())
        for _, path in ages:
            if total <= n_bytes:
                break
            _discard(path)
            total -= sizes[path]


def _useful(part: Part, left: dict[str, int], seqs: NDArray[np.int64], room: Room) -> dict[str, int]:
    """The wanted columns of a file and their places in it; none where it cannot hold the wanted rows."""
    if not part.usage.holds_in(tuple(room)):
        return {}
    if seqs.shape[0] and not (part.first_seq <= seqs[0] and seqs[-1] <= part.last_seq):
        return {}
    # Where somebody was forgotten, a replay that ends elsewhere has another number of them to tell.
    if part.usage.forgotten and seqs.shape[0] and seqs[-1] != part.last_seq:
        return {}
    return {key: place for key, place in part.columns.items() if key in left}


def _write(path: Path, rows: NDArray[np.float64], seqs: NDArray[np.int64]) -> None:
    schema = pa.schema([(_SEQ, pa.int64()), *((str(place), pa.float64()) for place in range(rows.shape[1]))])
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
        columns = np.empty((rows.shape[1], min(_BLOCK, rows.shape[0])), np.float64)
        for low in range(0, rows.shape[0], _BLOCK):
            n = min(_BLOCK, rows.shape[0] - low)
            for begin in range(0, n, _TURNED):
                end = min(begin + _TURNED, n)
                columns[:, begin:end] = rows[low + begin : low + end].T
            arrays = [pa.array(seqs[low : low + n]), *(pa.array(column[:n]) for column in columns)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _blocks(path: Path, places: list[int]) -> Iterator[tuple[NDArray[np.int64], list[NDArray[np.float64]]]]:
    options = pa.ipc.IpcReadOptions(included_fields=[0, *(1 + place for place in sorted(places))])
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file, options=options) as reader:
        for i in range(reader.num_record_batches):
            block = reader.get_batch(i)
            columns = [block.column(str(place)).to_numpy(zero_copy_only=False) for place in places]
            yield block.column(_SEQ).to_numpy(zero_copy_only=False), columns


def _manifest(path: Path) -> Part | None:
    try:
        digest, _, manifest = path.read_bytes().partition(b"\n")
        if digest != blake2b(manifest, digest_size=16).hexdigest().encode():
            return None
        part = msgspec.json.decode(manifest, type=Part)
    except (OSError, msgspec.DecodeError):
        return None
    return part if part.format == FORMAT else None


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _last_used(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _discard(path: Path) -> None:
    # The manifest first: without it the rest is nothing, whoever looks in between.
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.with_suffix(".arrow").unlink(missing_ok=True)


def _is_alive(unfinished: Path) -> bool:
    try:
        os.kill(int(unfinished.suffixes[-2][1:]), 0)
    except (ValueError, IndexError, ProcessLookupError):
        return False
    except OSError:
        return True
    return True

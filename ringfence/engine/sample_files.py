# SPDX-License-Identifier: Apache-2.0
"""Rows and neighbourhoods of chosen events on disk, written by one replay and read memory-mapped.

    directory/
      manifest.json          what is in it; written last
      00000-events.npy …     arrays of the first chunk of events, one file each, then those of 00001, …

Everything is written beside, as `<directory>.unfinished`, and renamed when it is durable: a crash leaves nothing that
looks complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.errors import NoSamplingError, SampleFilesError, TooManySamplesError
from ringfence.engine.neighbourhoods import Neighbourhoods, empty_samples
from ringfence.engine.replay import RECORDS_AT_ONCE, BatchSource, Progress, sampled_batches

FORMAT: Final = 1
MOST_BYTES: Final = 10_000_000_000
CHUNK_EVENTS: Final = RECORDS_AT_ONCE
MANIFEST: Final = "manifest.json"
UNFINISHED: Final = ".unfinished"
_HEADER_BYTES: Final = 128  # of an .npy file
_REFERENCES: Final = ("event_seq", "event_time_ms", "n_visited")  # what only the leakage guard reads


class SampleManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a directory of samples holds."""

    format: int
    spec_hash: str
    n: int
    chunk_events: int  # of every chunk but the last
    with_references: bool
    features: tuple[str, ...]  # columns of rows
    seats: tuple[str, ...]
    event_columns: tuple[str, ...]
    seat_columns: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]  # array -> shape of one event's part
    dtypes: dict[str, str]
    seq: tuple[int, int] | None  # first and last; None without events


class SampledRows(msgspec.Struct, frozen=True, kw_only=True):
    """Some events' feature rows and neighbourhoods, in seq order."""

    rows: NDArray[np.float64]  # (n, n features)
    neighbourhoods: Neighbourhoods  # without references its arrays of references have length 0


def bytes_per_event(catalogue: Catalogue, *, with_references: bool = False) -> int:
    """Return what one event takes on disk, and in memory while it waits for its chunk to fill."""
    return sum(part.nbytes for part in _parts(catalogue, 1, with_references).values())


def _parts(catalogue: Catalogue, n: int, with_references: bool) -> dict[str, NDArray[Any]]:
    samples = empty_samples(catalogue.plan, n)._asdict()
    parts = {"seq": np.zeros(n, np.int64), "rows": np.zeros((n, len(catalogue.features)), np.float64), **samples}
    return {name: part for name, part in parts.items() if with_references or name not in _REFERENCES}


def sampled_rows(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    directory: Path,
    *,
    engine: Engine | None = None,
    with_references: bool = False,
    most_bytes: int = MOST_BYTES,
    chunk_events: int = CHUNK_EVENTS,
    progress: Progress | None = None,
) -> SampleFiles:
    """Write the rows and neighbourhoods of the wanted events, each as of its own seq, by one read-only replay.

    Beside the engine, and a batch of at most `chunk_events` records, at most two chunks are held in memory: 2 x
    `chunk_events` x `bytes_per_event`, for four seats of 16 events and 200 features about 100 MB.

    Parameters
    ----------
    catalogue : built with `neighbourhoods`.
    seqs : shape (n,), strictly ascending seqs of events of the decided type; see `drawn_examples`.
    directory : does not exist yet; its parent is made where needed. What an interrupted run left beside it is removed.
    engine : where to start from, with `engine.seq` below every wanted seq; a fresh one if None.
    with_references : keep seq and event time of every sampled event too, which the leakage guard reads.
    most_bytes : what may be written in all; checked before anything is written.
    progress : called with (seq reached, last seq).

    Raises
    ------
    TooManySamplesError
        If `n` events need more than `most_bytes`, or more than the disk has free; says how many would fit.
    SampleFilesError
        If the directory exists already.
    NotDecidedError
        If a wanted seq is not an event of the decided type after `engine.seq`.
    NoSamplingError
        If the catalogue samples no neighbourhoods.
    """
    if catalogue.neighbourhoods is None:
        raise NoSamplingError
    if directory.exists():
        raise SampleFilesError(path=directory, reason="it exists already", do="remove it or name another one")
    directory.parent.mkdir(parents=True, exist_ok=True)
    each = bytes_per_event(catalogue, with_references=with_references)
    _check_room(directory.parent, n=seqs.shape[0], each=each, most_bytes=most_bytes, chunk_events=chunk_events)
    unfinished = directory.with_name(directory.name + UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        writer = _ChunkWriter(unfinished, _parts(catalogue, min(chunk_events, seqs.shape[0]), with_references))
        for rows, found in sampled_batches(
            source, catalogue, seqs, engine=engine, size=chunk_events, progress=progress
        ):
            writer.add({"rows": rows, **msgspec.structs.asdict(found)})
        writer.flush()
        manifest = _manifest_of(catalogue, seqs, chunk_events, with_references, writer.parts)
        _write_durably(unfinished / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        _sync_folder(unfinished)
        unfinished.rename(directory)
        _sync_folder(directory.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return SampleFiles(directory, manifest)


def _check_room(folder: Path, *, n: int, each: int, most_bytes: int, chunk_events: int) -> None:
    free = shutil.disk_usage(folder).free
    allowed = min(most_bytes, free)
    per_chunk = each * chunk_events + 9 * _HEADER_BYTES
    n_chunks, rest = divmod(allowed, per_chunk)
    fits = n_chunks * chunk_events + max(rest - 9 * _HEADER_BYTES, 0) // each
    if n > fits:
        raise TooManySamplesError(n=n, each=each, allowed=allowed, fits=fits, is_cap=most_bytes <= free)


class _ChunkWriter:
    """Collects events in arrays of one chunk and writes them when full."""

    def __init__(self, folder: Path, parts: dict[str, NDArray[Any]]) -> None:
        self.folder = folder
        self.parts = parts
        self._n_chunks = 0
        self._filled = 0

    def add(self, found: dict[str, NDArray[Any]]) -> None:
        n, done = found["seq"].shape[0], 0
        while done < n:
            room = self.parts["seq"].shape[0] - self._filled
            take = min(room, n - done)
            for name, part in self.parts.items():
                part[self._filled : self._filled + take] = found[name][done : done + take]
            self._filled += take
            done += take
            if take == room:
                self.flush()

    def flush(self) -> None:
        if self._filled == 0:
            return
        for name, part in self.parts.items():
            with (self.folder / _file_name(self._n_chunks, name)).open("wb") as file:
                np.save(file, part[: self._filled], allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        self._n_chunks += 1
        self._filled = 0


class SampleFiles:
    """A complete directory of samples. Arrays are mapped, not read: memory is what the caller touches."""

    def __init__(self, directory: Path, manifest: SampleManifest) -> None:
        self.directory = directory
        self.manifest = manifest

    @classmethod
    def open(cls, directory: Path, catalogue: Catalogue | None = None) -> SampleFiles:
        """Open what `sampled_rows` wrote.

        Parameters
        ----------
        catalogue : whose rows and samples these must be; None: not checked.

        Raises
        ------
        SampleFilesError
            If the directory is not complete, is of another format, or holds other features.
        """
        try:
            manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=SampleManifest)
        except (OSError, msgspec.DecodeError) as error:
            raise SampleFilesError(
                path=directory, reason=f"its {MANIFEST} cannot be read ({error})", do="write the samples again"
            ) from None
        if manifest.format != FORMAT:
            raise SampleFilesError(
                path=directory,
                reason=f"it has format {manifest.format}, this version reads {FORMAT}",
                do="write the samples again",
            )
        if catalogue is not None and catalogue.spec_hash != manifest.spec_hash:
            raise SampleFilesError(
                path=directory,
                reason=f"it holds features {manifest.spec_hash[:12]}, not {catalogue.spec_hash[:12]}",
                do="write the samples again with this catalogue",
            )
        return cls(directory, manifest)

    def __len__(self) -> int:
        return self.manifest.n

    @property
    def n_chunks(self) -> int:
        return -(-self.manifest.n // self.manifest.chunk_events)

    def chunk(self, number: int) -> SampledRows:
        """Map one chunk, 0 <= `number` < `n_chunks`.

        Raises
        ------
        SampleFilesError
            If a file is missing or has another shape than the manifest says.
        """
        n = min(self.manifest.chunk_events, self.manifest.n - number * self.manifest.chunk_events)
        parts: dict[str, Any] = {name: np.zeros(0, np.int64) for name in _REFERENCES}
        for name, shape in self.manifest.shapes.items():
            path = self.directory / _file_name(number, name)
            try:
                part = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise SampleFilesError(
                    path=path, reason=f"it cannot be read ({error})", do="write the samples again"
                ) from None
            if part.shape != (n, *shape) or part.dtype.str != self.manifest.dtypes[name]:
                raise SampleFilesError(
                    path=path,
                    reason=f"it has shape {part.shape} of {part.dtype.str}, the manifest says {(n, *shape)} of "
                    f"{self.manifest.dtypes[name]}",
                    do="write the samples again",
                )
            parts[name] = part
        return SampledRows(rows=parts.pop("rows"), neighbourhoods=Neighbourhoods(**parts))

    def __iter__(self) -> Iterator[SampledRows]:
        return (self.chunk(number) for number in range(self.n_chunks))


def _manifest_of(
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    chunk_events: int,
    with_references: bool,
    parts: dict[str, NDArray[Any]],
) -> SampleManifest:
    return SampleManifest(
        format=FORMAT,
        spec_hash=catalogue.spec_hash,
        n=seqs.shape[0],
        chunk_events=chunk_events,
        with_references=with_references,
        features=catalogue.names,
        seats=tuple(seat.name for seat in catalogue.seats),
        event_columns=tuple(feature.name for feature in catalogue.sample_features),
        seat_columns=tuple(feature.name for feature in catalogue.seat_features),
        shapes={name: part.shape[1:] for name, part in parts.items()},
        dtypes={name: part.dtype.str for name, part in parts.items()},
        seq=(int(seqs[0]), int(seqs[-1])) if seqs.shape[0] else None,
    )


def _file_name(chunk: int, name: str) -> str:
    return f"{chunk:05d}-{name}.npy"


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

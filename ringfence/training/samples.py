# SPDX-License-Identifier: Apache-2.0
"""Neighbourhoods of the events of one training: on disk while it runs, for every branch that reads them.

They come from a replay of their own that reads no feature, so that a training which found its rows in the cache has
them too; values do not depend on which features are read. Where all would take more disk than there is for them, every
fraud is written and as many legit examples as fit, drawn at random. The others, where a branch is to score them, come
from one more replay, a block at a time, and are never all there.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.engine.replay import BatchSource, SampledBatch, sampled_batches
from ringfence.engine.sample_files import bytes_per_event
from ringfence.models.gnn_inputs import SampledArrays

IntArray = NDArray[np.int64]
Progress = Callable[[int, int], None]

LAST: Final = 16  # events of a seat, the most that the engine keeps
MOST_BYTES: Final = 4 << 30
BLOCK: Final = 8_192  # events in memory at once
_SHARE_OF_DISK: Final = 0.5  # of what is free
_ARRAYS: Final = SampledArrays._fields
_LOCK: Final = "lock"


def sampling_catalogue(catalogue: Catalogue, last: int = LAST) -> Catalogue:
    """Return a catalogue of the same scenario that samples neighbourhoods and reads no feature."""
    return Catalogue.build(catalogue.scenario, only=(), neighbourhoods=last)


class Samples:
    """Neighbourhoods of n events of a training, asked for by position among them.

    Attributes
    ----------
    drawn : ascending positions of those that are on disk.
    last : events a seat.
    """

    def __init__(
        self, source: BatchSource, catalogue: Catalogue, seqs: IntArray, drawn: IntArray, folder: Path
    ) -> None:
        self._source, self._catalogue, self._seqs, self._folder = source, catalogue, seqs, folder
        self.drawn = drawn
        self.last = catalogue.neighbourhoods or 0
        self.seats = tuple(seat.name for seat in catalogue.seats)
        self.event_columns = tuple(feature.name for feature in catalogue.sample_features)
        self.seat_columns = tuple(feature.name for feature in catalogue.seat_features)
        self._place = np.full(seqs.shape[0], -1, np.int64)
        self._place[drawn] = np.arange(drawn.shape[0])

    def __len__(self) -> int:
        return int(self._seqs.shape[0])

    def has(self, positions: IntArray) -> NDArray[np.bool_]:
        """Tell which of them are on disk, shape (n,)."""
        there: NDArray[np.bool_] = self._place[positions] >= 0
        return there

    def take(self, positions: IntArray) -> SampledArrays:
        """Copy the neighbourhoods of events that are on disk, in the order of `positions`."""
        places = self._place[positions]
        # Mapped afresh each time: what was looked at does not stay among the pages of this process.
        return SampledArrays(*(self._mapped(name)[places] for name in _ARRAYS))

    def blocks(
        self, positions: IntArray, *, size: int = BLOCK, progress: Progress | None = None
    ) -> Iterator[tuple[IntArray, SampledArrays]]:
        """Yield the neighbourhoods of ascending `positions`, on disk or not, with the positions that they are of.

        Parameters
        ----------
        size : most events of a block.
        progress : called with (seq reached, last seq) where it takes a replay.
        """
        if self.has(positions).all():
            for low in range(0, positions.shape[0], size):
                part = positions[low : low + size]
                yield part, self.take(part)
            return
        done = 0
        for _, found in self._replayed(self._seqs[positions], size, progress):
            yield positions[done : done + len(found)], SampledArrays(found.events, found.mask, found.nodes)
            done += len(found)

    def write(self, progress: Progress | None = None) -> None:
        """Write what was drawn, by one replay."""
        with _Arrays(self._folder, self.drawn.shape[0]) as arrays:
            for _, found in self._replayed(self._seqs[self.drawn], BLOCK, progress):
                arrays.add(found)

    def _replayed(self, seqs: IntArray, size: int, progress: Progress | None) -> Iterator[SampledBatch]:
        return sampled_batches(self._source, self._catalogue, seqs, size=size, progress=progress)

    def _mapped(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array


@contextmanager
def sampled(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: IntArray,
    fraud: NDArray[np.int8],
    folder: Path,
    *,
    last: int = LAST,
    most_bytes: int = MOST_BYTES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[Samples]:
    """Sample events of a training; their files are gone at the end.

    Parameters
    ----------
    catalogue : of the training; its scenario decides what is sampled.
    seqs : shape (n,), strictly ascending seqs of events of the decided type.
    fraud : shape (n examples,), n examples <= n, of the first of them. The others are not learnt from, and written only
        where all fit.
    folder : a folder of this training alone is made in there, and what a killed one left there is removed.
    last : events a seat, 1 to 32.
    most_bytes : what may be written, and never more than half of what the disk has free.
    progress : called with (seq reached, last seq).

    Raises
    ------
    OSError
        If the disk refuses.
    """
    sampling = sampling_catalogue(catalogue, last)
    with _own_folder(folder) as own:
        allowed = min(most_bytes, int(_SHARE_OF_DISK * shutil.disk_usage(own).free))
        drawn = drawn_positions(seqs.shape[0], fraud, most=allowed // bytes_per_event(sampling), seed=seed)
        found = Samples(source, sampling, seqs, drawn, own)
        found.write(progress)
        yield found


def drawn_positions(n: int, fraud: NDArray[np.int8], *, most: int, seed: int) -> IntArray:
    """Choose the events that are written, ascending: all n, or every fraud and as many legit examples as there is room.

    Parameters
    ----------
    fraud : shape (n examples,), of the first of the n events.
    most : events in all, at most half of them fraud where both are many.
    """
    if n <= most:
        return np.arange(n)
    rng = np.random.default_rng([seed, 3])
    frauds, legit = np.flatnonzero(fraud == 1), np.flatnonzero(fraud != 1)
    frauds = rng.permutation(frauds)[: max(most // 2, most - legit.shape[0])]
    legit = rng.permutation(legit)[: max(most - frauds.shape[0], 0)]
    return np.sort(np.concatenate([frauds, legit]))


@contextmanager
def _own_folder(parent: Path) -> Iterator[Path]:
    """Make a folder that is gone at the end, and remove those whose owners were killed: nobody holds their locks."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"*/{_LOCK}"):
        with suppress(OSError), left.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    own = Path(mkdtemp(dir=parent))
    try:
        with (own / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


class _Arrays:
    """A file for each of the three arrays, written part by part; never synced, since nobody reads it after a crash."""

    def __init__(self, folder: Path, n: int) -> None:
        self._folder, self._n = folder, n
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> _Arrays:
        return self

    def add(self, found: Neighbourhoods) -> None:
        for name in _ARRAYS:
            part = np.ascontiguousarray(getattr(found, name))
            if name not in self._files:
                self._begin(name, part)
            self._files[name].write(part.data)

    def _begin(self, name: str, part: NDArray[Any]) -> None:
        file = (self._folder / f"{name}.npy").open("wb")
        self._files[name] = file
        header = {"descr": part.dtype.str, "fortran_order": False, "shape": (self._n, *part.shape[1:])}
        np.lib.format.write_array_header_1_0(file, header)

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

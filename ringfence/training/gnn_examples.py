# SPDX-License-Identifier: Apache-2.0
"""Where a graph network's examples come from: sampled files on disk, or arrays; taken a block at a time."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.sample_files import SampleFiles
from ringfence.models.encoder import Encoder
from ringfence.models.gnn_inputs import Sampled, SampledArrays

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Taken(NamedTuple):
    """Some examples."""

    sampled: Sampled
    rows: FloatArray | None  # encoded, (n, n_features)


class Examples(Protocol):
    """Neighbourhoods and rows of n examples, of which some are asked for at a time."""

    seats: tuple[str, ...]
    event_columns: tuple[str, ...]
    seat_columns: tuple[str, ...]
    categories: tuple[int, ...]  # columns of the rows that hold codes

    def __len__(self) -> int: ...

    def take(self, positions: IntArray) -> Taken:
        """Copy the examples at ascending `positions`."""
        ...


class FileExamples:
    """Examples from the files that `sampled_rows` wrote; memory is what is asked for.

    Parameters
    ----------
    encoder : of category columns; None: rows are taken as they are.
    rows : shape (n, n_features), encoded already, instead of those in the files: such as what trees were trained on.
    categories : columns of `rows` that hold codes; those of `encoder` where rows come from the files.
    reads_rows : False where no row is wanted.
    """

    def __init__(
        self,
        files: SampleFiles,
        *,
        encoder: Encoder | None = None,
        rows: FloatArray | None = None,
        categories: tuple[int, ...] = (),
        reads_rows: bool = True,
    ) -> None:
        self._files, self._encoder, self._rows, self._reads_rows = files, encoder, rows, reads_rows
        manifest = files.manifest
        self.seats = manifest.seats
        self.event_columns = manifest.event_columns
        self.seat_columns = manifest.seat_columns
        self.categories = encoder.category_columns if rows is None and encoder is not None else categories

    def __len__(self) -> int:
        return len(self._files)

    def take(self, positions: IntArray) -> Taken:
        """Copy the examples at ascending `positions`, shape (n,)."""
        chunk_events = self._files.manifest.chunk_events
        parts: dict[str, list[NDArray[Any]]] = {"events": [], "mask": [], "nodes": [], "rows": []}
        for number in np.unique(positions // chunk_events).tolist():
            at = positions[positions // chunk_events == number] - number * chunk_events
            chunk = self._files.chunk(number)
            for name in ("events", "mask", "nodes"):
                parts[name].append(getattr(chunk.neighbourhoods, name)[at])
            if self._reads_rows and self._rows is None:
                parts["rows"].append(chunk.rows[at])
        if not parts["mask"]:
            return Taken(_nothing(self._files), np.zeros((0, len(self._files.manifest.features))))
        sampled = SampledArrays(*(np.concatenate(parts[name]) for name in ("events", "mask", "nodes")))
        if not self._reads_rows:
            return Taken(sampled, None)
        if self._rows is not None:
            return Taken(sampled, self._rows[positions])
        rows = np.concatenate(parts["rows"])
        return Taken(sampled, rows if self._encoder is None else self._encoder.apply(rows))


class ArrayExamples:
    """Examples in memory.

    Parameters
    ----------
    sampled : n neighbourhoods; seats and columns by name.
    rows : shape (n, n_features), encoded; None: no row is read.
    """

    def __init__(
        self,
        sampled: Sampled,
        rows: FloatArray | None,
        *,
        seats: tuple[str, ...],
        event_columns: tuple[str, ...],
        seat_columns: tuple[str, ...],
        categories: tuple[int, ...] = (),
    ) -> None:
        self.sampled, self.rows = sampled, rows
        self.seats, self.event_columns, self.seat_columns = seats, event_columns, seat_columns
        self.categories = categories

    def __len__(self) -> int:
        return int(self.sampled.mask.shape[0])

    def take(self, positions: IntArray) -> Taken:
        """Copy the examples at `positions`, shape (n,)."""
        one = self.sampled
        sampled = SampledArrays(one.events[positions], one.mask[positions], one.nodes[positions])
        return Taken(sampled, None if self.rows is None else self.rows[positions])


def _nothing(files: SampleFiles) -> SampledArrays:
    shapes = files.manifest.shapes
    return SampledArrays(
        np.zeros((0, *shapes["events"]), np.float32),
        np.zeros((0, *shapes["mask"]), np.bool_),
        np.zeros((0, *shapes["nodes"]), np.float32),
    )

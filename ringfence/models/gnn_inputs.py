# SPDX-License-Identifier: Apache-2.0
"""What a graph network reads of a neighbourhood and of a feature row, and on what scale: fitted on training events.

sampled events   standardised over the sampled slots, bounded; how far each has faded, exp(-gap / days); its type
seats            standardised over the seats that are taken; degrees are logarithms already
feature row      normal scores by rank, constant beyond what was seen; a flag where missing; categories as codes
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ringfence.models._kernels_gnn import KNOWN, scale_rows, scale_samples
from ringfence.models.errors import ModelShapeError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Hops = Literal[0, 1, 2]

FADING_DAYS: Final = (1 / 24, 1.0, 3.0, 7.0, 30.0, 90.0, 365.0)
MOST_CODES: Final = 34  # of a category: 32 values, one place for all others, one for missing
N_KNOTS: Final = 17  # by rank, and as many over the distinct values, so that a rare tail is told apart
_FURTHEST: Final = 3.0  # normal scores of the extremes
_LEAST_SPREAD: Final = 0.5  # so that what one event in a thousand has does not become a score of 30
# Columns by name, by how far one has to walk for them. `gap` itself has no bounds: `gap_log` and fading stand for it.
OWN_EVENT: Final = frozenset({"amount_log", "has_amount", "gap_log", "is_known", "is_fraud", "links", "amount_ratio"})
OWN_SEAT: Final = frozenset({"events", "known", "frauds", "is_hub"})
UNREAD: Final = frozenset({"gap", "present", "event_type"})  # the type is told by a flag for each but the decided one


class Sampled(Protocol):
    """Neighbourhoods of n events: S seats, K sampled events each, newest first; such as the engine's."""

    @property
    def events(self) -> NDArray[np.float32]: ...  # (n, S, K, columns)

    @property
    def mask(self) -> NDArray[np.bool_]: ...  # (n, S, K)

    @property
    def nodes(self) -> NDArray[np.float32]: ...  # (n, S, columns)


class SampledArrays(NamedTuple):
    """The least that is a `Sampled`."""

    events: NDArray[np.float32]
    mask: NDArray[np.bool_]
    nodes: NDArray[np.float32]


class Prepared(NamedTuple):
    """What the network's graph is fed with; names are those of its inputs."""

    events: NDArray[np.float32]  # (n, S, K, E); the first column is 1 where an event was sampled; K = 0 without hops
    per: NDArray[np.float32]  # (n, S, 1, 1) 1 / max(sampled events, 1)
    nodes: NDArray[np.float32]  # (n, S, 1, D); the first column is 1 where somebody has the seat
    numbers: NDArray[np.float32]  # (n, R)
    codes: IntArray  # (n, C)


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Columns that are read, and mean and 1 / standard deviation of each."""

    columns: tuple[int, ...]
    mean: tuple[float, ...]
    per_spread: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.float32], columns: Sequence[int]) -> Scale:
        """Fit on values of shape (n, all columns); a column that never varies is passed through around its mean."""
        read = values[:, list(columns)].astype(np.float64)
        if not read.shape[0]:
            return cls(columns=tuple(columns), mean=(0.0,) * len(columns), per_spread=(1.0,) * len(columns))
        spread = read.std(axis=0)
        return cls(
            columns=tuple(columns),
            mean=tuple(read.mean(axis=0).tolist()),
            per_spread=tuple(np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 1.0).tolist()),
        )


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A numeric column of the row: `scores` at ascending `knots`, linear between them."""

    column: int
    knots: tuple[float, ...]
    scores: tuple[float, ...]
    has_flag: bool  # it was missing in training at times


class Category(msgspec.Struct, frozen=True, kw_only=True):
    column: int
    n_codes: int  # vectors in the table: values, one for all others, one for missing


class GnnInputs(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Frozen encoding of one network's inputs."""

    seats: tuple[str, ...]
    places: tuple[int, ...]  # of these seats on axis S of what is sampled
    n_seats: int  # expected of `Sampled.mask`
    seat_role: tuple[int, ...]  # which role's parameters a seat uses: the two seats of a `many` role share theirs
    last: int  # K
    hops: Hops
    gap_column: int
    type_column: int
    n_types: int  # flags: event types beside the decided one that training saw
    present_column: int
    n_event_columns: int  # expected of `Sampled.events`
    n_seat_columns: int
    events: Scale
    nodes: Scale
    fading_days: tuple[float, ...]
    n_features: int  # expected width of an encoded row; 0: rows are not read
    numbers: tuple[Number, ...] = ()
    categories: tuple[Category, ...] = ()

    @classmethod
    def fit(
        cls,
        sampled: Sampled,
        rows: FloatArray | None,
        *,
        seats: Sequence[str],
        event_columns: Sequence[str],
        seat_columns: Sequence[str],
        hops: Hops = 2,
        last: int | None = None,
        roles: Sequence[str] | None = None,
        categories: Sequence[int] = (),
    ) -> GnnInputs:
        """Fit on training events, a few ten thousand of which are plenty.

        Parameters
        ----------
        sampled : n training events.
        rows : shape (n, n_features), encoded as for the trees; None: the network reads no row.
        seats : names of axis S, such as `claimant`, `witness.1`, `witness.2`.
        event_columns, seat_columns : names of the last axes, as in the engine's catalogue or a sample's manifest.
        hops : 2 reads everything; 1 leaves out what is told of a sampled event's other entities; 0 reads no sampled
            event, only the entities' own counts and the row.
        last : newest events a seat that are read, at most the sampled K; None: all.
        roles : whose seats are read; None: all.
        categories : columns of `rows` that hold codes of the encoder.

        Raises
        ------
        ModelShapeError
            If axes and names do not belong together, or a column that is needed is not there.
        """
        _check_axes(sampled, rows, seats, event_columns, seat_columns, last)
        near = OWN_EVENT if hops < 2 else frozenset(event_columns)
        read_events = [at for at, name in enumerate(event_columns) if name in near - UNREAD]
        own = OWN_SEAT if hops < 2 else frozenset(seat_columns)
        read_nodes = [at for at, name in enumerate(seat_columns) if name in own - UNREAD]
        present = seat_columns.index("present")
        names = _roles_of(seats)
        places = [at for at, name in enumerate(names) if roles is None or name in roles]
        if not places:
            raise ModelShapeError(f"no seat of {', '.join(roles or ())} among {', '.join(seats)}; name a sampled role")
        nodes, mask, events = sampled.nodes[:, places], sampled.mask[:, places], sampled.events[:, places]
        order = list(dict.fromkeys(names[at] for at in places))
        numbers, found = _row_columns(rows, frozenset(categories)) if rows is not None else ((), ())
        return cls(
            seats=tuple(seats[at] for at in places),
            places=tuple(places),
            n_seats=len(seats),
            seat_role=tuple(order.index(names[at]) for at in places),
            last=sampled.mask.shape[2] if last is None else last,
            hops=hops,
            gap_column=event_columns.index("gap"),
            type_column=event_columns.index("event_type"),
            n_types=int(events[mask][:, event_columns.index("event_type")].max(initial=0.0)),
            present_column=present,
            n_event_columns=len(event_columns),
            n_seat_columns=len(seat_columns),
            events=Scale.fit(events[mask], read_events),
            nodes=Scale.fit(nodes[nodes[..., present] == 1.0], read_nodes),
            fading_days=FADING_DAYS,
            n_features=0 if rows is None else rows.shape[1],
            numbers=numbers,
            categories=found,
        )

    @property
    def n_roles(self) -> int:
        return max(self.seat_role) + 1

    @property
    def event_width(self) -> int:
        """E, the inputs of a sampled event; 0 without hops."""
        return 1 + len(self.events.columns) + len(self.fading_days) + self.n_types if self.hops else 0

    @property
    def node_width(self) -> int:
        """D, the inputs of a seat."""
        return 1 + len(self.nodes.columns)

    @cached_property
    def number_width(self) -> int:
        """R, numbers of the row and their flags."""
        return len(self.numbers) + sum(number.has_flag for number in self.numbers)

    @property
    def n_codes(self) -> int:
        """Vectors in the table of all categories."""
        return sum(category.n_codes for category in self.categories)

    def prepare(self, sampled: Sampled, rows: FloatArray | None) -> Prepared:
        """Scale n events; memory is n x S x K x E x 4 bytes and little more.

        Raises
        ------
        ModelShapeError
            If neighbourhoods or rows are not of the shape that was fitted.
        """
        n = self._checked(sampled, rows)
        n_seats, n_read = len(self.seats), self.last if self.hops else 0
        out = Prepared(
            events=np.zeros((n, n_seats, n_read, self.event_width), np.float32),
            per=np.zeros((n, n_seats, 1, 1), np.float32),
            nodes=np.zeros((n, n_seats, 1, self.node_width), np.float32),
            numbers=np.zeros((n, self.number_width), np.float32),
            codes=np.zeros((n, len(self.categories)), np.int64),
        )
        scale_samples(
            _own(sampled.events, np.float32),
            _own(sampled.mask, np.bool_),
            _own(sampled.nodes, np.float32),
            *self._sample_arrays,
            np.full(KNOWN, np.nan),
            np.empty((KNOWN, len(self.fading_days)), np.float32),
            out.events,
            out.per,
            out.nodes,
        )
        if self.n_features and rows is not None:
            scale_rows(_own(rows, np.float64), *self._row_arrays, out.numbers, out.codes)
        return out

    def _checked(self, sampled: Sampled, rows: FloatArray | None) -> int:
        shape = sampled.events.shape
        n, n_seats = int(shape[0]), self.n_seats
        wanted = (n, n_seats, shape[2] if len(shape) == 4 else 0, self.n_event_columns)
        if shape != wanted or shape[2] < self.last:
            raise ModelShapeError(
                f"neighbourhoods for a graph network: found events of shape {shape}, expected (n, {n_seats}, "
                f">= {self.last}, {self.n_event_columns}); sample with the catalogue of this network's release"
            )
        if sampled.mask.shape != shape[:3] or sampled.nodes.shape != (n, n_seats, self.n_seat_columns):
            raise ModelShapeError(
                f"neighbourhoods for a graph network: mask {sampled.mask.shape} and nodes {sampled.nodes.shape} do not "
                f"go with events of shape {shape}"
            )
        if self.n_features and (rows is None or rows.shape != (n, self.n_features)):
            raise ModelShapeError(
                f"rows for a graph network: found shape {None if rows is None else rows.shape}, expected "
                f"({n}, {self.n_features}); score with the release that belongs to this feature catalogue"
            )
        return n

    @cached_property
    def _sample_arrays(self) -> tuple[Any, ...]:
        return (
            np.array(self.events.columns, np.int64),
            np.array(self.events.mean, np.float64),
            np.array(self.events.per_spread, np.float64),
            self.gap_column,
            np.array(self.fading_days, np.float64),
            self.type_column,
            self.n_types,
            np.array(self.nodes.columns, np.int64),
            np.array(self.nodes.mean, np.float64),
            np.array(self.nodes.per_spread, np.float64),
            self.present_column,
            np.array(self.places, np.int64),
        )

    @cached_property
    def _row_arrays(self) -> tuple[Any, ...]:
        widest = max((len(number.knots) for number in self.numbers), default=1)
        knots, scores = np.zeros((2, len(self.numbers), widest))
        flags = np.full(len(self.numbers), -1, np.int64)
        n_flags = len(self.numbers)
        for at, number in enumerate(self.numbers):
            knots[at, : len(number.knots)] = number.knots
            scores[at, : len(number.scores)] = number.scores
            if number.has_flag:
                flags[at], n_flags = n_flags, n_flags + 1
        n_codes = np.array([category.n_codes for category in self.categories], np.int64)
        return (
            np.array([number.column for number in self.numbers], np.int64),
            knots,
            scores,
            np.array([len(number.knots) for number in self.numbers], np.int64),
            flags,
            np.array([category.column for category in self.categories], np.int64),
            np.cumsum(n_codes) - n_codes,
            n_codes,
        )


def _own(array: NDArray[Any], dtype: type) -> NDArray[Any]:
    # Compiled code has one version for arrays that are contiguous and can be written: mapped ones are copied.
    flags = array.flags
    if flags.c_contiguous and flags.writeable and array.dtype == dtype:
        return array  # what `require` returns, ten times as fast
    return np.require(array, dtype, ["C", "W"])


def _roles_of(seats: Sequence[str]) -> list[str]:
    # `witness.1` and `witness.2` are seats of one role; a role's own name has no such ending.
    return [name.rpartition(".")[0] if name.rpartition(".")[2].isdigit() else name for name in seats]


def _row_columns(rows: FloatArray, categories: frozenset[int]) -> tuple[tuple[Number, ...], tuple[Category, ...]]:
    numbers, found = [], []
    for column in range(rows.shape[1]):
        values = rows[:, column]
        present = values[~np.isnan(values)]
        if column in categories:
            most = int(present.max()) + 1 if present.shape[0] else 0
            found.append(Category(column=column, n_codes=min(most, MOST_CODES - 2) + 2))
            continue
        distinct, counts = np.unique(present[np.isfinite(present)], return_counts=True)
        has_flag = present.shape[0] < values.shape[0]
        if distinct.shape[0] < 2 and not (has_flag and distinct.shape[0]):
            continue  # it says nothing, or nothing but that it is missing
        numbers.append(_number(column, distinct, counts, has_flag=has_flag))
    return tuple(numbers), tuple(found)


def _number(column: int, distinct: FloatArray, counts: IntArray, *, has_flag: bool) -> Number:
    n = int(counts.sum())
    rank = (np.cumsum(counts) - counts / 2.0) / n  # middle of the ties, in (0, 1)
    score = np.clip(ndtri(rank), -_FURTHEST, _FURTHEST)
    by_rank = np.searchsorted(rank, np.linspace(0.0, 1.0, N_KNOTS)).clip(0, distinct.shape[0] - 1)
    by_value = np.linspace(0, distinct.shape[0] - 1, N_KNOTS).astype(np.int64)
    at = np.unique(np.concatenate([by_rank, by_value]))
    # Centred and of unit spread over the training rows, whatever their ties.
    values = np.interp(distinct, distinct[at], score[at])
    mean = float(np.average(values, weights=counts))
    spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    scores = (score[at] - mean) / max(spread, _LEAST_SPREAD)
    return Number(column=column, knots=tuple(distinct[at].tolist()), scores=tuple(scores.tolist()), has_flag=has_flag)


def _check_axes(
    sampled: Sampled,
    rows: FloatArray | None,
    seats: Sequence[str],
    event_columns: Sequence[str],
    seat_columns: Sequence[str],
    last: int | None,
) -> None:
    n, _, n_sampled = sampled.mask.shape
    shapes = sampled.events.shape, sampled.nodes.shape
    if not seats or shapes != ((n, len(seats), n_sampled, len(event_columns)), (n, len(seats), len(seat_columns))):
        raise ModelShapeError(
            f"neighbourhoods of shapes {shapes} and {sampled.mask.shape} do not go with {len(seats)} seats, "
            f"{len(event_columns)} columns of an event and {len(seat_columns)} of a seat"
        )
    if rows is not None and (rows.ndim != 2 or rows.shape[0] != n):
        raise ModelShapeError(f"rows of shape {rows.shape} do not go with {n} neighbourhoods")
    if last is not None and not 1 <= last <= n_sampled:
        raise ModelShapeError(f"a network over the last {last} events needs as many sampled; found {n_sampled}")
    for name, known in (("gap", event_columns), ("event_type", event_columns), ("present", seat_columns)):
        if name not in known:
            raise ModelShapeError(f"no column {name!r} among {', '.join(known)}; sample with this version's engine")

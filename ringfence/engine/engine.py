# SPDX-License-Identifier: Apache-2.0
"""The engine: folds records into state, and reads feature rows from it. The same call live, in replay, in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine._kernels_call import FoldCall
from ringfence.engine._kernels_log import ring_index
from ringfence.engine._kernels_rings import tick_due
from ringfence.engine._kernels_table import find, mix64
from ringfence.engine.batch_arrays import BatchArrays, arrays_of, plain_arrays_of
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.errors import (
    AlreadyFoldedError,
    BatchShapeError,
    NoSamplingError,
    SequenceError,
    UnknownFeatureError,
)
from ringfence.engine.neighbourhoods import Neighbourhoods, SampleArrays, empty_samples
from ringfence.engine.state import State, grown, new_state, state_digest, take_state_pages
from ringfence.engine.tick_turns import Compute, TickTurns
from ringfence.engine.ticks import TickEffect
from ringfence.scenario.batch import EVENT, MISSING_AMOUNT, NO_LABEL, Batch

_ONE, _NONE = np.ones(1, np.bool_), np.zeros(1, np.bool_)


class Scratch(NamedTuple):
    slots: NDArray[np.int64]  # (links, 2)
    spans: NDArray[np.int64]  # (roles, 2)
    pair_slots: NDArray[np.int64]
    pair_keys: NDArray[np.uint64]
    stats: NDArray[np.float64]
    pair_stats: NDArray[np.float64]
    event_stats: NDArray[np.float64]
    floors: NDArray[np.int64]
    n_seen: NDArray[np.int64]
    n_new: NDArray[np.int64]  # (links,)
    nodes: NDArray[np.int64]  # (MOST_NODES, 2)
    node_at: NDArray[np.int64]  # (links,)
    link_stats: NDArray[np.float64]  # (MOST_NODES + 1, link statistics): a row per node, then all together
    reached: NDArray[Any]  # REACHED, a table that is never emptied: entries carry the stamp of their reading
    reached_at: NDArray[np.int64]
    stamp: NDArray[np.uint32]  # (1,)
    text_cursors: NDArray[np.int64]
    text_stats: NDArray[np.float64]
    timelines: NDArray[np.int64]  # (k, 2) of Plan.timelines: slot, and events of it that are sampled already


def empty_state(catalogue: Catalogue, **first: int) -> State:
    """Make the state that a catalogue's features need; `first` as in `new_state`."""
    plan = catalogue.plan
    most_segments = first.pop("most_segments", at.MOST_SEGMENTS if plan.segment_columns.shape[0] else 0)
    return new_state(plan.room, plan.kept, n_texts=plan.n_texts, most_segments=most_segments, **first)


class RecentEvent(msgspec.Struct, frozen=True):
    """An event as an entity's log remembers it."""

    event_time_ms: int
    amount_minor: int | None


class Engine:
    """State of one scenario, and the only way to change it.

    Not thread-safe: one thread owns an engine.

    Parameters
    ----------
    state : where to go on from; empty if None.
    compute : begins the computation of a tick, and returns what waits for its result; None computes it on the spot,
        which a service cannot afford. Values do not depend on it.
    """

    def __init__(self, catalogue: Catalogue, *, state: State | None = None, compute: Compute | None = None) -> None:
        self.catalogue = catalogue
        self._state = state if state is not None else empty_state(catalogue)
        self._scratch = self._scratch_for(16)
        self._ticks = TickTurns(catalogue.scenario, catalogue.plan, compute)
        self._no_samples = np.zeros(0, np.bool_), empty_samples(catalogue.plan, 0)
        self._n_values = len(catalogue.scenario.value_attributes)
        self._n_texts = len(catalogue.scenario.text_attributes)
        self._decided = catalogue.plan.decided
        self._shape_of_row, self._shape_of_none = (1, catalogue.plan.n_features), (0, catalogue.plan.n_features)
        self._shapes_of_one = (1, self._n_values), (2,), (1, self._n_texts)
        self._call: FoldCall | None = None
        self._ticks.resume(self._state)

    def _scratch_for(self, n_links: int) -> Scratch:
        plan = self.catalogue.plan
        n_windows = plan.windows_ms.shape[0]
        n_pairs = max(1, n_links * (n_links - 1) // 2)
        fan = max(1, plan.pairings.shape[0]) * at.PAIR_FAN * at.PAIR_FAN
        return Scratch(
            slots=np.zeros((n_links, 2), np.int64),
            spans=np.zeros((len(self.catalogue.scenario.roles), 2), np.int64),
            pair_slots=np.zeros(min(n_pairs, fan), np.int64),
            pair_keys=np.zeros(min(n_pairs, fan), np.uint64),
            stats=np.zeros(at.WINDOWED + at.N_WINDOWED * n_windows + at.N_CHART_STATS + at.N_PLACE_STATS, np.float64),
            pair_stats=np.zeros(at.N_PAIR_STATS, np.float64),
            event_stats=np.zeros(at.E_VALUES + len(self.catalogue.scenario.value_attributes), np.float64),
            floors=np.zeros(n_windows, np.int64),
            n_seen=np.zeros(plan.gathers.shape[0], np.int64),
            n_new=np.zeros(n_links, np.int64),
            nodes=np.zeros((at.MOST_NODES, 2), np.int64),
            node_at=np.zeros(n_links, np.int64),
            link_stats=np.zeros((at.MOST_NODES + 1, at.L_WINDOWED + n_windows + at.N_RING_STATS), np.float64),
            reached=np.zeros(at.MOST_REACHED, at.REACHED),
            reached_at=np.zeros(at.MOST_REACHED, np.int64),
            stamp=np.zeros(1, np.uint32),
            text_cursors=np.zeros(at.TEXT_BANDS, np.int64),
            text_stats=np.zeros(at.N_TEXT_STATS * plan.n_texts, np.float64),
            timelines=np.zeros(plan.timelines.shape, np.int64),
        )

    def _check(self, batch: Batch) -> None:
        n, starts = len(batch), batch.link_start
        if batch.values.shape != (n, self._n_values):
            raise BatchShapeError(what="values", found=batch.values.shape, expected=(n, self._n_values))
        if starts.shape != (n + 1,):
            raise BatchShapeError(what="link_start", found=starts.shape, expected=(n + 1,))
        if batch.simhash.shape != (n, self._n_texts):
            raise BatchShapeError(what="simhash", found=batch.simhash.shape, expected=(n, self._n_texts))
        n_links = int((starts[1:] - starts[:-1]).max(initial=0))
        if n_links > self.catalogue.plan.room.slots // 4:
            most = self.catalogue.plan.room.slots // 4
            raise BatchShapeError(what="links of one event", found=n_links, expected=f"at most {most}")
        if n_links > self._scratch.slots.shape[0]:
            self._scratch = self._scratch_for(2 * n_links)

    def _wanted(self, batch: Batch, want: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        decided: NDArray[np.bool_] = (batch.kind == EVENT) & (batch.event_type == self._decided)
        if want is None:
            return decided
        if want.shape != decided.shape:
            raise BatchShapeError(what="want", found=want.shape, expected=decided.shape)
        return np.logical_and(decided, want)

    def observe(self, batch: Batch, want: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Fold every record of a batch, in order.

        Parameters
        ----------
        batch : records with seq above `self.seq`, ascending.
        want : shape (n records,), whose rows to return; None means every event of the decided type. Others are
            folded just the same.

        Returns
        -------
        shape (k, n features): rows of the wanted events of the decided type in order, each read before its own event
        was applied.

        Raises
        ------
        SequenceError
            If the records are not in ascending seq after what is folded already. Nothing is changed then.
        BatchShapeError
            If the batch belongs to another scenario.
        """
        if want is None and batch.seq.shape[0] == 1:
            return self._observe_one(batch)
        self._check(batch)
        self._check_order(batch)
        return self._fold(batch, self._wanted(batch, want), None, apply=True)

    def _is_wanted_one(self, batch: Batch) -> bool:
        # Checks a batch of one, and tells whether it is an event of the decided type.
        shapes = batch.values.shape, batch.link_start.shape, batch.simhash.shape
        if shapes != self._shapes_of_one or batch.link_role.shape[0] > self._scratch.slots.shape[0]:
            self._check(batch)  # says what is wrong, or makes room
        if batch.seq.item() <= self._state.meta.item(at.SEQ):
            self._check_order(batch)
        return bool(batch.kind.item() == EVENT and batch.event_type.item() == self._decided)

    def _observe_one(self, batch: Batch) -> NDArray[np.float64]:
        # The common case of a service, where a numpy call costs more than what it computes.
        is_wanted = self._is_wanted_one(batch)
        rows, wanted = (np.empty(self._shape_of_row), _ONE) if is_wanted else (np.empty(self._shape_of_none), _NONE)
        call = self._call
        if call is not None and call.state is self._state and call.scratch is self._scratch:
            found = call.fold_lone(plain_arrays_of(batch), wanted, rows)
            if found is not None and found[3] == at.DONE:
                return rows
            # Else nothing is folded yet: a tick is due, there is no room, or nothing is compiled.
        self.fold_part(arrays_of(batch), 0, wanted, rows, 0, apply=True)
        return rows

    def observe_sampled(
        self, batch: Batch, want: NDArray[np.bool_] | None = None, sampled: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], Neighbourhoods]:
        """Fold every record of a batch, in order; return rows and neighbourhoods from one compiled call.

        Parameters
        ----------
        batch, want : as in `observe`.
        sampled : shape (n records,), whose neighbourhoods to return; None means every event of the decided type.

        Returns
        -------
        The rows that `observe` returns, and the neighbourhoods of the sampled events of the decided type in order,
        each read before its own event was applied.

        Raises
        ------
        NoSamplingError
            If the catalogue was built without neighbourhoods.
        SequenceError, BatchShapeError
            As in `observe`.
        """
        if want is None and sampled is None and batch.seq.shape[0] == 1 and self.catalogue.neighbourhoods is not None:
            return self._observe_one_sampled(batch)
        self._check(batch)
        self._check_order(batch)
        samples = self._samples(batch, sampled)
        rows = self._fold(batch, self._wanted(batch, want), samples, apply=True)
        return rows, Neighbourhoods(seq=batch.seq[samples[0]], **samples[1]._asdict())

    def _observe_one_sampled(self, batch: Batch) -> tuple[NDArray[np.float64], Neighbourhoods]:
        if not self._is_wanted_one(batch):
            return self._observe_one(batch), Neighbourhoods(seq=batch.seq[:0], **self._no_samples[1]._asdict())
        rows, samples = np.empty(self._shape_of_row), empty_samples(self.catalogue.plan, 1)
        self.fold_part(arrays_of(batch), 0, _ONE, rows, 0, (_ONE, samples), apply=True)
        return rows, Neighbourhoods(seq=batch.seq, **samples._asdict())

    def peek(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rows that the decided events of `batch` would have if each were next; change nothing."""
        self._check(batch)
        return self._fold(batch, self._wanted(batch, None), None, apply=False)

    def neighbourhood(self, batch: Batch) -> Neighbourhoods:
        """Return the neighbourhoods that the decided events of `batch` would have if each were next; change nothing.

        Each is held against what is folded already, and nothing else: no event of the batch sees another one of it. So
        an engine that has folded nothing answers with masks that are false throughout, as does one that left out the
        records before the batch, since ledgers have gaps and it cannot know of those. For the events of a history,
        fold and sample in turn: `observe_sampled`, or `sampled_rows`.

        Parameters
        ----------
        batch : its decided events have seqs above `self.seq`, in any order.

        Raises
        ------
        NoSamplingError
            If the catalogue was built without neighbourhoods.
        AlreadyFoldedError
            If a decided event has a seq at or below `self.seq`: it is folded, and would see itself and what came after.
        BatchShapeError
            If the batch belongs to another scenario.
        """
        self._check(batch)
        samples = self._samples(batch, None)
        asked = batch.seq[samples[0]]
        if asked.shape[0] and int(asked.min()) <= self.seq:
            raise AlreadyFoldedError(engine_seq=self.seq, found_seq=int(asked.min()))
        self._fold(batch, np.zeros(len(batch), np.bool_), samples, apply=False)
        return Neighbourhoods(seq=asked, **samples[1]._asdict())

    def _check_order(self, batch: Batch) -> None:
        n, seq = len(batch), batch.seq
        if n and (int(seq[0]) <= self.seq or (n > 1 and bool((seq[1:] <= seq[:-1]).any()))):
            raise SequenceError(engine_seq=self.seq, found_seq=int(seq[0]))

    def _samples(self, batch: Batch, sampled: NDArray[np.bool_] | None) -> tuple[NDArray[np.bool_], SampleArrays]:
        if self.catalogue.neighbourhoods is None:
            raise NoSamplingError
        mask = self._wanted(batch, sampled)
        return mask, empty_samples(self.catalogue.plan, int(mask.sum()))

    def _fold(
        self,
        batch: Batch,
        wanted: NDArray[np.bool_],
        samples: tuple[NDArray[np.bool_], SampleArrays] | None,
        *,
        apply: bool,
    ) -> NDArray[np.float64]:
        rows = np.empty((np.count_nonzero(wanted), self.catalogue.plan.n_features))
        self.fold_part(arrays_of(batch), 0, wanted, rows, 0, samples, apply=apply)
        return rows

    def checked(self, batch: Batch, *, follows: bool) -> BatchArrays:
        """Validate a batch for `fold_part`; errors as in `observe`. `follows`: its records come after `self.seq`."""
        self._check(batch)
        if follows:
            self._check_order(batch)
        return arrays_of(batch)

    def fold_part(
        self,
        arrays: BatchArrays,
        begin: int,
        wanted: NDArray[np.bool_],
        rows: NDArray[np.float64],
        row_at: int,
        samples: tuple[NDArray[np.bool_], SampleArrays] | None = None,
        *,
        apply: bool,
    ) -> int:
        """Fold from record `begin` to the end of `arrays.seq`, which may be shorter than the other arrays.

        Rows of the wanted events go to `rows[row_at:]`. Returns where the next row goes.
        """
        sample_at = 0
        while True:
            call = self._call
            if call is None or call.state is not self._state or call.scratch is not self._scratch:
                call = FoldCall(self.catalogue.plan, self._state, self._scratch, self._no_samples, call)
                self._call = call
            found = call(arrays, begin, wanted, apply, rows, row_at, samples, sample_at)
            begin, row_at, sample_at, need = found
            if need == at.DONE:
                return row_at
            if need in (at.TICK, at.EFFECT):
                self._turn(need, int(arrays.time_ms[begin]), int(arrays.seq[begin]))
            else:
                self._state = grown(self._state, need)

    def _turn(self, need: int, time_ms: int, seq: int) -> None:
        if need == at.TICK:
            self._state = self._ticks.begin(self._state, time_ms)
        else:
            self._state = self._ticks.put_in_effect(self._state, seq)

    @property
    def next_turn_ms(self) -> int:
        """When the next tick begins or takes effect: a record from then on (inclusive) reads another state."""
        turns = (int(self._state.meta[at.NEXT_TICK_MS]), int(self._state.meta[at.EFFECT_MS]))
        return min((turn for turn in turns if turn != at.NEVER), default=2**63 - 1)

    @contextmanager
    def turned_to(self, time_ms: int) -> Iterator[None]:
        """Let ticks begin and take effect as a record at `time_ms` would have them; undone at the end."""
        state, ticks = self.state, self._ticks
        self._state, self._ticks = state._replace(meta=state.meta.copy()), ticks.trial()
        try:
            while (need := int(tick_due(self.catalogue.plan, self._state.meta, time_ms))) != at.DONE:
                self._turn(need, time_ms, self.seq + 1)
            yield
        finally:
            self._state, self._ticks = state, ticks

    def compute_ticks_by(self, compute: Compute) -> None:
        """Have ticks computed as `compute` says from now on; see the parameter of the same name."""
        self._ticks.compute = compute

    def rehearse_tick(self) -> None:
        """Compute a tick and forget it: what is compiled for it is compiled then. Changes nothing."""
        self._ticks.rehearse(self._state)

    def take_effects(self) -> list[TickEffect]:
        """Hand over the ticks that took effect since the last call, in order. Each comes once."""
        return self._ticks.take_effects()

    def entity_at(self, role: str, lo: int, hi: int, as_of_ms: int) -> dict[str, float]:
        """Return what an event at `as_of_ms` that names only this entity in `role` would read about it.

        Raises
        ------
        UnknownFeatureError
            If the decided event type has no such role.
        """
        index = self._role_index(role)
        lone = Batch(
            seq=np.array([self.seq + 1], np.int64),
            kind=np.array([EVENT], np.uint8),
            event_type=np.array([self.catalogue.plan.decided], np.uint8),
            time_ms=np.array([as_of_ms], np.int64),
            offset_ms=np.zeros(1, np.int32),
            amount_minor=np.array([MISSING_AMOUNT], np.int64),
            values=np.full((1, len(self.catalogue.scenario.value_attributes)), np.nan),
            link_start=np.array([0, 1], np.int64),
            link_role=np.array([index], np.uint8),
            link_lo=np.array([lo], np.uint64),
            link_hi=np.array([hi], np.uint64),
            label_event_seq=np.array([-1], np.int64),
            label_event_time_ms=np.zeros(1, np.int64),
            label_value=np.array([NO_LABEL], np.int8),
            label_replaces=np.array([NO_LABEL], np.int8),
            simhash=np.zeros((1, len(self.catalogue.scenario.text_attributes)), np.uint64),
        )
        row = self.peek(lone)[0]
        return {
            feature.name: float(row[column])
            for column, feature in enumerate(self.catalogue.features)
            if feature.role == role
        }

    def recent_at(self, role: str, lo: int, as_of_ms: int, limit: int = 20) -> list[RecentEvent]:
        """Return the newest events of an entity up to `as_of_ms` (inclusive), newest first, as its log has them."""
        plan, state = self.catalogue.plan, self._state
        stream = int(plan.stream_of[plan.decided, self._role_index(role)])
        slot = int(find(state.table, np.uint64(mix64(np.uint64(lo) ^ plan.salts[stream]))))
        recent: list[RecentEvent] = []
        if slot < 0:
            return recent
        ring = state.event_rings[slot]
        for i in range(int(ring["size"]) - 1, -1, -1):
            entry = state.event_log[int(ring_index(ring, i))]
            if int(entry["time_ms"]) <= as_of_ms:
                amount = int(entry["amount"])
                recent.append(RecentEvent(int(entry["time_ms"]), None if amount == MISSING_AMOUNT else amount))
            if len(recent) == limit:
                break
        return recent

    def _role_index(self, role: str) -> int:
        names = tuple(column.role for column in self.catalogue.scenario.decided.roles)
        if role not in names:
            raise UnknownFeatureError(what="role", found=role, known=names)
        return self.catalogue.scenario.role(role).index

    @property
    def state(self) -> State:
        """The arrays themselves, for snapshots; not to be written. Waits for a tick that is being computed."""
        self._state = self._ticks.settle(self._state)
        return self._state

    @property
    def seq(self) -> int:
        """Seq of the last record folded; 0 before the first."""
        return int(self._state.meta[at.SEQ])

    @property
    def counters(self) -> dict[str, int]:
        meta = self._state.meta
        return {
            "entities": int(meta[at.N_KEYS]),
            "pairs": int(meta[at.N_PAIRS]),
            "events": int(meta[at.N_EVENTS]),
            "labels": int(meta[at.N_LABELS]),
            "late_events": int(meta[at.N_LATE]),
            "id_collisions": int(meta[at.KEY_COLLISIONS]),
            "pair_collisions": int(meta[at.PAIR_COLLISIONS]),
            "orphan_labels": int(meta[at.ORPHAN_LABELS]),
            "links_beyond_pair_fan": int(meta[at.PAIRS_CAPPED]),
            "entities_forgotten": int(meta[at.KEYS_FORGOTTEN]),
            "pairs_forgotten": int(meta[at.PAIRS_FORGOTTEN]),
            "texts": int(self._state.text_span[1] - self._state.text_span[0]),
            "texts_forgotten": int(meta[at.TEXTS_FORGOTTEN]),
            "state_bytes": self.nbytes,
            "events_stored": min(int(meta[at.N_STORED]), self._state.stored.shape[0]),
            "segments": int(self._state.segment_counts[at.N_SEGMENTS]),
            "labels_beyond_segments": int(self._state.segment_counts[at.BEYOND_SEGMENTS]),
        }

    @property
    def n_stored(self) -> int:
        """Events that were ever stored for features that walk links; those beyond the room for them are forgotten."""
        return int(self._state.meta[at.N_STORED])

    @property
    def n_texts(self) -> int:
        """Texts that were ever remembered; those beyond the room for them are forgotten."""
        return int(self._state.text_span[1])

    @property
    def nbytes(self) -> int:
        """Bytes in use; where rings are read, with the second array that takes turns with `State.node_rings`."""
        meta = self._state.meta
        of_next_tick = int(meta[at.N_KEYS]) * at.NODE_RING.itemsize if int(meta[at.TICK_MS]) != at.NEVER else 0
        return self._state.nbytes + of_next_tick

    def take_pages(self, *, small: bool) -> None:
        """Say in what pages state takes memory from now on; see `ringfence.engine.reserved`. No value depends on it."""
        take_state_pages(self._state, small=small)

    def state_hash(self) -> str:
        """Digest all state, 32 hex digits; depends on the records folded and on nothing else."""
        return state_digest(self.state)

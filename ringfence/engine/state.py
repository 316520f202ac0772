# SPDX-License-Identifier: Apache-2.0
"""Entity state: allocation, deterministic growth, digest. What it means is the business of the kernels.

Arrays have their full size from the beginning and memory is taken when it is first touched, so nothing is ever copied
to a larger place while events wait; only the logs are, where they outgrow what the budget expects of them.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.id_table import IdTable, new_table, table_of
from ringfence.engine.memory import BYTES_PER_TEXT, Kept, Room
from ringfence.engine.reserved import reserved, take_pages
from ringfence.rings import ENTITY, RING

Rows = NDArray[Any]  # structured; the dtypes are in layout.py
LOG_ROOM: Final = 16  # entries an entity for which the logs are reserved; beyond it they are copied to a larger place
_REPLACED: Final = (
    "tick_entities",
    "tick_rings",
    "event_free",
    "label_free",
    "text_heads",
    "text_span",
    "segments",
    "segment_counts",
)
_TEXTS: Final = ("text_log", "text_links")  # rings of their own, in order of their ids


class State(NamedTuple):
    """Everything the engine remembers. What is in use of each array is counted in `meta`."""

    table: IdTable
    keys: Rows  # KEY, by slot
    risk: Rows  # RISK, by slot
    partners: NDArray[np.int32]  # (slots, partner columns): distinct counterparties so far
    event_rings: Rows  # RING, by slot
    label_rings: Rows
    event_log: Rows  # EVENT_ENTRY, the arena of all event rings; entry 0 is never used
    label_log: Rows  # LABEL_ENTRY
    event_marks: NDArray[np.int32]  # (MARKS, MAX_WINDOWS) where in its block a window began when last read
    label_marks: NDArray[np.int32]  # likewise; both only tell a search where to begin, and are no part of the state
    event_free: NDArray[np.int64]  # (N_ORDERS,) first free block per order, -1 none
    label_free: NDArray[np.int64]
    pair_table: IdTable
    pairs: Rows  # PAIR, by pair slot
    nodes: Rows  # NODE, by slot; a single row where no feature walks links
    last: NDArray[np.uint32]  # (slots, Kept.last) low 32 bits of a node's last stored events, a ring by n_events
    stored: Rows  # STORED, a ring by event number
    node_rings: Rows  # NODE_RING, by slot: what the tick in effect says; a single row where no feature reads rings
    tick_entities: NDArray[Any]  # the last tick, which the next one refers to
    tick_rings: NDArray[Any]
    meta: NDArray[np.int64]  # (META,)
    charts: Rows  # CHART, by slot; empty where no one reads charts
    text_log: Rows  # TEXT_ENTRY, a ring in seq order; these are empty where no one reads texts
    text_links: NDArray[np.uint32]  # (entries, TEXT_LINKS)
    text_heads: NDArray[np.int64]  # (texts, TEXT_BANDS, 2**TEXT_BAND_BITS, TEXT_NEWEST): newest ids + 1, 0 none
    text_span: NDArray[np.int64]  # (2,): the oldest id remembered, the next id
    segments: Rows  # SEGMENT, a table of twice the most segments; empty where the scenario names none
    segment_counts: NDArray[np.int64]  # (SEGMENT_COUNTS,)
    places: Rows  # PLACE, by slot; empty where no one reads places

    @property
    def nbytes(self) -> int:
        """Bytes in use; what is only reserved does not count."""
        tables = self.table.nbytes + self.pair_table.nbytes + self.event_marks.nbytes + self.label_marks.nbytes
        texts = int(self.text_span[1] - self.text_span[0]) * BYTES_PER_TEXT
        return int(tables + texts + sum(part.nbytes for part in _used_straight(self).values()))


def new_state(
    room: Room,
    kept: Kept,
    *,
    n_texts: int = 0,
    most_segments: int = 0,
    bucket_entries: int | None = None,
    first_log: int | None = None,
) -> State:
    """Make empty state.

    Parameters
    ----------
    most_segments : a power of two; 0 where the scenario names no segments.
    bucket_entries : of the id tables, see `new_table`.
    first_log : >= 2, entries with which the logs begin before they double; LOG_ROOM an entity if None. No value
        depends on either.
    """
    n_slots = room.slots
    n_log = LOG_ROOM * n_slots if first_log is None else first_log
    n_linked = n_slots if kept.links else 1
    meta = np.zeros(at.META, np.int64)
    meta[at.EVENT_TOP] = meta[at.LABEL_TOP] = 1
    for when in (at.NEWEST_MS, at.WATERMARK_MS, at.NEXT_TICK_MS, at.EFFECT_MS, at.TICK_MS):
        meta[when] = at.NEVER
    return State(
        table=new_table(n_slots, bucket_entries=bucket_entries),
        keys=reserved(n_slots, at.KEY),
        risk=reserved(n_slots, at.RISK),
        partners=reserved((n_slots, max(kept.partner_columns, 1)), np.int32),
        event_rings=reserved(n_slots, at.RING),
        label_rings=reserved(n_slots, at.RING),
        event_log=reserved(n_log, at.EVENT_ENTRY),
        label_log=reserved(n_log, at.LABEL_ENTRY),
        event_marks=reserved((at.MARKS, at.MAX_WINDOWS), np.int32),
        label_marks=reserved((at.MARKS, at.MAX_WINDOWS), np.int32),
        event_free=np.full(at.N_ORDERS, -1, np.int64),
        label_free=np.full(at.N_ORDERS, -1, np.int64),
        pair_table=new_table(room.pairs, bucket_entries=bucket_entries),
        pairs=reserved(max(room.pairs, 1), at.PAIR),
        nodes=reserved(n_linked, at.NODE),
        last=reserved((n_linked, kept.last), np.uint32),
        stored=reserved(max(room.stored, 1), at.STORED),
        node_rings=reserved(n_slots if kept.rings else 1, at.NODE_RING),
        tick_entities=np.zeros(0, ENTITY),
        tick_rings=np.zeros(0, RING),
        meta=meta,
        charts=reserved(n_slots if kept.charts else 0, at.CHART),
        text_log=reserved(room.texts if n_texts else 0, at.TEXT_ENTRY),
        text_links=reserved((room.texts if n_texts else 0, at.TEXT_LINKS), np.uint32),
        text_heads=np.zeros((n_texts, at.TEXT_BANDS, 1 << at.TEXT_BAND_BITS, at.TEXT_NEWEST), np.int64),
        text_span=np.zeros(2, np.int64),
        segments=np.zeros(2 * most_segments, at.SEGMENT),
        segment_counts=np.zeros(at.SEGMENT_COUNTS, np.int64),
        places=reserved(n_slots if kept.places else 0, at.PLACE),
    )


def _doubled(array: Rows, n_used: int) -> Rows:
    grown = reserved((2 * array.shape[0], *array.shape[1:]), array.dtype)
    grown[:n_used] = array[:n_used]
    return grown


def _has_links(state: State) -> bool:
    return len(state.nodes) > 1


def grown(state: State, need: int) -> State:
    """Return state with twice the capacity of what a kernel asked for."""
    if need == at.GROW_EVENTS:
        return state._replace(event_log=_doubled(state.event_log, int(state.meta[at.EVENT_TOP])))
    return state._replace(label_log=_doubled(state.label_log, int(state.meta[at.LABEL_TOP])))


def used(state: State) -> dict[str, NDArray[Any]]:
    """Return the parts in use, without the tables: they follow from the rows.

    Texts are copies, in order of their ids.
    """
    places = _text_places(state.text_span, int(state.text_span[1] - state.text_span[0]), state.text_log.shape[0])
    return _used_straight(state) | {"text_log": state.text_log[places], "text_links": state.text_links[places]}


def _used_straight(state: State) -> dict[str, NDArray[Any]]:
    # All but what lies in rings that go on from their beginning.
    n_keys, n_pairs = int(state.meta[at.N_KEYS]), int(state.meta[at.N_PAIRS])
    return {
        "keys": state.keys[:n_keys],
        "risk": state.risk[:n_keys],
        "partners": state.partners[:n_keys],
        "event_rings": state.event_rings[:n_keys],
        "label_rings": state.label_rings[:n_keys],
        "event_log": state.event_log[: int(state.meta[at.EVENT_TOP])],
        "label_log": state.label_log[: int(state.meta[at.LABEL_TOP])],
        "event_free": state.event_free,
        "label_free": state.label_free,
        "pairs": state.pairs[:n_pairs],
        "nodes": state.nodes[: n_keys if _has_links(state) else 0],
        "last": state.last[: n_keys if _has_links(state) else 0],
        "stored": state.stored[: min(int(state.meta[at.N_STORED]), state.stored.shape[0])],
        "node_rings": state.node_rings[: n_keys if len(state.node_rings) > 1 else 0],
        "tick_entities": state.tick_entities,
        "tick_rings": state.tick_rings,
        "meta": state.meta,
        "charts": state.charts[:n_keys],
        "text_heads": state.text_heads,
        "text_span": state.text_span,
        "segments": state.segments,
        "segment_counts": state.segment_counts,
        "places": state.places[:n_keys],
    }


def _text_places(span: NDArray[np.int64], n_texts: int, capacity: int) -> NDArray[np.int64]:
    places: NDArray[np.int64] = (span[0] + np.arange(n_texts, dtype=np.int64)) & (capacity - 1)
    return places


def with_used(state: State, parts: dict[str, NDArray[Any]]) -> State:
    """Fill empty state with `used` parts of another that has the same room; its tables are still to be made.

    Nothing is read of what the parts say: they need not be trusted yet.
    """
    whole: dict[str, Any] = {"meta": parts["meta"].copy()}
    for name, part in parts.items():
        if name in _REPLACED:
            whole[name] = part.copy()
        elif name not in _TEXTS and name != "meta":
            array: NDArray[Any] = getattr(state, name)
            while array.shape[0] < part.shape[0]:
                array = _doubled(array, 0)
            array[: part.shape[0]] = part
            whole[name] = array
    state = state._replace(**whole)
    places = _text_places(whole["text_span"], parts["text_log"].shape[0], state.text_log.shape[0])
    for name in _TEXTS:
        getattr(state, name)[places] = parts[name]
    return state


def with_tables(state: State) -> State:
    """Make the id tables of state whose rows are there, each on a thread of its own."""
    entries, pair_entries = (table.entries.shape[1] for table in (state.table, state.pair_table))
    with ThreadPoolExecutor(1) as beside:
        table = beside.submit(table_of, state.keys, int(state.meta[at.N_KEYS]), bucket_entries=entries)
        pair_table = table_of(state.pairs, int(state.meta[at.N_PAIRS]), bucket_entries=pair_entries)
        return state._replace(table=table.result(), pair_table=pair_table)


def take_state_pages(state: State, *, small: bool) -> None:
    """Say in what pages state takes memory from now on, see `take_pages`."""
    for part in (*state, *state.table, *state.pair_table):
        if isinstance(part, np.ndarray):
            take_pages(part, small=small)


def state_digest(state: State) -> str:
    """Digest what is in use, as 32 hex digits; equal for equal record sequences however they were batched."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"state format {at.STATE_FORMAT}".encode())
    for name, part in used(state).items():
        digest.update(f"{name}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    return digest.hexdigest()

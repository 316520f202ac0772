# SPDX-License-Identifier: Apache-2.0
"""Entity state: allocation, deterministic growth, digest. What it means is the business of the kernels."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine._kernels_table import rebuild
from ringfence.rings import ENTITY, RING

Rows = NDArray[Any]  # structured; the dtypes are in layout.py
_SIZED = ("keys", "pairs", "event_log", "label_log", "nodes", "stored", "node_rings", "charts", "text_log")


class State(NamedTuple):
    """Everything the engine remembers. Capacities double; what is in use is counted in `meta`."""

    table: Rows  # TABLE, power of two, at most half full
    keys: Rows  # KEY, by slot
    risk: Rows  # RISK, by slot
    partners: NDArray[np.int32]  # (slots, partner columns): distinct counterparties so far
    event_rings: Rows  # RING, by slot
    label_rings: Rows
    event_log: Rows  # EVENT_ENTRY, the arena of all event rings
    label_log: Rows  # LABEL_ENTRY
    event_marks: NDArray[np.int32]  # (slots, MAX_WINDOWS) where in its block a window began when last read
    label_marks: NDArray[np.int32]  # likewise; both only tell a search where to begin, and are no part of the state
    event_free: NDArray[np.int64]  # (N_ORDERS,) first free block per order, -1 none
    label_free: NDArray[np.int64]
    pair_table: Rows
    pairs: Rows  # PAIR, by pair slot
    nodes: Rows  # NODE, by slot; a single row where no feature walks links
    last: NDArray[np.uint32]  # (slots, LAST) numbers of a node's last stored events, low 32 bits, a ring by n_events
    stored: Rows  # STORED, a ring by event number
    node_rings: Rows  # NODE_RING, by slot: what the tick in effect says; a single row where no feature reads rings
    tick_entities: NDArray[Any]  # the last tick, which the next one refers to
    tick_rings: NDArray[Any]
    meta: NDArray[np.int64]  # (META,)
    charts: Rows  # CHART, by slot; empty where no one reads charts
    text_log: Rows  # TEXT_ENTRY, a ring in seq order; these are empty where no one reads texts
    text_links: NDArray[np.uint64]  # (entries, TEXT_LINKS)
    text_heads: NDArray[np.int64]  # (texts, TEXT_BANDS, 2**TEXT_BAND_BITS): newest id + 1, 0 none
    text_span: NDArray[np.int64]  # (2,): the oldest id remembered, the next id
    segments: Rows  # SEGMENT, a table of twice the most segments; empty where the scenario names none
    segment_counts: NDArray[np.int64]  # (SEGMENT_COUNTS,)

    @property
    def nbytes(self) -> int:
        return sum(int(array.nbytes) for array in self)


def _rings(n: int) -> Rows:
    rings = np.zeros(n, at.RING)
    rings["order"] = -1
    return rings


def new_state(
    *,
    n_partners: int,
    most_stored: int,
    charts: bool,
    n_texts: int,
    rings: bool = False,
    n_slots: int = 1024,
    most_segments: int = 0,
) -> State:
    """Make empty state. `n_slots` is a power of two >= 4: where doubling starts, part of what is deterministic.

    `most_stored` is the most events the store will hold, a power of two; 0 where no feature walks links.
    `most_segments` likewise; 0 where the scenario names none.
    """
    n_linked = n_slots if most_stored else 1
    meta = np.zeros(at.META, np.int64)
    for when in (at.NEWEST_MS, at.WATERMARK_MS, at.NEXT_TICK_MS, at.EFFECT_MS, at.TICK_MS):
        meta[when] = at.NEVER
    return State(
        table=np.zeros(2 * n_slots, at.TABLE),
        keys=np.zeros(n_slots, at.KEY),
        risk=np.zeros(n_slots, at.RISK),
        partners=np.zeros((n_slots, max(n_partners, 1)), np.int32),
        event_rings=_rings(n_slots),
        label_rings=_rings(n_slots),
        event_log=np.zeros(4 * n_slots, at.EVENT_ENTRY),
        label_log=np.zeros(4 * n_slots, at.LABEL_ENTRY),
        event_marks=np.zeros((n_slots, at.MAX_WINDOWS), np.int32),
        label_marks=np.zeros((n_slots, at.MAX_WINDOWS), np.int32),
        event_free=np.full(at.N_ORDERS, -1, np.int64),
        label_free=np.full(at.N_ORDERS, -1, np.int64),
        pair_table=np.zeros(2 * n_slots, at.TABLE),
        pairs=np.zeros(n_slots, at.PAIR),
        nodes=np.zeros(n_linked, at.NODE),
        last=np.zeros((n_linked, at.LAST), np.uint32),
        stored=np.zeros(max(min(n_slots, most_stored), 1), at.STORED),
        node_rings=np.zeros(n_slots if rings else 1, at.NODE_RING),
        tick_entities=np.zeros(0, ENTITY),
        tick_rings=np.zeros(0, RING),
        meta=meta,
        charts=np.zeros(n_slots if charts else 0, at.CHART),
        text_log=np.zeros(at.TEXT_ROOM if n_texts else 0, at.TEXT_ENTRY),
        text_links=np.zeros((at.TEXT_ROOM if n_texts else 0, at.TEXT_LINKS), np.uint64),
        text_heads=np.zeros((n_texts, at.TEXT_BANDS, 1 << at.TEXT_BAND_BITS), np.int64),
        text_span=np.zeros(2, np.int64),
        segments=np.zeros(2 * most_segments, at.SEGMENT),
        segment_counts=np.zeros(at.SEGMENT_COUNTS, np.int64),
    )


def _doubled(array: Rows) -> Rows:
    grown = np.zeros((2 * array.shape[0], *array.shape[1:]), array.dtype)
    grown[: array.shape[0]] = array
    return grown


def _doubled_rings(rings: Rows) -> Rows:
    grown = _rings(2 * rings.shape[0])
    grown[: rings.shape[0]] = rings
    return grown


def _table_of(rows: Rows, n_rows: int) -> Rows:
    table = np.zeros(2 * rows.shape[0], at.TABLE)
    rebuild(table, rows, n_rows)
    return table


def _has_links(state: State) -> bool:
    return len(state.nodes) > 1


def grown(state: State, need: int) -> State:
    """Return state with twice the capacity of what a kernel asked for."""
    if need == at.GROW_KEYS:
        keys = _doubled(state.keys)
        if _has_links(state):
            state = state._replace(nodes=_doubled(state.nodes), last=_doubled(state.last))
        if len(state.node_rings) > 1:
            state = state._replace(node_rings=_doubled(state.node_rings))
        return state._replace(
            keys=keys,
            table=_table_of(keys, int(state.meta[at.N_KEYS])),
            risk=_doubled(state.risk),
            partners=_doubled(state.partners),
            event_rings=_doubled_rings(state.event_rings),
            label_rings=_doubled_rings(state.label_rings),
            event_marks=_doubled(state.event_marks),
            label_marks=_doubled(state.label_marks),
            charts=_doubled(state.charts),
        )
    if need == at.GROW_PAIRS:
        pairs = _doubled(state.pairs)
        return state._replace(pairs=pairs, pair_table=_table_of(pairs, int(state.meta[at.N_PAIRS])))
    if need == at.GROW_TEXTS:
        return _with_texts(state, used(state), 2 * state.text_log.shape[0])
    if need == at.GROW_EVENTS:
        return state._replace(event_log=_doubled(state.event_log))
    if need == at.GROW_STORED:
        return state._replace(stored=_doubled(state.stored))
    return state._replace(label_log=_doubled(state.label_log))


def used(state: State) -> dict[str, NDArray[Any]]:
    """Return the parts in use, without the tables: they follow from the rows."""
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
        "text_log": state.text_log[_text_places(state)],
        "text_links": state.text_links[_text_places(state)],
        "text_heads": state.text_heads,
        "text_span": state.text_span,
        "segments": state.segments,
        "segment_counts": state.segment_counts,
    }


def _text_places(state: State) -> NDArray[np.int64]:
    return _places(state.text_span, state.text_log.shape[0])


def _places(span: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    places: NDArray[np.int64] = np.arange(int(span[0]), int(span[1]), dtype=np.int64) & (capacity - 1)
    return places


def _with_texts(state: State, parts: dict[str, NDArray[Any]], capacity: int) -> State:
    """Return `state` with the text entries of `parts`, in order of their ids, in rings of another capacity."""
    places = _places(parts["text_span"], capacity)
    rings = {}
    for name in ("text_log", "text_links"):
        rings[name] = np.zeros((capacity, *parts[name].shape[1:]), parts[name].dtype)
        rings[name][places] = parts[name]
    return state._replace(**rings)


def state_from_used(parts: dict[str, NDArray[Any]], capacities: dict[str, int]) -> State:
    """Rebuild state from `used` parts and the capacities they were cut from."""

    def full(name: str, capacity: int) -> NDArray[Any]:
        part = parts[name]
        whole = _rings(capacity) if part.dtype == at.RING else np.zeros((capacity, *part.shape[1:]), part.dtype)
        whole[: part.shape[0]] = part
        return whole

    n_slots, n_pair_slots, n_linked = capacities["keys"], capacities["pairs"], capacities["nodes"]
    keys, pairs = full("keys", n_slots), full("pairs", n_pair_slots)
    meta = parts["meta"].copy()
    state = State(
        table=_table_of(keys, int(meta[at.N_KEYS])),
        keys=keys,
        risk=full("risk", n_slots),
        partners=full("partners", n_slots),
        event_rings=full("event_rings", n_slots),
        label_rings=full("label_rings", n_slots),
        event_log=full("event_log", capacities["event_log"]),
        label_log=full("label_log", capacities["label_log"]),
        event_marks=np.zeros((n_slots, at.MAX_WINDOWS), np.int32),
        label_marks=np.zeros((n_slots, at.MAX_WINDOWS), np.int32),
        event_free=parts["event_free"].copy(),
        label_free=parts["label_free"].copy(),
        pair_table=_table_of(pairs, int(meta[at.N_PAIRS])),
        pairs=pairs,
        nodes=full("nodes", n_linked),
        last=full("last", n_linked),
        stored=full("stored", capacities["stored"]),
        node_rings=full("node_rings", capacities["node_rings"]),
        tick_entities=parts["tick_entities"],
        tick_rings=parts["tick_rings"],
        meta=meta,
        charts=full("charts", capacities["charts"]),
        text_log=parts["text_log"],
        text_links=parts["text_links"],
        text_heads=parts["text_heads"].copy(),
        text_span=parts["text_span"].copy(),
        segments=parts["segments"].copy(),
        segment_counts=parts["segment_counts"].copy(),
    )
    return _with_texts(state, parts, capacities["text_log"])


def capacities(state: State) -> dict[str, int]:
    return {name: int(getattr(state, name).shape[0]) for name in _SIZED}


def state_digest(state: State) -> str:
    """Digest what is in use, as 32 hex digits; equal for equal record sequences however they were batched."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"state format {at.STATE_FORMAT}".encode())
    for name, part in used(state).items():
        digest.update(f"{name}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    return digest.hexdigest()

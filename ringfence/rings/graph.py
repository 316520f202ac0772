# SPDX-License-Identifier: Apache-2.0
"""Who took part in what, frozen as of T: a bipartite graph of events and entities in flat arrays."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.rings import _kernels_graph as kernels
from ringfence.rings.errors import LinkShapeError

NEVER_MS: Final = np.iinfo(np.int64).max  # "first seen" of an entity that no strong role ever named


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at T, in any order. n events, m links. An event names an entity once per role it plays."""

    event_key: NDArray[np.int64]  # (n,) distinct, such as the seq; gives the canonical order
    event_time_ms: NDArray[np.int64]  # (n,)
    event_label: NDArray[np.int8]  # (n,) FRAUD 1, LEGIT 0, or -1 where nothing is known at T
    event_decided: NDArray[np.bool_]  # (n,) false for context events: they connect, and are not counted as events
    amount_minor: NDArray[np.int64]  # (n,) MISSING_AMOUNT where there is none
    link_event: NDArray[np.int64]  # (m,) index into the event arrays
    link_key: NDArray[np.uint64]  # (m,) low half of the entity's digest, or the engine's slot: equal means the same
    link_check: NDArray[np.uint64]  # (m,) high half of the digest; zeros where keys are slots
    link_role: NDArray[np.uint8]  # (m,) Role.index


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """n events in the order of their keys, v entities in the order in which these events first name them, m links."""

    as_of_ms: int
    active_since_ms: int  # events at or before it are left out
    strong: NDArray[np.bool_]  # (n_roles,)
    event_key: NDArray[np.int64]  # (n,) ascending
    event_time_ms: NDArray[np.int64]
    event_label: NDArray[np.int8]
    event_decided: NDArray[np.bool_]
    amount_minor: NDArray[np.int64]
    link_start: NDArray[np.int64]  # (n + 1,) event e owns links link_start[e]:link_start[e + 1], by key, then role
    link_entity: NDArray[np.int32]  # (m,)
    link_role: NDArray[np.uint8]  # (m,)
    entity_key: NDArray[np.uint64]  # (v,)
    entity_check: NDArray[np.uint64]  # (v,)
    degree: NDArray[np.int32]  # (v,) distinct active events
    is_hub: NDArray[np.bool_]  # (v,) above the cap in some role: left out of components and propagation
    first_ms: NDArray[np.int64]  # (v,) oldest active event that names it in a strong role, or NEVER_MS
    n_collisions: int  # links whose key is known with another check

    @property
    def n_events(self) -> int:
        return int(self.event_key.shape[0])

    @property
    def n_entities(self) -> int:
        return int(self.entity_key.shape[0])

    @property
    def n_links(self) -> int:
        return int(self.link_entity.shape[0])


def freeze(
    links: Links,
    *,
    strong: NDArray[np.bool_],
    hub_cap: NDArray[np.int64],
    as_of_ms: int,
    active_since_ms: int,
    consume: bool = False,
) -> Graph:
    """Freeze the links of events in (`active_since_ms`, T] into a graph.

    Equal content gives equal bytes, whatever the order of the rows: events are ordered by their keys, links within an
    event by entity and role, entities by first appearance.

    Parameters
    ----------
    links : everything known at `as_of_ms`. Whether each label was known by then, only the caller can know.
    strong : shape (n_roles,), the roles that components are made of.
    hub_cap : shape (n_roles,), active events in one role above which an entity is a hub; each >= 1.
    consume : whether the arrays of `links` may be overwritten. It saves 17 bytes a link.

    Raises
    ------
    LinkShapeError
        If arrays differ in length, an event key comes twice, an event is younger than `as_of_ms`, or a link names an
        unknown event or role.

    Notes
    -----
    Memory beside the input: about 45 bytes a link and 60 a node while it works, 5 and 45 when it is done; 16 a link
    less where all events are active and rows come in the order of their keys, which are then not sorted either.
    """
    _check(links, len(strong), len(hub_cap))
    if len(links.event_key) and int(links.event_time_ms.max()) > as_of_ms:
        found = int(links.event_time_ms.max())
        raise LinkShapeError(what="event_time_ms", found=f"up to {found}", expected=f"none after T, {as_of_ms}")
    key = links.event_key
    order = None if bool((key[1:] > key[:-1]).all()) else np.argsort(key, kind="stable")
    if order is not None and bool((np.diff(key[order]) == 0).any()):
        raise LinkShapeError(what="event_key", found="not distinct", expected="one row per event")
    active = links.event_time_ms > active_since_ms
    chosen = np.flatnonzero(active) if order is None else order[active[order]]
    start = np.zeros(len(chosen) + 1, np.int64)
    if order is None and len(chosen) == len(key) and bool((links.link_event[1:] >= links.link_event[:-1]).all()):
        np.cumsum(np.bincount(links.link_event, minlength=len(chosen)), out=start[1:])
        link_key, link_check, role = links.link_key, links.link_check, links.link_role
        if not consume:
            link_key, link_check, role = link_key.copy(), link_check.copy(), role.copy()
    else:
        link_key, link_check, role = _chosen_links(links, chosen, start)
    kernels.order_links(start, link_key, link_check, role)
    n_links = kernels.drop_repeats(start, link_key, link_check, role)
    entity, entity_key, entity_check, n_collisions = _number_entities(link_key[:n_links], link_check[:n_links])
    n_entities = len(entity_key)
    times_ms = links.event_time_ms[chosen]
    degree, in_role = np.zeros(n_entities, np.int32), np.zeros(n_entities, np.int64)
    is_hub, first_ms = np.zeros(n_entities, np.bool_), np.full(n_entities, NEVER_MS)
    role = role[:n_links].copy()
    kernels.measure_entities(start, entity, role, times_ms, strong, hub_cap, in_role, degree, is_hub, first_ms)
    return Graph(
        as_of_ms=as_of_ms,
        active_since_ms=active_since_ms,
        strong=strong,
        event_key=key[chosen],
        event_time_ms=times_ms,
        event_label=links.event_label[chosen],
        event_decided=links.event_decided[chosen],
        amount_minor=links.amount_minor[chosen],
        link_start=start,
        link_entity=entity,
        link_role=role,
        entity_key=entity_key,
        entity_check=entity_check,
        degree=degree,
        is_hub=is_hub,
        first_ms=first_ms,
        n_collisions=n_collisions,
    )


def _chosen_links(
    links: Links, chosen: NDArray[np.int64], start: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]]:
    """Return key, check and role of the links of chosen events, event by event, and write where each begins."""
    rank = np.full(len(links.event_key), -1, np.int64)
    rank[chosen] = np.arange(len(chosen))
    event = rank[links.link_event]
    kept = np.flatnonzero(event >= 0)
    event = event[kept]
    if len(event) and bool((event[1:] < event[:-1]).any()):
        by_event = np.argsort(event, kind="stable")
        event, kept = event[by_event], kept[by_event]
    np.cumsum(np.bincount(event, minlength=len(chosen)), out=start[1:])
    return links.link_key[kept], links.link_check[kept], links.link_role[kept]


def mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble keys one to one: an order that is fixed, and has nothing to do with age."""
    out = np.empty_like(keys)
    kernels.mix_all(keys, out)
    return out


def _number_entities(
    key: NDArray[np.uint64], check: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint64], int]:
    """Number keys by first appearance, in a table that grows until it is at most half full."""
    entity, tally = np.empty(len(key), np.int32), np.zeros(2, np.int64)
    size = max(16, 1 << (len(key) // 8).bit_length())
    while True:
        table = np.zeros(size, np.int32)
        entity_key, entity_check = np.empty(size // 2, np.uint64), np.empty(size // 2, np.uint64)
        if kernels.number_entities(key, check, table, entity, entity_key, entity_check, tally):
            n = int(tally[0])
            return entity, entity_key[:n].copy(), entity_check[:n].copy(), int(tally[1])
        size *= 2


def _check(links: Links, n_roles: int, n_caps: int) -> None:
    def same_length(names: tuple[str, ...]) -> None:
        expected = getattr(links, names[0]).shape
        for name in names[1:]:
            found: Any = getattr(links, name).shape
            if found != expected:
                raise LinkShapeError(what=name, found=found, expected=expected)

    same_length(("event_key", "event_time_ms", "event_label", "event_decided", "amount_minor"))
    same_length(("link_event", "link_key", "link_check", "link_role"))
    if n_caps != n_roles:
        raise LinkShapeError(what="hub_cap", found=n_caps, expected=n_roles)
    if not len(links.link_event):
        return
    low, high = int(links.link_event.min()), int(links.link_event.max())
    if low < 0 or high >= len(links.event_key):
        raise LinkShapeError(what="link_event", found=f"{low} to {high}", expected=f"0 to {len(links.event_key) - 1}")
    if int(links.link_role.max()) >= n_roles:
        raise LinkShapeError(what="link_role", found=int(links.link_role.max()), expected=f"below {n_roles}")

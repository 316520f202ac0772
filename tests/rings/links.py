# SPDX-License-Identifier: Apache-2.0
"""Links to test with: drawn ones, and ones written as a table."""

from __future__ import annotations

import numpy as np

from ringfence.rings import Graph, Links, freeze
from ringfence.scenario.batch import MISSING_AMOUNT

DAY = 86_400_000
PERSON, CAR, SHOP = 0, 1, 2
STRONG = np.array([True, True, False])


def drawn_links(seed: int, n_events: int = 60, n_entities: int = 70, fraud: float = 0.15) -> Links:
    """Events over 100 days; some name nobody, some name an entity twice; keys of one type never meet another's."""
    g = np.random.default_rng(seed)
    event = np.sort(g.integers(0, n_events, 3 * n_events))
    role = g.integers(0, 3, len(event)).astype(np.uint8)
    number = (n_entities * g.random(len(event)) ** 2).astype(np.int64)
    key = (number * 3 + role + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    label = np.where(g.random(n_events) < fraud, 1, np.where(g.random(n_events) < 0.4, 0, -1)).astype(np.int8)
    return Links(
        event_key=np.sort(g.choice(10 * n_events, n_events, replace=False)).astype(np.int64),
        event_time_ms=g.integers(0, 100, n_events) * DAY,
        event_label=label,
        event_decided=g.random(n_events) < 0.9,
        amount_minor=np.where(g.random(n_events) < 0.1, MISSING_AMOUNT, g.integers(1, 10**6, n_events)),
        link_event=event,
        link_key=key,
        link_check=key + np.uint64(1),
        link_role=role,
    )


def shuffled(links: Links, seed: int) -> Links:
    """The same content with rows in another order, and some links said twice."""
    g = np.random.default_rng(seed)
    events = g.permutation(len(links.event_key))
    place = np.argsort(events)
    rows = g.permutation(np.concatenate((np.arange(len(links.link_key)), np.arange(0, len(links.link_key), 7))))
    return Links(
        event_key=links.event_key[events],
        event_time_ms=links.event_time_ms[events],
        event_label=links.event_label[events],
        event_decided=links.event_decided[events],
        amount_minor=links.amount_minor[events],
        link_event=place[links.link_event[rows]],
        link_key=links.link_key[rows],
        link_check=links.link_check[rows],
        link_role=links.link_role[rows],
    )


def told(*events: tuple[int, str, int]) -> Links:
    """Write events as (day, entities, label): lower case is a person, upper case a car, a digit a shop."""
    rows = [(i, letter) for i, (_, names, _) in enumerate(events) for letter in names]
    roles = [SHOP if letter.isdigit() else CAR if letter.isupper() else PERSON for _, letter in rows]
    days = np.array([day for day, _, _ in events], np.int64)
    return Links(
        event_key=np.arange(1, len(events) + 1, dtype=np.int64),
        event_time_ms=days * DAY,
        event_label=np.array([label for _, _, label in events], np.int8),
        event_decided=np.ones(len(events), np.bool_),
        amount_minor=np.full(len(events), 1_000, np.int64),
        link_event=np.array([i for i, _ in rows], np.int64),
        link_key=np.array([ord(letter) for _, letter in rows], np.uint64),
        link_check=np.zeros(len(rows), np.uint64),
        link_role=np.array(roles, np.uint8),
    )


def frozen(links: Links, *, day: int = 100, since_day: int = -1, cap: int = 1_000) -> Graph:
    """Freeze with persons and cars strong."""
    return freeze(links, strong=STRONG, hub_cap=np.full(3, cap), as_of_ms=day * DAY, active_since_ms=since_day * DAY)


def keys(letters: str) -> frozenset[int]:
    return frozenset(ord(letter) for letter in letters)

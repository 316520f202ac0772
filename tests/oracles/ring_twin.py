# SPDX-License-Identifier: Apache-2.0
"""The slow readable twin of ticks: breadth-first search and dense systems over every event, at every tick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ringfence.engine.catalogue import Catalogue
from ringfence.rings import Links
from tests.oracles.link_twin import LinkTwin, Node
from tests.oracles.rings import adjacency, slow_birank, slow_components, slow_graph
from tests.oracles.streams import DAY, Happening, Record, Truth

NAN = float("nan")
OF_RING = (
    "ring_entities",
    "ring_events",
    "ring_grew",
    "ring_age_days",
    "ring_fraud_count",
    "ring_fraud_share",
    "ring_risk",
)


@dataclass
class SlowRing:
    entities: frozenset[int]
    n_events: int
    first_ms: dict[int, int]  # of each entity
    founded_ms: int
    n_fraud: int
    n_known: int
    risk: float
    grew_entities: int = 0
    grew_events: int = 0


class RingTwin:
    """Observe records one by one; `observe` returns the ring features of a decided event, else None."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.scenario, self.ticks = catalogue.scenario, catalogue.scenario.rings
        self.links = LinkTwin(self.scenario, most_stored=catalogue.plan.room.stored, room=catalogue.plan.room.slots)
        self.n_records = 0
        self.watermark_ms = -(2**63)
        self.next_ms: int | None = None
        self.effect_ms: int | None = None
        self.numbers: dict[Node, int] = {}
        self.last: tuple[list[SlowRing], dict[int, float]] = ([], {})
        self.read: tuple[list[SlowRing], dict[int, float]] = ([], {})

    def observe(self, record: Record) -> dict[str, float] | None:
        number = self.n_records
        self.n_records += 1
        self._turn(record.known_at_ms if isinstance(record, Truth) else record.time_ms)
        if isinstance(record, Truth):
            self.links.learn(record)
            return None
        if self.scenario.event_types[record.kind].name != self.scenario.decide:
            self.links.touch(record)
            return None
        row = self._row(record)
        self.links.touch(record)
        self.links.store(number, record)
        return row

    def _turn(self, time_ms: int) -> None:
        watermark_ms = max(self.watermark_ms, time_ms)
        every = self.ticks.every_ms
        if self.effect_ms is not None and watermark_ms >= self.effect_ms:
            self.read, self.effect_ms = self.last, None
        if self.next_ms is None:
            self.next_ms = (watermark_ms // every + 1) * every
        elif watermark_ms >= self.next_ms:
            tick_ms = watermark_ms // every * every
            self.last = self._survey(tick_ms)
            self.next_ms, self.effect_ms = tick_ms + every, tick_ms + self.ticks.lag_ms
            if watermark_ms >= self.effect_ms:
                self.read, self.effect_ms = self.last, None
        self.watermark_ms = watermark_ms

    def _survey(self, tick_ms: int) -> tuple[list[SlowRing], dict[int, float]]:
        seen = self.links.seen[-self.links.most_stored :]
        named = [(i, *of) for i, event in enumerate(seen) for of in event.kept if self.links.is_alive(of[0])]
        links = Links(
            event_key=np.array([event.number for event in seen], np.int64),
            event_time_ms=np.array([event.event.time_ms for event in seen], np.int64),
            event_label=np.array([self.links.standing.get(event.number, -1) for event in seen], np.int8),
            event_decided=np.ones(len(seen), np.bool_),
            amount_minor=np.zeros(len(seen), np.int64),
            link_event=np.array([i for i, _, _ in named], np.int64),
            link_key=np.array([self.numbers.setdefault(node, len(self.numbers)) for _, node, _ in named], np.uint64),
            link_check=np.zeros(len(named), np.uint64),
            link_role=np.array([role.index for _, _, role in named], np.uint8),
        )
        roles = self.scenario.roles
        caps = np.full(len(roles), self.ticks.hub_cap)
        graph = slow_graph(links, caps, tick_ms - self.ticks.active_ms)
        label = dict(zip(links.event_key.tolist(), links.event_label.tolist(), strict=True))
        time = dict(zip(links.event_key.tolist(), links.event_time_ms.tolist(), strict=True))
        matrix, entities = adjacency(graph)
        seeds = np.array([float(label[event] == 1) for event in graph.events])
        event_risk, entity_risk = slow_birank(matrix, seeds, 0.85) if len(graph.events) else (seeds, seeds)
        risk_of_event = dict(zip(graph.events, event_risk, strict=True))
        strong = np.array([role.strong for role in roles])
        rings = []
        for members, events in slow_components(graph, strong, time, self.ticks.tie_ms):
            tying = {
                m: [e for e, pairs in graph.events.items() if any(n == m and strong[r] for n, r in pairs)]
                for m in members
            }
            rings.append(
                SlowRing(
                    entities=members,
                    n_events=len(events),
                    first_ms={m: min(time[e] for e in tying[m]) for m in members},
                    founded_ms=min(time[e] for e in events),
                    n_fraud=sum(label[e] == 1 for e in events),
                    n_known=sum(label[e] >= 0 for e in events),
                    risk=float(np.mean([risk_of_event[e] for e in sorted(events)])),
                )
            )
        self._carry(rings)
        return rings, dict(zip(entities, entity_risk, strict=True))

    def _carry(self, rings: list[SlowRing]) -> None:
        heirs: list[list[SlowRing]] = [[] for _ in rings]
        for earlier in self.last[0]:
            # Numbers, as slots do, go by first appearance: of equal age the entity seen first is the older.
            kept = [
                (len(earlier.entities & ring.entities), max((-ms, -who) for who, ms in ring.first_ms.items()))
                for ring in rings
            ]
            if kept and max(kept)[0]:
                heirs[kept.index(max(kept))].append(earlier)
        for ring, inherited in zip(rings, heirs, strict=True):
            before = min(inherited, key=lambda earlier: earlier.founded_ms) if inherited else None
            ring.grew_entities = len(ring.entities) - (len(before.entities) if before else 0)
            ring.grew_events = ring.n_events - (before.n_events if before else 0)
            ring.founded_ms = min(ring.founded_ms, before.founded_ms) if before else ring.founded_ms

    def _row(self, event: Happening) -> dict[str, float]:
        rings, risk = self.read
        row: dict[str, float] = {}
        met: dict[int, dict[str, float]] = {}
        nodes = [node for node, _ in self.links.nodes(event)]  # entities beyond the 16 that take part read as unnamed
        for role in self.links.roles:
            read = []
            for node in [self.links.node(role, number) for index, number in event.links if index == role.index]:
                if node not in nodes:
                    continue
                key = self.numbers.get(node, -1)
                own = [i for i, ring in enumerate(rings) if key in ring.entities]
                values = _values(rings[own[0]], event.time_ms) if own else _values(None, event.time_ms)
                met |= {own[0]: values} if own else {}
                read.append(values | {"risk": risk.get(key, 0.0)})
            for stat in ("risk", *OF_RING) if role.strong else ("risk",):
                present = [values[stat] for values in read if values[stat] == values[stat]]
                if role.many:
                    row[f"{role.name}.{stat}.max"] = max(present, default=NAN)
                    row[f"{role.name}.{stat}.mean"] = sum(present) / len(present) if present else NAN
                else:
                    row[f"{role.name}.{stat}"] = read[0][stat] if read else NAN
        row["event.rings"] = float(len(met))
        for stat in (*OF_RING, "ring_grew_entities"):
            nothing = NAN if stat in ("ring_age_days", "ring_fraud_share") else 0.0
            row[f"event.{stat}"] = _largest([nothing, *(values[stat] for values in met.values())])
        row["event.risk"] = max([0.0, *(risk.get(self.numbers.get(node, -1), 0.0) for node in nodes)])
        return row


def _largest(values: Iterable[float]) -> float:
    return max((value for value in values if value == value), default=NAN)


def _values(ring: SlowRing | None, time_ms: int) -> dict[str, float]:
    if ring is None:
        return {
            name: NAN if name in ("ring_age_days", "ring_fraud_share") else 0.0
            for name in (*OF_RING, "ring_grew_entities")
        }
    return {
        "ring_entities": float(len(ring.entities)),
        "ring_events": float(ring.n_events),
        "ring_grew": float(ring.grew_events),
        "ring_grew_entities": float(ring.grew_entities),
        "ring_age_days": (time_ms - ring.founded_ms) / DAY,
        "ring_fraud_count": float(ring.n_fraud),
        "ring_fraud_share": ring.n_fraud / ring.n_known if ring.n_known else NAN,
        "ring_risk": ring.risk,
    }

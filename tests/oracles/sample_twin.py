# SPDX-License-Identifier: Apache-2.0
"""The slow readable twin of the neighbourhood sampler: lists of what happened, on top of the twin of the links."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from ringfence.scenario.spec import Role, Scenario
from tests.oracles.link_twin import LinkTwin, Node, Seen
from tests.oracles.segment_twin import SegmentTwin
from tests.oracles.streams import DAY, Happening, Record, Truth

MANY = 2  # seats of a role that can hold several


@dataclass
class Sample:
    """By names: columns of each seat, and of each sampled event, newest first."""

    seats: dict[str, dict[str, float]] = field(default_factory=dict)
    events: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    places: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # (record number, event time)
    n_visited: int = 0


def log_of(x: float) -> float:
    return math.log1p(x) if x >= 0 else -math.log1p(-x)


class SampleTwin:
    """Observe records one by one; `observe` returns the sample of a decided event, else None."""

    def __init__(self, scenario: Scenario, n_sampled: int, *, most_stored: int, room: int) -> None:
        self.scenario = scenario
        self.n_sampled = n_sampled
        self.links = LinkTwin(scenario, most_stored=most_stored, room=room)
        self.segments = SegmentTwin(scenario)
        self.records: list[Record] = []
        self.told: dict[tuple[object, ...], list[Seen]] = defaultdict(list)  # by event type, role and number

    def observe(self, record: Record) -> Sample | None:
        number = len(self.records)
        self.records.append(record)
        if isinstance(record, Truth):
            event = self.records[record.of]
            assert isinstance(event, Happening)
            if self.is_decided(event):
                self.links.learn(record)
                self.segments.learn(record, event)
            return None
        if not self.is_decided(record):
            self.touch(record)
            self.tell(number, record)
            return None
        sample = self.sample(record)
        self.touch(record)
        self.links.store(number, record)
        return sample

    def is_decided(self, event: Happening) -> bool:
        return self.scenario.event_types[event.kind].name == self.scenario.decide

    def touch(self, event: Happening) -> None:
        for key in self.links.touch(event):
            self.told.pop(key, None)

    def contexts(self, role: Role) -> list[tuple[str, str]]:
        """Return the (event type, role) whose events stand among those of an entity in `role`."""
        decided = [one.name for one in self.links.roles]
        return [
            (event_type.name, column.role)
            for event_type in self.scenario.event_types
            for column in event_type.roles
            if role.sequence and event_type.name != self.scenario.decide
            if column.role == role.name
            or (column.role not in decided and self.scenario.role(column.role).entity_type == role.entity_type)
        ]

    def tell(self, number: int, event: Happening) -> None:
        name = self.scenario.event_types[event.kind].name
        wanted = {context for role in self.links.roles for context in self.contexts(role)}
        named = [(name, self.scenario.roles[index].name, of) for index, of in dict.fromkeys(event.links)]
        told = [key for key in named if key[:2] in wanted]
        if told:
            seen = self.links.store_told(number, event)
            for key in told:
                self.told[key].append(seen)

    def last(self, node: Node, role: Role, number: int) -> list[Seen]:
        """Its last events, newest first: decided ones, and where the role is a sequence others too."""
        found = self.links.last(node, self.n_sampled)
        for context in self.contexts(role):
            found = found + self.links.held(self.told.get((*context, number), []), self.n_sampled)
        return sorted(found, key=lambda seen: -seen.number)[: self.n_sampled]

    def prior(self, at_hand: Happening) -> float:
        standing = list(self.links.standing.values())
        return self.segments.rate(at_hand, (sum(standing) + 0.5) / (len(standing) + 1.0))

    def sample(self, event: Happening) -> Sample:
        sample = Sample()
        nodes = dict(self.links.nodes(event))
        for role in self.links.roles:
            numbers = [number for index, number in event.links if index == role.index]
            for place in range(MANY if role.many else 1):
                name = f"{role.name}.{place + 1}" if role.many else role.name
                node = self.links.node(role, numbers[place]) if place < len(numbers) else None
                if node not in nodes:
                    node = None
                sample.seats[name] = self.seat(node, nodes)
                last = self.last(node, role, numbers[place]) if node is not None else []
                sample.events[name] = [self.event(seen, node, event, nodes) for seen in last if node is not None]
                sample.places[name] = [(seen.number, seen.event.time_ms) for seen in last]
                sample.n_visited += sum(len(seen.kept) for seen in last)
        return sample

    def seat(self, node: Node | None, nodes: dict[Node, Role]) -> dict[str, float]:
        links = self.links
        if node is None:
            return dict.fromkeys(("present", "events", "known", "frauds", "near_frauds", "is_hub"), 0.0)
        return {
            "present": 1.0,
            "events": math.log1p(len(links.events_of(node))),
            "known": math.log1p(links.known(node)),
            "frauds": math.log1p(links.frauds(node)),
            "near_frauds": math.log1p(links.near[node]),
            "is_hub": float(links.is_hub(node, nodes[node])),
        }

    def event(self, seen: Seen, node: Node, at_hand: Happening, nodes: dict[Node, Role]) -> dict[str, float]:
        links, prior = self.links, self.prior(at_hand)
        others = [m for m, role in seen.kept if m != node and not links.is_hub(m, role) and links.is_alive(m)]
        sizes = [math.log1p(len(links.events_of(met))) for met in others]
        rates = [(links.frauds(met) + prior * 10.0) / (links.known(met) + 10.0) for met in others]
        days = (at_hand.time_ms - seen.event.time_ms) / DAY
        theirs, ours = seen.event.amount, at_hand.amount
        size = 0.0 if theirs is None else log_of(theirs / 100)
        label = links.standing.get(seen.number)
        own_fraud = int(label == 1)
        return {
            "amount_log": size,
            "has_amount": float(theirs is not None),
            "gap": days,
            "gap_log": log_of(days),
            "is_known": float(label is not None),
            "is_fraud": float(own_fraud),
            "shared": float(sum(met in nodes for met in others)),
            "links": float(len(seen.nodes) or len(set(seen.event.links))),
            "event_type": float(seen.event.kind),
            "amount_ratio": 0.0 if theirs is None or ours is None else size - log_of(ours / 100),
            "others": float(len(others)),
            "others_events_mean": sum(sizes) / len(sizes) if sizes else 0.0,
            "others_events_max": max(sizes, default=0.0),
            "others_fraud_rate_mean": sum(rates) / len(rates) if rates else prior,
            "others_fraud_rate_max": max(rates, default=prior),
            "others_frauds": math.log1p(sum(links.frauds(met) - own_fraud for met in others)),
            "others_near_frauds": math.log1p(sum(links.near[met] for met in others)),
        }

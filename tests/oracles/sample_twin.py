# SPDX-License-Identifier: Apache-2.0
"""The slow readable twin of the neighbourhood sampler: lists of what happened, on top of the twin of the links."""

from __future__ import annotations

import math
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
            self.links.touch(record)
            return None
        sample = self.sample(record)
        self.links.touch(record)
        self.links.store(number, record)
        return sample

    def is_decided(self, event: Happening) -> bool:
        return self.scenario.event_types[event.kind].name == self.scenario.decide

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
                last = self.links.last(node)[: self.n_sampled] if node is not None else []
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
            "links": float(len(seen.nodes)),
            "amount_ratio": 0.0 if theirs is None or ours is None else size - log_of(ours / 100),
            "others": float(len(others)),
            "others_events_mean": sum(sizes) / len(sizes) if sizes else 0.0,
            "others_events_max": max(sizes, default=0.0),
            "others_fraud_rate_mean": sum(rates) / len(rates) if rates else prior,
            "others_fraud_rate_max": max(rates, default=prior),
            "others_frauds": math.log1p(sum(links.frauds(met) - own_fraud for met in others)),
            "others_near_frauds": math.log1p(sum(links.near[met] for met in others)),
        }

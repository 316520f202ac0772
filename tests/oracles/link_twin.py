# SPDX-License-Identifier: Apache-2.0
"""The slow readable twin of the features one hop away: every event kept whole, every neighbour looked up in lists."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ringfence.engine.windows import span_text, window_floor_ms
from ringfence.scenario.spec import Role, Scenario
from tests.oracles.memory_twin import MemoryTwin, keys_of
from tests.oracles.streams import DAY, Happening, Truth

NAN = float("nan")
LAST = 16  # events an entity refers back to
KEPT = 9  # entities of an event that are kept
MOST = 16  # entities of an event that take part at all

Node = tuple[str, int, int]  # entity type where several roles share it, else role; the entity's number; which life


@dataclass
class Seen:
    number: int
    event: Happening
    nodes: list[tuple[Node, Role]]  # all that take part
    kept: list[tuple[Node, Role]]  # those that neighbours are told of


class LinkTwin:
    def __init__(self, scenario: Scenario, *, most_stored: int, room: int) -> None:
        self.scenario = scenario
        self.memory = MemoryTwin(room)
        self.now_ms = -(2**63)
        self.lives: dict[tuple[str, int], int] = defaultdict(int)
        self.most_stored = most_stored
        self.roles = [scenario.role(column.role) for column in scenario.decided.roles]
        self.seen: list[Seen] = []
        self.standing: dict[int, int] = {}
        self.near: dict[Node, int] = defaultdict(int)
        self.by_node: dict[Node, list[Seen]] = defaultdict(list)

    def node(self, role: Role, number: int) -> Node:
        shared = sum(other.entity_type == role.entity_type for other in self.roles) > 1
        name = f"type {role.entity_type}" if shared else f"role {role.name}"
        return (name, number, self.lives[name, number])

    def touch(self, event: Happening) -> list[tuple[object, ...]]:
        """Have the event's entities remembered, of whatever type it is; return whom that made the engine forget."""
        if self.scenario.event_types[event.kind].name == self.scenario.decide:
            self.now_ms = max(self.now_ms, event.time_ms)
        now_ms = max(self.now_ms, event.time_ms)
        forgotten = self.memory.touch(keys_of(self.scenario, event), event.time_ms, now_ms)
        for kind, name, number in forgotten:
            if kind == "any":
                self.lives[f"type {name}", number] += 1
            elif kind == self.scenario.decide:
                self.lives[f"role {name}", number] += 1
        return forgotten

    def is_alive(self, node: Node) -> bool:
        return self.lives[node[:2]] == node[2]

    def nodes(self, event: Happening) -> list[tuple[Node, Role]]:
        named: dict[Node, Role] = {}
        for role_index, number in event.links:
            role = self.scenario.roles[role_index]
            named.setdefault(self.node(role, number), role)
        return list(named.items())[:MOST]

    # -- what is known of a node ----------------------------------------------------------------------------------

    def events_of(self, node: Node) -> list[Seen]:
        return self.by_node[node]

    def frauds(self, node: Node) -> int:
        return sum(self.standing.get(seen.number, 0) for seen in self.events_of(node))

    def known(self, node: Node) -> int:
        return sum(seen.number in self.standing for seen in self.events_of(node))

    def is_hub(self, node: Node, role: Role) -> bool:
        return len(self.events_of(node)) > role.hub_cap

    def last(self, node: Node, most: int = LAST) -> list[Seen]:
        """Its last events that the store still holds, newest first."""
        return self.held(self.events_of(node), most)

    def held(self, events: list[Seen], most: int = LAST) -> list[Seen]:
        """Those of the last of some events that the store still holds, newest first."""
        oldest = self.seen[-self.most_stored].number if len(self.seen) > self.most_stored else 0
        return [seen for seen in events[-most:][::-1] if seen.number >= oldest]

    # -- observing ------------------------------------------------------------------------------------------------

    def store(self, number: int, event: Happening) -> None:
        nodes = self.nodes(event)
        known = {node: 0 if self.is_hub(node, role) else self.frauds(node) for node, role in nodes}
        for node, _ in nodes:
            self.near[node] += sum(known.values()) - known[node]
        first_of_role = {role.name: node for node, role in reversed(nodes)}
        order = [pair for pair in nodes if first_of_role[pair[1].name] == pair[0]]
        order += [pair for pair in nodes if first_of_role[pair[1].name] != pair[0]]
        self.seen.append(Seen(number, event, nodes, order[:KEPT]))
        for node, _ in nodes:
            self.by_node[node].append(self.seen[-1])

    def store_told(self, number: int, event: Happening) -> Seen:
        """Store an event of another type, which links nobody."""
        self.seen.append(Seen(number, event, [], []))
        return self.seen[-1]

    def learn(self, truth: Truth) -> None:
        labelled = [seen for seen in self.seen if seen.number == truth.of]
        change = truth.value - self.standing.get(truth.of, 0)
        self.standing[truth.of] = truth.value
        if not labelled or change == 0:
            return
        for node, role in labelled[0].nodes:
            if self.is_hub(node, role) or not self.is_alive(node):
                continue
            for seen in self.last(node):
                if seen.number != truth.of:
                    for met, _ in seen.kept:
                        if met != node and self.is_alive(met):
                            self.near[met] = max(self.near[met] + change, 0)

    # -- reading --------------------------------------------------------------------------------------------------

    def met(self, node: Node) -> list[tuple[Seen, Node]]:
        """Whom a node met in its last events, newest event first; hubs are passed over."""
        return [
            (seen, met)
            for seen in self.last(node)
            for met, role in seen.kept
            if met != node and not self.is_hub(met, role) and self.is_alive(met)
        ]

    def values(self, event: Happening, role: Role, number: int, prior: float) -> dict[str, float]:
        nodes = [node for node, _ in self.nodes(event)]
        roles = dict(self.nodes(event))
        node = self.node(role, number)
        if node not in nodes:
            return {}
        mentions = self.met(node)
        others = list(dict.fromkeys(met for _, met in mentions))
        newest = {met: seen for seen, met in reversed(mentions)}
        reach = {other: {met for _, met in self.met(other)} for other in nodes if other != node}
        overlaps = {seen.number: 0 for seen, _ in mentions}
        for seen, met in mentions:
            overlaps[seen.number] += met in nodes
        t, amount = event.time_ms, event.amount
        shared_frauds = sum(self.standing.get(seen.number, 0) for seen, _ in mentions)
        rates = [(self.frauds(met) + prior * 10.0) / (self.known(met) + 10.0) for met in others]
        n_events = [len(self.events_of(met)) for met in others]
        n = len(others)
        values = {
            "others": float(n),
            "others_repeat": len(mentions) / n if n else NAN,
            "shared": float(sum(met in nodes for met in others)),
            "shared_most": float(max(overlaps.values(), default=0)),
            "common": float(sum(met not in nodes and any(met in far for far in reach.values()) for met in others)),
            "others_events_mean": sum(n_events) / n if n else NAN,
            "others_events_max": float(max(n_events)) if n else NAN,
            "others_once": sum(count == 1 for count in n_events) / n if n else NAN,
            "is_hub": float(self.is_hub(node, roles[node])),
            "others_fraud_count": float(max(sum(self.frauds(met) for met in others) - shared_frauds, 0)),
            "others_fraud_share": sum(self.frauds(met) > 0 for met in others) / n if n else NAN,
            "others_fraud_rate": sum(rates) / n if n else prior,
            "others_fraud_rate_max": max(rates) if n else prior,
            "shared_fraud": float(max((o for e, o in overlaps.items() if self.standing.get(e) == 1), default=0)),
            "near_fraud_count": float(self.near[node]),
            "far_fraud_count": float(sum(self.near[met] for met in others)),
        }
        if amount is not None:
            values["similar"] = float(
                sum(
                    seen.event.amount is not None
                    and 0 <= t - seen.event.time_ms < 14 * DAY
                    and abs(seen.event.amount - amount) <= 0.2 * amount
                    for seen in self.last(node)
                )
            )
        else:
            values["similar"] = 0.0
        for span in self.scenario.windows_ms:
            floor = window_floor_ms(t, span)
            values[f"others_{span_text(span)}"] = float(sum(floor < newest[met].event.time_ms <= t for met in others))
        return values

    def together(self, event: Happening, prior: float) -> dict[str, float]:
        nodes = [node for node, _ in self.nodes(event)]
        linked = {seen.number: seen for node in nodes for seen in self.last(node)}
        known = [self.standing[number] for number in linked if number in self.standing]
        reach = {node: {met for _, met in self.met(node)} - set(nodes) for node in nodes}
        others = set().union(*reach.values())
        frauds = {met: self.frauds(met) for met in others}
        checked = sum(self.known(met) for met in others)
        rates = [(n_fraud + prior * 10.0) / (self.known(met) + 10.0) for met, n_fraud in frauds.items() if n_fraud]
        shared = [
            sum(met in nodes for seen, met in self.met(node) if seen.number == n) for node in nodes for n in linked
        ]
        return {
            "event.linked_events": float(len(linked)),
            "event.shared_most": float(max(shared, default=0)),
            "event.others": float(len(others)),
            "event.common": float(sum(sum(met in far for far in reach.values()) > 1 for met in others)),
            "event.linked_fraud_count": float(sum(known)),
            "event.linked_fraud_rate": (sum(known) + prior * 10.0) / (len(known) + 10.0),
            "event.others_fraud_count": float(sum(frauds.values())),
            "event.others_fraud_share": sum(n > 0 for n in frauds.values()) / len(others) if others else NAN,
            "event.others_fraud_rate": (sum(frauds.values()) + prior * 10.0) / (checked + 10.0),
            "event.others_fraud_rate_max": max([prior, *rates]),
            "event.far_fraud_count": float(sum(self.near[met] for met in others)),
        }

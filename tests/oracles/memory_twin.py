# SPDX-License-Identifier: Apache-2.0
"""The slow readable twin of forgetting: which entity or pair leaves when there is no room for a new one.

A list in place of the engine's rows and a dictionary in place of its table; the search itself is the stated rule.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ringfence.scenario.spec import Scenario
from tests.oracles.streams import Happening

GROUP, GROUPS = 8, 16


class MemoryTwin:
    """Remembers at most `room` keys."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.rows: list[Hashable] = []
        self.newest: dict[Hashable, int] = {}
        self.hand = 0
        self.usual_ms = 0
        self.n_forgotten = 0

    def touch(self, keys: Sequence[Hashable], time_ms: int, now_ms: int) -> list[Hashable]:
        """Let one event name `keys`; return those that were forgotten to make room for them."""
        forgotten = []
        in_use = {key for key in keys if key in self.newest}
        for key in keys:
            if key not in self.newest:
                if len(self.rows) < self.room:
                    self.rows.append(key)
                else:
                    row = self._longest_idle(now_ms, in_use)
                    forgotten.append(self.rows[row])
                    del self.newest[self.rows[row]]
                    self.rows[row] = key
                in_use.add(key)
                self.newest[key] = time_ms
            self.newest[key] = max(self.newest[key], time_ms)
        self.n_forgotten += len(forgotten)
        return forgotten

    def _longest_idle(self, now_ms: int, in_use: set[Hashable]) -> int:
        seen: list[int] = []
        for _ in range(GROUPS + len(self.rows)):
            for _ in range(GROUP):
                self.hand = (self.hand + 1) % len(self.rows)
                seen.append(self.hand)
            free = [row for row in seen if self.rows[row] not in in_use]
            if not free:
                continue
            best = min(free, key=lambda row: self.newest[self.rows[row]])  # the first of equals
            idle_ms = now_ms - self.newest[self.rows[best]]
            if idle_ms >= self.usual_ms // 2 or len(seen) >= GROUP * GROUPS:
                break
        self.usual_ms += (max(idle_ms, 0) - self.usual_ms) // 8
        return best


def keys_of(scenario: Scenario, event: Happening) -> list[tuple[object, ...]]:
    """Return the streams' entities that an event names, each once, in the order in which the engine meets them."""
    keys: list[tuple[object, ...]] = []
    kind = scenario.event_types[event.kind].name
    shared = [scenario.role(column.role).entity_type for column in scenario.decided.roles]
    for role_index, number in event.links:
        role = scenario.roles[role_index]
        keys.append((kind, role.name, number))
        if kind == scenario.decide and shared.count(role.entity_type) > 1:
            keys.append(("any", role.entity_type, number))
    return list(dict.fromkeys(keys))

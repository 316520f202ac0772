# SPDX-License-Identifier: Apache-2.0
"""What is known of each segment, as plain dicts: the slow twin of the segment kernels."""

from __future__ import annotations

import math

from ringfence.scenario.spec import Scenario
from tests.oracles.streams import Happening, Truth


class SegmentTwin:
    """Remembers the standing label of each labelled event of the decided type, by the segment of its event."""

    def __init__(self, scenario: Scenario, *, most: int = 1 << 16) -> None:
        self.decided = scenario.decided.index
        names = [attribute.name for attribute in scenario.value_attributes]
        self.columns = [names.index(name) for name in scenario.segments]
        self.most = most
        self.standing: dict[tuple[float | None, ...], dict[int, int]] = {}
        self.n_beyond = 0

    def segment_of(self, event: Happening) -> tuple[float | None, ...]:
        values = [event.values[column] if column < len(event.values) else math.nan for column in self.columns]
        return tuple(None if math.isnan(value) else value for value in values)

    def learn(self, truth: Truth, event: Happening) -> None:
        if event.kind != self.decided or not self.columns:
            return
        segment = self.segment_of(event)
        if segment not in self.standing and len(self.standing) == self.most:
            self.n_beyond += 1
            return
        self.standing.setdefault(segment, {})[truth.of] = truth.value

    def rate(self, event: Happening, overall: float) -> float:
        labels = self.standing.get(self.segment_of(event), {})
        return (sum(labels.values()) + 5.0) / (len(labels) + 5.0 / overall) if labels else overall

    def values(self, event: Happening, overall: float) -> dict[str, float]:
        labels = self.standing.get(self.segment_of(event), {})
        return {
            "segment.known_count": float(len(labels)),
            "segment.fraud_count": float(sum(labels.values())),
            "segment.fraud_rate": self.rate(event, overall),
        }

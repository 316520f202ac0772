# SPDX-License-Identifier: Apache-2.0
"""How long decisions took, by what was decided and by whom."""

from __future__ import annotations

from ringfence.serving import wire
from ringfence.serving.tally import Tally
from ringfence.serving.telemetry import Telemetry


class Latencies:
    """Of one scenario; for the event loop's thread."""

    def __init__(self, scenario: str, telemetry: Telemetry) -> None:
        self._scenario, self._seconds = scenario, telemetry.decision_seconds
        self._children: dict[tuple[str, str, str], Tally] = {}
        # There before the first: a series that begins above zero has not risen, and its alert would not fire.
        self._late_answers = telemetry.late_answers.labels(scenario)

    def record(self, answer: wire.DecisionAnswer, seconds: float, *, is_late: bool) -> None:
        """Count an answer, and whether it came after its deadline."""
        key = (answer.action, answer.rung, answer.versions["release"])
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._seconds.labels(self._scenario, *key)
        child.observe(seconds)
        if is_late:
            self._late_answers.inc()

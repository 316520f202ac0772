# SPDX-License-Identifier: Apache-2.0
"""Who lets events in: the door of the release in force, and what is counted on the way."""

from __future__ import annotations

from typing import Any

from ringfence.scenario.clock import Clock
from ringfence.scenario.door import Door
from ringfence.scenario.errors import InvalidEventError
from ringfence.scenario.event import Admission, LabelNotice
from ringfence.scoring.release import Release
from ringfence.serving import wire
from ringfence.serving.telemetry import Telemetry


class Doorman:
    """Stands at one door; another release has another doorman."""

    def __init__(self, door: Door, release: Release, clock: Clock, telemetry: Telemetry) -> None:
        self.door, self.release = door, release
        self._clock, self._telemetry = clock, telemetry

    def admit(self, raw: dict[str, Any]) -> Admission:
        """Admit an event of any type; raise `InvalidEventError` with the path to what does not fit."""
        return self._counted(self.door.admit(raw, now_ms=self._clock.now_ms()))

    def admit_decided(self, raw: dict[str, Any]) -> Admission:
        """Admit an event of the decided type only.

        Raises
        ------
        InvalidEventError
            Also for an event type that teaches and is not decided.
        """
        return self._of_decided_type(self.admit(raw))

    def admit_body(self, body: bytes, ahead: wire.Ahead | None) -> Admission:
        """Admit the event in a body, of the decided type only.

        Parameters
        ----------
        ahead : the same event as the front process let it in, which counts if that was by this door.

        Raises
        ------
        MalformedBodyError
            If the body is not one JSON object.
        InvalidEventError
            As `admit_decided`.
        """
        if ahead is None or ahead.release != self.release.id:
            return self.admit_decided(wire.read_object(body))
        return self._of_decided_type(self._counted(wire.admission_of(ahead)))

    def label(self, raw: dict[str, Any]) -> LabelNotice:
        """Read a label; raise `InvalidEventError` with the path to what does not fit."""
        return self.door.label(raw)

    def _of_decided_type(self, admission: Admission) -> Admission:
        decides = self.release.scenario.decide
        if admission.event.event_type != decides:
            do = f"decisions are made on {decides!r}; send other events to /v1/events"
            raise InvalidEventError("$.event_type", repr(admission.event.event_type), do)
        return admission

    def _counted(self, admission: Admission) -> Admission:
        for name in admission.underived:
            self._telemetry.underived.labels(self.release.scenario.name, name).inc()
        return admission

# SPDX-License-Identifier: Apache-2.0
"""Journeys from the plain list of an entity's events with a place: where it was last is looked for at every reading."""

from __future__ import annotations

import math
from collections import defaultdict

from ringfence.engine.catalogue import Catalogue
from ringfence.scenario.derivations import distance_km
from ringfence.scenario.spec import Role
from tests.oracles.streams import HOUR, MINUTE, Happening, Record

NAN = float("nan")


class PlaceTwin:
    """Observe records one by one; `observe` returns the travel features of a decided event by name, else nothing."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.scenario = catalogue.scenario
        self.pasts: dict[tuple[int, int], list[tuple[int, int, float, float]]] = defaultdict(list)
        self.n_events = 0

    def forget(self, role: Role, number: int) -> None:
        self.pasts.pop((role.index, number), None)

    def observe(self, record: Record) -> dict[str, float]:
        row: dict[str, float] = {}
        travel = self.scenario.travel
        if travel is None or not isinstance(record, Happening):
            return row
        if self.scenario.event_types[record.kind].name != self.scenario.decide:
            return row
        self.n_events += 1
        given = {a.name: v for a, v in zip(self.scenario.value_attributes, record.values, strict=False)}
        latitude, longitude = given.get(travel.latitude, NAN), given.get(travel.longitude, NAN)
        is_place = distance_km(0.0, 0.0, latitude, longitude) is not None
        for role in map(self.scenario.role, travel.roles):
            numbers = [number for index, number in record.links if index == role.index]
            read = [
                self._values(self.pasts[role.index, number], record.time_ms, latitude, longitude) for number in numbers
            ]
            for stat in ("travel_km", "travel_kmh"):
                present = [values[stat] for values in read if stat in values]
                if role.many:
                    row[f"{role.name}.{stat}.max"] = max(present, default=NAN)
                    row[f"{role.name}.{stat}.mean"] = sum(present) / len(present) if present else NAN
                else:
                    row[f"{role.name}.{stat}"] = present[0] if present else NAN
            if is_place:
                for number in numbers:
                    self.pasts[role.index, number].append((record.time_ms, self.n_events, latitude, longitude))
        return row

    @staticmethod
    def _values(
        past: list[tuple[int, int, float, float]], t: int, latitude: float, longitude: float
    ) -> dict[str, float]:
        if not past:
            return {}
        time, _, last_latitude, last_longitude = max(past)
        km = distance_km(last_latitude, last_longitude, latitude, longitude)
        if km is None or math.isnan(km):
            return {}
        return {"travel_km": km, "travel_kmh": km / (max(abs(t - time), MINUTE) / HOUR)}

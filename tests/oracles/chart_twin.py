# SPDX-License-Identifier: Apache-2.0
"""Control charts from the plain list of an entity's events: every sum is begun anew at every reading."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.windows import span_text, window_floor_ms
from ringfence.scenario.spec import Role
from tests.oracles.streams import Happening, Record

NAN = float("nan")
WEIGHT, SLACK, CUT, MOST, LEAST_SPREAD, LEAST_POINTS = 0.2, 0.5, 4.0, 20.0, 0.05, 5


class ChartTwin:
    """Observe records one by one; `observe` returns the chart features of a decided event by name, else nothing."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.scenario = catalogue.scenario
        self.pasts: dict[tuple[int, int], list[tuple[int, int | None]]] = defaultdict(list)

    def forget(self, role: Role, number: int) -> None:
        self.pasts.pop((role.index, number), None)

    def observe(self, record: Record) -> dict[str, float]:
        row: dict[str, float] = {}
        if not isinstance(record, Happening):
            return row
        if self.scenario.event_types[record.kind].name != self.scenario.decide:
            return row
        for column in self.scenario.decided.roles:
            role = self.scenario.role(column.role)
            numbers = [number for index, number in record.links if index == role.index]
            read = [self._values(self.pasts[role.index, number], record) for number in numbers]
            for stat in read[0] if read else ():
                present = [values[stat] for values in read if not math.isnan(values[stat])]
                if role.many:
                    row[f"{role.name}.{stat}.max"] = max(present, default=NAN)
                    row[f"{role.name}.{stat}.mean"] = sum(present) / len(present) if present else NAN
                else:
                    row[f"{role.name}.{stat}"] = read[0][stat]
            for number in numbers:
                self.pasts[role.index, number].append((record.time_ms, record.amount))
        return row

    def _values(self, past: list[tuple[int, int | None]], event: Happening) -> dict[str, float]:
        quiet_ms = self.scenario.windows_ms[-1]
        whole = [*past, (event.time_ms, event.amount)]
        gaps = [max(0, whole[i][0] - max(time for time, _ in whole[:i])) for i in range(1, len(whole))]
        silent = [False, *(gap > quiet_ms for gap in gaps)]
        amounts = [(i, _amount_point(amount)) for i, (_, amount) in enumerate(whole) if amount is not None]
        rates = [(i + 1, -math.log1p(gap / 1000)) for i, gap in enumerate(gaps)]
        out = {"amount_ewma_z": NAN, "amount_cusum": NAN, "rate_ewma_z": NAN, "rate_cusum": NAN}
        if event.amount is not None and len(amounts) > LEAST_POINTS:
            points = [point for _, point in amounts]
            out["amount_ewma_z"], out["amount_cusum"] = _ewma_z(points), _cusum(amounts, silent)
        if len(rates) > LEAST_POINTS:
            out["rate_ewma_z"], out["rate_cusum"] = _ewma_z([rate for _, rate in rates]), _cusum(rates, silent)
        for span in {self.scenario.windows_ms[0], self.scenario.windows_ms[-1]}:
            out[f"excess_{span_text(span)}"] = self._excess(past, event.time_ms, span)
        return out

    @staticmethod
    def _excess(past: list[tuple[int, int | None]], t: int, span: int) -> float:
        floor = window_floor_ms(t, span)
        seen = sum(floor < time <= t for time, _ in past)
        before_ms = floor - min((time for time, _ in past), default=t)
        if before_ms < t - floor or any(time > t for time, _ in past):
            return NAN
        expected = (len(past) - seen) / before_ms * (t - floor)
        return 2 * (math.sqrt(seen + 0.375) - math.sqrt(expected + 0.375))


def _amount_point(amount: int) -> float:
    return math.log1p(amount) if amount >= 0 else -math.log1p(-amount)


def _spread(points: NDArray[np.float64] | list[float]) -> float:
    return max(float(np.std(points, ddof=1)), LEAST_SPREAD)


def _ewma_z(points: list[float]) -> float:
    """The last of `points` is the event's own; mean and spread are those of the points before it."""
    level = points[0]
    for point in points[1:]:
        level = WEIGHT * point + (1 - WEIGHT) * level
    before = points[:-1]
    return (level - float(np.mean(before))) / (_spread(before) * math.sqrt(WEIGHT / (2 - WEIGHT)))


def _cusum(points: list[tuple[int, float]], silent: list[bool]) -> float:
    """`points` come with the number of their event; a silence before any event since the last point counts."""
    total, seen = 0.0, 0
    values = np.array([point for _, point in points])
    for n, (event, point) in enumerate(points):
        if any(silent[seen : event + 1]):
            total = 0.0
        seen = event + 1
        if n >= LEAST_POINTS:
            step = (point - float(np.mean(values[:n]))) / _spread(values[:n])
            total = min(MOST, max(0.0, total + min(CUT, max(-CUT, step)) - SLACK))
    return total

# SPDX-License-Identifier: Apache-2.0
"""Counters and histograms for the way of every request: plain integers that are made into text when they are read.

`prometheus_client` takes a lock for each value; these lean on one thread counting and any thread reading. A reader may
see a value's count before its sum.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class TallyCounter(Collector):
    """Counts by labels. One thread counts; values never fall."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._name, self._meaning, self.labelnames = name, meaning, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def inc(self, labels: tuple[str, ...], by: float = 1) -> None:
        """Add `by` >= 0 to what `labels`, in the order of `labelnames`, have."""
        values = self._values
        values[labels] = values.get(labels, 0) + by

    def reach(self, labels: tuple[str, ...], total: float) -> None:
        """Take over what somebody else counts."""
        self._values[labels] = total

    def value(self, *labels: str) -> float:
        """Return what was counted; 0 for labels that never were."""
        return self._values.get(labels, 0)

    def sum(self, *first: str) -> float:
        """Return what was counted with labels that begin with `first`."""
        return sum(value for labels, value in list(self._values.items()) if labels[: len(first)] == first)

    def describe(self) -> list[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._meaning, labels=self.labelnames)]

    def collect(self) -> Iterator[CounterMetricFamily]:
        (family,) = self.describe()
        for labels, value in list(self._values.items()):
            family.add_metric(labels, value)
        yield family


class TallyHistogram(Collector):
    """Histograms by labels, all with the same bounds. One thread counts in each.

    Parameters
    ----------
    bounds : ascending; a value equal to one counts below it. Values beyond the last go to +Inf.
    """

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float], *, registry: CollectorRegistry
    ) -> None:
        self._name, self._meaning, self.labelnames = name, meaning, tuple(labels)
        self._bounds = tuple(float(bound) for bound in bounds)
        self._tallies: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def labels(self, *labels: str) -> Tally:
        """Return the histogram of these labels, in the order of `labelnames`; the same one every time."""
        found = self._tallies.get(labels)
        return self._tallies.setdefault(labels, Tally(self._bounds)) if found is None else found

    def describe(self) -> list[HistogramMetricFamily]:
        return [HistogramMetricFamily(self._name, self._meaning, labels=self.labelnames)]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        (family,) = self.describe()
        names = [*(str(bound) for bound in self._bounds), "+Inf"]
        for labels, tally in list(self._tallies.items()):
            total, below = 0, []
            for name, n in zip(names, tuple(tally.counts), strict=True):
                total += n
                below.append((name, float(total)))
            family.add_metric(labels, buckets=below, sum_value=tally.total)
        yield family


class Tally:
    """One histogram: how many values there were up to each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def quantile(self, share: float) -> float | None:
        """Return the bound below which `share`, in (0, 1], of the values are; None without values.

        Exact where values are whole numbers and every one up to the largest has a bound. Infinity beyond the last.
        """
        counts = tuple(self.counts)
        needed, seen = share * sum(counts), 0
        if not needed:
            return None
        for bound, n in zip((*self._bounds, float("inf")), counts, strict=True):
            seen += n
            if seen >= needed:
                return bound
        return float("inf")

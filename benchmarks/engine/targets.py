# SPDX-License-Identifier: Apache-2.0
"""What the engine set out to reach against the others, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.engine.programme import Found, Table
from benchmarks.engine.stream import Graph
from benchmarks.engine.trial import BULK

_LEVELS = {
    "snapml": "its default, 90 columns",
    "snapml-statistics": "vertex statistics alone, 32",
    "snapml-degrees": "fan, degree and ratio alone, 12",
}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    at_least: float | None = None
    at_most: float | None = None
    wall: float
    processor: float

    @property
    def wanted(self) -> str:
        return f">= {self.at_least:g} x" if self.at_least is not None else f"<= {self.at_most:g} x"

    @property
    def verdict(self) -> str:
        met = [self._is_met(value) for value in (self.wall, self.processor)]
        return "met" if all(met) else "missed" if not any(met) else "met by one clock"

    def text(self, value: float) -> str:
        return f"{value:.2f} x" if value < 10 else f"{value:.0f} x"

    def _is_met(self, value: float) -> bool:
        return value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)


def river_of(found: Sequence[Found]) -> Found | None:
    """River at the largest stream that it finished, or else reached before its cap; from an empty state."""
    rivers = [one for one in found if one.trial.contender == "river" and one.median.n_done]
    return max(rivers, key=lambda one: (not one.median.stopped, one.trial.stream.n_events), default=None)


def targets(found: Sequence[Found]) -> list[Target]:
    """Judge every target of which both sides were measured."""
    return [target for graph in Graph for target in _of([one for one in found if one.trial.stream.graph is graph])]


def _of(found: Sequence[Found]) -> Iterator[Target]:
    graph = found[0].trial.stream.graph if found else Graph.UNIFORM
    for size in (1, 128):
        for level, what in _LEVELS.items():
            theirs = _one(found, Table.LIVE, level, size)
            for name, labels in (("ringfence", "without"), ("ringfence-labels", "with")):
                ours = _one(found, Table.LIVE, name, size)
                if ours and theirs:
                    said = f"{graph}: values/s {labels} labels against snapml ({what}), batches of {size}"
                    yield _more_values(said, ours, theirs, 3.0)
    river = river_of(found)
    if river:
        live = _one(found, Table.LIVE, "ringfence", 1)
        if live:
            yield _more_values(f"{graph}: values/s against River, all families, one by one", live, river, 50.0)
        for name, what in (("ringfence", "all families"), ("ringfence-rolling", "the same columns")):
            ours = _one(found, Table.GROWTH, name, BULK, river.trial.stream.n_events)
            if ours:
                yield _more_values(f"{graph}: values/s against River, {what}, in replay", ours, river, 50.0)
    sizes = sorted({one.trial.stream.n_events for one in found if one.table is Table.GROWTH})
    if len(sizes) > 1:
        low, high = sizes[-2:]
        for name in ("ringfence", "ringfence-labels"):
            small, large = (_one(found, Table.GROWTH, name, BULK, n) for n in (low, high))
            if small and large:
                labels = ", labels" if name != "ringfence" else ""
                yield Target(
                    name=f"{graph}: cost an event, {low:,} to {high:,} events, all families{labels}",
                    at_most=2.0,
                    wall=small.median.events_per_s / large.median.events_per_s,
                    processor=large.processor_us / small.processor_us,
                )


def _one(found: Sequence[Found], table: Table, name: str, size: int, n_events: int | None = None) -> Found | None:
    for one in found:
        trial = one.trial
        is_it = (one.table, trial.contender, trial.batch_size) == (table, name, size)
        if is_it and one.median.n_done and n_events in (None, trial.stream.n_events):
            return one
    return None


def _more_values(name: str, ours: Found, theirs: Found, at_least: float) -> Target:
    a, b = ours.median, theirs.median
    return Target(
        name=name,
        at_least=at_least,
        wall=a.values_per_s / b.values_per_s,
        processor=(a.n_values / ours.processor_us) / (b.n_values / theirs.processor_us),
    )

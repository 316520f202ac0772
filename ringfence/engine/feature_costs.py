# SPDX-License-Identifier: Apache-2.0
"""What features cost, as `benchmarks/feature_costs.py` measured it and `feature_costs.toml` keeps it.

A single statistic cannot be told apart from those that are read in the same walk: leaving out one of them saves a few
nanoseconds of the walk's microseconds, less than the measurement's own scatter. What can be measured is a *work*: the
statistics that share a walk or a lookup, left out together. Its time divided by its values is a feature's share.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

import msgspec

from ringfence.engine import layout as at
from ringfence.engine.stats import CONTROL_CHARTS, EVENT, NEIGHBOUR_RISK, ONE_HOP, RINGS, TEXT, Stat

COSTS_FILE: Final = "feature_costs.toml"
WORKS: Final = {
    "event": "amount, calendar and attributes of the event itself",
    "history": "counters of an entity: one lookup, and all that is known of it without looking at single events",
    "windows": "counts and sums of its events per window, searched in its log",
    "recent": f"largest and large amounts among its last {at.RECENT} events, walked one by one",
    "means": "averages per window",
    "label_windows": "labels of its events per window, searched in its label log",
    "label_runs": "runs of its newest labels, walked one by one",
    "pairs": "what two entities were together, and the partners of each: a lookup a pair",
    "reverse_pairs": "the same with changed places: one more lookup a pair",
    "links": f"the walk over the last {at.LAST} events of each entity and whom it met there",
    "rings": "what the last tick says of each entity; the tick itself is stated apart",
    "control_charts": "two charts per entity",
    "text": "near duplicates: four chains of similar texts",
}


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What leaving out these features saves, all others kept."""

    features: int  # values in a row of the measured scenario
    left_out_ns: float  # a decided event; median of paired batches
    plus_minus_ns: float  # half the notch of that median, about 95 %

    @property
    def is_told_apart(self) -> bool:
        """Whether the saving stands out from the scatter of the measurement."""
        return self.left_out_ns > self.plus_minus_ns

    @property
    def most_ns(self) -> float:
        """The saving; where it does not stand out, the most that it may be."""
        return self.left_out_ns if self.is_told_apart else max(self.left_out_ns, 0.0) + self.plus_minus_ns

    @property
    def value_ns(self) -> float:
        """One value's share of `most_ns`."""
        return self.most_ns / self.features


class Family(Work, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same of a family, and what it adds to a row of nothing but the event itself; None for that one."""

    alone_ns: float | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On what the costs were measured."""

    command: str
    machine: str
    claims: int  # in the world, all but the timed ones folded before
    timed_claims: int
    state_mb: float
    full_row_ns: float  # a claim, all families but rings, contract changes and labels between claims included
    event_only_ns: float  # the same with a row of nothing but the event itself: entities and logs are kept all the same
    tick_ns: float  # computing the rings, spread over the claims between two ticks


class FeatureCosts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    measured: Measured
    families: dict[str, Family]
    works: dict[str, Work]


@cache
def feature_costs() -> FeatureCosts:
    """Read the measured costs that came with this version."""
    source = resources.files("ringfence.engine").joinpath(COSTS_FILE).read_bytes()
    return msgspec.toml.decode(source, type=FeatureCosts)


def work_of(stat: Stat, *, is_pair: bool) -> str:
    """Return the work, one of WORKS, in which a statistic is read."""
    if stat.family in (EVENT, TEXT, RINGS, CONTROL_CHARTS):
        return stat.family
    if is_pair:
        return "reverse_pairs" if stat.same_type else "pairs"
    if stat.partners or at.PARTNERS <= stat.source < at.PARTNERS + at.MAX_PARTNERS:
        return "pairs"
    if stat.family in (ONE_HOP, NEIGHBOUR_RISK):
        return "links"
    for needed, work in (
        (at.NEED_LABEL_RUNS, "label_runs"),
        (at.NEED_LABEL_WINDOWS, "label_windows"),
        (at.NEED_RECENT, "recent"),
        (at.NEED_MEANS, "means"),
        (at.NEED_WINDOWS, "windows"),
    ):
        if stat.needs & needed:
            return work
    return "history"

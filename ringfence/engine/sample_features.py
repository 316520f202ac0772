# SPDX-License-Identifier: Apache-2.0
"""What every column of a sampled neighbourhood is called and means, and who has a seat in it.

All values are float32, and none is NaN: a network cannot skip one. A slot of the mask that is false, and a seat that is
not present, hold zeros. Counts are log(1 + n), so that no column needs a scale of its own.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.scenario.spec import Scenario


class SampleFeature(msgspec.Struct, frozen=True, kw_only=True):
    """One column of `Neighbourhoods.events` or `Neighbourhoods.nodes`."""

    column: int
    name: str
    unit: str
    sentence: str
    missing: str = "never"  # when the value says nothing, and what it is then
    version: int = 1


class Seat(msgspec.Struct, frozen=True):
    """An entity of the event at hand whose last events are sampled."""

    role: str
    role_index: int
    place: int  # among the event's entities in this role, in link order, from 0
    many: bool

    @property
    def name(self) -> str:
        """Such as `claimant`, or `witness.1` and `witness.2` where a role can hold several."""
        return f"{self.role}.{self.place + 1}" if self.many else self.role


_NO_OTHERS: Final = "the event named nobody else"

EVENT_FEATURES: Final[tuple[SampleFeature, ...]] = (
    SampleFeature(
        column=at.SAMPLE_AMOUNT,
        name="amount_log",
        unit="log(1 + amount)",
        sentence="its amount in major units, with its sign",
        missing="it has no amount: 0",
    ),
    SampleFeature(column=at.SAMPLE_HAS_AMOUNT, name="has_amount", unit="0/1", sentence="it has an amount"),
    SampleFeature(
        column=at.SAMPLE_GAP,
        name="gap",
        unit="days",
        sentence="from its event time to that of the event at hand; below 0 where that one came late",
    ),
    SampleFeature(
        column=at.SAMPLE_GAP_LOG,
        name="gap_log",
        unit="log(1 + days)",
        sentence="the same on a log scale, signed",
    ),
    SampleFeature(
        column=at.SAMPLE_KNOWN, name="is_known", unit="0/1", sentence="its label was known before the event at hand"
    ),
    SampleFeature(
        column=at.SAMPLE_FRAUD, name="is_fraud", unit="0/1", sentence="the label known then says fraud", missing="0"
    ),
    SampleFeature(
        column=at.SAMPLE_SHARED,
        name="shared",
        unit="entities",
        sentence="other entities of the event at hand that it named as well, hubs passed over",
    ),
    SampleFeature(
        column=at.SAMPLE_LINKS, name="links", unit="entities", sentence="entities it named, at most 16, hubs included"
    ),
    SampleFeature(
        column=at.SAMPLE_AMOUNT_RATIO,
        name="amount_ratio",
        unit="log ratio",
        sentence="its `amount_log` less that of the event at hand",
        missing="one of the two has no amount: 0",
    ),
    SampleFeature(
        column=at.SAMPLE_OTHERS, name="others", unit="entities", sentence="other entities it named, hubs passed over"
    ),
    SampleFeature(
        column=at.SAMPLE_EVENTS_MEAN,
        name="others_events_mean",
        unit="log(1 + events)",
        sentence="mean over those others of how many events they have",
        missing=f"{_NO_OTHERS}: 0",
    ),
    SampleFeature(
        column=at.SAMPLE_EVENTS_MAX,
        name="others_events_max",
        unit="log(1 + events)",
        sentence="most events that one of those others has",
        missing=f"{_NO_OTHERS}: 0",
    ),
    SampleFeature(
        column=at.SAMPLE_RATE_MEAN,
        name="others_fraud_rate_mean",
        unit="probability",
        sentence="mean share of confirmed frauds of those others, each shrunk towards that of all entities",
        missing=f"{_NO_OTHERS}: the share of all entities",
    ),
    SampleFeature(
        column=at.SAMPLE_RATE_MAX,
        name="others_fraud_rate_max",
        unit="probability",
        sentence="largest share of confirmed frauds of one of those others, shrunk likewise",
        missing=f"{_NO_OTHERS}: the share of all entities",
    ),
    SampleFeature(
        column=at.SAMPLE_FRAUDS,
        name="others_frauds",
        unit="log(1 + events)",
        sentence="confirmed frauds of those others, summed, apart from the event itself",
    ),
    SampleFeature(
        column=at.SAMPLE_NEAR,
        name="others_near_frauds",
        unit="log(1 + events)",
        sentence="confirmed frauds of the entities that those others met, summed, once for each way to them",
    ),
    SampleFeature(
        column=at.SAMPLE_TYPE,
        name="event_type",
        unit="number",
        sentence="its event type: 0 the decided one; others, of a role with `sequence`, in the order of the scenario",
    ),
)

SEAT_FEATURES: Final[tuple[SampleFeature, ...]] = (
    SampleFeature(column=at.SEAT_PRESENT, name="present", unit="0/1", sentence="the event names an entity here"),
    SampleFeature(column=at.SEAT_EVENTS, name="events", unit="log(1 + events)", sentence="its events so far"),
    SampleFeature(
        column=at.SEAT_KNOWN, name="known", unit="log(1 + events)", sentence="those of them whose label is known"
    ),
    SampleFeature(
        column=at.SEAT_FRAUDS, name="frauds", unit="log(1 + events)", sentence="those of them known to be fraud"
    ),
    SampleFeature(
        column=at.SEAT_NEAR,
        name="near_frauds",
        unit="log(1 + events)",
        sentence="confirmed frauds of the entities that it met, once for each way to them",
    ),
    SampleFeature(
        column=at.SEAT_IS_HUB, name="is_hub", unit="0/1", sentence="it has more events than the hub cap of its role"
    ),
)


def seats_of(scenario: Scenario) -> tuple[Seat, ...]:
    """Lay out the seats: roles of the decided type in order, one each, two where a role can hold several."""
    roles = sorted((scenario.role(column.role) for column in scenario.decided.roles), key=lambda role: role.index)
    return tuple(
        Seat(role.name, role.index, place, role.many)
        for role in roles
        for place in range(at.MANY_SEATS if role.many else 1)
    )


def seat_places(scenario: Scenario) -> NDArray[np.int64]:
    """Return the seats as kernels read them, shape (seats, 2): role, place."""
    return np.array([(seat.role_index, seat.place) for seat in seats_of(scenario)], np.int64).reshape(-1, 2)


def sampling_spec(scenario: Scenario, n_sampled: int) -> list[object]:
    """Return what decides the values of a sample, for `Catalogue.spec_hash`."""
    columns = [[feature.name, feature.version] for feature in (*EVENT_FEATURES, *SEAT_FEATURES)]
    return [n_sampled, [seat.name for seat in seats_of(scenario)], columns]


def samples_markdown() -> str:
    """Write the reference table of all columns."""
    lines = []
    for title, features in (("sampled event", EVENT_FEATURES), ("seat", SEAT_FEATURES)):
        lines += [f"| column of a {title} | meaning | unit | says nothing when | version |", "|---|---|---|---|---|"]
        lines += [f"| `{f.name}` | {f.sentence} | {f.unit} | {f.missing} | {f.version} |" for f in features]
        lines.append("")
    return "\n".join(lines)

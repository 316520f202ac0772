# SPDX-License-Identifier: Apache-2.0
"""Small worlds for engine tests: a scenario with everything in it, records as plain data, and records to batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from ringfence.engine.catalogue import Catalogue
from ringfence.scenario.batch import EVENT, LABEL, MISSING_AMOUNT, NO_LABEL, Batch
from ringfence.scenario.spec import Amount, Attribute, AttributeType, EventType, Role, RoleColumn, Scenario, Travel

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_700_000_000_000 // (7 * DAY) * (7 * DAY)

CLAIMANT, WITNESS, SHOP = 0, 1, 2
CLAIM, CHANGE = 0, 1


def claims_scenario(
    *,
    windows_ms: tuple[int, ...] = (30 * MINUTE, DAY, 7 * DAY),
    amount: bool = True,
    features: dict[str, bool] | None = None,
    hub_cap: int = 1_000,
    segments: tuple[str, ...] = (),
    sequence: bool = False,
) -> Scenario:
    """Two roles share an entity type, one of them holds many; one context type; an attribute and a category."""
    roles = (
        Role(name="claimant", entity_type="person", index=CLAIMANT, hub_cap=hub_cap, sequence=sequence),
        Role(name="witness", entity_type="person", index=WITNESS, many=True, hub_cap=hub_cap),
        Role(name="shop", entity_type="shop", index=SHOP, hub_cap=hub_cap),
    )
    claim = EventType(
        name="claim",
        index=CLAIM,
        event_id_column="id",
        event_time_column="time",
        roles=tuple(RoleColumn(role=role.name, column=role.name) for role in roles),
        attributes=(
            Attribute(name="policy_age", column="policy_age", type=AttributeType.NUMBER),
            Attribute(name="make", column="make", type=AttributeType.CATEGORY),
            *(Attribute(name=name, column=name, type=AttributeType.CATEGORY) for name in segments if name != "make"),
            Attribute(name="story", column="story", type=AttributeType.TEXT),
        ),
        amount=Amount(column="amount", currency="EUR") if amount else None,
    )
    change = EventType(
        name="policy_change",
        index=CHANGE,
        event_id_column="id",
        event_time_column="time",
        roles=(RoleColumn(role="claimant", column="person"),),
    )
    return Scenario(
        name="claims",
        decide="claim",
        event_types=(claim, change),
        roles=roles,
        windows_ms=windows_ms,
        features={"control_charts": True, "text": True} | (features or {}),
        segments=segments,
    )


def travelling_scenario(roles: tuple[str, ...] = ("claimant", "witness")) -> Scenario:
    """The same where a claim has a place, and journeys of `roles` between claims are measured."""
    scenario = claims_scenario()
    claim, *others = scenario.event_types
    degrees = tuple(Attribute(name=name, column=name, type=AttributeType.NUMBER) for name in ("lat", "lon"))
    policy_age, make, story = claim.attributes
    claim = msgspec.structs.replace(claim, attributes=(policy_age, make, *degrees, story))
    travel = Travel(latitude="lat", longitude="lon", roles=roles)
    return msgspec.structs.replace(scenario, event_types=(claim, *others), travel=travel)


def cards_scenario() -> Scenario:
    """Two single roles of different types: the smallest world with a pair."""
    roles = (
        Role(name="customer", entity_type="customer", index=0),
        Role(name="terminal", entity_type="terminal", index=1),
    )
    payment = EventType(
        name="payment",
        index=0,
        event_id_column="id",
        event_time_column="time",
        roles=tuple(RoleColumn(role=role.name, column=role.name) for role in roles),
        amount=Amount(column="amount", currency="EUR"),
    )
    return Scenario(
        name="cards",
        decide="payment",
        event_types=(payment,),
        roles=roles,
        windows_ms=(DAY, 7 * DAY, 30 * DAY),
        features={"control_charts": True},
    )


@dataclass(frozen=True)
class Happening:
    """An event. `links` are (role, entity number), ordered by role."""

    time_ms: int
    links: tuple[tuple[int, int], ...]
    amount: int | None = None
    kind: int = CLAIM
    values: tuple[float, ...] = (float("nan"), float("nan"))
    offset_ms: int = 0
    text: int = 0  # simhash of the story, 0 for none


@dataclass(frozen=True)
class Truth:
    """A label for the event at position `of` of the record list; what it replaces is found by `numbered`."""

    of: int
    known_at_ms: int
    value: int


Record = Happening | Truth


@dataclass
class Standing:
    values: dict[int, int] = field(default_factory=dict)


def replaced_values(records: list[Record]) -> list[int]:
    """Return per record the label value that it takes the place of, NO_LABEL for events and first labels."""
    standing: dict[int, int] = {}
    replaced = []
    for record in records:
        if isinstance(record, Truth):
            replaced.append(standing.get(record.of, NO_LABEL))
            standing[record.of] = record.value
        else:
            replaced.append(NO_LABEL)
    return replaced


def entity_of(role_type: int, number: int) -> tuple[int, int]:
    """Return a well-spread (lo, hi) for an entity number of an entity type."""
    rng = np.random.default_rng((role_type, number))
    lo, hi = rng.integers(0, 2**64, size=2, dtype=np.uint64)
    return int(lo), int(hi)


def batch_of(records: list[Record], scenario: Scenario, *, first_seq: int = 1) -> Batch:
    """Turn records into one batch with seq `first_seq`, `first_seq` + 1, …"""
    types = list(dict.fromkeys(role.entity_type for role in scenario.roles))
    n_values = len(scenario.value_attributes)
    replaced = replaced_values(records)
    columns: dict[str, list[object]] = {name: [] for name in Batch.__struct_fields__}
    columns["link_start"].append(0)
    for i, record in enumerate(records):
        event = records[record.of] if isinstance(record, Truth) else record
        assert isinstance(event, Happening)
        is_label = isinstance(record, Truth)
        columns["seq"].append(first_seq + i)
        columns["kind"].append(LABEL if is_label else EVENT)
        columns["event_type"].append(event.kind)
        columns["time_ms"].append(record.known_at_ms if isinstance(record, Truth) else record.time_ms)
        columns["offset_ms"].append(0 if is_label else event.offset_ms)
        amount = MISSING_AMOUNT if event.amount is None else event.amount
        columns["amount_minor"].append(0 if is_label else amount)
        blank = (float("nan"),) * n_values
        shown = blank if event.kind != CLAIM else (*event.values, *blank)[:n_values]
        if is_label:
            shown = tuple(v if c in scenario.segment_columns else float("nan") for c, v in enumerate(shown))
        columns["values"].append(shown)
        for role, number in event.links:
            lo, hi = entity_of(types.index(scenario.roles[role].entity_type), number)
            columns["link_role"].append(role)
            columns["link_lo"].append(lo)
            columns["link_hi"].append(hi)
        columns["link_start"].append(len(columns["link_role"]))
        columns["label_event_seq"].append(first_seq + record.of if isinstance(record, Truth) else -1)
        columns["label_event_time_ms"].append(event.time_ms if is_label else 0)
        columns["label_value"].append(record.value if isinstance(record, Truth) else NO_LABEL)
        columns["label_replaces"].append(replaced[i])
        columns["simhash"].append(0 if is_label or event.kind != CLAIM else event.text)
    dtypes = {
        "kind": np.uint8,
        "event_type": np.uint8,
        "offset_ms": np.int32,
        "values": np.float64,
        "link_role": np.uint8,
        "link_lo": np.uint64,
        "link_hi": np.uint64,
        "label_value": np.int8,
        "label_replaces": np.int8,
        "simhash": np.uint64,
    }
    arrays = {name: np.array(values, dtypes.get(name, np.int64)) for name, values in columns.items()}
    arrays["values"] = arrays["values"].reshape(len(records), n_values)
    n_texts = len(scenario.text_attributes)
    arrays["simhash"] = np.repeat(arrays["simhash"].reshape(-1, 1), n_texts, axis=1)
    return Batch(**arrays)


def cut(batch: Batch, begin: int, end: int) -> Batch:
    """Return records begin:end of a batch."""
    first, last = int(batch.link_start[begin]), int(batch.link_start[end])
    parts = {}
    for name in Batch.__struct_fields__:
        array = getattr(batch, name)
        if name == "link_start":
            parts[name] = array[begin : end + 1] - first
        elif name.startswith("link_"):
            parts[name] = array[first:last]
        else:
            parts[name] = array[begin:end]
    return Batch(**parts)


def drawn_text(rng: np.random.Generator, n_stories: int = 3) -> int:
    """Draw the simhash of one of a few stories, none in a quarter of cases, with up to five bits changed."""
    if rng.random() < 0.25:
        return 0
    story = int(np.random.default_rng((9, int(rng.integers(n_stories)))).integers(1, 2**63))
    for bit in rng.integers(0, 64, size=int(rng.choice([0, 0, 1, 2, 3, 5]))):
        story ^= 1 << int(bit)
    return story


def drawn_records(seed: int, n: int, *, n_people: int = 6, n_shops: int = 3, label_share: float = 0.3) -> list[Record]:
    """Draw a rough stream: ties, bursts, long silences, late and very late events, revised labels, missing roles."""
    rng, text_rng = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    now = START
    records: list[Record] = []
    events: list[int] = []
    for _ in range(n):
        now += int(
            rng.choice(
                [0, 0, 1, 900, 20 * MINUTE, 5 * HOUR, DAY, 3 * DAY], p=[0.2, 0.1, 0.1, 0.1, 0.2, 0.2, 0.08, 0.02]
            )
        )
        late = int(rng.choice([0, 0, 0, 0, MINUTE, 3 * HOUR, 2 * DAY, 12 * DAY]))
        if events and rng.random() < label_share:
            of = int(rng.choice(events[-30:]))
            records.append(Truth(of, now - (late if rng.random() < 0.2 else 0), int(rng.random() < 0.4)))
            continue
        time_ms = now - (late if rng.random() < 0.3 else 0)
        if rng.random() < 0.1:
            records.append(Happening(time_ms, ((CLAIMANT, int(rng.integers(n_people))),), None, CHANGE))
            continue
        links: list[tuple[int, int]] = []
        if rng.random() < 0.95:
            links.append((CLAIMANT, int(rng.integers(n_people))))
        n_witnesses = int(rng.choice([0, 1, 2, 4]))
        links += [(WITNESS, int(w)) for w in rng.choice(n_people, size=min(n_witnesses, n_people), replace=False)]
        if rng.random() < 0.9:
            links.append((SHOP, 0 if rng.random() < 0.7 else int(rng.integers(n_shops))))
        amount = None if rng.random() < 0.1 else int(rng.integers(0, 50)) * 100
        values = (float(rng.integers(100)), float("nan") if rng.random() < 0.3 else float(rng.integers(4)))
        events.append(len(records))
        offset_ms = int(rng.choice([0, HOUR, -5 * HOUR]))
        records.append(Happening(time_ms, tuple(links), amount, CLAIM, values, offset_ms, drawn_text(text_rng)))
    return records


def travelling(records: list[Record], seed: int) -> list[Record]:
    """Give each claim a place after its first two values: missing, half missing or off the globe now and then."""
    rng = np.random.default_rng((seed, 3))
    odd = [(float("nan"), float("nan")), (48.0, float("nan")), (91.0, 10.0), (0.0, -180.5)]
    found: list[Record] = []
    for record in records:
        if isinstance(record, Happening) and record.kind == CLAIM:
            place = (float(rng.uniform(-90, 90)), float(rng.uniform(-180, 180)))
            place = (-90.0, 180.0) if rng.random() < 0.1 else place
            place = odd[int(rng.integers(len(odd)))] if rng.random() < 0.2 else place
            record = replace(record, values=(*record.values, *place))
        found.append(record)
    return found


def with_room(catalogue: Catalogue, **room: int) -> Catalogue:
    """Return a catalogue whose state remembers only so many `slots`, `pairs` or `stored` events."""
    plan = catalogue.plan
    return msgspec.structs.replace(catalogue, plan=plan._replace(room=plan.room._replace(**room)))

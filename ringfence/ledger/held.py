# SPDX-License-Identifier: Apache-2.0
"""Everything that a ledger holds on one entity: events that name it, the truth told about them, decisions on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, EventBody, Kind, LabelBody, Reason
from ringfence.ledger.segments import RECORDS, SEGMENTS, attribute_column
from ringfence.scenario.batch import EVENT, FRAUD
from ringfence.scenario.event import Link
from ringfence.scenario.spec import Scenario


class HeldEntity(msgspec.Struct, frozen=True, kw_only=True, tag="entity", tag_field="kind"):
    """Who it is about."""

    scenario: str
    entity_type: str
    entity_id: str  # as it was asked for
    digest: str  # hex; what stands for it in records
    in_directory: bool  # whether its id itself is held, beside the digest


class HeldEvent(msgspec.Struct, frozen=True, kw_only=True, tag="event", tag_field="kind"):
    """An event that names it. Of others that it names only how many there are, by role."""

    seq: int
    event_type: str
    event_id: str
    event_time: str
    recorded_at: str | None  # None: imported, and recorded as of its own time
    amount: float | None  # in major units
    currency: str | None
    roles: list[str]  # in which it is named
    others: dict[str, int]
    attributes: dict[str, Any]  # by name; times in ms since 1970; those without a value are left out
    personal: dict[str, Any]  # likewise, of the side table that can be erased


class HeldLabel(msgspec.Struct, frozen=True, kw_only=True, tag="label", tag_field="kind"):
    """What somebody said about such an event."""

    seq: int
    event_seq: int
    label: str  # fraud | legit
    source: str
    known_at: str
    stands: bool  # False: a stronger source had spoken before


class HeldDecision(msgspec.Struct, frozen=True, kw_only=True, tag="decision", tag_field="kind"):
    """What was decided on such an event."""

    decision_id: str
    seq: int
    event_seq: int
    recorded_at: str
    action: str
    score: float
    raw_score: float
    members: dict[str, float]
    reasons: tuple[Reason, ...]
    versions: dict[str, str]
    circumstances: dict[str, Any]
    propensity: float
    features: list[float | None] | None  # the row that was kept, in the order of the release's features


Held = HeldEntity | HeldEvent | HeldLabel | HeldDecision
_COLUMNS: Final = [
    "seq", "kind", "event_type", "time_ms", "amount_minor", "role", "lo", "hi", "event_id",
    "label_event_seq", "label_value", "label_source", "label_stands",
]  # fmt: skip


def held_on(ledger: Ledger, entity_type: str, entity_id: str | int) -> Iterator[Held]:
    """Yield who it is, then what is held, in seq order but for decisions, which follow their event.

    Reads the whole ledger once and writes nothing. Weaker labels, and those that were replaced, are told too.

    Parameters
    ----------
    entity_type : such as `person`; every role of it counts.
    entity_id : whole numbers count as their decimals.
    """
    scenario = ledger.scenario
    hi, lo = ledger.identity.entity(entity_type, entity_id)
    digest = hi.to_bytes(8, "big") + lo.to_bytes(8, "big")
    yield HeldEntity(
        scenario=scenario.name,
        entity_type=entity_type,
        entity_id=str(entity_id),
        digest=digest.hex(),
        in_directory=digest in ledger.entity_names([digest]),
    )
    roles = {role.index for role in scenario.roles if role.entity_type == entity_type}
    at = 0
    for segment in ledger.segments():
        yield from _live(ledger, at, segment.first_seq - 1, roles, hi, lo)
        yield from _imported(ledger, segment.path, roles, hi, lo)
        at = segment.last_seq
    yield from _live(ledger, at, ledger.last_seq, roles, hi, lo)


def _imported(ledger: Ledger, path: str, roles: set[int], hi: int, lo: int) -> Iterator[Held]:
    scenario = ledger.scenario
    scan = pl.scan_parquet(ledger.directory / SEGMENTS / path / RECORDS, glob=False)
    present = set(scan.collect_schema().names())
    named = {
        event_type.index: [
            (a.name, column)
            for a in event_type.attributes
            if not a.personal and (column := attribute_column(event_type, a)) in present
        ]
        for event_type in scenario.event_types
    }
    columns = [*_COLUMNS, *dict.fromkeys(column for pairs in named.values() for _, column in pairs)]
    found = scan.filter(pl.col("lo").list.contains(pl.lit(lo, dtype=pl.UInt64))).select(columns).collect()
    for row in found.iter_rows(named=True):
        links = tuple(Link(*link) for link in zip(row["role"], row["lo"], row["hi"], strict=True))
        if not _names(links, roles, hi, lo):
            continue
        if row["kind"] != EVENT:
            yield HeldLabel(
                seq=row["seq"],
                event_seq=row["label_event_seq"],
                label=_word(row["label_value"]),
                source=row["label_source"],
                known_at=_iso(row["time_ms"]),
                stands=row["label_stands"],
            )
            continue
        yield from _event(
            ledger,
            row["seq"],
            scenario.event_types[row["event_type"]].name,
            row["event_id"],
            row["time_ms"],
            None,
            row["amount_minor"],
            links,
            {name: row[column] for name, column in named[row["event_type"]]},
            (hi, lo),
        )


def _live(ledger: Ledger, after: int, until: int, roles: set[int], hi: int, lo: int) -> Iterator[Held]:
    for record in ledger.records(after, kinds=(Kind.EVENT, Kind.LABEL), until_seq=until):
        body = record.body
        if isinstance(body, LabelBody) and _names(body.links, roles, hi, lo):
            yield HeldLabel(
                seq=record.seq,
                event_seq=body.event_seq,
                label=_word(body.value),
                source=body.source,
                known_at=_iso(body.known_at_ms),
                stands=body.stands,
            )
        if isinstance(body, EventBody) and _names(body.event.links, roles, hi, lo):
            event = body.event
            yield from _event(
                ledger,
                record.seq,
                event.event_type,
                event.event_id,
                event.event_time_ms,
                record.recorded_at_ms,
                event.amount_minor,
                event.links,
                event.attributes,
                (hi, lo),
            )


def _event(
    ledger: Ledger,
    seq: int,
    event_type: str,
    event_id: str,
    event_time_ms: int,
    recorded_at_ms: int | None,
    amount_minor: int | None,
    links: tuple[Link, ...],
    attributes: dict[str, Any],
    who: tuple[int, int],
) -> Iterator[Held]:
    """The event, and the decision on it if there is one."""
    scenario = ledger.scenario
    amount = scenario.event_type(event_type).amount
    others = [link for link in links if (link.hi, link.lo) != who]
    yield HeldEvent(
        seq=seq,
        event_type=event_type,
        event_id=event_id,
        event_time=_iso(event_time_ms),
        recorded_at=None if recorded_at_ms is None else _iso(recorded_at_ms),
        amount=None if amount is None or amount_minor is None else amount_minor / 10.0**amount.digits,
        currency=None if amount is None else amount.currency,
        roles=list(_counted(scenario, [link for link in links if (link.hi, link.lo) == who])),
        others=_counted(scenario, others),
        attributes={name: value for name, value in attributes.items() if value is not None},
        personal={name: value for name, value in ledger.personal(seq).items() if value is not None},
    )
    record = ledger.decision_of(seq)
    if record is None or not isinstance(record.body, DecisionBody):
        return
    body = record.body
    row = None if body.row is None else np.frombuffer(body.row, np.float64).tolist()
    yield HeldDecision(
        decision_id=f"d-{record.seq}",
        seq=record.seq,
        event_seq=seq,
        recorded_at=_iso(record.recorded_at_ms),
        action=body.action,
        score=body.score,
        raw_score=body.raw_score,
        members=body.members,
        reasons=body.reasons,
        versions=body.versions,
        circumstances=body.circumstances,
        propensity=body.propensity,
        features=row,
    )


def _names(links: tuple[Link, ...], roles: set[int], hi: int, lo: int) -> bool:
    return any(link.lo == lo and link.hi == hi and link.role in roles for link in links)


def _counted(scenario: Scenario, links: list[Link]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for link in links:
        name = scenario.roles[link.role].name
        counted[name] = counted.get(name, 0) + 1
    return counted


def _word(value: int) -> str:
    return "fraud" if value == FRAUD else "legit"


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

# SPDX-License-Identifier: Apache-2.0
"""Rings as people and programs read them: a list, and one ring with names from the erasable directory."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ringfence.cli.options import iso_time
from ringfence.cli.terminal import table

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.rings import Ring, RingSettings, Survey
    from ringfence.scenario.spec import Scenario

_DAY_MS: Final = 86_400_000
_SHOWN: Final = 40  # members, events and pieces of evidence in the text; --json has them all
_LABELS: Final = {1: "fraud", 0: "legit", -1: "unknown"}
_PEOPLE: Final = ["entity", "roles", "events", "elsewhere", "fraud", "risk"]


def list_report(
    spec: Scenario, found: Survey, rows: list[int], settings: RingSettings, *, min_events: int
) -> tuple[dict[str, Any], str]:
    """The rings in `rows` of the survey's tick, for programs and for people."""
    from ringfence.engine.windows import span_text
    from ringfence.rings import outline

    graph, listed = found.graph, [outline(found, row) for row in rows]
    strong = [role.name for role in spec.roles if role.strong]
    n_hubs = int(graph.is_hub.sum())
    head = (
        f"{spec.name} as of {iso_time(graph.as_of_ms)}: {graph.n_events:,} events since "
        f"{iso_time(graph.active_since_ms)}, {graph.n_entities:,} entities, {graph.n_links:,} links, {n_hubs:,} hubs "
        f"left out; tied by {', '.join(strong)} within {span_text(settings.tie_ms)}"
    )
    lines = table(
        ["ring", "age", "quiet", "events", "new", "entities", "known fraud", "exposure", "unlabelled", "risk"],
        [
            [
                ring.ring_id,
                f"{(graph.as_of_ms - ring.founded_ms) // _DAY_MS:,} d",
                f"{(graph.as_of_ms - ring.last_ms) // _DAY_MS:,} d",
                f"{ring.n_events:,}",
                f"{ring.grown_events:+,}",
                f"{ring.n_entities:,}",
                _known(ring),
                _money(spec, ring.exposure_minor),
                _money(spec, ring.unlabelled_minor),
                f"{ring.risk:.4f}",
            ]
            for ring in listed
        ],
    )
    nothing = f"no ring of {min_events} events or more; see fewer with --min-size"
    return (
        {
            "scenario": spec.name,
            "as_of": iso_time(graph.as_of_ms),
            "active_since": iso_time(graph.active_since_ms),
            "strong": strong,
            "settings": {
                "every_ms": settings.tick_ms,
                "active_ms": settings.active_ms,
                "tie_ms": settings.tie_ms,
                "hub_cap": settings.hub_cap,
            },
            "n_events": graph.n_events,
            "n_entities": graph.n_entities,
            "n_links": graph.n_links,
            "n_hubs": n_hubs,
            "tick_digest": found.tick.digest.hex(),
            "rings": [_plain(spec, ring) for ring in listed],
        },
        "\n".join([head, "", lines or nothing]),
    )


def ring_report(ledger: Ledger, found: Survey, row: int) -> tuple[dict[str, Any], str]:
    """One ring with its members, events and evidence, for programs and for people."""
    from ringfence.rings import describe

    spec, ring = ledger.scenario, describe(found, row)
    names = _names(ledger, found, ring)
    events = _event_names(ledger, ring)
    roles = [role.name for role in spec.roles]
    title = (
        f"{ring.ring_id} as of {iso_time(found.graph.as_of_ms)}\n"
        f"{ring.n_events:,} events ({ring.grown_events:+,} since the last tick) and {ring.n_entities:,} entities "
        f"({ring.grown_entities:+,}), from {_date(ring.founded_ms)} to {_date(ring.last_ms)}; "
        f"known fraud {_known(ring)};\n"
        f"exposure {_money(spec, ring.exposure_minor)}, {_money(spec, ring.unlabelled_minor)} of it unlabelled; "
        f"risk {ring.risk:.4f}"
    )
    people: list[dict[str, Any]] = [
        {
            "entity": names[member.entity],
            "roles": [roles[role] for role in member.roles],
            "n_events": member.n_events,
            "n_elsewhere": member.n_elsewhere,
            "n_fraud": member.n_fraud,
            "risk": member.risk,
            "member": member.is_member,
        }
        for member in (*ring.members, *ring.associates)
    ]
    acts: list[dict[str, Any]] = [
        {
            "event": events[event.event],
            "time": iso_time(event.time_ms),
            "label": _LABELS[event.label] if event.is_decided else "context",
            "amount_minor": event.amount_minor,
            "risk": event.risk,
        }
        for event in ring.events
    ]
    proof: list[dict[str, Any]] = [
        {
            "event": events[piece.event],
            "other": events[piece.other],
            "entity": names[piece.entity],
            "roles": [roles[piece.role], roles[piece.other_role]],
            "n_sharing": piece.n_sharing,
        }
        for piece in ring.evidence
    ]
    text = [
        title,
        *_section("members", _PEOPLE, people, is_member=True),
        *_section("shared besides", _PEOPLE, people, is_member=False),
        "",
        "events",
        table(
            ["event", "time", "label", "amount", "risk"],
            [
                [
                    act["event"],
                    str(act["time"]),
                    act["label"],
                    "" if act["amount_minor"] is None else _money(spec, int(act["amount_minor"])),
                    f"{act['risk']:.4f}",
                ]
                for act in acts[:_SHOWN]
            ],
        ),
        *_more(acts),
        "",
        "what holds it together, the rarest tie first",
        *(
            f"  {piece['event']} and {piece['other']} share {piece['entity']} (as "
            f"{' and as '.join(dict.fromkeys(piece['roles']))}; {piece['n_sharing']:,} events name it)"
            for piece in proof[:_SHOWN]
        ),
        *_more(proof),
    ]
    result = {**_plain(spec, ring), "as_of": iso_time(found.graph.as_of_ms)}
    return {**result, "entities": people, "events": acts, "evidence": proof}, "\n".join(text)


def _section(title: str, headers: list[str], people: list[dict[str, Any]], *, is_member: bool) -> list[str]:
    rows = [
        [
            person["entity"],
            ", ".join(person["roles"]),
            f"{person['n_events']:,}",
            f"{person['n_elsewhere']:,}",
            f"{person['n_fraud']:,}",
            f"{person['risk']:.4f}",
        ]
        for person in people
        if person["member"] == is_member and not _is_alone(person)
    ]
    once = Counter(person["roles"][0] for person in people if person["member"] == is_member and _is_alone(person))
    lines = [table(headers, rows[:_SHOWN]), *_more(rows)] if rows else []
    if once:
        lines.append("named once here and nowhere else: " + ", ".join(f"{n:,} {role}" for role, n in once.items()))
    return ["", title, *lines] if lines else []


def _is_alone(person: dict[str, Any]) -> bool:
    return bool(person["n_events"] == 1 and person["n_elsewhere"] == 0)


def _more(rows: list[Any]) -> list[str]:
    return [f"… and {len(rows) - _SHOWN:,} more; see --json"] if len(rows) > _SHOWN else []


def _plain(spec: Scenario, ring: Ring) -> dict[str, Any]:
    """A ring's figures for programs; amounts in minor units of `currency`."""
    amount = spec.decided.amount
    return {
        "ring": ring.ring_id,
        "founded": iso_time(ring.founded_ms),
        "first_event": iso_time(ring.first_ms),
        "last_event": iso_time(ring.last_ms),
        "n_events": ring.n_events,
        "n_context": ring.n_context,
        "n_entities": ring.n_entities,
        "grown_events": ring.grown_events,
        "grown_entities": ring.grown_entities,
        "n_known": ring.n_known,
        "n_fraud": ring.n_fraud,
        "fraud_share": ring.fraud_share,
        "currency": amount.currency if amount else None,
        "exposure_minor": ring.exposure_minor,
        "unlabelled_minor": ring.unlabelled_minor,
        "risk": ring.risk,
    }


def _names(ledger: Ledger, found: Survey, ring: Ring) -> dict[int, str]:
    """Readable names of all entities of a ring; the digest's beginning where the name was erased."""
    people = {member.entity: member.digest for member in (*ring.members, *ring.associates)}
    known = ledger.entity_names(people.values())
    return {
        entity: ":".join(known[digest]) if digest in known else f"erased:{digest.hex()[:12]}"
        for entity, digest in people.items()
    }


def _event_names(ledger: Ledger, ring: Ring) -> dict[int, str]:
    """Event ids as they were given; the seq of a context event."""
    keys = {event.key: event.event for event in ring.events}
    decided = ledger.events(ring.first_ms, ring.last_ms + 1, max(keys))
    ids = dict(decided.filter(decided["seq"].is_in(list(keys))).select("seq", "event_id").iter_rows())
    return {event: str(ids.get(key, f"seq {key}")) for key, event in keys.items()}


def _known(ring: Ring) -> str:
    return f"{ring.n_fraud:,} of {ring.n_known:,}" if ring.n_known else "nothing known"


def _money(spec: Scenario, minor: int) -> str:
    amount = spec.decided.amount
    return f"{minor / 10**amount.digits:,.0f} {amount.currency}" if amount else "-"


def _date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d")

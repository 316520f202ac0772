# SPDX-License-Identifier: Apache-2.0
"""A ring's story as text that a person can read: `simulate --explain`."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ringfence.cli.terminal import table

if TYPE_CHECKING:
    from ringfence.simulate import RingStory, StoryClaim

_MOST_MEMBERS: Final = 30
_MOST_LINKS: Final = 20
_KINDS: Final = {
    "staged_accident": "a ring that stages accidents",
    "shop_collusion": "a repair shop that inflates its bills",
    "ghost_injury": "a lawyer and a doctor with invented injuries",
    "storage_fees": "a yard that tows uncalled and bills for storage",
    "planted": "a planted ring",
}
_BELONGINGS: Final = {"claimant", "household", "vehicle"}
_SHOWN: Final = (
    ("CLAIMANT", "claimant"), ("CAR", "vehicle"), ("WITNESSES", "witness"), ("SHOP", "repair_shop"),
    ("LAWYER", "lawyer"), ("DOCTOR", "doctor"), ("PLACE", "place"), ("PHOTOS", "photo"),
)  # fmt: skip
_MEMBER_HEADERS: Final = ["WHO", "ROLE", "CLAIMS", "OTHERS", "FIRST", "LAST", "ID"]


def story_text(story: RingStory) -> str:
    """Write a ring's story: what it cost, who, each claim, its silences, its links, and its honest claims."""
    names = _short_names(story)
    parts = (
        _summary(story),
        _members(story, names),
        _claims(story.claims, "CLAIM", names),
        _links(story, names),
        _claims(story.camouflage, "HONEST CLAIM", names),
    )
    return "\n\n".join(part for part in parts if part)


def story_dict(story: RingStory) -> dict[str, Any]:
    """The same for programs; nothing is left out."""
    return {
        "ring_id": story.ring_id,
        "kind": story.kind,
        "claimed": round(story.claimed, 2),
        "lost": round(story.lost, 2),
        "n_claims": len(story.claims),
        "n_found": len(story.found),
        "members": [
            {
                "entity": member.entity,
                "roles": list(member.roles),
                "n_claims": member.n_claims,
                "first": _iso(member.first),
                "last": _iso(member.last),
                "n_other_claims": member.n_other_claims,
            }
            for member in story.members
        ],
        "n_named_once": story.n_named_once,
        "claims": [_claim_dict(claim) for claim in story.claims],
        "asleep": [{"from": _iso(since), "to": _iso(until)} for since, until in story.asleep],
        "links": [
            {"entities": list(link.entities), "roles": list(link.roles), "n_claims": link.n_claims}
            for link in story.links
        ],
        "camouflage": [_claim_dict(claim) for claim in story.camouflage],
    }


def _summary(story: RingStory) -> str:
    claims, n_found = story.claims, len(story.found)
    n_wrong = sum(claim.label == "legit" for claim in claims)
    lines = [
        f"ring {story.ring_id}: {_KINDS.get(story.kind, story.kind)}",
        f"{len(claims)} claims from {_day(claims[0].time)} to {_day(claims[-1].time)}, {_euros(story.claimed)} claimed",
        f"{n_found} found as fraud, {n_wrong} taken for honest, {len(claims) - n_found - n_wrong} without a label; "
        f"{_euros(story.lost)} lost",
    ]
    if story.asleep:
        silences = ", ".join(
            f"{_day(since)} to {_day(until)} ({(until - since).days} days)" for since, until in story.asleep
        )
        lines.append(f"asleep {silences}")
    return "\n".join(lines)


def _short_names(story: RingStory) -> dict[str, str]:
    """P1, P2, S1 ... for whatever the ring names twice or more, the most frequent first."""
    kinds: Counter[str] = Counter()
    names: dict[str, str] = {}
    for member in story.members:
        kind = member.entity[0]
        kinds[kind] += 1
        names[member.entity] = f"{kind}{kinds[kind]}"
    return names


def _members(story: RingStory, names: dict[str, str]) -> str:
    shown = story.members[:_MOST_MEMBERS]
    rows = [
        [
            names[member.entity],
            ", ".join(role.replace("_", " ") for role in member.roles),
            str(member.n_claims),
            "" if member.n_other_claims is None else str(member.n_other_claims),
            _day(member.first),
            _day(member.last),
            member.entity,
        ]
        for member in shown
    ]
    left = len(story.members) - len(shown)
    more = f"and {left} more that occur twice or more" if left else ""
    once = f"{story.n_named_once} others occur once; they are \u00b7 below" if story.n_named_once else ""
    return "\n".join(part for part in (table(_MEMBER_HEADERS, rows), more, once) if part)


def _claims(claims: tuple[StoryClaim, ...], title: str, names: dict[str, str]) -> str:
    headers = [title, "DATE", "EUR", "TYPE", *(header for header, _ in _SHOWN), "LABEL"]
    return table(headers, [_claim_row(claim, names) for claim in claims])


def _links(story: RingStory, names: dict[str, str]) -> str:
    n_claims = {member.entity: member.n_claims for member in story.members}
    # That somebody drives their own car and lives at their own address is no news; that they share one is.
    links = [
        link
        for link in story.links
        if not set(link.roles) <= _BELONGINGS or link.n_claims < min(n_claims[entity] for entity in link.entities)
    ]
    rows = [
        [
            " ".join(names[entity] for entity in link.entities),
            " with ".join(role.replace("_", " ") for role in link.roles),
            str(link.n_claims),
        ]
        for link in links[:_MOST_LINKS]
    ]
    left = len(links) - len(rows)
    more = f"\nand {left} more links of two claims or more" if left else ""
    return table(["LINK", "ROLES", "CLAIMS TOGETHER"], rows) + more


def _claim_row(claim: StoryClaim, names: dict[str, str]) -> list[str]:
    parties = []
    for _, role in _SHOWN:
        named = [names.get(entity, "\u00b7") for entity in claim.parties.get(role, ())]
        parties.append(" ".join(sorted(named, key=lambda name: name == "\u00b7")))
    label = "" if claim.label_known_at is None else f"{claim.label} {_day(claim.label_known_at)}"
    return [claim.claim_id, _day(claim.time), f"{claim.amount:>10,.2f}", claim.claim_type, *parties, label]


def _claim_dict(claim: StoryClaim) -> dict[str, Any]:
    return {
        "claim_id": claim.claim_id,
        "time": _iso(claim.time),
        "amount": claim.amount,
        "claim_type": claim.claim_type,
        "parties": {role: list(entities) for role, entities in claim.parties.items()},
        "label": claim.label,
        "label_known_at": None if claim.label_known_at is None else _iso(claim.label_known_at),
    }


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _euros(amount: float) -> str:
    return f"{amount:,.0f} EUR"

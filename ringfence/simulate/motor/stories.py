# SPDX-License-Identifier: Apache-2.0
"""One ring's story, read from the truth of a world on disk: who, what, when, what came out, and who shares what."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, Final

import polars as pl

from ringfence.simulate.errors import ForeignTruthError, NoTruthError, UnknownRingError

ASLEEP: Final = timedelta(days=45)  # the shortest silence told as one
_SOME: Final = 8  # rings named when one is unknown
_ONE: Final = {
    "claimant": "claimant_id", "household": "household_id", "vehicle": "vehicle_id", "repair_shop": "repair_shop_id",
    "lawyer": "lawyer_id", "doctor": "doctor_id", "broker": "broker_id", "place": "place_id",
}  # fmt: skip
_MANY: Final = {"witness": "witness_ids", "photo": "photo_hashes"}
_TRUTH: Final = ("claim_id", "claim_time", "fraud", "kind", "ring_id", "label", "label_known_at")
_CLAIM: Final = ("claim_id", "claim_time", "claim_amount", "claim_type", *_ONE.values(), *_MANY.values())
_PROVIDERS: Final = ("repair_shop", "lawyer", "doctor")
_PERSONS: Final = ("claimant", "witness")


@dataclass(frozen=True, kw_only=True)
class Member:
    """Something or somebody that the ring names in two claims or more."""

    entity: str
    roles: tuple[str, ...]  # most frequent first
    n_claims: int  # of the ring
    first: datetime
    last: datetime
    n_other_claims: int | None  # outside the ring: of persons as claimants, of providers all; None for the rest


@dataclass(frozen=True, kw_only=True)
class StoryClaim:
    """One claim of the ring, or an honest one of a member."""

    claim_id: str
    time: datetime
    amount: float
    claim_type: str
    parties: dict[str, tuple[str, ...]]  # by role; roles that the claim leaves empty are not in it
    label: str | None  # "fraud" or "legit", as the investigators came to see it; None: never known
    label_known_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Link:
    """Two that occur together in claims of the ring."""

    entities: tuple[str, str]
    roles: tuple[str, str]  # in which they most often do
    n_claims: int


@dataclass(frozen=True, kw_only=True)
class RingStory:
    """Everything about one ring."""

    ring_id: str
    kind: str
    claims: tuple[StoryClaim, ...]  # in order of time
    members: tuple[Member, ...]  # those with most claims first
    n_named_once: int  # further persons and things that only one claim of the ring names
    links: tuple[Link, ...]  # strongest first; at least two claims
    asleep: tuple[tuple[datetime, datetime], ...]  # silences of ASLEEP or longer, between claims
    camouflage: tuple[StoryClaim, ...]  # honest claims of persons whom the ring names twice or more

    @property
    def claimed(self) -> float:
        """Sum of the ring's amounts."""
        return sum(claim.amount for claim in self.claims)

    @property
    def found(self) -> tuple[StoryClaim, ...]:
        """Claims that investigators came to see as fraud, whenever that was: also after the history ended."""
        return tuple(claim for claim in self.claims if claim.label == "fraud")

    @property
    def lost(self) -> float:
        """Sum of the amounts that nobody ever saw as fraud: taken for honest, or without a label."""
        return self.claimed - sum(claim.amount for claim in self.found)


def ring_story(folder: Path, ring_id: str) -> RingStory:
    """Read a ring's story from the files of a simulated world.

    Parameters
    ----------
    folder : what `simulate_motor_claims` wrote. Only the ring's rows are held, so its size does not matter.

    Raises
    ------
    NoTruthError
        If `folder` holds no `truth.parquet` or no `claims.parquet`.
    ForeignTruthError
        If the claims are not those that the truth is about.
    UnknownRingError
        If no claim belongs to the ring.
    """
    for name in ("truth.parquet", "claims.parquet"):
        if not (folder / name).is_file():
            raise NoTruthError(folder / name)
    truth, claims = pl.scan_parquet(folder / "truth.parquet"), pl.scan_parquet(folder / "claims.parquet")
    _must_have(folder, truth, "truth.parquet", _TRUTH)
    _must_have(folder, claims, "claims.parquet", _CLAIM)
    ring = truth.filter(pl.col("ring_id") == ring_id).collect()
    if ring.is_empty():
        known = truth.select(pl.col("ring_id").drop_nulls()).unique(maintain_order=True).head(_SOME).collect()
        raise UnknownRingError(ring_id, folder, tuple(sorted(known["ring_id"])))
    shown = claims.filter(pl.col("claim_id").is_in(ring["claim_id"].implode())).collect()
    # The same seed gives claims of another world the same ids, but not the same times.
    shown = shown.join(ring.select("claim_id", "claim_time", "label", "label_known_at"), on=["claim_id", "claim_time"])
    if shown.height < ring.height:
        lost = ring.height - shown.height
        raise ForeignTruthError(folder, f"{lost:,} of the {ring.height:,} claims of ring {ring_id!r} are not in it")
    told = _told(shown)

    seen: dict[str, list[StoryClaim]] = defaultdict(list)
    roles: dict[str, Counter[str]] = defaultdict(Counter)
    for claim in told:
        for entity in {entity for entities in claim.parties.values() for entity in entities}:
            seen[entity].append(claim)
        for role, entities in claim.parties.items():
            for entity in entities:
                roles[entity][role] += 1
    repeated = {entity for entity, where in seen.items() if len(where) > 1}
    persons = sorted(entity for entity in repeated if any(role in _PERSONS for role in roles[entity]))
    elsewhere = _elsewhere(claims, repeated, persons, ring["claim_id"].implode())
    honest = elsewhere.filter(pl.col("claimant_id").is_in(persons))
    labels = truth.filter(pl.col("claim_id").is_in(honest["claim_id"].implode()))
    honest = honest.join(
        labels.filter(~pl.col("fraud")).select("claim_id", "label", "label_known_at").collect(), on="claim_id"
    )
    others = Counter(
        entity for column in ("claimant_id", *(_ONE[role] for role in _PROVIDERS)) for entity in elsewhere[column]
    )
    members = [
        Member(
            entity=entity,
            roles=tuple(role for role, _ in roles[entity].most_common()),
            n_claims=len(seen[entity]),
            first=seen[entity][0].time,
            last=seen[entity][-1].time,
            n_other_claims=others[entity] if {*_PERSONS, *_PROVIDERS} & set(roles[entity]) else None,
        )
        for entity in repeated
    ]
    return RingStory(
        ring_id=ring_id,
        kind=str(ring["kind"][0]),
        claims=told,
        members=tuple(sorted(members, key=lambda member: (-member.n_claims, member.entity))),
        n_named_once=len(seen) - len(repeated),
        links=_links(told),
        asleep=tuple(
            (before.time, after.time) for before, after in pairwise(told) if after.time - before.time >= ASLEEP
        ),
        camouflage=_told(honest),
    )


def _must_have(folder: Path, table: pl.LazyFrame, name: str, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in table.collect_schema()]
    if missing:
        raise ForeignTruthError(folder, f"{name} has no column {', '.join(missing)}")


def _elsewhere(claims: pl.LazyFrame, repeated: set[str], persons: list[str], own: pl.Series) -> pl.DataFrame:
    """Claims outside the ring whose claimant is one of its persons, or that go to one of its providers."""
    names = sorted(repeated)
    touched = pl.col("claimant_id").is_in(persons)
    for role in _PROVIDERS:
        touched |= pl.col(_ONE[role]).is_in(names)
    return claims.filter(touched & ~pl.col("claim_id").is_in(own)).collect()


def _told(rows: pl.DataFrame) -> tuple[StoryClaim, ...]:
    return tuple(
        StoryClaim(
            claim_id=row["claim_id"],
            time=row["claim_time"],
            amount=row["claim_amount"],
            claim_type=row["claim_type"],
            parties=_parties(row),
            label=None if row["label"] is None else ("legit", "fraud")[row["label"]],
            label_known_at=row["label_known_at"],
        )
        for row in rows.sort("claim_time", "claim_id").iter_rows(named=True)
    )


def _parties(row: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    one = {role: (row[column],) for role, column in _ONE.items() if row.get(column) is not None}
    return one | {role: tuple(row[column]) for role, column in _MANY.items() if row.get(column)}


def _links(claims: tuple[StoryClaim, ...]) -> tuple[Link, ...]:
    together: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    for claim in claims:
        named = [(entity, role) for role, entities in claim.parties.items() for entity in entities]
        for (a, role_a), (b, role_b) in combinations(sorted(named), 2):
            together[a, b][role_a, role_b] += 1
    links = [
        Link(entities=entities, roles=roles.most_common(1)[0][0], n_claims=roles.total())
        for entities, roles in together.items()
        if roles.total() > 1
    ]
    return tuple(sorted(links, key=lambda link: (-link.n_claims, link.entities)))

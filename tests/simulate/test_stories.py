# SPDX-License-Identifier: Apache-2.0
"""A ring's story holds what the truth files say of it, and nothing of anybody else."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from ringfence.simulate import ForeignTruthError, NoTruthError, RingStory, UnknownRingError, ring_story
from tests.simulate.insurer import SmallWorld


def rings_of(world: SmallWorld, kind: str) -> list[str]:
    """Rings of a kind, the one with most claims first."""
    counts = world.truth.filter(kind=kind).group_by("ring_id").len().sort("len", "ring_id", descending=True)
    return counts["ring_id"].to_list()


@pytest.fixture(scope="module")
def story(world: SmallWorld) -> RingStory:
    return ring_story(world.report.output, rings_of(world, "staged_accident")[0])


def claims_of(world: SmallWorld, story: RingStory) -> pl.DataFrame:
    own = world.truth.filter(ring_id=story.ring_id).select("claim_id", "fraud")
    return world.claims.join(own, on="claim_id").sort("claim_time", "claim_id")


def test_story_tells_every_claim_of_the_ring_in_order(world: SmallWorld, story: RingStory) -> None:
    rows = claims_of(world, story)
    assert story.kind == "staged_accident"
    assert [claim.claim_id for claim in story.claims] == rows["claim_id"].to_list()
    assert [claim.amount for claim in story.claims] == rows["claim_amount"].to_list()
    assert [claim.parties["claimant"] for claim in story.claims] == [(who,) for who in rows["claimant_id"]]
    named = [claim.parties.get("witness", ()) for claim in story.claims]
    assert named == [tuple(witnesses) for witnesses in rows["witness_ids"]]


def test_story_counts_what_was_found_and_what_was_lost(world: SmallWorld, story: RingStory) -> None:
    truth = world.truth.filter(ring_id=story.ring_id)
    found = world.claims.filter(pl.col("claim_id").is_in(truth.filter(label=1)["claim_id"].implode()))
    assert len(story.found) == found.height > 0
    assert story.lost == pytest.approx(story.claimed - found["claim_amount"].sum())
    late = {claim.claim_id: claim.label_known_at for claim in story.found}
    assert late == dict(truth.filter(label=1).select("claim_id", "label_known_at").iter_rows())


def test_members_are_named_twice_or_more_with_their_roles_and_dates(world: SmallWorld, story: RingStory) -> None:
    rows = claims_of(world, story)
    for member in story.members:
        columns = [column for column in rows.columns if column.endswith("_id") and column != "claim_id"]
        hit = pl.any_horizontal(
            *(pl.col(column) == member.entity for column in columns),
            *(pl.col(column).list.contains(member.entity) for column in ("witness_ids", "photo_hashes")),
        ).fill_null(value=False)
        where = rows.filter(hit)
        assert where.height == member.n_claims > 1
        assert (where["claim_time"].min(), where["claim_time"].max()) == (member.first, member.last)
    shops = [member for member in story.members if member.roles == ("repair_shop",)]
    assert shops
    for shop in shops:
        total = (world.claims["repair_shop_id"] == shop.entity).sum()
        assert shop.n_other_claims == total - shop.n_claims


def test_links_are_counted_by_claims_that_name_both(world: SmallWorld, story: RingStory) -> None:
    assert len(story.links) > 5
    assert [link.n_claims for link in story.links] == sorted((link.n_claims for link in story.links), reverse=True)
    for link in story.links[:20]:
        together = [
            claim
            for claim in story.claims
            if set(link.entities) <= {entity for entities in claim.parties.values() for entity in entities}
        ]
        assert len(together) == link.n_claims > 1


def test_silences_lie_between_claims(story: RingStory) -> None:
    times = [claim.time for claim in story.claims]
    for since, until in story.asleep:
        assert until - since >= timedelta(days=45)
        assert not [time for time in times if since < time < until]
    gaps = [after - before for before, after in pairwise(times)]
    assert sum(gap >= timedelta(days=45) for gap in gaps) == len(story.asleep)


def test_camouflage_is_honest_and_by_members(world: SmallWorld) -> None:
    stories = [ring_story(world.report.output, ring) for ring in rings_of(world, "staged_accident")[:3]]
    honest = [claim for story in stories for claim in story.camouflage]
    assert honest
    assert not world.truth.filter(pl.col("claim_id").is_in([claim.claim_id for claim in honest]))["fraud"].any()
    for story in stories:
        persons = {member.entity for member in story.members if {"claimant", "witness"} & set(member.roles)}
        assert {claim.parties["claimant"][0] for claim in story.camouflage} <= persons


def test_unknown_ring_is_told_some_that_there_are(world: SmallWorld) -> None:
    with pytest.raises(UnknownRingError, match=r"no ring 'R0' in .*; some that it has: R[0-9]{11}, R") as refused:
        ring_story(world.report.output, "R0")
    assert set(refused.value.known) <= set(world.truth["ring_id"].drop_nulls())


def test_truth_of_another_world_is_refused(world: SmallWorld, tmp_path: Path) -> None:
    ring = rings_of(world, "staged_accident")[0]
    world.truth.write_parquet(tmp_path / "truth.parquet")
    # A world of the same seed has claims with the same ids; they are not the same claims.
    later = world.claims.with_columns(pl.col("claim_time").dt.offset_by("1h"))
    for claims, why in (
        (world.claims.head(10), f"claims of ring '{ring}' are not in it"),
        (later, f"claims of ring '{ring}' are not in it"),
        (world.claims.drop("claim_type"), "claims.parquet has no column claim_type"),
    ):
        claims.write_parquet(tmp_path / "claims.parquet")
        with pytest.raises(ForeignTruthError, match=why):
            ring_story(tmp_path, ring)


def test_folder_without_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoTruthError, match=r"truth\.parquet does not exist; name the folder"):
        ring_story(tmp_path, "R1")

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.links import KnownLinks, links_known_at
from ringfence.scenario.batch import EVENT, MISSING_AMOUNT
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from tests.ledger.claims import DAY, T0, claim, row, whole
from tests.ledger.places import Place


def ids(place: Place, known: KnownLinks) -> list[str]:
    events = place.ledger.events(0)
    return events.filter(events["seq"].is_in(known.seq.tolist()))["event_id"].to_list()


#  day       0    1    2    3    4    5
#  event     a         b         c    d
#  label          a: fraud  b: legit
#  T = 2     known: a (fraud), b (unknown)        after day 0: b alone
def test_only_what_was_known_at_that_moment_is_in_it(place: Place) -> None:
    place.write(
        [
            row("a", T0, fraud=1, known=T0 + DAY),
            row("b", T0 + 2 * DAY, fraud=0, known=T0 + 3 * DAY, amount=None),
            row("c", T0 + 4 * DAY),
            row("d", T0 + 5 * DAY),
        ]
    )
    place.load()
    at_two = links_known_at(place.ledger, T0 + 2 * DAY, T0 - 1)
    assert (ids(place, at_two), at_two.label.tolist()) == (["a", "b"], [1, -1])
    assert at_two.amount_minor.tolist() == [120_050, MISSING_AMOUNT]
    assert links_known_at(place.ledger, T0 + 3 * DAY, T0 - 1).label.tolist() == [1, 0]
    assert ids(place, links_known_at(place.ledger, T0 + 2 * DAY, T0)) == ["b"]
    assert ids(place, links_known_at(place.ledger, T0 + 9 * DAY, T0 + 2 * DAY)) == ["c", "d"]


def test_links_are_those_of_the_batches_and_lead_back_to_names(place: Place) -> None:
    parties = [{"claimant": f"p{i % 7}", "witness": [f"p{i % 5}", "w"][: i % 3]} for i in range(60)]
    labels = [{"fraud": i % 2, "known": T0 + 90 * DAY} for i in range(60)]
    place.write([row(f"c{i}", T0 + i * DAY, **parties[i], **labels[i]) for i in range(60)])
    place.load()
    known = links_known_at(place.ledger, T0 + 400 * DAY, 0)
    batches = whole(place.ledger.batches())
    events = batches["kind"] == EVENT
    linked = np.repeat(events, batches["n_links"])
    assert known.seq.tolist() == batches["seq"][events].tolist()
    for mine, theirs in (("link_role", "link_role"), ("link_lo", "link_lo"), ("link_hi", "link_hi")):
        np.testing.assert_array_equal(getattr(known, mine), batches[theirs][linked])
    np.testing.assert_array_equal(np.bincount(known.link_event, minlength=60), batches["n_links"][events])
    assert known.label.tolist() == [i % 2 for i in range(60)]
    digests = {
        int(hi).to_bytes(8, "big") + int(lo).to_bytes(8, "big")
        for hi, lo in zip(known.link_hi, known.link_lo, strict=True)
    }
    assert set(place.ledger.entity_names(digests)) == digests


def test_live_events_follow_imported_ones_and_the_standing_label_counts(place: Place) -> None:
    place.write([row("a", T0)])
    place.load()
    ledger, clock = place.ledger, FakeClock(T0 + 10 * DAY)
    door = Door(ledger.scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("b", T0 + 9 * DAY), now_ms=clock.now_ms()))
        for source, value in (("investigator", 1), ("phone", 0)):  # the weaker source changes nothing
            writer.stage_label(
                LabelNotice(event_type="claim", event_id="b", value=value, source=source, known_at_ms=None)
            )
        writer.commit()
    known = links_known_at(ledger, T0 + 20 * DAY, 0)
    assert ids(place, known) == ["a", "b"]
    assert known.label.tolist() == [-1, 1]


def test_empty_ledger_knows_no_links(ledger: Ledger) -> None:
    known = links_known_at(ledger, T0, 0)
    assert (len(known.seq), len(known.link_event), known.until_seq) == (0, 0, 0)

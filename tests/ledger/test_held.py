# SPDX-License-Identifier: Apache-2.0
"""Everything that is held on one entity: live and imported, in every role of its type, and of nobody else."""

from __future__ import annotations

from typing import TypeVar

from ringfence.ledger.held import Held, HeldDecision, HeldEntity, HeldEvent, HeldLabel, held_on
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.writer import Staged
from ringfence.scenario.batch import FRAUD, LEGIT
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from tests.ledger.claims import DAY, T0, claim, decision_on, row
from tests.ledger.places import Place

T = TypeVar("T")


def fill(place: Place) -> Ledger:
    """Import three claims, then learn two and decide one."""
    place.write(
        [
            row("past-1", T0, fraud=1, known=T0 + 5),
            row("past-2", T0 + 1, claimant="bert", witness=["anna"], phone="777"),
            row("past-3", T0 + 2, claimant="dora", witness=[], phone=None),
        ]
    )
    place.load()
    ledger = place.ledger
    clock = FakeClock(T0 + DAY)
    door = Door(ledger.scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        live = writer.stage_event(door.admit(claim("live-1", T0 + DAY), now_ms=clock.now_ms()))
        assert isinstance(live, Staged)
        writer.stage_event(
            door.admit(claim("live-2", T0 + DAY, entities={"claimant": "dora", "shop": 7}), now_ms=clock.now_ms())
        )
        writer.stage_decision(decision_on(live.seq, "live-1"))
        for event_id, value, source in (
            ("live-1", FRAUD, "court"),
            ("live-1", LEGIT, "desk"),
            ("past-3", LEGIT, "desk"),
        ):
            writer.stage_label(
                LabelNotice(event_type="claim", event_id=event_id, value=value, source=source, known_at_ms=None)
            )
        writer.commit()
    return place.ledger


def of_kind(held: list[Held], kind: type[T]) -> list[T]:
    return [one for one in held if isinstance(one, kind)]


def test_events_labels_and_decisions_of_one_person_are_told(place: Place) -> None:
    ledger = fill(place)
    held = list(held_on(ledger, "person", "anna"))
    first = held[0]
    assert isinstance(first, HeldEntity)
    assert (first.entity_id, first.in_directory) == ("anna", True)
    events = of_kind(held, HeldEvent)
    assert [(event.event_id, event.roles, event.others) for event in events] == [
        ("past-1", ["claimant"], {"witness": 2, "shop": 1}),
        ("past-2", ["witness"], {"claimant": 1, "shop": 1}),
        ("live-1", ["claimant"], {"witness": 2, "shop": 1}),
    ]
    assert [event.personal for event in events] == [{"phone": "555"}, {"phone": "777"}, {"phone": "555"}]
    assert [(event.amount, event.currency) for event in events] == [(1200.5, "EUR")] * 3
    assert [event.recorded_at is None for event in events] == [True, True, False]
    assert all(event.attributes["story"] == "rear-ended" and event.attributes["night"] is True for event in events)
    assert [(label.label, label.source, label.stands) for label in of_kind(held, HeldLabel)] == [
        ("fraud", "import", True),
        ("fraud", "court", True),
        ("legit", "desk", False),
    ]
    assert [decision.event_seq for decision in of_kind(held, HeldDecision)] == [events[2].seq]


def test_of_others_no_id_and_no_record_is_told(place: Place) -> None:
    ledger = fill(place)
    for held in held_on(ledger, "person", "carl"):
        assert not isinstance(held, HeldEvent) or held.event_id in ("past-1", "live-1")
        assert "anna" not in str(held)
        assert "bert" not in str(held)


def test_numbers_count_as_their_decimals_and_only_their_own_type_counts(place: Place) -> None:
    ledger = fill(place)
    shop = [event.event_id for event in of_kind(list(held_on(ledger, "shop", "7")), HeldEvent)]
    assert shop == ["past-1", "past-2", "past-3", "live-1", "live-2"]
    assert len(list(held_on(ledger, "person", "7"))) == 1


def test_on_somebody_unknown_nothing_is_held(place: Place) -> None:
    (only,) = held_on(fill(place), "person", "nobody")
    assert isinstance(only, HeldEntity)
    assert not only.in_directory

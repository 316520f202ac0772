# SPDX-License-Identifier: Apache-2.0
"""Reviews left today: counted down, renewed at local midnight, recovered from the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Reason
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.serving.reviews import ReviewBudget
from ringfence.workspace import Workspace

from .conftest import NOW_MS, RunningService, claim

HOUR_MS = 3_600_000
Start = Callable[..., RunningService]


def test_reviews_are_counted_down_to_none_and_not_below() -> None:
    budget = ReviewBudget(2.9, "UTC", FakeClock(NOW_MS))
    assert budget.left() == 2
    for expected in (1, 0, 0):
        budget.spend()
        assert budget.left() == expected


def test_without_a_capacity_there_is_no_limit() -> None:
    budget = ReviewBudget(None, "UTC", FakeClock(NOW_MS))
    budget.spend()
    assert budget.left() is None


def test_a_new_day_begins_at_midnight_of_the_scenario_not_of_utc() -> None:
    #  NOW is 15:06 UTC = 17:06 in Berlin; Berlin's midnight is 22:00 UTC, 6 h 54 min later
    clock = FakeClock(NOW_MS)
    budget = ReviewBudget(1, "Europe/Berlin", clock)
    budget.spend()
    clock.advance(6 * HOUR_MS)
    assert budget.left() == 0
    clock.advance(HOUR_MS)
    assert budget.left() == 1


def test_todays_reviews_are_recovered_from_the_ledger_and_yesterdays_are_not(workspace: Workspace) -> None:
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    clock = FakeClock(NOW_MS - 24 * HOUR_MS)
    door = Door(scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        for number in range(12):
            if number == 5:  # five decisions yesterday, seven today
                clock.advance(24 * HOUR_MS)
            admission = door.admit(claim(f"review-{number}", event_time=clock.now_ms()), now_ms=clock.now_ms())
            seq = writer.stage_event(admission).seq
            writer.stage_decision(decision(seq, admission.event.event_id, "review" if number % 2 else "approve"))
        writer.commit()
    budget = ReviewBudget(10, scenario.time_zone, clock)
    budget.recover(ledger)
    assert budget.left() == 10 - 4  # numbers 5, 7, 9 and 11
    unlimited = ReviewBudget(None, scenario.time_zone, clock)
    unlimited.recover(ledger)
    assert unlimited.left() is None


def decision(event_seq: int, event_id: str, action: str) -> DecisionBody:
    return DecisionBody(
        event_seq=event_seq,
        event_id=event_id,
        event_type="claim",
        action=action,
        score=0.5,
        raw_score=0.0,
        members={},
        reasons=(Reason(code="A", sentence="a", contribution=0.0),),
        versions={},
        circumstances={},
        propensity=1.0,
        feature_digest=b"0" * 16,
        row=None,
    )


def test_a_ledger_without_decisions_leaves_the_whole_budget(tmp_path: Path, workspace: Workspace) -> None:
    scenario = workspace.scenario()
    budget = ReviewBudget(3, scenario.time_zone, FakeClock(NOW_MS))
    budget.recover(Ledger.open(tmp_path / "empty", scenario))
    assert budget.left() == 3

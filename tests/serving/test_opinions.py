# SPDX-License-Identifier: Apache-2.0
"""What the shadow found is written whole or not at all, and goes on where it ended."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from ringfence.ledger.records import DisagreementBody
from ringfence.rollout.registry import Shadow
from ringfence.serving import opinions as module
from ringfence.serving.opinions import OPINIONS, Comparison, Opinion, Opinions, Pair

SHADOW = Shadow(release="r-2", since_seq=40, since_ms=0, note="", by="")


def other(decision_seq: int, *, shadow: str = "r-2") -> DisagreementBody:
    return DisagreementBody(
        decision_seq=decision_seq,
        event_seq=decision_seq - 1,
        event_id=f"c-{decision_seq}",
        event_type="claim",
        release="r-1",
        rung="full",
        action="approve",
        score=0.1,
        shadow=shadow,
        shadow_action="review",
        shadow_score=0.4,
    )


def compared(event_seq: int, disagreement: DisagreementBody | None = None) -> Comparison:
    action = "approve" if disagreement is None else "review"
    return Comparison(event_seq, "approve", action, 0.25, disagreement)


@pytest.fixture
def opinions(tmp_path: Path) -> Opinions:
    made = Opinions(tmp_path)
    assert made.begin(SHADOW) == 40
    return made


def test_it_goes_on_where_it_ended_and_begins_anew_with_another_shadow(tmp_path: Path, opinions: Opinions) -> None:
    opinions.put(60, compared=[compared(51), compared(53, other(54))], waits=[Opinion(57, 0.2, None)], n_impossible=1)
    opinions.close()
    again = Opinions(tmp_path)
    assert again.begin(SHADOW) == 60
    found = again.standing(SHADOW)
    assert found is not None
    assert (found.n_same, found.n_different, found.n_impossible, found.n_waiting) == (1, 1, 1, 1)
    assert found.mean_difference == pytest.approx(0.25)
    assert found.pairs == (Pair("approve", "approve", 1, 0.25), Pair("approve", "review", 1, 0.25))
    later = Shadow(release="r-2", since_seq=90, since_ms=0, note="", by="")
    assert again.standing(later) is None
    assert again.begin(later) == 90
    found = again.standing(later)
    assert found is not None
    assert (found.pairs, found.n_waiting, found.n_impossible, found.mean_difference) == ((), 0, 0, None)
    assert again.disagreements(10) == [other(54)], "what is not on record yet is recorded whoever is the shadow now"


def test_a_decision_that_came_is_waited_for_no_more(opinions: Opinions) -> None:
    opinions.put(60, waits=[Opinion(seq, 0.5, 100 * seq) for seq in (51, 52, 53)])
    assert [one.event_seq for one in opinions.waiting(0, 2)] == [51, 52]
    assert opinions.waiting(52, 2) == [Opinion(53, 0.5, 5_300)]
    opinions.put(60, compared=[compared(52)])
    assert [one.event_seq for one in opinions.waiting(0, 10)] == [51, 53]


def test_of_those_that_wait_the_oldest_are_forgotten_beyond_a_bound(
    opinions: Opinions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    opinions.put(60, waits=[Opinion(seq, 0.5, None) for seq in (51, 52)])
    opinions.put(60, waits=[Opinion(seq, 0.5, None) for seq in (55, 53, 58)])
    assert [one.event_seq for one in opinions.waiting(0, 10)] == [53, 55, 58]


def test_the_place_never_goes_back(opinions: Opinions) -> None:
    opinions.put(60)
    opinions.put(55, compared=[compared(44)])
    found = opinions.standing(SHADOW)
    assert found is not None
    assert found.through_seq == 60


def test_what_fails_in_the_middle_leaves_nothing_behind(opinions: Opinions) -> None:
    with pytest.raises(OverflowError):  # an amount that no column holds, after others were written
        opinions.put(70, waits=[Opinion(61, 0.5, None), Opinion(62, 0.5, 1 << 63)], compared=[compared(61, other(62))])
    found = opinions.standing(SHADOW)
    assert found is not None
    assert (found.through_seq, found.pairs) == (40, ())
    assert opinions.waiting(0, 10) == []
    assert opinions.disagreements(10) == []
    opinions.put(70, compared=[compared(61)])
    assert opinions.begin(SHADOW) == 70


def test_a_disagreement_leaves_when_it_is_on_record(tmp_path: Path, opinions: Opinions) -> None:
    opinions.put(60, compared=[compared(51, other(52)), compared(53, other(54))])
    with contextlib.closing(Opinions(tmp_path)) as reader:  # the service, while the shadow goes on
        assert reader.disagreements(1) == [other(52)]
        reader.recorded(other(52))
    assert opinions.disagreements(10) == [other(54)]


def test_what_keeps_it_from_going_on_is_told(tmp_path: Path, opinions: Opinions) -> None:
    opinions.tell_failure("model.txt is missing")
    found = opinions.standing(SHADOW)
    assert found is not None
    assert found.failure == "model.txt is missing"
    opinions.tell_failure("")
    found = opinions.standing(SHADOW)
    assert found is not None
    assert found.failure == ""
    assert (tmp_path / OPINIONS).exists()

# SPDX-License-Identifier: Apache-2.0
"""Cases are chosen by the rule that the report states."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.policy.costs import APPROVE, REVIEW
from ringfence.training.cases import Case, Why, choose_cases

#  event    a     b     c     d     e     f     g     h
#  fraud    1     1     1     1     0     0     1     1
#  score   .9    .8    .7    .6    .5    .4    .2    .1
#  amount  10    20    30    40    50    60    70    80
FRAUD = np.array([1, 1, 1, 1, 0, 0, 1, 1], np.int8)
SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0.1])
AMOUNT = np.arange(10.0, 90.0, 10.0)


def _chosen(codes: list[int], amounts: np.ndarray = AMOUNT) -> list[Case]:
    def explain(at: np.ndarray) -> list[Why]:
        return [((), ()) for _ in at]

    return choose_cases(list("abcdefgh"), np.arange(8), FRAUD, SCORE, amounts, np.array(codes, np.int64), explain)


def _ids(cases: list[Case], kind: str) -> list[str]:
    return [case.event_id for case in cases if case.kind == kind]


def test_hits_and_false_alarms_have_the_highest_scores_and_misses_the_largest_amounts() -> None:
    found = _chosen([REVIEW] * 6 + [APPROVE] * 2)
    assert _ids(found, "hit") == ["a", "b", "c"]
    assert _ids(found, "miss") == ["h", "g"]
    assert _ids(found, "false_alarm") == ["e", "f"]
    assert [case.rank for case in found] == [1, 2, 3, 8, 7, 5, 6]


def test_without_amounts_the_lowest_scores_are_the_misses() -> None:
    found = _chosen([APPROVE] * 8, np.full(8, np.nan))
    assert _ids(found, "miss") == ["h", "g"]
    assert [case.amount for case in found] == [None] * len(found)


def test_a_policy_that_approves_all_is_shown_by_its_highest_scores() -> None:
    found = _chosen([APPROVE] * 8)
    assert _ids(found, "hit") == ["a", "b", "c"]
    assert _ids(found, "false_alarm") == ["e", "f"]
    assert {case.action for case in found} == {"approve"}


@pytest.mark.parametrize("codes", [[REVIEW] * 8, [APPROVE] * 8])
def test_no_event_is_shown_twice(codes: list[int]) -> None:
    found = _chosen(codes)
    assert len({case.event_id for case in found}) == len(found)

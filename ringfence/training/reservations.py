# SPDX-License-Identifier: Apache-2.0
"""Reasons not to believe, or not to use, what was made: in words, with the figures that say so and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from ringfence.reports.numerals import share
from ringfence.training.evaluation import Evaluation
from ringfence.training.money import Money
from ringfence.training.ranking import Interval
from ringfence.training.regimes import BaseRate, Stretch

SLOPE_OFF: Final = (0.8, 1.25)  # a slope outside is called out, if its interval leaves out 1
PLACEHOLDERS: Final = "costs are placeholders"


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    kind: str  # no_skill | by_chance | slope_off | rate_broke | placeholder_costs
    sentence: str
    do: str


def reservations(
    evaluations: Sequence[Evaluation],
    rates: BaseRate | None,
    money: Money | None,
    *,
    scenario: str,
    date: Callable[[int], str],
) -> list[Reservation]:
    """Say what speaks against a release, gravest first; empty where nothing does.

    Parameters
    ----------
    evaluations : the most telling first; at least one.
    rates, money : None where they were not looked at.
    scenario : its name, which is that of its policy file.
    date : writes a moment, given in ms.
    """
    main, found = evaluations[0], []
    for one in evaluations:
        where = "" if one is main else f"{one.title}: "
        found += [msgspec.structs.replace(told, sentence=where + told.sentence) for told in _weak(one)]
    seen: set[str] = set()
    kept = []
    for told in found:  # what both windows show is said once, with the figures of the more telling one
        if told.kind not in seen:
            seen.add(told.kind)
            kept.append(told)
    if rates is not None and rates.broke is not None:
        kept.append(_broke(rates, date))
    if money is not None and money.costs_are_placeholders:
        kept.append(
            Reservation(
                kind="placeholder_costs",
                sentence="Figures in money, and the actions that follow from them, rest on costs that ringfence wrote "
                f"itself: the {PLACEHOLDERS}.",
                do=f"put your own into policies/{scenario}.yaml, under costs, and train again",
            )
        )
    return kept


def _weak(one: Evaluation) -> list[Reservation]:
    found = []
    skill, area, slope = one.brier_skill, one.roc_auc, one.calibration_slope
    if np.isfinite(skill.low) and skill.low <= 0.0:
        how = "The probabilities are worse than" if skill.high < 0.0 else "Not shown to be better than"
        found.append(
            Reservation(
                kind="no_skill",
                sentence=f"{how} giving every event the base rate: Brier skill is {_told(skill)}, where 0 is the base "
                "rate.",
                do="do not let it decide; more labelled fraud, columns that say more, or a later --examples-from may "
                "help, and if nothing does, these columns do not tell fraud",
            )
        )
    if np.isfinite(area.low) and area.low <= 0.5:
        found.append(
            Reservation(
                kind="by_chance",
                sentence=f"Chance alone would explain how the scores order the events: ROC-AUC is {_told(area)}, and "
                "its interval holds 0.5.",
                do="rank nothing by it before a later window shows more",
            )
        )
    if (
        np.isfinite(slope.low)
        and not SLOPE_OFF[0] <= slope.value <= SLOPE_OFF[1]
        and not slope.low <= 1.0 <= slope.high
    ):
        how = "too extreme" if slope.value < 1.0 else "too timid"
        found.append(
            Reservation(
                kind="slope_off",
                sentence=f"Scores are {how}: the calibration slope is {_told(slope, 2)}, where 1 is right.",
                do="thresholds and expected costs are off by it: `ringfence release recalibrate`, once newer labels "
                "are known",
            )
        )
    return found


def _broke(rates: BaseRate, date: Callable[[int], str]) -> Reservation:
    assert rates.broke is not None
    broke = rates.broke
    return Reservation(
        kind="rate_broke",
        sentence=f"The fraud rate of the examples broke at about {date(broke.at_ms)}: {_rate(broke.before)} before, "
        f"{_rate(broke.after)} from then on.",
        do="find out what changed, fraud or the labelling; what was learnt before may no longer hold: train with "
        f"--examples-from {date(broke.at_ms)} as well, and compare",
    )


def _rate(one: Stretch) -> str:
    return f"{share(one.fraud_rate)} ({share(one.low)} to {share(one.high)}; {one.n_fraud:,} of {one.n:,})"


def _told(figure: Interval, digits: int = 3) -> str:
    value, low, high = (
        f"{round(at, digits) + 0.0:.{digits}f}" for at in (figure.value, figure.low, figure.high)
    )  # + 0.0: no minus before a zero
    return f"{value} ({low} to {high})"

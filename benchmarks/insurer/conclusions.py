# SPDX-License-Identifier: Apache-2.0
"""What the figures say, in sentences that follow from them: what an interval does not tell from zero is no gain."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Final

import numpy as np

from benchmarks.insurer.contenders import BY_KEY, FULL
from benchmarks.insurer.figures import AP, AT, RECALL, REVIEWS, Mean
from benchmarks.insurer.runs import Runs
from benchmarks.insurer.unseen import KNOWN, UNSEEN

FLOOR_OVER_LOGISTIC: Final = 0.12  # of recall at 15 % precision
FLOOR_PAIRS: Final = 0.95


def points(one: Mean | None) -> str:
    """Return a difference of shares in points, with its interval."""
    return "–" if one is None else f"{100 * one.value:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def conclusions(runs: Runs) -> str:
    """Return a list in Markdown; of what was not measured nothing is said."""
    said = [*_of_recall(runs), *_of_branches(runs), *_of_the_unseen(runs), *_of_pairs(runs)]
    return "\n".join(f"- {one}" for one in said)


def _of_recall(runs: Runs) -> list[str]:
    ours, theirs = runs.mean(FULL, RECALL), runs.mean("logistic", RECALL)
    gain = runs.gain(FULL, "logistic", RECALL)
    if ours is None or theirs is None or gain is None:
        return []
    met = "met" if gain.value >= FLOOR_OVER_LOGISTIC else "**missed**"
    doubt = ", though the interval reaches below it" if gain.low < FLOOR_OVER_LOGISTIC <= gain.value else ""
    said = [
        f"At 15 % precision all branches together find {100 * ours.value:.0f} % of the frauds, the regression "
        f"{100 * theirs.value:.0f} %: {points(gain)} points. "
        f"The floor of {100 * FLOOR_OVER_LOGISTIC:.0f} is {met}{doubt}."
    ]
    for other in ("attributes", "trees", "network", "graphsage-rows"):
        recall, precision = (runs.gain(FULL, other, name) for name in (RECALL, AP))
        if recall is not None and precision is not None:
            said.append(
                f"Against {BY_KEY[other].title}: {points(recall)} points of that recall, {_verdict(recall)}; "
                f"average precision {precision.value:+.3f} ({precision.low:+.3f} to {precision.high:+.3f}), "
                f"{_verdict(precision)}."
            )
    few = AT[REVIEWS[1]]
    found = {key: runs.mean(key, few) for key in (FULL, "logistic", "rules")}
    told = [f"{BY_KEY[key].title.strip('*')} {100 * one.value:.0f} %" for key, one in found.items() if one is not None]
    return [*said, f"With {REVIEWS[1]} reviews a day: {', '.join(told)}."]


def _verdict(one: Mean) -> str:
    if not one.excludes_zero:
        return "not told apart from none"
    return "a gain" if one.value > 0.0 else "a loss"


def _of_branches(runs: Runs) -> list[str]:
    if not runs.trained:
        return []
    n = len(runs.trained)
    names = list(dict.fromkeys(name for _, _, one in runs.trained for name in one.worth))
    told = [f"{name} in {sum(name in one.weights for _, _, one in runs.trained)}" for name in names]
    return [f"The stack took branches beside the trees into the score so often, of {n} trainings: {', '.join(told)}."]


def _of_the_unseen(runs: Runs) -> list[str]:
    said = []
    for reviews in REVIEWS if runs.unseen else ():
        name = f"full, {reviews} a day"
        unseen, known = (reduce(add, [told[kind][name] for told in runs.unseen]) for kind in (UNSEEN, KNOWN))
        if not unseen.n_rings or not known.n_rings:
            continue
        new, old = (f"{100 * one.n_flagged / one.n_rings:.0f} %" for one in (unseen, known))
        said.append(
            f"With {reviews} reviews a day, {new} of the rings of the unseen pattern are flagged within 24 hours of "
            f"their third claim, and {old} of those of known patterns."
        )
    return said


def _of_pairs(runs: Runs) -> list[str]:
    if not runs.pairs:
        return []
    right = float(np.mean([one.right["full"] for one in runs.pairs]))
    met = "met" if right >= FLOOR_PAIRS else "**missed**"
    return [
        f"Of the planted pairs, the full score ranks {100 * right:.1f} % right; "
        f"the floor of {100 * FLOOR_PAIRS:.0f} % is {met}."
    ]

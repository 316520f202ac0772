# SPDX-License-Identifier: Apache-2.0
"""What is each branch of the stack worth? The stack is fitted again without it, from scores that training made anyway.

block of time   1      2      3      4
stack fitted    ──▶ judged
                ─────────▶ judged
                ────────────────▶ judged
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.stack import BACKBONE, Stack, fit_stack
from ringfence.training.comparisons.study import Judge, Study, in_words
from ringfence.training.folds import Fold
from ringfence.training.stacking import core_in_time

FloatArray = NDArray[np.float64]

TITLE: Final = "What each branch is worth"
QUESTION: Final = "How much worse is the score without a branch, and how much better with one that was left out?"
WINDOW: Final = (
    "examples of later blocks of time, scored by models of their past, with weights fitted on the blocks before"
)


def branches_study(
    members: Mapping[str, FloatArray],
    stack: Stack,
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    *,
    seed: int,
    seconds: Mapping[str, float] | None = None,
) -> Study:
    """Leave each member out of the stack, and let each that is no member in.

    Parameters
    ----------
    members : out-of-fold raw scores of the trees and of every branch that was tried, each of shape (n,); NaN where
        there is none.
    stack : of the release.
    fraud : shape (n,).
    folds : earliest first.
    seconds : that learning each member took; None: not timed.
    """
    inside = [name for name in stack.members if name in members]
    ways = {_named(inside): inside}
    if len(inside) > 1:
        ways |= {f"without {_word(name)}": [one for one in inside if one != name] for name in inside}
    ways |= {f"with {_word(name)}": [*inside, name] for name in members if name not in inside}
    scores = {name: stacked_in_time(members, names, fraud, folds) for name, names in ways.items()} if folds else {}
    there = np.all([~np.isnan(one) for one in scores.values()], axis=0) if scores else np.zeros(0, np.bool_)
    if len(ways) < 2 or not 0 < int(fraud[there].sum() if there.any() else 0) < int(there.sum()):
        return Study(
            name="branches",
            title=TITLE,
            question=QUESTION,
            answer="No branch but the trees was tried."
            if len(members) < 2
            else "There are too few blocks of time to judge branches on.",
            is_good=None,
        )
    judge = Judge(fraud[there], seed=seed)
    spent = {name: None if seconds is None else sum(seconds[one] for one in names) for name, names in ways.items()}
    variants = [judge.variant(name, one[there], n_features=None, seconds=spent[name]) for name, one in scores.items()]
    told = [
        f"{one.name} {in_words(one.against['average_precision'])}"
        for one in variants[1:]
        if one.against["average_precision"].excludes_zero
    ]
    answer = (
        f"Differences of average precision that chance does not explain, the release's stack minus: {'; '.join(told)}."
        if told
        else "Leaving any branch out, or letting any other in, changes average precision by no more than chance would."
    )
    return Study(
        name="branches",
        title=TITLE,
        question=QUESTION,
        answer=answer,
        is_good=None,
        window=WINDOW,
        n=int(there.sum()),
        n_fraud=int(fraud[there].sum()),
        variants=variants,
    )


def stacked_in_time(
    members: Mapping[str, FloatArray], names: Sequence[str], fraud: NDArray[np.int8], folds: Sequence[Fold]
) -> FloatArray:
    """Return log-odds of each block from the second on, by weights found on those before; NaN elsewhere, (n,).

    Before any label the trees and other forecasts weigh what their mix says, and other branches nothing.
    """
    found = np.full(fraud.shape[0], np.nan)
    there = np.all([~np.isnan(members[name]) for name in names], axis=0)
    for at in range(1, len(folds)):
        past = np.concatenate([fold.emit for fold in folds[:at]])
        past, block = past[there[past]], folds[at].emit[there[folds[at].emit]]
        if 0 < int(fraud[past].sum()) < past.shape[0]:
            stack = Stack()
            if BACKBONE in names:
                stack, _ = core_in_time({name: members[name] for name in names}, fraud, folds[:at])
            usual = dict(zip(stack.members, stack.weights, strict=True))
            stack = fit_stack({name: members[name][past] for name in names}, fraud[past], names, before=usual)
            found[block] = stack.raw({name: members[name][block] for name in names})
    return found


def _word(name: str) -> str:
    return "the trees" if name == BACKBONE else name


def _named(names: Sequence[str]) -> str:
    return "the trees alone" if list(names) == [BACKBONE] else "the stack"

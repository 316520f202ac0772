# SPDX-License-Identifier: Apache-2.0
"""Do the links that a network walks carry anything? It is learnt again where who meets whom is random."""

from __future__ import annotations

from typing import Final

import numpy as np

from ringfence.models.branch import Need
from ringfence.models.stack import BACKBONE
from ringfence.training.comparisons.branches import WINDOW, stacked_in_time
from ringfence.training.comparisons.remade import Remade
from ringfence.training.comparisons.shuffled import InMemory, shuffled_history
from ringfence.training.comparisons.study import Judge, Study, says_more

TITLE: Final = "The network against one on random links"
QUESTION: Final = "Does the network say more than one that was taught, and asked, where who meets whom is random?"


def network_study(remade: Remade) -> Study:
    """Stack the trees with the networks of true links, of shuffled links, and with none."""

    def study(answer: str, is_good: bool | None = None) -> Study:
        return Study(name="network", title=TITLE, question=QUESTION, answer=answer, is_good=is_good)

    names = [name for name, one in remade.release.ensemble.branches.items() if Need.NEIGHBOURHOODS in one.needs]
    if not names:
        return study("This release has no network that walks links, so there is none to drop.")
    true = remade.branches(remade.ledger, names)
    strangers = remade.branches(InMemory(shuffled_history(remade)), names)
    if set(true) != set(names) or set(strangers) != set(names):
        return study("The network cannot be learnt here as the release's was, so it was not compared.")
    whole, fraud = remade.whole, remade.examples.fraud
    trees = {BACKBONE: whole.fitted.out_of_fold.raw}
    ways = {
        "with the network": {**trees, **{name: one.raw for name, one in true.items()}},
        "network on shuffled links": {**trees, **{name: one.raw for name, one in strangers.items()}},
        "the trees alone": trees,
    }
    spent = [
        whole.seconds + sum(one.seconds for one in true.values()),
        whole.seconds + sum(one.seconds for one in strangers.values()),
        whole.seconds,
    ]
    scores = {
        name: stacked_in_time(members, list(members), fraud, whole.fitted.folds) for name, members in ways.items()
    }
    there = np.all([~np.isnan(one) for one in scores.values()], axis=0)
    n_fraud = int(fraud[there].sum())
    if not 0 < n_fraud < int(there.sum()):
        return study("There are too few blocks of time to judge networks on.")
    judge = Judge(fraud[there], seed=remade.seed)
    variants = [
        judge.variant(name, one[there], n_features=None, seconds=seconds)
        for (name, one), seconds in zip(scores.items(), spent, strict=True)
    ]
    carry, told = says_more(variants[1].against)
    if carry:
        answer = (
            f"Links teach the network what random ones of the same degrees do not: {told}. Beside the trees alone it "
            f"is {says_more(variants[2].against)[1]}."
        )
    else:
        without = " ".join(f"--without {name}" for name in names)
        answer = (
            f"Random links do as well ({told}), so links carry nothing here that only {' and '.join(names)} would see: "
            f"drop it, train {without}."
        )
    return Study(
        name="network",
        title=TITLE,
        question=QUESTION,
        answer=answer,
        is_good=carry,
        window=WINDOW,
        n=int(there.sum()),
        n_fraud=n_fraud,
        variants=variants,
    )

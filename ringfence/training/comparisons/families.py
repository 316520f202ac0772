# SPDX-License-Identifier: Apache-2.0
"""What is each family of features worth? Trees are fitted again without it."""

from __future__ import annotations

from typing import Final

import numpy as np

from ringfence.engine.stats import EVENT, NEIGHBOUR_RISK, ONE_HOP, RINGS
from ringfence.training.comparisons.remade import Remade
from ringfence.training.comparisons.study import Study, in_words

LINKED: Final = (ONE_HOP, NEIGHBOUR_RISK, RINGS)  # families that walk links
TITLE: Final = "What each family of features is worth"
QUESTION: Final = "How much worse are trees that were fitted without a family, and how much time does it cost to fit?"


def families_study(remade: Remade) -> Study:
    """Leave out one family at a time, all that walk links together, and all but what the event itself says."""
    family, compared = remade.family, remade.comparison()
    present = [name for name in dict.fromkeys(family.tolist()) if (family != name).any()]
    wanted = {f"without {name}": family != name for name in present}
    linked = np.isin(family, LINKED)
    if len(set(family[linked].tolist())) > 1 and not linked.all():
        wanted["without any that walks links"] = ~linked
    if (family == EVENT).any() and len(present) > 2:
        wanted["the event alone"] = family == EVENT
    n_fits = len(wanted) + 1
    told = []
    for done, (name, kept) in enumerate(wanted.items()):
        remade.report("families", done, n_fits)
        found = compared.add(name.replace("_", " "), remade.trees(remade.rows, kept=kept))
        gain = found.against["average_precision"]
        if name.removeprefix("without ") in present and gain.low > 0.0:
            told.append((gain.value, name.removeprefix("without ").replace("_", " "), in_words(gain)))
    remade.report("families", n_fits - 1, n_fits)
    again = remade.trees(remade.rows, seed=remade.seed + 1)
    control = compared.add("all features, another seed", again, is_control=True)
    remade.report("families", n_fits, n_fits)
    shown = "; ".join(f"{name} {gain}" for _, name, gain in sorted(told, reverse=True))
    answer = (
        f"These families add average precision that chance does not explain: {shown}. What is not named may still help "
        "together with others: families say the same in part."
        if told
        else "No single family adds average precision that chance would not explain: what one says, others say too, "
        "or the frauds are too few to tell."
    )
    noise = in_words(control.against["average_precision"])
    return compared.study(
        "families",
        title=TITLE,
        question=QUESTION,
        answer=answer,
        is_good=None,
        notes=[
            f"The same features with another seed differ by {noise} of average precision: that much is the fit's own "
            "chance, which the intervals, drawn over events, do not cover."
        ],
    )

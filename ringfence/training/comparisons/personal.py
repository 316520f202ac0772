# SPDX-License-Identifier: Apache-2.0
"""What does it cost to do without what is personal? Trees are fitted again with it, which no release ever is.

Attributes marked `personal` or `audit_only` reach no feature. So the release is the model that does without them, and
the one to compare with is made here, scored, and thrown away.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.ledger.event_columns import event_columns
from ringfence.scenario.spec import Attribute, AttributeType, AttributeUse
from ringfence.training.comparisons.remade import Remade
from ringfence.training.comparisons.study import Study, in_words

FloatArray = NDArray[np.float64]

TITLE: Final = "What it costs to do without what is personal"
QUESTION: Final = "Would the scores be better if attributes that are kept out of the model were let in?"


def personal_study(remade: Remade) -> Study:
    """Let in what is `audit_only`, all of it and one by one."""
    decided = remade.release.scenario.decided
    closed = [a for a in decided.attributes if a.use is AttributeUse.AUDIT_ONLY and not a.personal]
    readable = [a for a in closed if a.type is not AttributeType.TEXT]
    erasable = [a.name for a in decided.attributes if a.personal]
    notes = [f"Not in the comparison: {', '.join(erasable)} (personal: erasable, and read by no report)."] * bool(
        erasable
    )
    if not readable:
        return Study(
            name="personal",
            title=TITLE,
            question=QUESTION,
            answer="The scenario declares no attribute as audit_only that could be let in, so there is nothing to "
            "compare. Attributes marked personal never reach a model.",
            is_good=None,
            notes=notes,
        )
    compared = remade.comparison()
    wanted = {f"with {a.name}": [a] for a in readable} if len(readable) > 1 else {}
    wanted |= {f"with {', '.join(a.name for a in readable)}": readable}
    columns = _columns(remade, readable)
    gain = None
    for done, (name, attributes) in enumerate(wanted.items()):
        remade.report("personal", done, len(wanted))
        let_in = np.column_stack([columns[a.name] for a in attributes])
        is_category = [a.type is AttributeType.CATEGORY for a in attributes]
        found = compared.add(name, remade.trees(np.hstack([remade.rows, let_in]), added=is_category))
        gain = found.against["average_precision"]  # of the last: all of them
    remade.report("personal", len(wanted), len(wanted))
    assert gain is not None
    pays = gain.high < 0.0
    answer = (
        f"Doing without them costs average precision: {in_words(gain)} against a model that has them all."
        if pays
        else f"Doing without them costs nothing that can be shown: average precision differs by {in_words(gain)} from "
        "a model that has them all."
    )
    return compared.study("personal", title=TITLE, question=QUESTION, answer=answer, is_good=not pays, notes=notes)


def _columns(remade: Remade, attributes: list[Attribute]) -> dict[str, FloatArray]:
    """Read attributes of all events as numbers, each of shape (n + m,); a category is a number without order."""
    given = event_columns(remade.ledger, pl.Series(remade.seqs), attributes).attributes
    at = np.searchsorted(given["seq"].to_numpy(), remade.seqs)
    columns = {}
    for attribute in attributes:
        values = given[attribute.name]
        if attribute.type is AttributeType.CATEGORY:
            values = values.rank("dense")
        columns[attribute.name] = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()[at]
    return columns

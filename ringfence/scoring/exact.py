# SPDX-License-Identifier: Apache-2.0
"""Exact shares of features in a score, for after the answer: TreeSHAP costs milliseconds a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ringfence.models.seen import Seen
from ringfence.scoring.reasons import WHOLE
from ringfence.scoring.scorer import FULL, RULES, Scorer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ringfence.ledger.records import DecisionBody
    from ringfence.scoring.release import Release

MOST_EXACT: Final = 10


class ExactReason(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's exact TreeSHAP share of the raw score, in log-odds."""

    feature: str
    sentence: str
    value: float | None
    contribution: float


def exact_reasons(
    release: Release, decisions: Sequence[DecisionBody], seen: Seen, *, most: int = MOST_EXACT
) -> list[list[ExactReason]]:
    """Return the strongest exact reasons of decisions, by size, whatever their sign; none where no model was asked.

    Parameters
    ----------
    decisions : n decisions of this release; what their branches added as a whole is taken from their reasons.
    seen : their n feature rows.

    Raises
    ------
    ReleaseDamagedError
        If no model is left that could be asked.
    """
    features, scorer = release.catalogue.features, Scorer(release)
    rungs = [str(body.circumstances.get("rung", FULL)) for body in decisions]
    every = np.zeros(seen.rows.shape)
    for rung in sorted(set(rungs) - {RULES}):
        at = np.array([place for place, found in enumerate(rungs) if found == rung], np.int64)
        every[at] = scorer.explain(seen.part(at), rung=rung)
    explained: list[list[ExactReason]] = []
    for body, rung, row, shares in zip(decisions, rungs, seen.rows, every, strict=True):
        if rung == RULES:
            explained.append([])
            continue
        strongest = np.argsort(-np.abs(shares), kind="stable")[:most]
        exact = [
            ExactReason(
                feature=features[column].name,
                sentence=features[column].sentence,
                value=None if np.isnan(row[column]) else float(row[column]),
                contribution=float(shares[column]),
            )
            for column in map(int, strongest)
        ]
        # What a branch adds as a whole was exact when it was told.
        exact += [
            ExactReason(
                feature=WHOLE[reason.code], sentence=reason.sentence, value=None, contribution=reason.contribution
            )
            for reason in body.reasons
            if reason.code in WHOLE
        ]
        explained.append(sorted(exact, key=lambda one: -abs(one.contribution))[:most])
    return explained

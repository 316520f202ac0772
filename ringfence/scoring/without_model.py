# SPDX-License-Identifier: Apache-2.0
"""The lowest rung: what the rules say, and where there are none, the base rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ringfence.ledger.records import Reason
from ringfence.models.branches import RULES
from ringfence.scoring.reasons import AMOUNT_AT_STAKE, BASE_RATE, MOST, NO_MODEL

if TYPE_CHECKING:
    from ringfence.scoring.release import Release

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WithoutModel:
    """What is known of n events when no model can be asked."""

    raw: FloatArray  # (n,) log-odds before calibration
    score: FloatArray  # (n,) calibrated probability of fraud
    members: list[dict[str, float]]
    said: list[tuple[Reason, ...]]  # by the rules that hold, the most points first
    base_rate: float

    def reasons(self, at: int, why: str, money: str) -> tuple[Reason, ...]:
        """Return the reasons of one event.

        Parameters
        ----------
        why : no model could be asked; empty where none was.
        money : what is at stake, as a sentence.
        """
        no_model = f"No model could be asked: {why}" if why else "No model was asked"
        rest = (
            Reason(code=NO_MODEL, sentence=no_model, contribution=0.0),
            Reason(
                code=BASE_RATE,
                sentence=f"Of all events known to training, {100.0 * self.base_rate:.3g} % were fraud",
                contribution=0.0,
            ),
            Reason(code=AMOUNT_AT_STAKE, sentence=money, contribution=0.0),
        )
        return (*self.said[at][: MOST - 1], *rest)[:MOST]


def without_model(release: Release, n: int, rows: FloatArray | None, *, base_rate: float) -> WithoutModel:
    """Ask the rules of a release, or nobody.

    Parameters
    ----------
    rows : shape (n, n_features), as the engine gives them; None where they are not there.
    base_rate : of fraud, in (0, 1).
    """
    if rows is None or release.rules is None:
        raw = np.full(n, np.log(base_rate) - np.log1p(-base_rate))
        return WithoutModel(raw, np.full(n, base_rate), [{} for _ in range(n)], [()] * n, base_rate)
    rules, calibrator = release.rules
    raw = rules.log_odds(rules.points(rows))
    said = [
        tuple(Reason(code=one.code, sentence=one.sentence, contribution=one.adds) for one in rules.reasons(row))
        for row in rows
    ]
    members = [{RULES: share} for share in rules.probability(raw).tolist()]
    return WithoutModel(raw, calibrator.apply(raw), members, said, base_rate)

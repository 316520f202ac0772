# SPDX-License-Identifier: Apache-2.0
"""How far is calibration to be believed? As far as calibrating on the past helped the block of time that followed.

Where the base rate comes and goes, a map fitted on the last months carries their rate into the next ones. So the map is
averaged, on the scale of log-odds, with the model's own scores, and the weight is learnt by repeating in time what a
release does: fit the map on the blocks before, score the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.calibration import Calibrator, fit_calibrator, towards_raw
from ringfence.training.folds import Fold

FloatArray = NDArray[np.float64]

_WEIGHTS: Final = np.linspace(0.0, 1.0, 5)


def prior_log_odds(fraud: NDArray[np.int8]) -> float:
    """Return the log-odds of fraud among examples of both kinds."""
    rate = float(fraud.mean())
    return float(np.log(rate) - np.log1p(-rate))


def calibrate_in_time(
    raw: FloatArray, fraud: NDArray[np.int8], folds: Sequence[Fold], *, legit_share: float = 1.0
) -> tuple[Calibrator, float]:
    """Fit a calibrator on out-of-fold scores, and believe it as far as its like held in time.

    Parameters
    ----------
    raw : shape (n,), out-of-fold log-odds at the base rate of all examples, as `cross_fit` gives them; NaN elsewhere.
    fraud : shape (n,).
    folds : earliest first.
    legit_share : share of the legit examples that the models saw, in (0, 1].

    Returns
    -------
    The calibrator, and the weight in [0, 1] that the fitted map has in it; the rest is the model's own score.

    Notes
    -----
    The weight is the posterior mean over a grid of five under a flat prior, given all blocks but the first: Bayesian
    averaging, or forecasting with expert advice (Vovk, 1990) at learning rate 1. It is 1 where no block could be tried.
    """
    there = ~np.isnan(raw)
    fitted = fit_calibrator(raw[there], fraud[there])
    unsampled = float(np.log(legit_share))
    loss, tried = np.zeros(_WEIGHTS.shape[0]), False
    for at in range(1, len(folds)):
        past = np.concatenate([fold.emit for fold in folds[:at]])
        if not 0 < int(fraud[past].sum()) < past.shape[0]:
            continue
        # What stood at this fold's base rate then, not at that of all examples, which nobody knew.
        shift = prior_log_odds(fraud[folds[at].fit]) - prior_log_odds(fraud)
        then = fit_calibrator(raw[past] + shift, fraud[past])
        block, labels = raw[folds[at].emit] + shift, fraud[folds[at].emit]
        for place, weight in enumerate(_WEIGHTS):
            odds = towards_raw(then, float(weight), shift=unsampled).log_odds(block)
            loss[place] += float(np.logaddexp(0.0, np.where(labels == 1, -odds, odds)).sum())
        tried = True
    if not tried:
        return fitted, 1.0
    likely = np.exp(loss.min() - loss)
    weight = float(likely @ _WEIGHTS / likely.sum())
    return towards_raw(fitted, weight, shift=unsampled), weight

# SPDX-License-Identifier: Apache-2.0
"""Numbers that a guess can be argued with: how well one column alone tells the label, and how it orders time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
_FOLDS: Final = 5
_STRENGTH: Final = 5.0  # pseudo-count of the prior in a category's rate, in rows


def span_text(span_ms: float) -> str:
    """A length of time in words, in the largest unit of which there are two or more, such as `268 days`."""
    for unit, size_ms in (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000)):
        if abs(span_ms) >= 2 * size_ms:
            return f"{span_ms / size_ms:,.0f} {unit}s"
    return f"{span_ms / 1_000:,.0f} seconds"


def roc_auc(score: Floats, is_fraud: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; ties count half; NaN where a class is missing."""
    n_fraud = int(is_fraud.sum())
    n_legit = len(is_fraud) - n_fraud
    if not n_fraud or not n_legit:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[is_fraud].sum() - n_fraud * (n_fraud + 1) / 2) / (n_fraud * n_legit))


def number_auc(values: Floats, is_fraud: NDArray[np.bool_]) -> float:
    """The better direction's AUC of a number among the rows that give it."""
    given = ~np.isnan(values)
    auc = roc_auc(values[given], is_fraud[given])
    return max(auc, 1.0 - auc)


def category_auc(codes: NDArray[np.int64], is_fraud: NDArray[np.bool_]) -> float:
    """AUC of a category's smoothed fraud rate, each fifth of the rows rated by the others.

    Parameters
    ----------
    codes : shape (n,), 0 to k - 1.
    """
    fold = np.arange(len(codes)) % _FOLDS
    score = np.empty(len(codes))
    n_codes = int(codes.max(initial=0)) + 1
    for at in range(_FOLDS):
        known = fold != at
        prior = float(is_fraud[known].mean()) if known.any() else 0.0
        seen = np.bincount(codes[known], minlength=n_codes)
        frauds = np.bincount(codes[known], weights=is_fraud[known].astype(float), minlength=n_codes)
        rate = (frauds + _STRENGTH * prior) / (seen + _STRENGTH)
        score[~known] = rate[codes[~known]]
    return roc_auc(score, is_fraud)


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation over the rows that give both; 0 where one of them is constant or fewer than 20 do."""
    given = ~(np.isnan(a) | np.isnan(b))
    if int(given.sum()) < 20:
        return 0.0
    x, y = rankdata(a[given]), rankdata(b[given])
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])

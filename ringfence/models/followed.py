# SPDX-License-Identifier: Apache-2.0
"""Weights of a stack that follow what was labelled since, slowly and within a band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ringfence.models.calibration import sigmoid
from ringfence.models.errors import ModelShapeError, TooFewLabelsError
from ringfence.models.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray = NDArray[np.float64]

WORTH: Final = 100.0  # labelled frauds that the released weights count for: with as many new ones, half the way is gone
BAND: Final = (0.5, 2.0)  # times the weight at training, both inclusive


class Band(NamedTuple):
    """What a weight may become, both ends inclusive."""

    low: float
    high: float


def band_of(trained: float) -> Band:
    """Return what a weight may become that was `trained` (>= 0) when its models were made; 0 stays 0."""
    return Band(BAND[0] * trained, BAND[1] * trained)


def follow_stack(
    released: Stack,
    members: Mapping[str, FloatArray],
    labels: NDArray[np.integer[Any]],
    *,
    trained: Mapping[str, float],
) -> Stack:
    """Move the weights of a stack towards what labels of later events say.

    Parameters
    ----------
    released : where the weights start from.
    members : raw scores of its members by name, each of shape (n,), finite, of events that no member was fitted on.
    labels : shape (n,), 1 for fraud, 0 for legit.
    trained : the weight of each member, >= 0, in the training that made the models; the band lies around it, however
        often weights were moved since.

    Returns
    -------
    The same members; each weight within `band_of` its trained one, the intercept free, centres of these events.

    Raises
    ------
    TooFewLabelsError
        Where one of the two classes is absent.
    ModelShapeError
        Where scores and labels differ in length.

    Notes
    -----
    With v = p(1 - p) at the released weights (the intercept fitted for itself) and x centred by v,

        J = sum v x x'      w = argmin  log-loss(w) + WORTH / n_fraud * (w - released)' J (w - released) / 2

    over the band: the most likely weights under a normal prior at the released ones that carries as much information
    as `WORTH` frauds, and the legit events among them, do (a unit-information prior, Kass & Wasserman, JASA 90, 1995,
    section 2, of 100 frauds in place of one observation). A member's scale and what it shares with others cancel out.
    Sums are numpy's own, so that no linear-algebra library's threads decide a bit.
    """
    y = np.asarray(labels, dtype=np.float64)
    columns = [np.asarray(members[name], dtype=np.float64) for name in released.members]
    if any(column.shape != y.shape for column in columns):
        shapes = [column.shape for column in columns]
        raise ModelShapeError(f"follow_stack: scores of shapes {shapes} do not go with labels of shape {y.shape}")
    n_fraud = int(np.count_nonzero(y == 1.0))
    if not 0 < n_fraud < y.shape[0]:
        raise TooFewLabelsError("follow_stack", n_fraud, y.shape[0] - n_fraud)
    before = np.array(released.weights)
    bands = [band_of(trained[name]) for name in released.members]
    free = np.zeros((before.shape[0], before.shape[0]))
    _, intercept = _least(columns, y, before, free, [Band(weight, weight) for weight in released.weights])
    p = sigmoid(_odds(columns, before, intercept))
    v = p * (1.0 - p)
    centred = [column - (v * column).sum() / v.sum() for column in columns]
    information = np.array([[(v * one * other).sum() for other in centred] for one in centred])
    weights, intercept = _least(columns, y, before, WORTH / n_fraud * information, bands)
    return Stack(
        members=released.members,
        weights=tuple(float(weight) for weight in weights),
        intercept=intercept,
        centres=tuple(float(column.mean()) for column in columns),
    )


def _odds(columns: list[FloatArray], weights: FloatArray, intercept: float) -> FloatArray:
    total = np.full(columns[0].shape[0], intercept)
    for weight, column in zip(weights, columns, strict=True):
        total += weight * column
    return total


def _least(
    columns: list[FloatArray], y: FloatArray, before: FloatArray, precision: FloatArray, bands: list[Band]
) -> tuple[FloatArray, float]:
    """Return weights within their bands, and the intercept, where the penalised log-loss is least."""
    # Centred and of one scale, so that few steps lead there; a member that says the same of all has nothing to scale.
    means = np.array([column.mean() for column in columns])
    spread = np.array([column.std() for column in columns])
    spread[spread == 0.0] = 1.0
    scaled = [(column - mean) / one for column, mean, one in zip(columns, means, spread, strict=True)]
    start = before * spread
    precise = precision / spread[:, None] / spread[None, :]
    n_fraud = y.sum()

    def loss(at: FloatArray) -> tuple[float, FloatArray]:
        odds = _odds(scaled, at[:-1], float(at[-1]))
        off = sigmoid(odds) - y
        moved = at[:-1] - start
        pull = (precise * moved).sum(axis=1)
        value = np.logaddexp(0.0, np.where(y == 1.0, -odds, odds)).sum() + 0.5 * (pull * moved).sum()
        slopes = np.array([(column * off).sum() for column in scaled]) + pull
        return float(value / n_fraud), np.append(slopes, off.sum()) / n_fraud

    rate = n_fraud / y.shape[0]
    found = minimize(
        loss,
        np.append(start, np.log(rate / (1.0 - rate))),
        jac=True,
        method="L-BFGS-B",
        bounds=[(band.low * one, band.high * one) for band, one in zip(bands, spread, strict=True)] + [(None, None)],
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1_000, "maxfun": 5_000},
    )
    low, high = np.array([band.low for band in bands]), np.array([band.high for band in bands])
    weights: FloatArray = np.clip(found.x[:-1] / spread, low, high)  # scaling there and back may round past an end
    return weights, float(found.x[-1] - (weights * means).sum())

# SPDX-License-Identifier: Apache-2.0
"""Several raw scores into one: a logistic regression that has to be talked out of trusting the trees alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ringfence.models.calibration import sigmoid
from ringfence.models.errors import ModelShapeError, TooFewLabelsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FloatArray = NDArray[np.float64]

BACKBONE: Final = "gbdt"
DOUBT: Final = 0.5  # standard deviation of a weight around what it is before any label
_BACKBONE_ALONE: Final = {BACKBONE: 1.0}


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of the members that take part. Without any label it is the backbone as it is."""

    members: tuple[str, ...] = (BACKBONE,)
    weights: tuple[float, ...] = (1.0,)  # >= 0: no member is ever turned around
    intercept: float = 0.0
    centres: tuple[
        float, ...
    ] = ()  # mean raw score of each member where it was fitted; what is told is told against it

    def raw(self, members: Mapping[str, FloatArray]) -> FloatArray:
        """Return stacked log-odds, shape (n,), from each member's raw score of shape (n,); others are not read."""
        total: FloatArray | None = None
        for name, weight in zip(self.members, self.weights, strict=True):  # one order: a row alone has the same bits
            part = weight * members[name]
            total = part if total is None else total + part
        if total is None:
            raise ModelShapeError("a stack without members; name at least one")
        return np.asarray(total + self.intercept)

    def weight_of(self, member: str) -> float:
        """Return the weight of a member, 0 where it takes no part."""
        return dict(zip(self.members, self.weights, strict=True)).get(member, 0.0)

    def centre_of(self, member: str) -> float:
        """Return a member's mean raw score over the events that the stack was fitted on; 0 where none was kept."""
        return dict(zip(self.members, self.centres, strict=False)).get(member, 0.0)

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> Stack:
        return msgspec.json.decode(data, type=cls)


def fit_stack(
    members: Mapping[str, FloatArray],
    labels: NDArray[np.integer[Any]],
    names: Sequence[str],
    *,
    before: Mapping[str, float] | None = None,
) -> Stack:
    """Fit weights on scores of events that the members did not see.

    Parameters
    ----------
    members : raw scores by name, each of shape (n,), finite.
    labels : shape (n,), 1 for fraud, 0 for legit.
    names : who takes part, the backbone first.
    before : what members weigh before any label, 0 where nothing is said; None: the backbone 1.

    Raises
    ------
    TooFewLabelsError
        Where one of the two classes is absent.
    ModelShapeError
        Where scores and labels differ in length.

    Notes
    -----
    The most likely weights under independent normal priors, `before` ± `DOUBT`, a flat one for the intercept, and none
    below zero. With few labels weights stay what they were before, with many the labels decide.
    """
    y = np.asarray(labels, dtype=np.float64)
    x = np.column_stack([members[name] for name in names])
    if x.shape[0] != y.shape[0]:
        raise ModelShapeError(f"fit_stack: scores of shape {x.shape} do not go with labels of shape {y.shape}")
    n_fraud = int(np.count_nonzero(y == 1.0))
    if not 0 < n_fraud < y.shape[0]:
        raise TooFewLabelsError("fit_stack", n_fraud, y.shape[0] - n_fraud)
    prior = _BACKBONE_ALONE if before is None else before
    usual = np.array([prior.get(name, 0.0) for name in names])

    def loss(at: FloatArray) -> tuple[float, FloatArray]:
        weights, odds = at[:-1], x @ at[:-1] + at[-1]
        off = sigmoid(odds) - y
        doubt = (weights - usual) / DOUBT**2
        value = float(
            np.logaddexp(0.0, np.where(y == 1.0, -odds, odds)).sum() + 0.5 * (doubt * (weights - usual)).sum()
        )
        return value, np.append(x.T @ off + doubt, off.sum())

    found = minimize(
        loss, np.append(usual, 0.0), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(names) + [(None, None)]
    )
    return Stack(
        members=tuple(names),
        weights=tuple(float(w) for w in found.x[:-1]),
        intercept=float(found.x[-1]),
        centres=tuple(float(mean) for mean in x.mean(axis=0)),
    )

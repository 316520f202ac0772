# SPDX-License-Identifier: Apache-2.0
"""Raw log-odds into probabilities that mean what they say, by a map that never changes an order.

Every calibrator is a strictly increasing map g from raw log-odds to calibrated log-odds; the score is 1 / (1 + e^-g).

    Platt      g = a r + b,                               a > 0   (Platt, 1999, with his smoothed targets)
    beta       g = a ln s - b ln(1 - s) + c, s = 1/(1+e^-r),  a, b >= 0, a + b > 0   (Kull et al., 2017)
    isotonic   g piecewise linear through (centre of block, log-odds of its rate); beyond the outermost centres it
               goes on with half of Platt's slope. Interpolating between block centres (Oron & Flournoy, 2017) is what
               keeps the raw score's order inside a plateau.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ringfence.models.errors import ModelShapeError, TooFewLabelsError

FloatArray = NDArray[np.float64]
Method = Literal["platt", "beta", "isotonic"]

PLATT_BELOW: Final = 200  # frauds
BETA_BELOW: Final = 1000  # frauds
LEAST_SLOPE: Final = 1e-2  # a raw score that carries nothing still keeps its order
_MAX_BLOCKS: Final = 200
_NO_STEP: Final = 1e-13  # log-odds


class Calibrator(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted map. `slope`, `slope_above` and `intercept` are a, b and c above; knots belong to isotonic only."""

    method: Method
    slope: float = 1.0
    slope_above: float = 0.0
    intercept: float = 0.0
    knots_raw: tuple[float, ...] = ()
    knots_log_odds: tuple[float, ...] = ()
    n_fraud: int = 0
    n_legit: int = 0

    def log_odds(self, raw: FloatArray) -> FloatArray:
        """Return calibrated log-odds, shape (n,), strictly increasing in `raw`."""
        if self.method == "platt":
            return self.slope * raw + self.intercept
        if self.method == "beta":
            # ln s = -softplus(-r), -ln(1 - s) = softplus(r)
            below, above = -np.logaddexp(0.0, -raw), np.logaddexp(0.0, raw)
            return np.asarray(self.slope * below + self.slope_above * above + self.intercept)
        x, y = np.array(self.knots_raw), np.array(self.knots_log_odds)
        inside = np.interp(raw, x, y)
        return np.asarray(inside + self.slope * (np.minimum(raw - x[0], 0.0) + np.maximum(raw - x[-1], 0.0)))

    def apply(self, raw: FloatArray) -> FloatArray:
        """Return calibrated probabilities of fraud, shape (n,), in (0, 1)."""
        return sigmoid(self.log_odds(np.asarray(raw, dtype=np.float64)))

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> Calibrator:
        return msgspec.json.decode(data, type=cls)


def fit_calibrator(raw: FloatArray, labels: NDArray[np.integer[Any]], *, method: Method | None = None) -> Calibrator:
    """Fit on scores of events that the model did not see.

    Parameters
    ----------
    raw : shape (n,), out-of-fold log-odds.
    labels : shape (n,), 1 for fraud, 0 for legit.
    method : None chooses by the number of frauds: Platt below 200, beta below 1,000, isotonic from there.

    Raises
    ------
    TooFewLabelsError
        Where one of the two classes is absent.

    Notes
    -----
    The mean of the fitted probabilities equals the rate of fraud in `labels`, whatever the method.
    """
    raw = np.asarray(raw, dtype=np.float64)
    y = np.asarray(labels, dtype=np.float64)
    if raw.shape != y.shape or raw.ndim != 1:
        raise ModelShapeError(f"fit_calibrator: raw of shape {raw.shape} does not go with labels of shape {y.shape}")
    n_fraud = int(np.count_nonzero(y == 1.0))
    n_legit = y.shape[0] - n_fraud
    if n_fraud == 0 or n_legit == 0:
        raise TooFewLabelsError("fit_calibrator", n_fraud, n_legit)
    if method is None:
        method = "platt" if n_fraud < PLATT_BELOW else "beta" if n_fraud < BETA_BELOW else "isotonic"
    fitted = {"platt": _fit_platt, "beta": _fit_beta, "isotonic": _fit_isotonic}[method](raw, y)
    fitted = msgspec.structs.replace(fitted, n_fraud=n_fraud, n_legit=n_legit)
    return shift(fitted, _intercept_for(fitted.log_odds(raw), float(y.mean())))


def assume_rate(raw: FloatArray, rate: float) -> Calibrator:
    """Move log-odds so that their mean probability is `rate`: no calibration, but a stated assumption.

    Parameters
    ----------
    raw : shape (n,), log-odds up to a constant.
    rate : of fraud, in (0, 1).
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"a rate lies in (0, 1), found {rate}")
    return Calibrator(method="platt", slope=1.0, intercept=_intercept_for(np.asarray(raw, dtype=np.float64), rate))


def shift(calibrator: Calibrator, by: float) -> Calibrator:
    """Add `by` to the calibrated log-odds everywhere."""
    if calibrator.method == "isotonic":
        moved = tuple(value + by for value in calibrator.knots_log_odds)
        return msgspec.structs.replace(calibrator, knots_log_odds=moved)
    return msgspec.structs.replace(calibrator, intercept=calibrator.intercept + by)


def towards_raw(calibrator: Calibrator, weight: float, *, shift: float = 0.0) -> Calibrator:
    """Average a map with the raw score itself on the scale of log-odds: `weight` g(r) + (1 - `weight`) (r + `shift`).

    Parameters
    ----------
    weight : of the map, in [0, 1].
    shift : what makes the raw score a forecast of its own, such as ln(share) where legit events were sampled.
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"the weight of a calibrator is in [0, 1], found {weight}")
    rest = 1.0 - weight
    return msgspec.structs.replace(
        calibrator,
        slope=weight * calibrator.slope + rest,
        slope_above=weight * calibrator.slope_above + (rest if calibrator.method == "beta" else 0.0),
        intercept=weight * calibrator.intercept + (0.0 if calibrator.method == "isotonic" else rest * shift),
        knots_log_odds=tuple(
            weight * knot + rest * (raw + shift)
            for raw, knot in zip(calibrator.knots_raw, calibrator.knots_log_odds, strict=True)
        ),
    )


def correct_prior(log_odds: FloatArray, *, negatives_kept: float) -> FloatArray:
    """Undo the sampling of negatives: log-odds of a model that saw only a share of the legit events.

    Sampling multiplies the odds of fraud by 1 / share, so ln(share) is added back (Elkan, 2001, theorem 2).

    Parameters
    ----------
    log_odds : shape (n,), of a model trained on all frauds and `negatives_kept` of the legit events.
    negatives_kept : in (0, 1].
    """
    if not 0.0 < negatives_kept <= 1.0:
        raise ValueError(f"negatives_kept is a share in (0, 1], found {negatives_kept}")
    return np.asarray(log_odds + np.log(negatives_kept))


def sigmoid(log_odds: FloatArray) -> FloatArray:
    """Return 1 / (1 + e^-x) without overflow, increasing in x."""
    return np.asarray(np.exp(np.minimum(log_odds, 0.0)) / (1.0 + np.exp(-np.abs(log_odds))))


def _fit_platt(raw: FloatArray, y: FloatArray) -> Calibrator:
    n_fraud, n_legit = float(y.sum()), float(y.shape[0] - y.sum())
    target = np.where(y == 1.0, (n_fraud + 1.0) / (n_fraud + 2.0), 1.0 / (n_legit + 2.0))
    a, b = _maximise(np.column_stack([raw, np.ones_like(raw)]), target, (LEAST_SLOPE, None))
    return Calibrator(method="platt", slope=a, intercept=b)


def _fit_beta(raw: FloatArray, y: FloatArray) -> Calibrator:
    columns = np.column_stack([-np.logaddexp(0.0, -raw), np.logaddexp(0.0, raw), np.ones_like(raw)])
    a, b, c = _maximise(columns, y, (0.0, 0.0, None))
    return Calibrator(method="beta", slope=max(a, LEAST_SLOPE), slope_above=max(b, LEAST_SLOPE), intercept=c)


def _fit_isotonic(raw: FloatArray, y: FloatArray) -> Calibrator:
    platt = _fit_platt(raw, y)
    order = np.argsort(raw, kind="stable")
    # Blocks of about equal mass first, so that one lucky event at the top is not a rate of 100 %.
    n_blocks = int(np.clip(y.sum() / 10.0, 2, _MAX_BLOCKS))
    parts = [part for part in np.array_split(order, n_blocks) if part.shape[0]]
    # the frauds sit at the top: cut there by fraud mass as well
    cuts = np.unique(
        np.concatenate(
            [
                np.cumsum([part.shape[0] for part in parts])[:-1],
                np.searchsorted(np.cumsum(y[order]), np.linspace(0, y.sum(), n_blocks + 1)[1:-1]) + 1,
            ]
        )
    )
    blocks = np.split(order, cuts[(cuts > 0) & (cuts < order.shape[0])])
    mass = np.array([block.shape[0] for block in blocks], dtype=np.float64)
    centre = np.array([raw[block].mean() for block in blocks])
    prior = float(y.mean())
    rate, mass, centre = _pool(np.array([y[block].mean() for block in blocks]), mass, centre)
    # Shrink by one event at the base rate: no block is certain. Shrinking can undo the order, so pool again.
    rate, mass, centre = _pool((rate * mass + prior) / (mass + 1.0), mass, centre)
    rising = np.concatenate([[True], np.diff(centre) > 0.0])
    knots = np.log(rate[rising]) - np.log1p(-rate[rising])
    return Calibrator(
        method="isotonic",
        slope=max(platt.slope / 2.0, LEAST_SLOPE),
        knots_raw=tuple(float(value) for value in centre[rising]),
        knots_log_odds=tuple(float(value) for value in knots),
    )


def _pool(rate: FloatArray, mass: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Pool adjacent violators until rates rise strictly."""
    stack: list[tuple[float, float, float]] = []
    for block in zip(rate.tolist(), mass.tolist(), centre.tolist(), strict=True):
        stack.append(block)
        while len(stack) > 1 and stack[-2][0] >= stack[-1][0]:
            r2, m2, c2 = stack.pop()
            r1, m1, c1 = stack.pop()
            m = m1 + m2
            stack.append(((r1 * m1 + r2 * m2) / m, m, (c1 * m1 + c2 * m2) / m))
    columns = np.array(stack)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def _maximise(columns: FloatArray, target: FloatArray, least: tuple[float | None, ...]) -> tuple[float, ...]:
    """Logistic regression of `target` on `columns` with lower bounds on the coefficients."""
    scale = np.maximum(np.abs(columns).max(axis=0), 1e-12)
    scaled = columns / scale

    def loss(coefficients: FloatArray) -> tuple[float, FloatArray]:
        z = scaled @ coefficients
        e = np.exp(-np.abs(z))  # once for ln(1 + e^z) and for the sigmoid
        value = float(np.mean(np.log1p(e) + np.maximum(z, 0.0) - target * z))
        p = np.where(z >= 0.0, 1.0, e) / (1.0 + e)
        return value, scaled.T @ (p - target) / target.shape[0]

    start = np.zeros(columns.shape[1])
    start[0] = scale[0]
    bounds = [(None if low is None else low * s, None) for low, s in zip(least, scale, strict=True)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-14})
    return tuple(float(value) for value in found.x / scale)


def _intercept_for(log_odds: FloatArray, rate: float) -> float:
    """Return the shift at which the mean probability is `rate`: Newton's method, held in by bisection."""
    low, high, shift = -40.0, 40.0, 0.0
    for _ in range(80):
        p = sigmoid(log_odds + shift)
        excess = float(p.mean()) - rate
        if excess < 0.0:
            low = shift
        else:
            high = shift
        slope = float((p * (1.0 - p)).mean())  # the mean rises with the shift
        step = -excess / slope if slope > 0.0 else np.inf
        moved = shift + step if low < shift + step < high else (low + high) / 2.0
        if abs(moved - shift) <= _NO_STEP:
            return moved
        shift = moved
    return shift

# SPDX-License-Identifier: Apache-2.0
"""A logistic regression on feature rows: each feature's share of the score is a function of its value alone.

    raw = b + sum_j share_j(x_j)
    share_j(x) = s_j (clip(sign(x) ln(1 + |x|), l_j, h_j) - c_j) + p_j     of a number
               = t_j[x]                                                    of a category's code
               = m_j                                                       where it is missing

Shares have mean zero over the events that it was fitted on, so b is the log-odds of an event of which nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ringfence.models._kernels_linear import add_up, share_out
from ringfence.models.branch import Need
from ringfence.models.calibration import sigmoid
from ringfence.models.errors import ModelShapeError

if TYPE_CHECKING:
    from ringfence.models.seen import Seen

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Shares of n_features features, as the branch `linear` of a release.

    Attributes
    ----------
    slope, centre, low, high, present, missing : shape (n_features,), as above: s, c, l, h, p, m.
    begins : shape (n_features + 1,), int64; where each feature's codes begin in `table`, none for numbers. The last
        code stands for all that is beyond.
    table : shape (begins[-1],).
    intercept : log-odds.
    """

    slope: FloatArray
    centre: FloatArray
    low: FloatArray
    high: FloatArray
    present: FloatArray
    missing: FloatArray
    begins: NDArray[np.int64]
    table: FloatArray
    intercept: float

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset()

    @property
    def n_features(self) -> int:
        return int(self.slope.shape[0])

    def raw(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return log-odds, shape (n,)."""
        return self.raw_of(encoded)

    def raw_of(self, encoded: FloatArray) -> FloatArray:
        """Return log-odds, shape (n,), of encoded rows of shape (n, n_features); a row's bits depend on itself alone.

        Raises
        ------
        ModelShapeError
            If rows are wider or narrower than those of training.
        """
        out = np.full(encoded.shape[0], self.intercept)
        add_up(self._checked(encoded), *self._arrays, out)
        return out

    def shares(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return what each feature adds to the log-odds, exact, shape (n, n_features)."""
        out = np.empty(encoded.shape)
        share_out(self._checked(encoded), *self._arrays, out)
        return out

    def probability(self, raw: FloatArray) -> FloatArray:
        return sigmoid(raw)

    def shifted(self, by: float) -> LinearModel:
        """Return the same model at another base rate."""
        return replace(self, intercept=self.intercept + by)

    def to_bytes(self) -> bytes:
        """Return an uncompressed npz; equal models give equal bytes."""
        buffer = BytesIO()
        np.savez(
            buffer,
            slope=self.slope,
            centre=self.centre,
            low=self.low,
            high=self.high,
            present=self.present,
            missing=self.missing,
            begins=self.begins,
            table=self.table,
            intercept=np.array(self.intercept),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> LinearModel:
        with np.load(BytesIO(data), allow_pickle=False) as stored:
            return cls(
                slope=stored["slope"],
                centre=stored["centre"],
                low=stored["low"],
                high=stored["high"],
                present=stored["present"],
                missing=stored["missing"],
                begins=stored["begins"],
                table=stored["table"],
                intercept=float(stored["intercept"]),
            )

    def told(self) -> dict[str, float | list[float] | list[int]]:
        """Return all its numbers by name, for readers of another language."""
        return {
            "slope": self.slope.tolist(),
            "centre": self.centre.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "present": self.present.tolist(),
            "missing": self.missing.tolist(),
            "begins": self.begins.tolist(),
            "table": self.table.tolist(),
            "intercept": self.intercept,
        }

    @property
    def _arrays(self) -> tuple[NDArray[np.float64] | NDArray[np.int64], ...]:
        return (
            self.slope, self.centre, self.low, self.high, self.present, self.missing, self.begins, self.table
        )  # fmt: skip

    def _checked(self, encoded: FloatArray) -> FloatArray:
        if encoded.ndim != 2 or encoded.shape[1] != self.n_features:
            raise ModelShapeError(
                f"rows for the linear model: found shape {encoded.shape}, expected (n, {self.n_features}); "
                "score with the release that belongs to this feature catalogue"
            )
        return np.ascontiguousarray(encoded)

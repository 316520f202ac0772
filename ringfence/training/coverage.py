# SPDX-License-Identifier: Apache-2.0
"""How many events need no person? Those scored low enough to approve, and those scored high enough to decline.

    score   0 ─────────────────────────────────────────────▶ 1
            approved            │  to a person  │  declined
            few frauds get through                 few of them are honest

Thresholds are read off the very events that they are measured on, in every resample anew: what could have been stated,
had the right thresholds been known. Live they are set on the past.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.training.ranking import Curve, Interval, Ranking, curve_of, interval_of

FloatArray = NDArray[np.float64]
Draws = list[tuple[FloatArray, FloatArray]]

MISSED: Final = (0.01, 0.05, 0.1, 0.2)  # of the frauds, at most so many approved
BAD_RATES: Final = (0.1, 0.25, 0.5)  # among the approved, at most so much of the fraud rate of all events
PRECISIONS: Final = (0.5, 0.8, 0.9)  # at least so many of the declined are fraud
TOLD: Final = (0.05, 0.9)  # missed and precision of the one figure that is told first


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """The most events that can be approved, lowest scores first, under one limit."""

    limit: str  # missed: share of the frauds among them; bad_rate: their fraud rate
    at_most: float
    share: Interval  # of all events
    bad_rate: Interval  # frauds among the approved
    missed: Interval  # of the frauds approved


class Declined(msgspec.Struct, frozen=True, kw_only=True):
    """The most frauds that can be declined, highest scores first, at a stated precision."""

    precision: float
    share: Interval  # of all events
    recall: Interval  # of the frauds


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to nobody: approved under one limit and declined under another."""

    missed: float
    precision: float
    share: Interval  # of all events, decided without a person


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about deciding without a person on one set of scored events."""

    approved: list[Approved]
    declined: list[Declined]
    decided: list[Decided]
    acceptance: Curve  # x: share of events approved, lowest scores first; y: fraud rate among them

    @property
    def told(self) -> Decided:
        return next(one for one in self.decided if (one.missed, one.precision) == TOLD)


def coverage_of(ranking: Ranking, draws: Draws, grid: FloatArray) -> Coverage:
    """Measure what can be decided by the score alone.

    Parameters
    ----------
    draws : resamples of the ranking's cells, as `Ranking.resampled` makes them.
    grid : shares of events to approve, ascending, in (0, 1].

    Notes
    -----
    Cells are enough: the largest share under a limit always ends beside a fraud. Where both sides would meet, all is
    decided. Without any fraud nothing is defined.
    """
    whole, drawn = _Sides(ranking.fraud, ranking.legit), [_Sides(*draw) for draw in draws]
    rate = float(ranking.fraud.sum()) / max(float(ranking.fraud.sum() + ranking.legit.sum()), 1.0)
    limits = [("missed", share) for share in MISSED] + [("bad_rate", share * rate) for share in BAD_RATES]

    def approved(limit: str, at_most: float) -> Approved:
        found, again = whole.approved(limit, at_most), [one.approved(limit, at_most) for one in drawn]
        parts = [interval_of(found[at], [one[at] for one in again if np.isfinite(one[at])]) for at in range(3)]
        return Approved(limit=limit, at_most=at_most, share=parts[0], bad_rate=parts[1], missed=parts[2])

    def declined(precision: float) -> Declined:
        found, again = whole.declined(precision), [one.declined(precision) for one in drawn]
        share, recall = (interval_of(found[at], [one[at] for one in again]) for at in range(2))
        return Declined(precision=precision, share=share, recall=recall)

    return Coverage(
        approved=[approved(limit, at_most) for limit, at_most in limits],
        declined=[declined(precision) for precision in PRECISIONS],
        decided=[
            Decided(
                missed=missed,
                precision=precision,
                share=interval_of(whole.decided(missed, precision), [one.decided(missed, precision) for one in drawn]),
            )
            for missed in MISSED
            for precision in PRECISIONS
        ],
        acceptance=curve_of(grid, whole.bad_rates(grid), [one.bad_rates(grid) for one in drawn]),
    )


class _Sides:
    """Counts per cell, summed from both ends."""

    def __init__(self, fraud: FloatArray, legit: FloatArray) -> None:
        self._fraud = fraud
        self._n_fraud, self._n = float(fraud.sum()), float(fraud.sum() + legit.sum())
        self._caught, self._flagged = np.cumsum(fraud), np.cumsum(fraud + legit)
        self._passed, self._cleared = np.cumsum(fraud[::-1]), np.cumsum((fraud + legit)[::-1])

    def approved(self, limit: str, at_most: float) -> tuple[float, float, float]:
        """Return the share of events, the fraud rate among them (NaN where none is), and the share of frauds."""
        if self._n_fraud == 0:
            return float("nan"), float("nan"), float("nan")
        allowed = at_most * (self._n_fraud if limit == "missed" else self._cleared)
        kept = np.flatnonzero(self._passed <= allowed + 1e-9)
        if not kept.shape[0] or not self._cleared[kept[-1]] > 0:
            return 0.0, float("nan"), 0.0
        passed, cleared = float(self._passed[kept[-1]]), float(self._cleared[kept[-1]])
        return cleared / self._n, passed / cleared, passed / self._n_fraud

    def declined(self, precision: float) -> tuple[float, float]:
        """Return the share of events and of frauds."""
        if self._n_fraud == 0:
            return float("nan"), float("nan")
        # Only ends at a fraud: beyond it, legit events would be declined because the precision can bear it.
        kept = np.flatnonzero((self._fraud > 0) & (self._caught >= precision * self._flagged - 1e-9))
        if not kept.shape[0]:
            return 0.0, 0.0
        return float(self._flagged[kept[-1]]) / self._n, float(self._caught[kept[-1]]) / self._n_fraud

    def decided(self, missed: float, precision: float) -> float:
        return float(np.minimum(1.0, self.approved("missed", missed)[0] + self.declined(precision)[0]))

    def bad_rates(self, grid: FloatArray) -> FloatArray:
        """Return the fraud rate among the lowest-scored shares of events; a tie is taken in proportion."""
        if self._n_fraud == 0:
            return np.full(grid.shape[0], np.nan)
        wanted = grid * self._n
        passed = np.interp(wanted, np.append(0.0, self._cleared), np.append(0.0, self._passed))
        rates: FloatArray = passed / wanted
        return rates

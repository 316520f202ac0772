# SPDX-License-Identifier: Apache-2.0
"""How good are the scores on events that the model had not seen? Figures with intervals, and the curves behind them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.models import metrics
from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.training import ranking
from ringfence.training.calibration_error import calibration_error_interval
from ringfence.training.coverage import Coverage, coverage_of
from ringfence.training.ranking import Curve, Interval, Ranking
from ringfence.training.slices import Slice, novelty_slices, value_slices, wilson

FloatArray = NDArray[np.float64]
DAY_MS = 86_400_000
PRECISIONS = (0.15, 0.5, 0.8, 0.9)
ALERTS_PER_DAY = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
N_REPLICATES = 400
N_BINS = 10


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """Events with a known label and the score they were given before it. n events."""

    event_time_ms: NDArray[np.int64]  # (n,)
    fraud: NDArray[np.int8]  # (n,)
    score: FloatArray  # (n,) calibrated probability
    amount_minor: NDArray[np.int64]  # (n,) MISSING_AMOUNT where there is none
    novelty: dict[str, FloatArray] = {}  # by role: (n,) 0 where its entities came before, > 0 if not, NaN where empty
    segments: dict[str, pl.Series] = {}  # by attribute: (n,) its value as text, null where missing


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    n: int
    mean_score: float
    fraud_rate: float
    low: float  # Wilson 95 % interval of the rate
    high: float


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Each day's highest-scored events, so many a day."""

    alerts_per_day: int
    recall: Interval  # share of the fraud events among them
    precision: Interval  # share of them that is fraud
    amount_recall: Interval | None  # share of the fraud amount among them; None without amounts


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Histogram of scores in log-odds; shares sum to one within fraud and within legit."""

    edges: list[float]
    fraud: list[float]
    legit: list[float]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured on one set of scored events."""

    name: str  # out_of_fold | later_window
    title: str
    explanation: str
    from_ms: int
    to_ms: int
    n: int
    n_fraud: int
    average_precision: Interval
    roc_auc: Interval
    brier: Interval
    brier_skill: Interval
    ece: Interval  # expected calibration error, equal-mass bins
    calibration_slope: Interval
    recall_at_precision: dict[str, Interval]
    capacity: list[Capacity]
    slices: list[Slice]  # by entities seen before or never
    segments: list[Slice]  # by values of attributes
    reliability: list[ReliabilityBin]
    distribution: Distribution
    coverage: Coverage  # what can be decided without a person
    pr: Curve
    roc: Curve


def evaluate(
    scored: Scored,
    *,
    name: str,
    title: str,
    explanation: str,
    seed: int,
    alerts_per_day: tuple[int, ...] = (),
    n_replicates: int = N_REPLICATES,
) -> Evaluation:
    """Measure scores against labels.

    Parameters
    ----------
    scored : at least one event; a single class gives NaN figures, not an error.
    seed : of the bootstrap; the same seed gives the same intervals.
    alerts_per_day : capacities to report beside the usual grid, such as the policy's reviews per day.
    n_replicates : bootstrap replicates. Events are resampled one by one (Poisson bootstrap).
    """
    rng = np.random.default_rng(seed)
    cells = Ranking(scored.fraud, scored.score)
    draws = cells.resampled(rng, n_replicates)
    recall_grid = np.linspace(0.01, 1.0, 100)
    rate_grid = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 80)])
    brier, skill, ece = _calibration_intervals(scored, rng, n_replicates)
    return Evaluation(
        name=name,
        title=title,
        explanation=explanation,
        from_ms=int(scored.event_time_ms.min()),
        to_ms=int(scored.event_time_ms.max()),
        n=int(scored.fraud.shape[0]),
        n_fraud=int(scored.fraud.sum()),
        average_precision=ranking.average_precision_interval(cells, draws),
        roc_auc=ranking.roc_auc_interval(cells, draws),
        brier=brier,
        brier_skill=skill,
        ece=ece,
        calibration_slope=_slope(scored),
        recall_at_precision={
            f"{wanted:.2f}": ranking.recall_at_precision_interval(cells, draws, wanted) for wanted in PRECISIONS
        },
        capacity=_capacities(scored, alerts_per_day, rng, n_replicates),
        slices=novelty_slices(scored.fraud, scored.score, scored.novelty, rng),
        segments=value_slices(scored.fraud, scored.score, scored.segments, rng),
        reliability=_reliability(scored),
        distribution=_distribution(scored),
        coverage=coverage_of(cells, draws, recall_grid),
        pr=ranking.pr_curve(cells, draws, recall_grid),
        roc=ranking.roc_curve(cells, draws, rate_grid),
    )


def to_builtins(evaluation: Evaluation) -> dict[str, Any]:
    """Turn an evaluation into what JSON can hold; NaN becomes null."""
    built = plain(msgspec.structs.asdict(evaluation))
    assert isinstance(built, dict)
    return built


def plain(value: Any) -> Any:
    """Turn structs, arrays and NaN into what JSON can hold; numbers keep six decimals."""
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.structs.asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value


def _calibration_intervals(
    scored: Scored, rng: np.random.Generator, n_replicates: int
) -> tuple[Interval, Interval, Interval]:
    y, p = scored.fraud.astype(np.float64), scored.score
    n, rate = y.shape[0], float(y.mean())
    brier = metrics.brier(scored.fraud, p)
    reference = rate * (1.0 - rate)
    # Both are means, so their sampling error is that of a mean (the ratio by the delta method): no resampling needed.
    error = (p - y) ** 2
    brier_sd = float(error.std() / np.sqrt(n))
    skill = 1.0 - brier / reference if reference > 0 else float("nan")
    influence = (error - (1.0 - skill) * ((rate - y) ** 2)) / reference if reference > 0 else np.full(n, np.nan)
    skill_sd = float(influence.std() / np.sqrt(n))
    return (
        Interval(brier, brier - 1.96 * brier_sd, brier + 1.96 * brier_sd),
        Interval(skill, skill - 1.96 * skill_sd, skill + 1.96 * skill_sd),
        calibration_error_interval(scored.fraud, p, rng, n_bins=N_BINS, n_replicates=n_replicates),
    )


def _slope(scored: Scored) -> Interval:
    """Measure the slope of the label on the score's log-odds, with the interval of its standard error (Cox, 1958)."""
    slope, intercept = metrics.calibration_line(scored.fraud, scored.score)
    if not np.isfinite(slope):
        return Interval(float("nan"), float("nan"), float("nan"))
    p = np.clip(scored.score, 1e-12, 1.0 - 1e-12)
    x = np.log(p) - np.log1p(-p)
    q = 1.0 / (1.0 + np.exp(-(slope * x + intercept)))
    weight = q * (1.0 - q)
    spread = float(np.sum(weight * (x - np.average(x, weights=weight)) ** 2))
    error = 1.96 / float(np.sqrt(spread)) if spread > 0.0 else float("nan")
    return Interval(slope, slope - error, slope + error)


def rank_within_day(scored: Scored) -> NDArray[np.int64]:
    """Give each event its place, from 1, among its UTC day's events by falling score; shape (n,)."""
    day = scored.event_time_ms // DAY_MS
    order = np.lexsort((scored.event_time_ms, -scored.score, day))
    sorted_day = day[order]
    first = np.flatnonzero(np.append(True, sorted_day[1:] != sorted_day[:-1]))
    sizes = np.diff(np.append(first, day.shape[0]))
    rank = np.empty(day.shape[0], dtype=np.int64)
    rank[order] = np.arange(day.shape[0]) - np.repeat(first, sizes) + 1
    return rank


def _capacities(scored: Scored, wanted: tuple[int, ...], rng: np.random.Generator, n_replicates: int) -> list[Capacity]:
    rank = rank_within_day(scored)
    fraud_rank = rank[scored.fraud == 1]
    has_amount = scored.amount_minor != MISSING_AMOUNT
    amount = np.where(has_amount, np.abs(scored.amount_minor), 0).astype(np.float64)[scored.fraud == 1]
    weights = rng.poisson(1.0, size=(n_replicates, fraud_rank.shape[0])).astype(np.float64)
    found = []
    for alerts in sorted({*ALERTS_PER_DAY, *wanted}):
        n_alerted = int((rank <= alerts).sum())
        caught = (fraud_rank <= alerts).astype(np.float64)
        precision = float(caught.sum()) / n_alerted
        found.append(
            Capacity(
                alerts_per_day=alerts,
                recall=_share(caught, np.ones_like(caught), weights),
                precision=Interval(precision, *wilson(precision, n_alerted)),
                amount_recall=_share(caught * amount, amount, weights) if amount.sum() > 0 else None,
            )
        )
        if n_alerted == rank.shape[0]:
            break
    return found


def _share(part: FloatArray, whole: FloatArray, weights: FloatArray) -> Interval:
    """Divide the sum of `part` by that of `whole`, both (n,), with the interval of resamples (n_replicates, n)."""
    if not whole.sum() > 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    totals = weights @ whole
    drawn = (weights @ part)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(part.sum() / whole.sum()), float(low), float(high))


def _reliability(scored: Scored) -> list[ReliabilityBin]:
    """Bins of equal mass over the lower nine tenths, then finer: frauds live at the top."""
    order = np.argsort(scored.score, kind="stable")
    n = order.shape[0]
    edges = np.unique((np.array([0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 1.0]) * n).astype(np.int64))
    bins = []
    for low, high in pairwise(edges):
        part = order[low:high]
        rate, size = float(scored.fraud[part].mean()), int(high - low)
        low_rate, high_rate = wilson(rate, size)
        bins.append(
            ReliabilityBin(
                n=size,
                mean_score=float(scored.score[part].mean()),
                fraud_rate=rate,
                low=low_rate,
                high=high_rate,
            )
        )
    return bins


def _distribution(scored: Scored) -> Distribution:
    n_bins = int(np.clip(2.0 * np.sqrt(min(scored.fraud.sum(), (1 - scored.fraud).sum())), 10, 40))  # few: no comb
    p = np.clip(scored.score, 1e-5, 1 - 1e-5)
    odds = np.log(p) - np.log1p(-p)
    edges = np.linspace(float(odds.min()) - 1e-9, float(odds.max()) + 1e-9, n_bins + 1)
    shares = []
    for value in (1, 0):
        counts, _ = np.histogram(odds[scored.fraud == value], edges)
        shares.append([float(share) for share in counts / max(1, int(counts.sum()))])
    return Distribution(edges=[float(edge) for edge in edges], fraud=shares[0], legit=shares[1])

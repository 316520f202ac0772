# SPDX-License-Identifier: Apache-2.0
"""How good are the scores on events that the model had not seen? Figures with intervals, and the curves behind them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models import metrics
from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.training import ranking
from ringfence.training.calibration_error import calibration_error_interval
from ringfence.training.ranking import Curve, Interval, Ranking

FloatArray = NDArray[np.float64]
DAY_MS = 86_400_000
PRECISIONS = (0.5, 0.8, 0.9)
ALERTS_PER_DAY = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
N_REPLICATES = 400
N_BINS = 10


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """Events with a known label and the score they were given before it. n events."""

    event_time_ms: NDArray[np.int64]  # (n,)
    fraud: NDArray[np.int8]  # (n,)
    score: FloatArray  # (n,) calibrated probability
    amount_minor: NDArray[np.int64]  # (n,) MISSING_AMOUNT where there is none
    novelty: dict[
        str, FloatArray
    ] = {}  # by role: (n,) 0 where its entities came before, > 0 where not, NaN where empty


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
    precision: float
    amount_recall: float | None  # share of the fraud amount among them; None without amounts


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the events, such as those of claimants never seen before."""

    name: str
    n: int
    n_fraud: int
    average_precision: Interval
    roc_auc: Interval


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
    calibration_slope: float
    recall_at_precision: dict[str, Interval]
    capacity: list[Capacity]
    slices: list[Slice]
    reliability: list[ReliabilityBin]
    distribution: Distribution
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
        slices=_slices(scored, rng, n_replicates // 2),
        reliability=_reliability(scored),
        distribution=_distribution(scored),
        pr=ranking.pr_curve(cells, draws, recall_grid),
        roc=ranking.roc_curve(cells, draws, rate_grid),
    )


def to_builtins(evaluation: Evaluation) -> dict[str, Any]:
    """Turn an evaluation into what JSON can hold; NaN becomes null."""
    built = _plain(msgspec.structs.asdict(evaluation))
    assert isinstance(built, dict)
    return built


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
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


def _slope(scored: Scored) -> float:
    if scored.fraud.min() == scored.fraud.max():
        return float("nan")
    return float(metrics.calibration_slope(scored.fraud, scored.score))


def _rank_within_day(scored: Scored) -> NDArray[np.int64]:
    """Give each event its place, from 1, among its UTC day's events by falling score."""
    day = scored.event_time_ms // DAY_MS
    order = np.lexsort((scored.event_time_ms, -scored.score, day))
    sorted_day = day[order]
    first = np.flatnonzero(np.append(True, sorted_day[1:] != sorted_day[:-1]))
    sizes = np.diff(np.append(first, day.shape[0]))
    rank = np.empty(day.shape[0], dtype=np.int64)
    rank[order] = np.arange(day.shape[0]) - np.repeat(first, sizes) + 1
    return rank


def _capacities(scored: Scored, wanted: tuple[int, ...], rng: np.random.Generator, n_replicates: int) -> list[Capacity]:
    rank = _rank_within_day(scored)
    fraud_rank = rank[scored.fraud == 1]
    has_amount = scored.amount_minor != MISSING_AMOUNT
    amount = np.where(has_amount, scored.amount_minor, 0).astype(np.float64)
    fraud_amount = float(amount[scored.fraud == 1].sum())
    weights = rng.poisson(1.0, size=(n_replicates, fraud_rank.shape[0])).astype(np.float64)
    totals = weights.sum(axis=1)
    found = []
    for alerts in sorted({*ALERTS_PER_DAY, *wanted}):
        alerted = rank <= alerts
        caught = fraud_rank <= alerts
        recall = float(caught.mean()) if fraud_rank.shape[0] else float("nan")
        share = (weights @ caught)[totals > 0] / totals[totals > 0]
        low, high = np.quantile(share, [0.025, 0.975]) if share.shape[0] else (float("nan"), float("nan"))
        found.append(
            Capacity(
                alerts_per_day=alerts,
                recall=Interval(recall, float(low), float(high)),
                precision=float(scored.fraud[alerted].mean()),
                amount_recall=float(amount[alerted & (scored.fraud == 1)].sum()) / fraud_amount
                if fraud_amount > 0
                else None,
            )
        )
        if alerted.all():
            break
    return found


def _slices(scored: Scored, rng: np.random.Generator, n_replicates: int) -> list[Slice]:
    parts = []
    for role, novelty in scored.novelty.items():
        for name, mask in ((f"{role} seen before", novelty == 0), (f"{role} never seen", novelty > 0)):
            if not mask.any():
                continue
            cells = Ranking(scored.fraud[mask], scored.score[mask])
            draws = cells.resampled(rng, n_replicates)
            parts.append(
                Slice(
                    name=name,
                    n=int(mask.sum()),
                    n_fraud=int(scored.fraud[mask].sum()),
                    average_precision=ranking.average_precision_interval(cells, draws),
                    roc_auc=ranking.roc_auc_interval(cells, draws),
                )
            )
    return parts


def _reliability(scored: Scored) -> list[ReliabilityBin]:
    """Bins of equal mass over the lower nine tenths, then finer: frauds live at the top."""
    order = np.argsort(scored.score, kind="stable")
    n = order.shape[0]
    edges = np.unique((np.array([0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 1.0]) * n).astype(np.int64))
    bins = []
    for low, high in pairwise(edges):
        part = order[low:high]
        rate, size = float(scored.fraud[part].mean()), int(high - low)
        centre, half = _wilson(rate, size)
        bins.append(
            ReliabilityBin(
                n=size,
                mean_score=float(scored.score[part].mean()),
                fraud_rate=rate,
                low=max(0.0, centre - half),
                high=min(1.0, centre + half),
            )
        )
    return bins


def _wilson(rate: float, n: int, z: float = 1.96) -> tuple[float, float]:
    shrink = 1.0 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))) / shrink
    return centre, half


def _distribution(scored: Scored, n_bins: int = 40) -> Distribution:
    p = np.clip(scored.score, 1e-5, 1 - 1e-5)
    odds = np.log(p) - np.log1p(-p)
    edges = np.linspace(float(odds.min()) - 1e-9, float(odds.max()) + 1e-9, n_bins + 1)
    shares = []
    for value in (1, 0):
        counts, _ = np.histogram(odds[scored.fraud == value], edges)
        shares.append([float(share) for share in counts / max(1, int(counts.sum()))])
    return Distribution(edges=[float(edge) for edge in edges], fraud=shares[0], legit=shares[1])

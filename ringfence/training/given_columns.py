# SPDX-License-Identifier: Apache-2.0
"""Columns as they were given, looked at for what only hindsight could have written into them."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from ringfence.ledger.event_columns import EventColumns
from ringfence.training.slices import wilson

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_PRESENT: Final = 20
MOSTLY_FRAUD: Final = 0.5  # least share of frauds among the events that have the value, at the lower end
TIMES_THE_BASE: Final = 5.0
HARDLY_ANYTHING_ELSE: Final = 0.9  # where the base rate is so high that no share could be as many times as much
PRESENCE_GAP: Final = 0.5  # between the shares of frauds and of legit events that have it, at the lower end
LABELLED_TIMES: Final = 10.0  # so many times as often where there is a label as where there is none, at the lower end
# Running numbers and their order.
NEARLY_DISTINCT: Final = 0.95
DENSE: Final = 3.0  # whole numbers whose range is at most so many times their count
IN_TIME: Final = 0.5  # rank correlation with time
N_STRATA: Final = 20
ID_AUC: Final = 0.1  # distance of the id's AUC from 1/2 within stretches of time
ID_SIGMAS: Final = 6.0
AFTER_EVENT: Final = 0.01  # share of times that lie after their event


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """One reason to doubt one column, with the numbers that speak."""

    kind: str  # too_good | after_outcome | only_labelled | running_number | id_order | after_event
    column: str
    sentence: str
    figures: dict[str, float]


class GivenEvents(msgspec.Struct, frozen=True, kw_only=True):
    """The events of the training span as they were given, n of them, in seq order."""

    columns: EventColumns
    event_id: pl.Series  # (n,) text
    event_time_ms: IntArray  # (n,)
    has_amount: NDArray[np.bool_]  # (n,)
    label: NDArray[np.int8]  # (n,) 1 fraud, 0 legit, -1 not known by the cut


def presence(column: str, present: NDArray[np.bool_], given: GivenEvents) -> list[Suspicion]:
    """Is the value there mostly for frauds, or only where there is a label?"""
    return [*_after_outcome(column, present, given.label), *_only_labelled(column, present, given)]


def _after_outcome(column: str, present: NDArray[np.bool_], label: NDArray[np.int8]) -> list[Suspicion]:
    fraud, legit = label == 1, label == 0
    n_fraud, n_legit = int(fraud.sum()), int(legit.sum())
    with_fraud, with_legit = int((present & fraud).sum()), int((present & legit).sum())
    n_with = with_fraud + with_legit
    if n_with < MIN_PRESENT or n_with > n_fraud + n_legit - MIN_PRESENT or not n_fraud or not n_legit:
        return []
    of_fraud, of_legit = with_fraud / n_fraud, with_legit / n_legit
    base, among = n_fraud / (n_fraud + n_legit), with_fraud / n_with
    gap = _gap(of_fraud, n_fraud, of_legit, n_legit)
    mostly = wilson(among, n_with)[0] >= max(MOSTLY_FRAUD, min(TIMES_THE_BASE * base, HARDLY_ANYTHING_ELSE))
    if not mostly and abs(gap) < PRESENCE_GAP:
        return []
    return [
        Suspicion(
            kind="after_outcome",
            column=column,
            sentence=f"it has a value for {of_fraud:.1%} of the frauds and for {of_legit:.1%} of the legit events: of "
            f"the {n_with:,} events that have one, {among:.1%} are fraud (base rate {base:.2%}); is it filled in once "
            "the outcome is known?",
            figures={"present_fraud": of_fraud, "present_legit": of_legit, "fraud_among_present": among, "base": base},
        )
    ]


def _gap(one: float, n_one: int, other: float, n_other: int) -> float:
    """Return the difference of two shares, moved towards 0 by its 95 % interval."""
    error = 1.96 * float(np.sqrt(one * (1 - one) / n_one + other * (1 - other) / n_other))
    return float(np.sign(one - other) * max(abs(one - other) - error, 0.0))


def _only_labelled(column: str, present: NDArray[np.bool_], given: GivenEvents) -> list[Suspicion]:
    labelled = given.label >= 0
    # Compared within stretches of time: the newest events have no label yet, and columns come and go.
    with_label = without = expected = n_without = 0.0
    for stratum in _strata(given.event_time_ms):
        a, b = stratum & labelled, stratum & ~labelled
        if a.sum() < MIN_PRESENT or b.sum() < MIN_PRESENT:
            continue
        with_label += float((present & a).sum())
        without += float((present & b).sum())
        expected += float(b.sum()) * float(present[a].mean())  # had they been filled as often as the labelled ones
        n_without += float(b.sum())
    if with_label < MIN_PRESENT or expected < MIN_PRESENT:
        return []
    high = without + 1.96 * float(np.sqrt(without)) + 2.0
    if expected < LABELLED_TIMES * high:
        return []
    share, usual = without / n_without, expected / n_without
    return [
        Suspicion(
            kind="only_labelled",
            column=column,
            sentence=f"it has a value for {usual:.1%} of the events with a label and for {share:.2%} of those without "
            "one from the same time; is it filled in when a case is closed?",
            figures={"present_labelled": usual, "present_unlabelled": share},
        )
    ]


def running_number(name: str, values: pl.Series, given: GivenEvents) -> list[Suspicion]:
    labelled = given.label >= 0
    known = values.is_not_null().to_numpy() & labelled
    numbers = values.to_numpy()[known]
    if numbers.shape[0] < 10 * MIN_PRESENT or not np.all(numbers == np.round(numbers)):
        return []
    distinct = np.unique(numbers).shape[0] / numbers.shape[0]
    # The gaps that unlabelled events leave are no gaps of the numbering.
    everyone = values.drop_nulls().to_numpy()
    density = float(everyone.max() - everyone.min() + 1.0) / np.unique(everyone).shape[0]
    times, y = given.event_time_ms[known], given.label[known]
    in_time = float(spearmanr(numbers, times).statistic) if np.unique(times).shape[0] > 1 else 0.0
    if distinct < NEARLY_DISTINCT or (density > DENSE and abs(in_time) < IN_TIME):
        return []
    auc = _auc(numbers, y)
    return [
        Suspicion(
            kind="running_number",
            column=f"attribute.{name}",
            sentence=f"{distinct:.1%} of its values stand for one event only, as an id's do"
            f"{', and they hardly leave a gap' if density <= DENSE else ''}; rank correlation with time {in_time:.2f}, "
            f"ROC-AUC {auc:.3f}: what is learnt about these numbers says nothing about the next ones; declare it as "
            "the event_id or leave it out",
            figures={"distinct": distinct, "rank_correlation_with_time": in_time, "roc_auc": auc, "density": density},
        )
    ]


def after_event(name: str, values: pl.Series, given: GivenEvents) -> list[Suspicion]:
    known = values.is_not_null().to_numpy()
    n_known = int(known.sum())
    late = known & (values.fill_null(0.0).to_numpy() > given.event_time_ms)
    n_late = int(late.sum())
    if n_late < MIN_PRESENT or n_late < AFTER_EVENT * n_known:
        return []
    days = (values.to_numpy()[late] - given.event_time_ms[late]) / 86_400_000
    fraud = _rate(late, known & (given.label == 1))
    legit = _rate(late, known & (given.label == 0))
    return [
        Suspicion(
            kind="after_event",
            column=f"attribute.{name}",
            sentence=f"{n_late:,} of its {n_known:,} times lie after their event, by {np.median(days):.1f} days in the "
            f"middle case ({fraud:.1%} of the frauds', {legit:.1%} of the legit ones'): unless that moment was "
            "fixed beforehand, as an expiry date is, nobody could have known it",
            figures={"share_after": n_late / n_known, "after_fraud": fraud, "after_legit": legit},
        )
    ]


def id_order(given: GivenEvents) -> list[Suspicion]:
    """Does the number in the event id tell frauds apart among events of the same time?"""
    digits = given.event_id.str.extract(r"(\d{1,15})\D*$", 1).cast(pl.Float64)
    labelled = given.label >= 0
    known = digits.is_not_null().to_numpy() & labelled
    if known.sum() < 10 * MIN_PRESENT or known.sum() < NEARLY_DISTINCT * labelled.sum():
        return []
    numbers, times, y = digits.to_numpy()[known], given.event_time_ms[known], given.label[known]
    by_id, sigma = _stratified_auc(numbers, y, times)
    by_time, _ = _stratified_auc(times.astype(np.float64), y, times)
    away = abs(by_id - 0.5)
    if not (away >= ID_AUC and away >= ID_SIGMAS * sigma and away >= abs(by_time - 0.5) + ID_AUC / 2):
        return []
    return [
        Suspicion(
            kind="id_order",
            column="event_id",
            sentence=f"among events of the same time the number in the id tells frauds apart (ROC-AUC {by_id:.3f}, "
            f"{away / sigma:.0f} standard errors from chance; time itself {by_time:.3f}): the file was put in order, "
            "or the ids given, when the label was known; events of equal time are replayed in that order",
            figures={"roc_auc": by_id, "roc_auc_of_time": by_time, "standard_error": sigma},
        )
    ]


def _stratified_auc(values: FloatArray, y: NDArray[np.int8], times: IntArray) -> tuple[float, float]:
    """Return the AUC over pairs within stretches of time, and its standard error by chance."""
    area = pairs = variance = 0.0
    for stratum in _strata(times):
        n, m = int((y[stratum] == 1).sum()), int((y[stratum] == 0).sum())
        if n and m:
            area += n * m * _auc(values[stratum], y[stratum])
            variance += n * m * (n + m + 1) / 12.0  # of the Mann-Whitney statistic
            pairs += n * m
    return (area / pairs, float(np.sqrt(variance)) / pairs) if pairs else (0.5, 1.0)


def _strata(times: IntArray) -> list[NDArray[np.bool_]]:
    edges = np.unique(np.quantile(times, np.linspace(0.0, 1.0, N_STRATA + 1)[1:-1])) if times.shape[0] else np.empty(0)
    place = np.searchsorted(edges, times, side="right")
    return [place == at for at in range(edges.shape[0] + 1)]


def _auc(values: FloatArray, y: NDArray[np.int8]) -> float:
    n, m = int((y == 1).sum()), int((y == 0).sum())
    if not n or not m:
        return 0.5
    return float((rankdata(values)[y == 1].sum() - n * (n + 1) / 2.0) / (n * m))


def _rate(mask: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    n = int(among.sum())
    return float((mask & among).sum()) / n if n else 0.0

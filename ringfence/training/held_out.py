# SPDX-License-Identifier: Apache-2.0
"""Events that were scored by a model which their own labels had no part in: all that figures are computed from."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.ledger.event_columns import event_columns
from ringfence.ledger.ledger import Ledger
from ringfence.models.segmentation import Segmentation
from ringfence.scenario.batch import FRAUD, MISSING_AMOUNT
from ringfence.scenario.spec import AttributeType, AttributeUse, Scenario
from ringfence.training.evaluation import Evaluation, Scored, evaluate
from ringfence.training.examples import Examples
from ringfence.training.fitting import Fitted
from ringfence.training.learners import Beside
from ringfence.training.slices import amount_bands

FloatArray = NDArray[np.float64]

_CHUNK: Final = 16_384  # rows copied at once


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """One set of scored events. n events in ledger order."""

    name: str  # out_of_fold | later_window
    title: str
    explanation: str
    seq: NDArray[np.int64]  # (n,)
    event_id: list[str]
    row: NDArray[np.int64]  # (n,) where each one's features are among the replayed rows
    scored: Scored

    def evaluation(self, *, seed: int, alerts_per_day: tuple[int, ...]) -> Evaluation:
        return evaluate(
            self.scored,
            name=self.name,
            title=self.title,
            explanation=self.explanation,
            seed=seed,
            alerts_per_day=alerts_per_day,
        )


def out_of_fold(
    examples: Examples,
    rows: FloatArray,
    fitted: Fitted,
    ledger: Ledger,
    catalogue: Catalogue,
    segmentation: Segmentation | None = None,
) -> HeldOut:
    """Take the examples that some fold scored; `rows` begins with those of the examples, in their order."""
    at = np.flatnonzero(fitted.out_of_fold.emitted)
    return HeldOut(
        name="out_of_fold",
        title="Out of fold",
        explanation="Each example was scored by a model fitted on earlier ones only; calibration and tree count were "
        "chosen on these same scores, so read the calibration figures as a fit, not as a proof.",
        seq=examples.seq[at],
        event_id=[examples.event_id[position] for position in at.tolist()],
        row=at,
        scored=Scored(
            event_time_ms=examples.event_time_ms[at],
            fraud=examples.fraud[at],
            score=fitted.out_of_fold_scores(),
            amount_minor=examples.amount_minor[at],
            novelty=_novelty(catalogue, rows, at),
            segments=_by_kmeans(segmentation, rows, at)
            | _segments(ledger, catalogue.scenario, examples.seq[at], examples.amount_minor[at]),
        ),
    )


def later_window(
    later: pl.DataFrame,
    n_examples: int,
    rows: FloatArray,
    fitted: Fitted,
    beside: Beside,
    ledger: Ledger,
    catalogue: Catalogue,
    segmentation: Segmentation | None = None,
) -> HeldOut:
    """Take labelled events after the cut, scored by the release itself; their rows follow those of the examples."""
    at = np.arange(n_examples, n_examples + later.height)
    amount_minor = later["amount_minor"].fill_null(MISSING_AMOUNT).to_numpy()
    return HeldOut(
        name="later_window",
        title="Later window",
        explanation="Events after the cut, each scored by the release as serving would have scored it then; nothing of "
        "them was fitted.",
        seq=later["seq"].to_numpy(),
        event_id=later["event_id"].to_list(),
        row=at,
        scored=Scored(
            event_time_ms=later["event_time_ms"].to_numpy(),
            fraud=(later["value"].to_numpy() == FRAUD).astype(np.int8),
            score=np.concatenate([fitted.scores(seen) for seen in beside.shown(at, fitted.ensemble.needs)]),
            amount_minor=amount_minor,
            novelty=_novelty(catalogue, rows, at),
            segments=_by_kmeans(segmentation, rows, at)
            | _segments(ledger, catalogue.scenario, later["seq"].to_numpy(), amount_minor),
        ),
    )


def _novelty(catalogue: Catalogue, rows: FloatArray, at: NDArray[np.int64]) -> dict[str, FloatArray]:
    """Tell per role whether its entities came before: the engine's own `is_new`, the largest where a role has many."""
    columns = {}
    for column, name in enumerate(catalogue.names):
        role, _, stat = name.partition(".")
        if stat in ("is_new", "is_new.max") and "~" not in role:
            columns[role] = rows[at, column]
    return columns


def segments_of(rows: FloatArray, catalogue: Catalogue, seed: int) -> Segmentation | None:
    """Find the segments that the scenario asks k-means for among training rows, labels unseen; None where it does not.

    Raises
    ------
    TooFewDistinctError
        If the rows hold fewer different points than segments.
    """
    asked = catalogue.scenario.kmeans
    if asked is None:
        return None
    columns = [catalogue.index(name) for name in asked.features]
    return Segmentation.fit(rows, asked.features, columns, k=asked.k, seed=seed)


def _by_kmeans(segmentation: Segmentation | None, rows: FloatArray, at: NDArray[np.int64]) -> dict[str, pl.Series]:
    """Name the segment by k-means of the rows at some places; nothing without any."""
    if segmentation is None:
        return {}
    names = pl.Series("segment", segmentation.names)
    # A part at a time: rows of a million events are gigabytes, and a copy of most of them as many again.
    parts = [segmentation.of(rows[at[low : low + _CHUNK]]) for low in range(0, at.shape[0], _CHUNK)]
    return {"segment (k-means)": names.gather(np.concatenate(parts) - 1).cast(pl.Enum(segmentation.names))}


def _segments(
    ledger: Ledger, scenario: Scenario, seq: NDArray[np.int64], amount_minor: NDArray[np.int64]
) -> dict[str, pl.Series]:
    """Read the attributes that part events: categories and booleans, those for fairness reports among them."""
    kinds = (AttributeType.CATEGORY, AttributeType.BOOLEAN)
    wanted = [a for a in scenario.decided.attributes if a.type in kinds and not a.personal]
    # The report shows the first dozen: what somebody asked for comes before what merely is there.
    wanted.sort(key=lambda a: (a.name not in scenario.segments, a.use is not AttributeUse.AUDIT_ONLY))
    given = event_columns(ledger, pl.Series(seq), wanted).attributes
    columns = {}
    if scenario.decided.amount is not None:
        bands = amount_bands(amounts_of(amount_minor) / 10.0**scenario.decided.amount.digits)
        if bands is not None:
            columns[f"amount, {scenario.decided.amount.currency}"] = bands
    for attribute in wanted:
        values = given[attribute.name]
        if attribute.type is AttributeType.BOOLEAN:
            values = values.replace_strict({True: "yes", False: "no"}, return_dtype=pl.String, default=None)
        columns[attribute.name] = values
    return columns


def amounts_of(amount_minor: NDArray[np.int64]) -> FloatArray:
    """Return amounts in minor units as float64, NaN where there is none."""
    return np.where(amount_minor == MISSING_AMOUNT, np.nan, amount_minor.astype(np.float64))


def days_spanned(event_time_ms: NDArray[np.int64]) -> float:
    """Return the days that events span, at least one."""
    return max(1.0, float(event_time_ms.max() - event_time_ms.min()) / 86_400_000)

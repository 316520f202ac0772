# SPDX-License-Identifier: Apache-2.0
"""What is found out about a training run beside its figures: money, drift, leaks, delays, single cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.ledger.event_columns import event_columns
from ringfence.ledger.ledger import Ledger
from ringfence.models.ensemble import Ensemble
from ringfence.models.seen import Seen
from ringfence.policy.policy import Policy
from ringfence.scoring.reasons import ReasonBook, feature_texts
from ringfence.training.cases import Case, Why, choose_cases
from ringfence.training.drift import Drift, drift_between
from ringfence.training.evaluation import Evaluation, rank_within_day
from ringfence.training.examples import Examples
from ringfence.training.fitting import Fitted
from ringfence.training.given_columns import GivenEvents
from ringfence.training.held_out import HeldOut, amounts_of, days_spanned
from ringfence.training.label_delay import Bucket, LabelDelay, label_delays, through_time
from ringfence.training.leaks import LeakHunt, hunt
from ringfence.training.learners import Beside
from ringfence.training.money import Money, money_of
from ringfence.training.regimes import BaseRate, base_rate
from ringfence.training.single_columns import single_columns

FloatArray = NDArray[np.float64]

MOST_OF_A_KIND: Final = 100_000  # fraud, legit or unlabelled events whose given columns the leak hunt reads


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Beside the figures; all but delays and leaks from the first, most telling held-out window."""

    label_delays: list[LabelDelay]
    leaks: LeakHunt
    buckets: list[Bucket]
    money: Money
    drift: Drift
    cases: list[Case]
    cases_note: str
    rates: BaseRate  # of the examples


def findings_of(
    ledger: Ledger,
    catalogue: Catalogue,
    policy: Policy,
    examples: Examples,
    beside: Beside,
    fitted: Fitted,
    windows: Sequence[HeldOut],
    evaluated: Callable[[], Sequence[Evaluation]],
    *,
    seed: int,
) -> Findings:
    """Look at a fitted model from every side that the report shows.

    Parameters
    ----------
    policy : with its fitted review price.
    beside : rows, and what branches read, of the examples and then of a later window.
    windows : held-out windows, most telling first, out-of-fold last.
    evaluated : returns the evaluations of these; asked once all that needs none of them is found.
    """
    main, scored, rows = windows[0], windows[0].scored, beside.rows
    drift = _drift(catalogue, examples, rows, fitted, main, seed)
    look = leaks_in(ledger, catalogue, examples, rows, scored=windows[-1].row, seed=seed)
    evaluations = evaluated()
    amount_minor = amounts_of(scored.amount_minor)
    decided = policy.decide(scored.score, amount_minor)
    return Findings(
        label_delays=label_delays(examples.event_time_ms, examples.known_at_ms, examples.fraud),
        leaks=look(evaluations[-1]),
        buckets=through_time(scored.event_time_ms, scored.fraud, scored.score),
        money=money_of(
            scored.fraud,
            scored.score,
            amount_minor,
            rank_within_day(scored),
            policy,
            n_days=days_spanned(scored.event_time_ms),
            alerts_per_day=[row.alerts_per_day for row in evaluations[0].capacity],
            seed=seed,
        ),
        drift=drift,
        cases=choose_cases(
            main.event_id,
            scored.event_time_ms,
            scored.fraud,
            scored.score,
            amount_minor / 10.0**policy.costs.digits,
            decided.codes,
            lambda at: _reasons(
                catalogue,
                policy,
                fitted.ensemble,
                beside.seen(main.row[at], fitted.ensemble.needs),
                amount_minor[at],
            ),
        ),
        cases_note=""
        if main.name == "later_window"
        else "Scores are out of fold; the reasons are the release's, which has since been fitted on these events too.",
        rates=base_rate(examples.event_time_ms, examples.known_at_ms, examples.fraud),
    )


def _reasons(
    catalogue: Catalogue, policy: Policy, ensemble: Ensemble, seen: Seen, amount_minor: FloatArray
) -> list[Why]:
    roles = tuple(role.role for role in catalogue.scenario.decided.roles)
    book = ReasonBook(feature_texts(catalogue.features), roles=roles, currency=policy.costs.currency)
    encoded = ensemble.encode(seen.rows)
    shares, beside = ensemble.explained(seen, encoded, ensemble.members(seen, encoded), exact=True)
    amounts = amount_minor / 10.0**policy.costs.digits
    told = []
    for at, (row, share, amount) in enumerate(zip(seen.rows, shares, amounts, strict=True)):
        others = {name: float(added[at]) for name, added in beside.items()}
        raised = book.reasons(row, share, others, amount=None if np.isnan(amount) else float(amount))
        turned = {name: -added for name, added in others.items()}
        against = book.reasons(row, -share, turned)  # the same book read backwards: what spoke against fraud
        lowered = [msgspec.structs.replace(reason, contribution=-reason.contribution) for reason in against]
        told.append(
            (
                tuple(reason for reason in raised if reason.contribution >= 0.0),
                tuple(reason for reason in lowered if reason.contribution < 0.0),
            )
        )
    return told


def _drift(
    catalogue: Catalogue, examples: Examples, rows: FloatArray, fitted: Fitted, main: HeldOut, seed: int
) -> Drift:
    if main.name == "later_window":
        before, after = np.arange(len(examples)), main.row
        what = "the examples that the release was fitted on, and the later window"
    else:
        newest = max(fitted.folds, key=lambda fold: fold.start_ms)
        before, after = np.flatnonzero(examples.event_time_ms < newest.start_ms), newest.emit
        what = "the examples before the newest fold, and those that this fold scored"
    return drift_between(rows, before, after, catalogue.features, what=what, seed=seed)


def leaks_in(
    ledger: Ledger,
    catalogue: Catalogue,
    examples: Examples,
    rows: FloatArray,
    *,
    seed: int,
    scored: NDArray[np.int64] | None = None,
) -> Callable[[Evaluation], LeakHunt]:
    """Read what a hunt for leaks in what was fitted needs.

    Parameters
    ----------
    rows : shape (n_rows, n_features); those of the examples come first.
    scored : the examples that the figures of all columns together are of, by position: what a column is worth alone is
        measured on the same ones, or the two could not be compared. None: all.

    Returns
    -------
    The hunt itself: it takes the figures of all columns together, from scores that no own label had a part in.
    """
    decided = catalogue.scenario.decided
    attributes = [attribute for attribute in decided.attributes if attribute.is_feature]
    span = ledger.events(int(examples.event_time_ms.min()), None, examples.until_seq).sort("seq")
    seq = span["seq"].to_numpy()
    label = np.full(seq.shape[0], -1, np.int8)
    label[np.searchsorted(seq, examples.seq)] = examples.fraud
    kept = _sampled(label, np.random.default_rng(seed))
    at = pl.Series(kept)
    given = GivenEvents(
        columns=event_columns(ledger, span["seq"].gather(at), attributes),
        event_id=span["event_id"].gather(at),
        event_time_ms=span["event_time_ms"].gather(at).to_numpy(),
        has_amount=span["amount_minor"].gather(at).is_not_null().to_numpy(),
        label=label[kept],
    )
    features = catalogue.features
    looked_at = np.arange(len(examples)) if scored is None else scored
    strongest = single_columns(
        rows,
        examples.fraud[looked_at],
        catalogue.names,
        [feature.is_category for feature in features],
        seed=seed,
        at=looked_at,
    )
    return lambda out_of_fold: hunt(
        given,
        attributes,
        features,
        strongest,
        model_auc=out_of_fold.roc_auc,
        model_ap=out_of_fold.average_precision,
        has_event_ids=decided.event_id_column is not None,
        n_alone=int(looked_at.shape[0]),
        n_alone_fraud=int(examples.fraud[looked_at].sum()),
    )


def _sampled(label: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.int64]:
    parts = []
    for value in (-1, 0, 1):
        at = np.flatnonzero(label == value)
        parts.append(at if at.shape[0] <= MOST_OF_A_KIND else rng.choice(at, size=MOST_OF_A_KIND, replace=False))
    return np.sort(np.concatenate(parts))

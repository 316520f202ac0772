# SPDX-License-Identifier: Apache-2.0
"""What a training run has to say for itself: the content of report, card and metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import lightgbm
import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence import __version__
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.windows import span_text
from ringfence.policy.policy import Policy
from ringfence.reports.numerals import counted, date, row
from ringfence.scenario.spec import AttributeUse, Scenario
from ringfence.scoring.release import UNNAMED
from ringfence.training.absent import Absent
from ringfence.training.brought import facts_of
from ringfence.training.brought import metrics_of as brought_metrics
from ringfence.training.comparisons.branches import branches_study
from ringfence.training.drift import FeatureDrift
from ringfence.training.evaluation import Evaluation, plain, to_builtins
from ringfence.training.examples import Examples
from ringfence.training.findings import Findings
from ringfence.training.fitting import Fitted
from ringfence.training.label_delay import LabelDelay
from ringfence.training.memory_use import Forgotten, room_told
from ringfence.training.monotone import told_of
from ringfence.training.report import FeatureImportance, FoldSummary, ReportInput
from ringfence.training.reservations import reservations
from ringfence.training.search import searched
from ringfence.training.stacking import BranchWorth

N_DRIFTED: Final = 30  # features in metrics.json, most drifted first
_TOO_LITTLE: Final = "too little to learn from before one of the blocks"


def alerts_of(policy: Policy) -> tuple[int, ...]:
    """Return the policy's whole reviews a day as an alert capacity to report; empty where it has none, or no limit."""
    return (int(policy.reviews_per_day),) if policy.reviews_per_day is not None and policy.has_reviews else ()


def _fold_summaries(examples: Examples, fitted: Fitted) -> list[FoldSummary]:
    times, fraud = examples.event_time_ms, examples.fraud
    return [
        FoldSummary(
            fit_from_ms=int(times[fold.fit].min()),
            fit_to_ms=int(times[fold.fit].max()),
            emit_from_ms=fold.start_ms,
            emit_to_ms=fold.end_ms,
            n_fit=int(fold.fit.shape[0]),
            n_fit_fraud=int(fraud[fold.fit].sum()),
            n_emit=int(fold.emit.shape[0]),
            n_emit_fraud=int(fraud[fold.emit].sum()),
            label_delay=fold.label_delay,
        )
        for fold in fitted.folds
    ]


def summarise(
    scenario: Scenario,
    catalogue: Catalogue,
    policy: Policy,
    examples: Examples,
    fitted: Fitted,
    left_out: Mapping[str, str],
    evaluations: list[Evaluation],
    importance: list[FeatureImportance],
    found: Findings,
    forgotten: Forgotten,
    absent: Absent,
    cut_ms: int,
    seed: int,
) -> ReportInput:
    """Gather what report, card and metrics.json say about a training run; the release's own name is still open."""
    times, has_times = examples.event_time_ms, scenario.decided.event_time_column is not None
    not_tried = {**left_out, **dict.fromkeys(fitted.unlearnt, _TOO_LITTLE)}
    shown = ", ".join(f"{name} {value:g}" for name, value in sorted(fitted.params.items()))
    facts = [
        ("release", UNNAMED),
        ("examples from, to", f"{_iso(int(times.min()))} to {_iso(int(times.max()))}"),
        ("nothing known after", _iso(cut_ms)),
        ("features", f"{len(catalogue.features)} of {len(catalogue.families)} families"),
        ("feature spec", catalogue.spec_hash),
        ("model", f"LightGBM, {fitted.effort.n_seeds} seeds averaged, {fitted.ensemble.n_trees} trees in all"),
        *(
            (f"branch {one.name}", _worth_told(one, is_told=one.name in fitted.ensemble.branches))
            for one in fitted.worth
        ),
        *((f"branch {name}", f"not tried: {why}") for name, why in not_tried.items()),
        *facts_of(fitted.ensemble),
        ("settings", shown),
        *searched(fitted.settings, trials=fitted.trials),
        ("legit examples each booster saw", f"{fitted.effort.legit_share:.1%}"),
        *([("spared, as examples are many", fitted.effort.text)] if fitted.effort.text else []),
        (
            "calibration",
            f"{fitted.calibrator.method} on {int(fitted.out_of_fold.emitted.sum()):,} out-of-fold scores, "
            f"weight {fitted.calibration_weight:.2f} against the model's own",
        ),
        ("not learnt from, as it tells the time", _named(catalogue, fitted)),
        *([("monotone", told_of(catalogue, fitted.ensemble))] if scenario.monotone else []),
        ("forgotten for want of memory", forgotten.text or "nothing"),
        ("missing in every example", ", ".join((*absent.roles, *absent.attributes)) or "nothing"),
        ("policy", f"{policy.version}, review price {policy.review_price:.2f}"),
        ("seed", str(seed)),
        ("versions", f"ringfence {__version__}, lightgbm {lightgbm.__version__}, numpy {np.__version__}"),
    ]
    return ReportInput(
        scenario=scenario.name,
        until_ms=cut_ms,
        n_examples=len(examples),
        n_fraud=examples.n_fraud,
        n_unlabelled=examples.n_unlabelled,
        evaluations=evaluations,
        folds=_fold_summaries(examples, fitted),
        importance=importance,
        reviews_per_day=next(iter(alerts_of(policy)), None),
        not_comparable=_not_comparable(examples, fitted, evaluations),
        facts=facts,
        version=__version__,
        decides=scenario.decide,
        has_times=has_times,
        label_rule=_label_rule(scenario),
        roles=tuple(role.role for role in scenario.decided.roles),
        audit_only=tuple(a.name for a in scenario.decided.attributes if a.use is AttributeUse.AUDIT_ONLY),
        label_delays=found.label_delays,
        buckets=found.buckets,
        money=found.money,
        drift=found.drift,
        cases=found.cases,
        cases_note=found.cases_note,
        leaks=found.leaks,
        rates=found.rates,
        reservations=reservations(
            evaluations,
            found.rates,
            found.money,
            scenario=scenario.name,
            date=date if has_times else row,
        ),
        branches=branches_study(fitted.members, fitted.ensemble.stack, examples.fraud, fitted.folds, seed=seed),
        forgotten=forgotten,
        absent=absent,
        branches_not_tried=not_tried,
    )


def _worth_told(worth: BranchWorth, *, is_told: bool) -> str:
    beside = "told beside the score" if is_told else "left out of the release"
    if not worth.n:
        return f"{beside}, without a part in the score: no block of time to try it on"
    gain = f"log-loss better by {worth.gain:.5f} an event ({worth.low:.5f} to {worth.high:.5f}) in later blocks"
    return f"weight {worth.weight:.2f}: {gain}" if worth.stays else f"{beside}, no part in the score: {gain}"


def _label_rule(scenario: Scenario) -> str:
    label = scenario.decided.label
    if label is None:
        return "told through the API, known from the moment it was told"
    if label.outcome is not None:
        outcome, span = label.outcome, span_text(label.outcome.horizon_ms)
        return (
            f"fraud means that {outcome.event_type} of the same {outcome.role} followed within {span}, known from then "
            f"on; an event that none followed counts as legit after {span}, and one whose {span} are not over is no "
            "example"
        )
    if label.known_at_column is not None:
        when = f"known from the time in {label.known_at_column}"
    elif label.delay_ms:
        when = f"taken as known {span_text(label.delay_ms)} after the event"
    else:
        when = "taken as known at the event itself"
    absent = (
        f"; an event without one counts as legit after {span_text(label.legit_after_ms)}"
        if label.legit_after_ms is not None
        else ""
    )
    return f"{label.column} ({', '.join(label.fraud)} means fraud), {when}{absent}"


def _not_comparable(examples: Examples, fitted: Fitted, evaluations: list[Evaluation]) -> list[str]:
    main = evaluations[0]
    lines = [
        "figures from random splits: here everything scored is later than everything that was fitted",
        f"average precision at another fraud rate: {main.n_fraud / main.n:.2%} here, and the figure rises with it",
        "figures that know labels at once: here a label enters features and fitting only from the moment it was known",
    ]
    if len(evaluations) == 1:
        lines.append(
            "the release on a later period: no labelled events follow the cut, so only out-of-fold figures exist, from "
            "models with fewer examples than the release"
        )
    if not all(fold.label_delay for fold in fitted.folds):
        lines.append(
            "out-of-fold figures that respect the label delay: at least one fold here follows plain time order, "
            "because the delay would have left too few labels before it"
        )
    if len(fitted.settings) > 1:
        lines.append(
            "out-of-fold figures of a setting that was not chosen by them: these are of the best of "
            f"{len(fitted.settings)}, a little flattered by the choice"
        )
    if examples.n_unlabelled:
        lines.append(f"figures on all events: {examples.n_unlabelled:,} without a known label are in none of these")
    return lines


def data_digest(examples: Examples, rows: NDArray[np.float64]) -> str:
    """Digest what was fitted, examples, labels and feature rows: 32 hex digits."""
    digest = blake2b(digest_size=16)
    for values in (examples.seq, examples.event_time_ms, examples.known_at_ms, examples.fraud, rows):
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()


def _named(catalogue: Catalogue, fitted: Fitted) -> str:
    names = [catalogue.names[column] for column in fitted.clocks.tolist()]
    return f"{counted(len(names), 'feature')}: {', '.join(names)}" if names else "nothing"


def metrics_of(summary: ReportInput, fitted: Fitted, catalogue: Catalogue) -> dict[str, Any]:
    """Gather all figures of a training run for metrics.json; NaN is None."""
    return {
        "scenario": summary.scenario,
        "until_ms": summary.until_ms,
        "n_examples": summary.n_examples,
        "n_fraud": summary.n_fraud,
        "n_unlabelled": summary.n_unlabelled,
        "headline": headline_of(summary),
        "evaluations": [to_builtins(evaluation) for evaluation in summary.evaluations],
        "folds": msgspec.to_builtins(summary.folds),
        "tree_curve": {
            "n_trees": fitted.out_of_fold.counts.tolist(),
            "log_loss": [round(float(value), 8) for value in fitted.out_of_fold.log_loss],
        },
        "branches": plain(fitted.worth),
        "branches_left_out": plain(summary.branches),
        "branches_not_tried": summary.branches_not_tried,
        **brought_metrics(fitted.ensemble),
        "settings_tried": fitted.settings,
        "importance": msgspec.to_builtins(summary.importance),
        "label_delays": plain([_without_curve(one) for one in summary.label_delays]),
        "through_time": plain(summary.buckets),
        "money": plain(summary.money),
        "drift": plain([_without_bins(one) for one in summary.drift.features[:N_DRIFTED]] if summary.drift else []),
        "leaks": plain(summary.leaks),
        "base_rate": plain(summary.rates),
        "reservations": plain(summary.reservations),
        "reviews_per_day": summary.reviews_per_day,
        "memory": {
            "budget_bytes": catalogue.scenario.memory_bytes,
            "room": room_told(catalogue.plan.room),
            "forgotten": msgspec.to_builtins(summary.forgotten),
        },
        "missing_in_every_example": msgspec.to_builtins(summary.absent),
        "not_comparable": summary.not_comparable,
        "facts": dict(summary.facts),
    }


def headline_of(summary: ReportInput) -> dict[str, Any]:
    """Gather the figures worth reading first."""
    built = to_builtins(summary.evaluations[0])
    kept = ("name", "n", "n_fraud", "average_precision", "roc_auc", "brier_skill", "ece", "calibration_slope")
    return {name: built[name] for name in kept}


def _without_curve(delay: LabelDelay) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(delay).items() if name not in ("days", "share")}


def _without_bins(drift: FeatureDrift) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(drift).items() if name not in ("before", "after")}


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).isoformat(timespec="seconds")

# SPDX-License-Identifier: Apache-2.0
"""The model card: what a release is for, what it was made from, how it measured, and where it may fail."""

from __future__ import annotations

import numpy as np

from ringfence.training.coverage import TOLD
from ringfence.training.evaluation import Evaluation
from ringfence.training.ranking import Interval
from ringfence.training.report import FeatureImportance, ReportInput

N_FEATURES_NAMED = 8
_UNAIDED = (
    f"decided without a person ({100 * TOLD[0]:g} % of frauds let through, declined at {100 * TOLD[1]:g} % precision)"
)


def write_card(report: ReportInput, *, decides: str, roles: tuple[str, ...], audit_only: tuple[str, ...]) -> str:
    """Write the card as Markdown text.

    Parameters
    ----------
    report : the figures, as the HTML report shows them.
    decides : name of the decided event type.
    roles : names of the scenario's roles.
    audit_only : attributes that are kept for fairness reports and are no features.
    """
    delayed = sum(fold.label_delay for fold in report.folds)
    lines = [
        f"# {report.scenario}",
        "",
        "## Use",
        f"Gives each `{decides}` event a calibrated probability of fraud at the moment it happens, for the policy to "
        "turn into approve, challenge, review or decline. Not meant for other event types, other portfolios, or as the "
        "only ground for an accusation: the score says how much an event resembles known fraud.",
        "",
        "## Made from",
        f"- {report.n_examples:,} examples, {report.n_fraud:,} fraud ({report.n_fraud / report.n_examples:.2%})",
        f"- {report.n_unlabelled:,} events without a known label were left out, not taken as legit",
        *[f"- {name}: {value}" for name, value in report.facts],
        f"- entities: {', '.join(roles) if roles else 'none'}",
        f"- kept out of the model, for fairness reports: {', '.join(audit_only) if audit_only else 'nothing declared'}",
        "",
        "## Split",
        f"{len(report.folds)} expanding windows in time; {delayed} of them fitted only on labels known before the "
        f"window they scored, {len(report.folds) - delayed} in plain time order because the label delay left too few. "
        "Tree count and calibration come from these out-of-fold scores; the release is refitted on all examples.",
        "",
    ]
    for evaluation in report.evaluations:
        lines += _measured(evaluation)
    lines += [
        "## What it looks at",
        *_families(report.importance),
        *[
            f"- `{feature.name}` ({100 * feature.share:.1f} %): {feature.sentence}"
            for feature in report.importance[:N_FEATURES_NAMED]
        ],
        "",
        *_suspicions(report),
        *_reservations(report),
        "## Limits",
        *[f"- {line}" for line in report.not_comparable],
        *_shortfalls(report),
        "- Labels are what was confirmed; fraud that nobody found counts as legit here and in every figure above.",
        "- Intervals resample single events; they do not cover a change of regime.",
        "",
    ]
    return "\n".join(lines)


def _shortfalls(report: ReportInput) -> list[str]:
    lines = []
    if report.forgotten:
        lines.append(
            f"- For want of memory the replay forgot {report.forgotten.text}: whoever was idle longest, and was new "
            "again when they came back. More `memory` in ringfence.yaml changes these features."
        )
    if missing := (*report.absent.roles, *report.absent.attributes):
        lines.append(f"- Nothing was learned from {', '.join(missing)}: missing in every example.")
    return lines


def _reservations(report: ReportInput) -> list[str]:
    if not report.reservations:
        return []
    return [
        "## Before you believe it",
        *(f"- {one.sentence} What to do: {one.do}." for one in report.reservations),
        "",
    ]


def _suspicions(report: ReportInput) -> list[str]:
    if report.leaks is None:
        return []
    found = [f"- `{one.column}`: {one.sentence}" for one in report.leaks.suspicions]
    return ["## Possible leaks", *(found or ["- none found"]), ""]


def _measured(evaluation: Evaluation) -> list[str]:
    lines = [
        f"## Measured: {evaluation.title.lower()}",
        f"{evaluation.explanation} {evaluation.n:,} events, {evaluation.n_fraud:,} fraud.",
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
        _row("average precision", evaluation.average_precision),
        _row("ROC-AUC", evaluation.roc_auc),
    ]
    lines += [
        _row(f"recall at precision {precision}", found) for precision, found in evaluation.recall_at_precision.items()
    ]
    lines += [
        _row(_UNAIDED, evaluation.coverage.told.share),
        _row("Brier score", evaluation.brier, 5),
        _row("Brier skill", evaluation.brier_skill),
        _row("expected calibration error (equal-mass bins)", evaluation.ece, 4),
        _row("calibration slope", evaluation.calibration_slope, 2),
        "",
    ]
    return lines


def _row(name: str, figure: Interval, digits: int = 3) -> str:
    if not np.isfinite(figure.value):
        return f"| {name} | not defined | |"
    return f"| {name} | {figure.value:.{digits}f} | {figure.low:.{digits}f} to {figure.high:.{digits}f} |"


def _families(importance: list[FeatureImportance]) -> list[str]:
    totals: dict[str, float] = {}
    for feature in importance:
        totals[feature.family] = totals.get(feature.family, 0.0) + feature.share
    ranked = sorted(totals.items(), key=lambda item: -item[1])
    return ["Families: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in ranked), ""]

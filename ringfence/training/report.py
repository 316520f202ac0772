# SPDX-License-Identifier: Apache-2.0
"""The evaluation report: one HTML file that a risk manager can open, print and keep."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jinja2
import msgspec
import numpy as np

from ringfence.training.chart import Axis, Chart, Span, log_axis, percent, share_axis, timeline
from ringfence.training.evaluation import N_REPLICATES, Evaluation
from ringfence.training.ranking import Interval

N_FEATURES_SHOWN = 25


class FeatureImportance(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    sentence: str
    family: str
    share: float  # of the summed absolute contributions, 0..1


class FoldSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One expanding window: fitted on [fit_from_ms, fit_to_ms], scored on [emit_from_ms, emit_to_ms]."""

    fit_from_ms: int
    fit_to_ms: int
    emit_from_ms: int
    emit_to_ms: int
    n_fit: int
    n_fit_fraud: int
    n_emit: int
    n_emit_fraud: int
    label_delay: bool


class ReportInput(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows. `evaluations` holds at least one, the most telling first."""

    scenario: str
    until_ms: int
    n_examples: int
    n_fraud: int
    n_unlabelled: int
    evaluations: list[Evaluation]
    folds: list[FoldSummary]
    importance: list[FeatureImportance]  # most important first
    reviews_per_day: int | None
    not_comparable: list[str]
    facts: list[tuple[str, str]]
    version: str


def render(report: ReportInput) -> str:
    """Write the page as HTML text; needs nothing but itself to be shown."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = resources.files("ringfence.training").joinpath("templates/report.html").read_text(encoding="utf-8")
    main, others = report.evaluations[0], report.evaluations[1:]
    return environment.from_string(source).render(
        scenario=report.scenario,
        until=_date(report.until_ms),
        version=report.version,
        lede=_lede(report),
        main=main,
        others=others,
        n_replicates=N_REPLICATES,
        tiles=_tiles(report, main),
        timeline=_timeline(report),
        split_note=_split_note(report),
        has_later=any(evaluation.name == "later_window" for evaluation in report.evaluations),
        charts=_charts(main, others),
        table=_table(report.evaluations),
        capacity=_capacity_rows(report, main),
        slices=_slice_rows(main),
        importance_note=(
            "Mean absolute contribution to the log-odds over scored examples, each feature's share of the sum. "
            "It says what moves the score, not what causes fraud."
        ),
        families=_family_rows(report.importance),
        features=_feature_rows(report.importance),
        not_comparable=report.not_comparable,
        facts=report.facts,
    )


def _lede(report: ReportInput) -> str:
    left_out = (
        f" {report.n_unlabelled:,} events whose label was not known by then count neither as fraud nor as legit."
        if report.n_unlabelled
        else ""
    )
    return (
        f"Learnt from {report.n_examples:,} events, {report.n_fraud:,} of them fraud "
        f"({_percent(report.n_fraud / report.n_examples)}), with nothing known after {_date(report.until_ms)}."
        f"{left_out}"
    )


def _tiles(report: ReportInput, main: Evaluation) -> list[dict[str, str]]:
    rate = main.n_fraud / main.n
    tiles = [
        _tile("Average precision", _number(main.average_precision), f"chance would give {rate:.3f}"),
        _tile("ROC-AUC", _number(main.roc_auc), f"{main.n_fraud:,} frauds in {main.n:,} events"),
    ]
    capacity = next((row for row in main.capacity if row.alerts_per_day == report.reviews_per_day), None)
    if capacity is not None:
        tiles.append(
            _tile(
                f"Fraud found by {capacity.alerts_per_day} reviews a day",
                _share(capacity.recall),
                f"{_percent(capacity.precision)} of those opened are fraud",
            )
        )
    half = main.recall_at_precision["0.50"]
    tiles.append(_tile("Fraud found at 50 % precision", _share(half), "every second alert is fraud"))
    tiles.append(
        _tile(
            "Brier skill",
            _number(main.brier_skill),
            f"calibration error {main.ece.value:.4f}, slope {main.calibration_slope:.2f}",
        )
    )
    return tiles


def _tile(name: str, figure: dict[str, str], aside: str) -> dict[str, str]:
    return {"name": name, "aside": aside, "value": figure["value"], "interval": figure["interval"]}


def _charts(main: Evaluation, others: list[Evaluation]) -> list[dict[str, Any]]:
    rate = main.n_fraud / main.n
    pr = Chart(share_axis("recall: share of fraud found"), share_axis("precision"), title="Precision and recall")
    pr.guide(0, rate, 1, rate)
    roc = Chart(
        log_axis("false positive rate", 1e-4, 1.0, _decade), share_axis("true positive rate"), title="ROC curve"
    )
    grid = main.roc.x[1:]
    roc.line(grid.tolist(), grid.tolist(), series=3)
    for series, evaluation in ((2, item) for item in others[:1]):
        pr.line(evaluation.pr.x.tolist(), evaluation.pr.y.tolist(), series=series, dashed=True)
        roc.line(evaluation.roc.x[1:].tolist(), evaluation.roc.y[1:].tolist(), series=series, dashed=True)
    pr.band(main.pr.x.tolist(), main.pr.low.tolist(), main.pr.high.tolist()).line(
        main.pr.x.tolist(), main.pr.y.tolist()
    )
    roc.band(grid.tolist(), main.roc.low[1:].tolist(), main.roc.high[1:].tolist())
    roc.line(grid.tolist(), main.roc.y[1:].tolist())
    return [
        {
            "title": "Precision and recall",
            "text": "Going right finds more fraud; going down opens more that is legit. Dotted: chance.",
            "svg": pr.svg(),
            "legend": "",
            "wide": False,
        },
        {
            "title": "ROC",
            "text": "False positives on a logarithmic scale: the left side is where alerts are few enough to open.",
            "svg": roc.svg(),
            "legend": "",
            "wide": False,
        },
        _reliability_chart(main),
        _capacity_chart(main),
        _distribution_chart(main),
    ]


def _reliability_chart(main: Evaluation) -> dict[str, Any]:
    floor = 10.0 ** np.floor(
        np.log10(max(1e-5, min((row.mean_score for row in main.reliability if row.mean_score > 0), default=1e-4)))
    )
    axis = log_axis("predicted probability", float(floor), 1.0, _decade)
    chart = Chart(axis, log_axis("observed fraud rate", float(floor), 1.0, _decade), title="Reliability")
    chart.guide(axis.low, axis.low, 1.0, 1.0)
    for row in main.reliability:
        note = f"{row.n:,} events: predicted {_percent(row.mean_score)}, observed {_percent(row.fraud_rate)}"
        chart.dot(row.mean_score, row.fraud_rate, note, low=row.low, high=row.high)
    return {
        "title": "Reliability",
        "text": "A score of 10 % should mean fraud one time in ten. On the diagonal is honest; whiskers are 95 %.",
        "svg": chart.svg(),
        "legend": "",
        "wide": False,
    }


def _capacity_chart(main: Evaluation) -> dict[str, Any]:
    alerts = [float(row.alerts_per_day) for row in main.capacity]
    chart = Chart(
        log_axis("alerts a day", 1.0, max(10.0, alerts[-1]), lambda value: f"{value:,.0f}"),
        share_axis("fraud found"),
        title="Recall by alert capacity",
    )
    chart.band(alerts, [row.recall.low for row in main.capacity], [row.recall.high for row in main.capacity])
    chart.line(alerts, [row.recall.value for row in main.capacity])
    for row in main.capacity:
        chart.dot(row.alerts_per_day, row.recall.value, f"{row.alerts_per_day} a day find {_percent(row.recall.value)}")
    return {
        "title": "Recall by alert capacity",
        "text": "How much fraud is found when so many of each day's highest scores are opened.",
        "svg": chart.svg(),
        "legend": "",
        "wide": False,
    }


def _distribution_chart(main: Evaluation) -> dict[str, Any]:
    shape = main.distribution
    top = max(*shape.fraud, *shape.legit, 1e-6) * 1.08
    odds = [at for at in (-9.21, -6.91, -4.595, -2.197, 0.0, 2.197, 4.595) if shape.edges[0] <= at <= shape.edges[-1]]
    chart = Chart(
        Axis(
            label="score (spaced by log-odds)",
            low=shape.edges[0],
            high=shape.edges[-1],
            ticks=tuple(odds),
            text=lambda value: f"{100 / (1 + float(np.exp(-value))):.2g} %",
        ),
        Axis(label="share of events", low=0.0, high=top, ticks=(0.0, top / 2.16, top / 1.08), text=_short_percent),
        title="Score distribution",
        width=940.0,
        height=260.0,
    )
    chart.steps(shape.edges, shape.legit, series=1).steps(shape.edges, shape.fraud, series=2)
    return {
        "title": "Score distribution",
        "text": "Each class on its own scale: the less the two overlap, the easier the decision.",
        "svg": chart.svg(),
        "legend": '<span class="key" style="background:var(--s1)"></span>legit'
        '<span class="key" style="background:var(--s2)"></span>fraud',
        "wide": True,
    }


def _timeline(report: ReportInput) -> str:
    spans = []
    for number, fold in enumerate(report.folds, start=1):
        row = f"fold {number}"
        kept = "labels known by its start" if fold.label_delay else "plain time order"
        fitted = f"fitted on {fold.n_fit:,} events, {fold.n_fit_fraud:,} fraud; {kept}"
        scored = f"scored {fold.n_emit:,} events, {fold.n_emit_fraud:,} fraud"
        spans.append(Span(row=row, style="fit", from_ms=fold.fit_from_ms, to_ms=fold.fit_to_ms, note=fitted))
        if fold.label_delay:
            note = "labels of this span were not known when the fold was scored"
            spans.append(Span(row=row, style="gap", from_ms=fold.fit_to_ms, to_ms=fold.emit_from_ms, note=note))
        spans.append(Span(row=row, style="emit", from_ms=fold.emit_from_ms, to_ms=fold.emit_to_ms, note=scored))
    if report.folds:
        low = min(fold.fit_from_ms for fold in report.folds)
        high = max(fold.emit_to_ms for fold in report.folds)
        note = f"the release is fitted on all {report.n_examples:,} examples"
        spans.append(Span(row="release", style="fit", from_ms=low, to_ms=high, note=note))
        spans.append(
            Span(row="release", style="gap", from_ms=high, to_ms=max(high, report.until_ms), note="labels open")
        )
    for evaluation in report.evaluations:
        if evaluation.name == "later_window":
            note = f"{evaluation.n:,} events, {evaluation.n_fraud:,} fraud"
            row = "release"
            spans.append(Span(row=row, style="later", from_ms=evaluation.from_ms, to_ms=evaluation.to_ms, note=note))
    return timeline(spans, marks=[(report.until_ms, f"known until {_date(report.until_ms)}")], date=_date)


def _split_note(report: ReportInput) -> str:
    delayed = sum(fold.label_delay for fold in report.folds)
    if delayed == len(report.folds):
        how = "Each fold was fitted only on labels that were known before the events it scored."
    elif delayed == 0:
        how = (
            "Labels come too late for this span to leave enough of them before each fold, so folds follow plain time "
            "order: fitted on earlier events, whose labels were in truth known a little later."
        )
    else:
        how = (
            f"{delayed} of {len(report.folds)} folds were fitted only on labels known before the events they scored; "
            "the others, where that left too few, follow plain time order."
        )
    return (
        f"{how} Features of every event come from the ledger before it. The tree count and the calibration come from "
        "these out-of-fold scores; the release itself is then fitted on all examples."
    )


def _table(evaluations: list[Evaluation]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        _row("events", [{"value": f"{e.n:,}", "interval": ""} for e in evaluations]),
        _row("fraud", [{"value": f"{e.n_fraud:,}", "interval": _percent(e.n_fraud / e.n)} for e in evaluations]),
        _row("from, to", [{"value": f"{_date(e.from_ms)} – {_date(e.to_ms)}", "interval": ""} for e in evaluations]),
        _row("average precision (PR-AUC)", [_number(e.average_precision) for e in evaluations]),
        _row("ROC-AUC", [_number(e.roc_auc) for e in evaluations]),
    ]
    for precision in evaluations[0].recall_at_precision:
        cells = [_share(e.recall_at_precision[precision]) for e in evaluations]
        rows.append(_row(f"fraud found at {float(precision):.0%} precision".replace("%", " %"), cells))
    rows += [
        _row("Brier score", [_number(e.brier, 5) for e in evaluations]),
        _row("Brier skill (1 perfect, 0 no better than the mean rate)", [_number(e.brier_skill) for e in evaluations]),
        _row("expected calibration error, equal-mass bins", [_number(e.ece, 4) for e in evaluations]),
        _row(
            "calibration slope (1 is right, below 1 overconfident)",
            [{"value": f"{e.calibration_slope:.2f}", "interval": ""} for e in evaluations],
        ),
    ]
    return {"columns": [e.title for e in evaluations], "rows": rows}


def _row(name: str, cells: list[dict[str, str]]) -> dict[str, Any]:
    return {"name": name, "cells": cells}


def _capacity_rows(report: ReportInput, main: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "alerts": f"{row.alerts_per_day:,}",
            "is_policy": row.alerts_per_day == report.reviews_per_day,
            "recall": _share(row.recall)["value"],
            "interval": _share(row.recall)["interval"],
            "amount_recall": "–" if row.amount_recall is None else _percent(row.amount_recall),
            "precision": _percent(row.precision),
            "width": round(100 * row.recall.value) if np.isfinite(row.recall.value) else 0,
        }
        for row in main.capacity
    ]


def _slice_rows(main: Evaluation) -> list[dict[str, str]]:
    return [
        {
            "name": part.name,
            "n": f"{part.n:,}",
            "n_fraud": f"{part.n_fraud:,}",
            "rate": _percent(part.n_fraud / part.n),
            "ap": _number(part.average_precision)["value"],
            "ap_interval": _number(part.average_precision)["interval"],
            "auc": _number(part.roc_auc)["value"],
            "auc_interval": _number(part.roc_auc)["interval"],
        }
        for part in main.slices
    ]


def _family_rows(importance: list[FeatureImportance]) -> list[dict[str, Any]]:
    total: dict[str, float] = defaultdict(float)
    size: dict[str, int] = defaultdict(int)
    for feature in importance:
        total[feature.family] += feature.share
        size[feature.family] += 1
    largest = max(total.values(), default=1.0) or 1.0
    return [
        {"name": name, "n": size[name], "share": _percent(share), "width": round(100 * share / largest)}
        for name, share in sorted(total.items(), key=lambda item: -item[1])
    ]


def _feature_rows(importance: list[FeatureImportance]) -> list[dict[str, Any]]:
    shown = [feature for feature in importance[:N_FEATURES_SHOWN] if feature.share > 0]
    largest = max((feature.share for feature in shown), default=1.0)
    return [
        {
            "name": feature.name,
            "sentence": feature.sentence,
            "share": _percent(feature.share),
            "width": round(100 * feature.share / largest),
        }
        for feature in shown
    ]


def _number(figure: Interval, digits: int = 3) -> dict[str, str]:
    if not np.isfinite(figure.value):
        return {"value": "–", "interval": "not defined"}
    return {"value": f"{figure.value:.{digits}f}", "interval": f"{figure.low:.{digits}f} to {figure.high:.{digits}f}"}


def _share(figure: Interval) -> dict[str, str]:
    if not np.isfinite(figure.value):
        return {"value": "–", "interval": "not defined"}
    return {"value": f"{100 * figure.value:.1f} %", "interval": f"{100 * figure.low:.1f} to {100 * figure.high:.1f} %"}


def _percent(share: float) -> str:
    if not np.isfinite(share):
        return "–"
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else f"{100 * share:.2g} %"


def _short_percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _decade(value: float) -> str:
    return percent(value) if value >= 0.01 else f"{100 * value:.4g} %"


def _date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d")

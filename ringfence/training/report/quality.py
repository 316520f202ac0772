# SPDX-License-Identifier: Apache-2.0
"""How well scores order the events, and how honest they are as probabilities."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ringfence.reports import Axis, Chart, Figure, Figures, Section, Table, figure, log_axis, share_axis
from ringfence.reports.numerals import decade, decimal, share, short_share
from ringfence.reports.page import Cell
from ringfence.training.evaluation import Evaluation
from ringfence.training.ranking import Interval
from ringfence.training.report.content import ReportInput

ROC_FLOOR = 1e-3


def quality(report: ReportInput) -> Section:
    main, others = report.evaluations[0], report.evaluations[1:]
    return Section(
        anchor="quality",
        title="How well it ranks, and how honest its probabilities are",
        short="Ranking and honesty",
        blocks=[
            Figures(figures=[_pr(main, others), _roc(main, others), reliability(main), _distribution(main)]),
            _table(report),
        ],
    )


def _legend(main: Evaluation, others: list[Evaluation]) -> list[tuple[str, str]]:
    second = [("s3", f"{others[0].title}, dashed")] if others else []
    return [("s1", f"{main.title}, with its 95 % band"), *second, ("s0", "chance")]


def _pr(main: Evaluation, others: list[Evaluation]) -> Figure:
    rate = main.n_fraud / main.n

    def draw(width: float) -> str:
        chart = Chart(
            share_axis("recall: share of fraud found"),
            share_axis("precision: share of alerts that are fraud"),
            title="Precision and recall",
            description=f"Average precision {decimal(main.average_precision.value)}; chance gives {rate:.3f}",
            width=width,
        )
        chart.guide(0, rate, 1, rate)
        for other in others[:1]:
            chart.line(other.pr.x.tolist(), other.pr.y.tolist(), series=3, dashed=True)
        x = main.pr.x.tolist()
        if main.n_fraud:
            chart.band(x, main.pr.low.tolist(), main.pr.high.tolist()).line(x, main.pr.y.tolist())
        return chart.svg()

    return Figure(
        title=f"Precision and recall: average precision {decimal(main.average_precision.value)}",
        text="Going right finds more fraud; going down opens more that is legit.",
        draw=draw,
        legend=_legend(main, others),
        table=_curve_table("Precision at a recall", "recall", "precision", main.pr, np.linspace(0.1, 1.0, 10)),
    )


def _roc(main: Evaluation, others: list[Evaluation]) -> Figure:
    def draw(width: float) -> str:
        chart = Chart(
            log_axis("false positive rate: share of legit events alerted", ROC_FLOOR, 1.0, decade),
            share_axis("recall: share of fraud found"),
            title="ROC curve",
            description=f"Area under the curve {decimal(main.roc_auc.value)}; chance gives 0.5",
            width=width,
        )
        seen = main.roc.x >= ROC_FLOOR
        grid = main.roc.x[seen].tolist()
        chart.line(grid, grid, series=0)
        for other in others[:1]:
            chart.line(other.roc.x[seen].tolist(), other.roc.y[seen].tolist(), series=3, dashed=True)
        if 0 < main.n_fraud < main.n:
            chart.band(grid, main.roc.low[seen].tolist(), main.roc.high[seen].tolist())
            chart.line(grid, main.roc.y[seen].tolist())
        return chart.svg()

    return Figure(
        title=f"ROC: area {decimal(main.roc_auc.value)}",
        text="False positives on a logarithmic scale: alerts live on the left, where few honest people are bothered.",
        draw=draw,
        legend=_legend(main, others),
        table=_curve_table(
            "Recall at a false positive rate", "false positive rate", "recall", main.roc, np.geomspace(1e-3, 1.0, 10)
        ),
    )


def _curve_table(caption: str, x: str, y: str, curve: object, wanted: np.ndarray) -> Table:
    rows: list[list[Cell]] = []
    grid, values, low, high = (getattr(curve, name) for name in ("x", "y", "low", "high"))
    for at in wanted:
        place = int(np.argmin(np.abs(grid - at)))
        rows.append([short_share(float(grid[place])), figure(values[place], low[place], high[place], share)])
    return Table(caption=caption, columns=[x, y], rows=rows, numeric=(0, 1))


def reliability(main: Evaluation) -> Figure:
    """Draw observed fraud rates over predicted ones."""
    least = min((row.mean_score for row in main.reliability if row.mean_score > 0), default=1e-4)
    floor = 10.0 ** float(np.floor(np.log10(max(1e-5, least))))

    def draw(width: float) -> str:
        axis = log_axis("predicted probability", floor, 1.0, decade)
        chart = Chart(
            axis,
            log_axis("observed fraud rate", floor, 1.0, decade),
            title="Reliability",
            description=f"Calibration slope {decimal(main.calibration_slope.value, 2)}, Brier skill "
            f"{decimal(main.brier_skill.value)}, calibration error {decimal(main.ece.value, 4)}",
            width=width,
        )
        chart.guide(axis.low, axis.low, 1.0, 1.0)
        for row in main.reliability:
            note = f"{row.n:,} events: predicted {share(row.mean_score)}, observed {share(row.fraud_rate)}"
            series = 1 if row.fraud_rate > 0 else 3
            chart.dot(row.mean_score, max(row.fraud_rate, floor), note, low=row.low, high=row.high, series=series)
        return chart.svg()

    slope, skill = _in_words(main.calibration_slope, 2), _in_words(main.brier_skill, 3)
    return Figure(
        title="Reliability: is 10 % one in ten?",
        text=f"On the diagonal is honest; whiskers are 95 %. Slope {slope} (1 is right, below 1 overconfident). Brier "
        f"skill {skill} (0 is the mean rate for everybody).",
        draw=draw,
        legend=[("s1", "groups of events by score"), ("s3", "no fraud seen: drawn at the lower edge")],
        table=Table(
            caption="Groups by score: equal shares below, finer at the top",
            columns=["events", "mean score", "observed fraud rate"],
            rows=[
                [f"{row.n:,}", share(row.mean_score), figure(row.fraud_rate, row.low, row.high, share)]
                for row in main.reliability
            ],
            numeric=(0, 1, 2),
        ),
    )


def _distribution(main: Evaluation) -> Figure:
    shape = main.distribution
    top = max(*shape.fraud, *shape.legit, 1e-6) * 1.08
    odds = [at for at in (-9.21, -6.91, -4.595, -2.197, 0.0, 2.197, 4.595) if shape.edges[0] <= at <= shape.edges[-1]]

    def draw(width: float) -> str:
        chart = Chart(
            Axis(
                label="score (spaced by log-odds)",
                low=shape.edges[0],
                high=shape.edges[-1],
                ticks=tuple(odds),
                text=lambda value: f"{100 / (1 + float(np.exp(-value))):.2g} %",
            ),
            Axis(label="share of its class", low=0.0, high=top, ticks=(0.0, top / 2.16, top / 1.08), text=_two_digits),
            title="Score distribution by class",
            description="Histogram of scores, fraud and legit each summing to one",
            width=width,
        )
        return chart.steps(shape.edges, shape.legit, series=1).steps(shape.edges, shape.fraud, series=2).svg()

    return Figure(
        title="Score distribution",
        text="Each class on its own scale: the less the two overlap, the easier the decision.",
        draw=draw,
        legend=[("s1", "legit"), ("s2", "fraud")],
    )


def _found_at(precision: str, evaluation: Evaluation) -> Cell:
    return figure(*_parts(evaluation.recall_at_precision[precision]), share)


def _two_digits(value: float) -> str:
    return f"{100 * value:.2g} %"


def _in_words(interval: Interval, digits: int) -> str:
    if not np.isfinite(interval.value):
        return "is not defined"
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def _parts(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def _table(report: ReportInput) -> Table:
    evaluations = report.evaluations

    def row(name: str, pick: Callable[[Evaluation], Cell]) -> list[Cell]:
        return [name, *(pick(evaluation) for evaluation in evaluations)]

    def number(name: str, pick: Callable[[Evaluation], Interval], digits: int = 3) -> list[Cell]:
        return row(name, lambda e: figure(*_parts(pick(e)), lambda value: f"{value:.{digits}f}"))

    rows = [
        row("events, fraud among them", lambda e: f"{e.n:,}, {e.n_fraud:,} ({share(e.n_fraud / e.n)})"),
        row("from, to", lambda e: f"{report.date(e.from_ms)} to {report.date(e.to_ms)}"),
        number("average precision (PR-AUC)", lambda e: e.average_precision),
        number("ROC-AUC", lambda e: e.roc_auc),
    ]
    rows += [
        row(f"fraud found at {100 * float(wanted):.0f} % precision", partial(_found_at, wanted))
        for wanted in evaluations[0].recall_at_precision
    ]
    rows += [
        number("Brier score", lambda e: e.brier, 5),
        number("Brier skill (1 perfect, 0 no better than the mean rate)", lambda e: e.brier_skill),
        number("expected calibration error, equal-mass bins", lambda e: e.ece, 4),
        number("calibration slope (1 is right, below 1 overconfident)", lambda e: e.calibration_slope, 2),
    ]
    return Table(
        caption="All figures with their 95 % intervals",
        columns=["figure", *(evaluation.title for evaluation in evaluations)],
        rows=rows,
        numeric=tuple(range(1, len(evaluations) + 1)),
    )

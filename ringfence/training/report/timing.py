# SPDX-License-Identifier: Apache-2.0
"""When it learnt and when it was asked: the split and the label delay drawn on a time axis."""

from __future__ import annotations

from ringfence.reports import (
    Block,
    Chart,
    Figure,
    Figures,
    Section,
    Span,
    Table,
    bar,
    figure,
    linear_axis,
    share_axis,
    small,
    time_axis,
    timeline,
)
from ringfence.reports.numerals import days, share, short_share
from ringfence.reports.page import Cell
from ringfence.training.regimes import BaseRate
from ringfence.training.report.content import ReportInput

SERIES = {"fraud": 2, "legit": 1}


def timing(report: ReportInput) -> Section:
    blocks: list[Block] = []
    if report.folds:
        blocks.append(Figures(figures=[_split(report)]))
    came_late = any(one.days[-1] > 0.0 for one in report.label_delays)  # else there is nothing to draw
    rest = [*([_delays(report)] if came_late else []), *([_through_time(report)] if report.buckets else [])]
    if rest:
        blocks.append(Figures(figures=rest))
    if report.rates is not None and len(report.rates.stretches) > 1:
        blocks.append(_rates(report, report.rates))
    return Section(
        anchor="time", title="When it learnt, when it was asked", short="Time", note=_split_note(report), blocks=blocks
    )


def _rates(report: ReportInput, found: BaseRate) -> Table:
    broke = found.broke
    top = max(one.fraud_rate for one in found.stretches) or 1.0
    rows: list[list[Cell]] = []
    for one in found.stretches:
        name: Cell = report.date(one.from_ms)
        if broke is not None and one.from_ms <= broke.at_ms < one.to_ms:
            name = small(report.date(one.from_ms), f"breaks at {report.date(broke.at_ms)}")
        rows.append(
            [
                name,
                f"{one.n:,}",
                f"{one.n_fraud:,}",
                figure(one.fraud_rate, one.low, one.high, share),
                bar(one.fraud_rate / top),
            ]
        )
    note = (
        "No boundary parts the examples into two fraud rates of which one is twice the other beyond chance."
        if broke is None
        else f"Around {report.date(broke.at_ms)} the rate went from {share(broke.before.fraud_rate)} to "
        f"{share(broke.after.fraud_rate)}: what was learnt before may no longer hold."
    )
    return Table(
        caption="The fraud rate of what it learnt from, through time",
        columns=["from", "examples", "fraud", "fraud rate, 95 %", ""],
        rows=rows,
        numeric=(1, 2, 3),
        folded=broke is None,
        note=note,
    )


def _split(report: ReportInput) -> Figure:
    spans: list[Span] = []
    for number, fold in enumerate(report.folds, start=1):
        row = f"fold {number}"
        kept = "labels known by its start" if fold.label_delay else "plain time order"
        fitted = f"fitted on {fold.n_fit:,} events, {fold.n_fit_fraud:,} fraud; {kept}"
        scored = f"scored {fold.n_emit:,} events, {fold.n_emit_fraud:,} fraud"
        spans.append(Span(row=row, style="fit", from_ms=fold.fit_from_ms, to_ms=fold.fit_to_ms, note=fitted))
        if fold.label_delay:
            note = "labels of this span were not all known when the fold was scored"
            spans.append(Span(row=row, style="gap", from_ms=fold.fit_to_ms, to_ms=fold.emit_from_ms, note=note))
        spans.append(Span(row=row, style="emit", from_ms=fold.emit_from_ms, to_ms=fold.emit_to_ms, note=scored))
    low = min(fold.fit_from_ms for fold in report.folds)
    high = max(fold.emit_to_ms for fold in report.folds)
    note = f"the release is fitted on all {report.n_examples:,} examples"
    spans.append(Span(row="release", style="fit", from_ms=low, to_ms=high, note=note))
    cut = max(high, report.until_ms)
    spans.append(Span(row="release", style="gap", from_ms=high, to_ms=cut, note="labels still open at the cut"))
    legend = [("fit", "fitted"), ("gap", "label not known yet"), ("emit", "scored, unseen")]
    for evaluation in report.evaluations:
        if evaluation.name == "later_window":
            note = f"{evaluation.n:,} events, {evaluation.n_fraud:,} fraud"
            spans.append(
                Span(row="release", style="later", from_ms=evaluation.from_ms, to_ms=evaluation.to_ms, note=note)
            )
            legend.append(("later", "later window: scored by the release itself"))
    marks = [(report.until_ms, f"known until {report.date(report.until_ms)}")]
    rows: list[list[str]] = [
        [
            f"fold {number}",
            f"{report.date(fold.fit_from_ms)} to {report.date(fold.fit_to_ms)}",
            f"{fold.n_fit:,} ({fold.n_fit_fraud:,} fraud)",
            f"{report.date(fold.emit_from_ms)} to {report.date(fold.emit_to_ms)}",
            f"{fold.n_emit:,} ({fold.n_emit_fraud:,} fraud)",
        ]
        for number, fold in enumerate(report.folds, start=1)
    ]
    return Figure(
        title="The split",
        text="Each row is a model. It was fitted on the pale stretch and asked about the dark one, unseen.",
        draw=lambda width: timeline(
            spans,
            marks=marks,
            text=report.date,
            title="Split timeline",
            description=f"{len(report.folds)} expanding windows and the release, cut at {report.date(report.until_ms)}",
            width=width,
        ),
        legend=legend,
        wide=True,
        table=Table(
            caption="What each fold was fitted on and asked about",
            columns=["model", "fitted", "events", "asked", "events"],
            rows=[list(row) for row in rows],
        ),
    )


def _delays(report: ReportInput) -> Figure:
    longest = max(max(one.days) for one in report.label_delays)
    nearly = max(one.p90_days for one in report.label_delays)
    axis = linear_axis("days since the event", 0.0, max(min(longest, 3.0 * nearly), 0.01))

    def draw(width: float) -> str:
        chart = Chart(
            axis,
            share_axis("labels known"),
            title="Label delay",
            description="Share of labels known by days since the event, fraud and legit apart",
            width=width,
        )
        for one in report.label_delays:
            kept = [at for at, day in enumerate(one.days) if day <= axis.high]
            xs, ys = [one.days[at] for at in kept], [one.share[at] for at in kept]
            if xs:  # a staircase: nothing is known before the first label, all after the last
                chart.line([0.0, xs[0], *xs, axis.high], [0.0, 0.0, *ys, ys[-1]], series=SERIES[one.label])
        return chart.svg()

    return Figure(
        title="Label delay",
        text="How long after an event its label was known. Until then it taught nobody anything.",
        draw=draw,
        legend=[(f"s{SERIES[one.label]}", one.label) for one in report.label_delays],
        table=Table(
            caption="Days from the event to its label",
            columns=["label", "labels", "half known within", "nine of ten within"],
            rows=[[one.label, f"{one.n:,}", days(one.median_days), days(one.p90_days)] for one in report.label_delays],
            numeric=(1, 2, 3),
        ),
    )


def _through_time(report: ReportInput) -> Figure:
    buckets = report.buckets
    top = max(max(one.high if one.n_fraud else one.fraud_rate, one.mean_score) for one in buckets)
    most = max(one.mean_score for one in buckets)
    rates = sorted(one.high for one in buckets)
    top = min(top, 1.6 * max(most, rates[len(rates) // 2], *(one.fraud_rate for one in buckets)))

    def draw(width: float) -> str:
        chart = Chart(
            time_axis("time of the event", buckets[0].from_ms, buckets[-1].to_ms, 2, text=report.date),
            linear_axis("share", 0.0, max(top, 1e-4), short_share),
            title="Fraud rate and mean score through time",
            description="Observed fraud rate with 95 % intervals, and the mean score, by stretch of time",
            width=width,
        )
        middles = [(one.from_ms + one.to_ms) / 2 for one in buckets]
        chart.line(middles, [one.mean_score for one in buckets], series=1)
        for at, one in zip(middles, buckets, strict=True):
            note = f"{report.date(one.from_ms)}: {one.n_fraud} of {one.n:,} fraud, mean score {share(one.mean_score)}"
            chart.dot(at, one.fraud_rate, note, low=one.low, high=one.high, series=2)
        return chart.svg()

    return Figure(
        title="Through time",
        text="Dots are what happened, the line is what the scores said. A line that leaves the whiskers has drifted.",
        draw=draw,
        legend=[("s2", "observed fraud rate, 95 %"), ("s1", "mean score")],
        table=Table(
            caption="Observed fraud rate and mean score by stretch of time",
            columns=["from", "events", "fraud", "fraud rate", "mean score"],
            rows=[
                [
                    report.date(one.from_ms),
                    f"{one.n:,}",
                    f"{one.n_fraud:,}",
                    share(one.fraud_rate),
                    share(one.mean_score),
                ]
                for one in buckets
            ],
            numeric=(1, 2, 3, 4),
        ),
    )


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

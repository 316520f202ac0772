# SPDX-License-Identifier: Apache-2.0
"""The top of the page: what was predicted, the figures worth reading first, and what to know before believing them."""

from __future__ import annotations

from typing import Final

import numpy as np
from markupsafe import Markup

from ringfence.reports import Block, Callout, Facts, Section, Tile, Tiles
from ringfence.reports.numerals import counted, days, decimal, money, n_days, share, short_share
from ringfence.training.coverage import TOLD
from ringfence.training.evaluation import N_REPLICATES, Evaluation
from ringfence.training.label_delay import LabelDelay
from ringfence.training.money import Money
from ringfence.training.ranking import Interval
from ringfence.training.report.content import ReportInput
from ringfence.training.reservations import PLACEHOLDERS

FEW_FRAUDS: Final = 50  # held-out frauds below which every figure is a rough guess
SOME_FRAUDS: Final = 200


def lede(report: ReportInput) -> str:
    left_out = (
        f" {counted(report.n_unlabelled, 'event')} whose label was not known by then "
        f"{'counts' if report.n_unlabelled == 1 else 'count'} neither as fraud nor as legit."
        if report.n_unlabelled
        else ""
    )
    return (
        f"Learnt from {report.n_examples:,} events, {report.n_fraud:,} of them fraud "
        f"({share(report.n_fraud / report.n_examples)}), with nothing known after "
        f"{report.date(report.until_ms)}.{left_out}"
    )


def opening(report: ReportInput) -> list[Block]:
    main = report.evaluations[0]
    blocks: list[Block] = []
    doubts = _doubts(report, main)
    if doubts:
        blocks.append(Callout(tone="warn", title="Before you believe it", lines=doubts))
    blocks.append(Tiles(tiles=_tiles(report, main)))
    blocks.append(
        Callout(
            tone="note",
            title=f"{main.title}: {main.n:,} events, {main.n_fraud:,} fraud, {report.date(main.from_ms)} to "
            f"{report.date(main.to_ms)}",
            lines=[
                main.explanation,
                f"Small print under a figure is its 95 % interval over {N_REPLICATES} bootstrap resamples of single "
                "events. It covers chance in which events came, not what another period would bring.",
            ],
        )
    )
    return blocks


def predicted(report: ReportInput) -> Section:
    """Say in words what a score is, when it is given, and when the truth is known."""
    delay = {one.label: one for one in report.label_delays}
    known = [f"{label}: {_delay(one)} ({counted(one.n, 'label')})" for label, one in delay.items()]
    facts: list[tuple[str, str | Markup]] = [
        (
            "the score",
            f"the probability, given at the moment of each {report.decides}, that its label will be fraud",
        ),
        ("what it may use", "what the ledger held before that event: earlier events, and labels once they were known"),
    ]
    if report.label_rule:
        facts.append(("the label", report.label_rule))
    if known:
        facts.append(("known after the event", "; ".join(known)))
    facts.append(("entities", ", ".join(report.roles) if report.roles else "none: every event stands alone"))
    if report.audit_only:
        facts.append(("kept out of the model", f"{', '.join(report.audit_only)} (for fairness reports only)"))
    return Section(
        anchor="predicted",
        title="What was predicted",
        short="What was predicted",
        blocks=[Facts(caption="What was predicted, and when", facts=facts)],
    )


def _delay(one: LabelDelay) -> str:
    if one.p90_days <= 0:
        return "nine of ten at once"
    return f"half {_within(one.median_days)}, nine of ten {_within(one.p90_days)}"


def _within(value: float) -> str:
    return f"within {days(value)}" if value > 0 else "at once"


def _doubts(report: ReportInput, main: Evaluation) -> list[str | Markup]:
    doubts: list[str | Markup] = [
        Markup("{} <strong>What to do:</strong> {}.").format(one.sentence, one.do) for one in report.reservations
    ]
    if main.n_fraud < FEW_FRAUDS:
        doubts.append(
            f"Only {counted(main.n_fraud, 'fraud')} {'was' if main.n_fraud == 1 else 'were'} scored. Every figure here "
            "is a rough guess: read the intervals, not the numbers, and do not compare two releases by them."
        )
    elif main.n_fraud < SOME_FRAUDS:
        doubts.append(
            f"{main.n_fraud} frauds were scored: enough to see whether the model works, too few to tell it from one "
            "that is a little better. Read the intervals."
        )
    if not report.has_times:
        doubts.append(
            "Events have no time, so the order of the file stands in for it, a second a row. Stretches are named by "
            "the numbers of their rows, from 0 on; what is said of a day is of 86,400 rows, or of all if there are "
            "fewer. If the file is sorted by anything but time, no figure here means what it says."
        )
    if report.leaks is not None:
        for suspicion in report.leaks.suspicions:
            link = Markup('Possible leak, <code>{}</code>: {} (<a href="#leaks">evidence</a>)')
            doubts.append(link.format(suspicion.column, suspicion.sentence))
    return doubts


def _tiles(report: ReportInput, main: Evaluation) -> list[Tile]:
    rate = main.n_fraud / main.n
    tiles = [
        _tile("Average precision", main.average_precision, aside=f"chance would give {rate:.3f}"),
        _tile("ROC-AUC", main.roc_auc, aside=f"{main.n_fraud:,} frauds in {main.n:,} events"),
    ]
    capacity = next((row for row in main.capacity if row.alerts_per_day == report.reviews_per_day), None)
    if capacity is not None:
        tiles.append(
            _share_tile(
                f"Fraud found by {counted(capacity.alerts_per_day, 'review')} a day",
                capacity.recall,
                aside=f"{share(capacity.precision.value)} of those opened are fraud",
            )
        )
    else:
        half = main.recall_at_precision["0.50"]
        tiles.append(_share_tile("Fraud found at 50 % precision", half, aside="every second alert is fraud"))
    missed, precision = TOLD
    tiles.append(
        _share_tile(
            "Decided without a person",
            main.coverage.told.share,
            aside=f"{short_share(missed)} of frauds let through, declined at {short_share(precision)} precision",
        )
    )
    tiles.append(
        _tile(
            "Brier skill",
            main.brier_skill,
            aside=f"0: as good as the mean rate; calibration slope {decimal(main.calibration_slope.value, 2)}",
        )
    )
    if report.money is not None and report.money.has_amounts:
        saved = report.money.saved
        tiles.append(
            Tile(
                name=f"Saved by the policy, {report.money.currency}",
                value=money(saved.value),
                interval=f"{money(saved.low)} to {money(saved.high)}",
                aside=f"{_placeholders(report.money)}against approving all, on labelled events of "
                f"{n_days(report.money.n_days)}",
            )
        )
    return tiles


def _placeholders(money: Money) -> str:
    return f"{PLACEHOLDERS}; " if money.costs_are_placeholders else ""


def _tile(name: str, figure: Interval, *, aside: str, digits: int = 3) -> Tile:
    if not np.isfinite(figure.value):
        return Tile(name=name, value="–", interval="not defined", aside=aside)
    interval = f"{figure.low:.{digits}f} to {figure.high:.{digits}f}" if np.isfinite(figure.low) else ""
    return Tile(name=name, value=decimal(figure.value, digits), interval=interval, aside=aside)


def _share_tile(name: str, figure: Interval, *, aside: str) -> Tile:
    if not np.isfinite(figure.value):
        return Tile(name=name, value="–", interval="not defined", aside=aside)
    return Tile(
        name=name, value=share(figure.value), interval=f"{share(figure.low)} to {share(figure.high)}", aside=aside
    )

# SPDX-License-Identifier: Apache-2.0
"""Where to doubt: the leak hunt with its evidence, single events, and what the figures are not comparable with."""

from __future__ import annotations

from ringfence.reports import (
    Block,
    Callout,
    Card,
    CardLine,
    Cards,
    Facts,
    Section,
    Table,
    figure,
    whisker,
)
from ringfence.reports.cells import code
from ringfence.reports.numerals import counted, decimal, money, share
from ringfence.reports.page import Cell
from ringfence.training.cases import Case
from ringfence.training.leaks import LeakHunt
from ringfence.training.report.content import ReportInput

KINDS = {
    "too_good": "too good to be true",
    "after_outcome": "filled in by the outcome",
    "only_labelled": "only where there is a label",
    "running_number": "a running number",
    "id_order": "ids that order the label",
    "after_event": "from after the event",
}
CASES = (
    ("hit", "hit", "Frauds found", "The frauds with the highest scores among those that were not approved."),
    ("miss", "miss", "Frauds missed", "Of the frauds that were approved, those with the largest amounts."),
    ("false_alarm", "alarm", "Honest events bothered", "The legit events with the highest scores not approved."),
)


def leaks(report: ReportInput) -> Section:
    found = report.leaks
    assert found is not None
    blocks: list[Block] = []
    if found.suspicions:
        rows: list[list[Cell]] = [[code(one.column), KINDS[one.kind], one.sentence] for one in found.suspicions]
        caption = "Columns to look at before believing any figure on this page; none was left out"
        blocks.append(Table(caption=caption, columns=["column", "suspicion", "evidence"], rows=rows))
    else:
        line = (
            "No column is too good to be true, filled in by the outcome, present only where there is a label, a "
            "running number, or later than its event, and ids do not order the label."
        )
        blocks.append(Callout(tone="good", title="No leak found", lines=[line]))
    blocks.append(_strongest(found))
    return Section(
        anchor="leaks",
        title="Leak hunt: does a column know too much?",
        short="Leak hunt",
        note=f"{counted(found.n_columns, 'column')} of {counted(found.n_fraud, 'fraud')} and {found.n_legit:,} legit "
        f"events were looked at one by one, and what was given was held against {found.n_unlabelled:,} events without "
        "a label. Nothing is dropped: whoever knows the column decides.",
        blocks=blocks,
    )


def _strongest(found: LeakHunt) -> Table:
    def row(name: Cell, auc: tuple[float, float, float], precision: float) -> list[Cell]:
        return [name, figure(*auc, decimal), whisker(*auc, axis=(0.5, 1.0), guide=0.97), decimal(precision)]

    area = found.model_auc
    rows = [row("all columns together, out of fold", (area.value, area.low, area.high), found.model_ap.value)]
    rows += [
        row(
            code(one.name),
            (one.roc_auc.value, one.roc_auc.low, one.roc_auc.high),
            one.average_precision.value,
        )
        for one in found.strongest
    ]
    return Table(
        caption="What single columns are worth alone, the strongest first",
        columns=["column", "ROC-AUC", "from 0.5 to 1", "average precision"],
        rows=rows,
        numeric=(1, 3),
        folded=not found.suspicions,
        note=f"All rows of this table are of the same {counted(found.n_alone, 'event')}, {found.n_alone_fraud:,} of "
        "them fraud: those scored out of fold. Each event takes the fraud rate of its value among the other half of "
        "the events.",
    )


def examples(report: ReportInput) -> Section:
    main = report.evaluations[0]
    currency = "" if report.money is None else report.money.currency
    without_amounts = all(case.amount is None for case in report.cases)
    blocks: list[Block] = []
    if all(case.action == "approve" for case in report.cases):
        line = "The hundredth of the events with the highest scores stands for what it would stop."
        blocks.append(Callout(tone="note", title="The policy approves everything here", lines=[line]))
    for kind, style, title, text in CASES:
        if kind == "miss" and without_amounts:
            text = "Of the frauds that were approved, those with the lowest scores."
        chosen = [case for case in report.cases if case.kind == kind]
        cards = [_card(case, main.n, currency, over=report.moment(case.event_time_ms)) for case in chosen]
        blocks.append(Cards(title=title, text=text, style=style, cards=cards, empty="There is none."))
    return Section(
        anchor="examples",
        title="Hits, misses and false alarms",
        short="Examples",
        note=f"Single events with the reasons an investigator would read; for the missed ones also what spoke against "
        "fraud. They show what the model does, not how well. "
        f"{report.cases_note}".strip(),
        blocks=blocks,
    )


def _card(case: Case, n: int, currency: str, *, over: str) -> Card:
    told = (*case.reasons[:2], *case.against[:3]) if case.kind == "miss" else case.reasons
    largest = max((abs(reason.contribution) for reason in told), default=1.0) or 1.0
    figures = [("score", share(case.score)), ("action", case.action), ("rank", f"{case.rank:,} of {n:,}")]
    if case.amount is not None:
        figures.append(("amount", money(case.amount, currency)))
    return Card(
        title=case.event_id,
        over=over,
        figures=figures,
        lines=[
            CardLine(
                text=reason.sentence,
                aside=f"{reason.contribution:+.2f}".replace("-", "−") if reason.contribution else "",
                share=reason.contribution / largest,
            )
            for reason in told
        ],
    )


def comparability(report: ReportInput) -> Section:
    return Section(
        anchor="limits",
        title="What these figures are not comparable with",
        short="Limits",
        blocks=[
            Callout(tone="note", title="Not comparable with", lines=list(report.not_comparable)),
            Facts(caption="What made it", facts=[(name, code(value)) for name, value in report.facts]),
        ],
    )

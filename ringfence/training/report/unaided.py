# SPDX-License-Identifier: Apache-2.0
"""What needs no person: the bad rate at each acceptance rate, and how many events two thresholds decide alone."""

from __future__ import annotations

import numpy as np

from ringfence.reports import (
    Chart,
    Figure,
    Figures,
    Section,
    Stack,
    Table,
    bar,
    figure,
    linear_axis,
    share_axis,
    small,
    stacks,
)
from ringfence.reports.numerals import share, short_share
from ringfence.reports.page import Cell
from ringfence.training.coverage import TOLD, Coverage
from ringfence.training.evaluation import Evaluation
from ringfence.training.ranking import Interval
from ringfence.training.report.content import ReportInput


def unaided(report: ReportInput) -> Section:
    main = report.evaluations[0]
    found = main.coverage
    missed, precision = TOLD
    return Section(
        anchor="unaided",
        title="What needs no person",
        short="Without a person",
        note=f"Approve what scores lowest, decline what scores highest, and let people see the rest. "
        f"{share(found.told.share.value)} of the events ({share(found.told.share.low)} to "
        f"{share(found.told.share.high)}) are decided without a person if {short_share(missed)} of the frauds may get "
        f"through and {short_share(precision)} of the declined must be fraud. Both thresholds are read off these very "
        "events; live they are set on the past, and reach a little less.",
        blocks=[
            Figures(figures=[*([_zones(found)] if main.n_fraud else []), _acceptance(main)]),
            _approved(found, main),
            _declined(found),
            _decided(found),
        ],
    )


def _zones(found: Coverage) -> Figure:
    precision = TOLD[1]
    declined = next(one for one in found.declined if one.precision == precision)
    rows = []
    for one in found.approved:
        if one.limit != "missed":
            continue
        decline = min(declined.share.value, 1.0 - one.share.value)
        zones = (
            ("approve", "approved", one.share.value),
            ("review", "to a person", 1.0 - one.share.value - decline),
            ("decline", "declined", decline),
        )
        told = f"{short_share(one.at_most)} of the frauds let through: {share(one.share.value + decline)} decided alone"
        parts = [(style, name, part, f"{name}: {share(part)}") for style, name, part in zones]
        rows.append(Stack(name=told, parts=parts))
    return Figure(
        title="Who decides",
        text=f"Declined at {short_share(precision)} precision; approved as far as so many of the frauds may get "
        "through.",
        draw=lambda width: stacks(
            rows,
            title="Share of events approved, sent to a person, declined",
            description="; ".join(row.name for row in rows),
            width=width,
        ),
        legend=[("approve", "approved"), ("review", "to a person"), ("decline", "declined")],
        wide=True,
    )


def _acceptance(main: Evaluation) -> Figure:
    curve, rate = main.coverage.acceptance, main.n_fraud / main.n

    def draw(width: float) -> str:
        chart = Chart(
            share_axis("acceptance rate: share of events approved, lowest scores first"),
            linear_axis("bad rate: frauds among the approved", 0.0, max(rate, 1e-6), short_share),
            title="Acceptance rate and bad rate",
            description="; ".join(f"{x:.0%} approved: {share(_at(curve.x, curve.y, x))} bad" for x in (0.5, 0.8, 0.95)),
            width=width,
        )
        chart.guide(0.0, rate, 1.0, rate)
        x = curve.x.tolist()
        if main.n_fraud:
            chart.band(x, np.minimum(curve.low, chart.y.high).tolist(), np.minimum(curve.high, chart.y.high).tolist())
            chart.line(x, curve.y.tolist())
        return chart.svg()

    rows: list[list[Cell]] = []
    for wanted in (0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0):
        y, low, high = (_at(curve.x, of, wanted) for of in (curve.y, curve.low, curve.high))
        rows.append([short_share(wanted), figure(y, low, high, share)])
    return Figure(
        title="Acceptance rate against bad rate",
        text="Going right approves more; the line rises where frauds begin to be among them. Dotted: chance.",
        draw=draw,
        legend=[("s1", f"{main.title}, with its 95 % band"), ("s0", "fraud rate of all events")],
        wide=True,
        table=Table(
            caption="Bad rate at an acceptance rate",
            columns=["approved", "frauds among them"],
            rows=rows,
            numeric=(0, 1),
        ),
    )


def _at(x: np.ndarray, y: np.ndarray, wanted: float) -> float:
    return float(y[int(np.argmin(np.abs(x - wanted)))])


def _approved(found: Coverage, main: Evaluation) -> Table:
    rate = main.n_fraud / main.n
    rows: list[list[Cell]] = []
    for one in found.approved:
        if one.limit == "missed":
            name: Cell = f"{short_share(one.at_most)} of the frauds get through"
        else:
            name = small(f"bad rate {share(one.at_most)}", f"{one.at_most / rate:.2g} of that of all" if rate else "")
        rows.append([name, _figure(one.share), bar(one.share.value), _figure(one.bad_rate), _figure(one.missed)])
    return Table(
        caption="The most events that can be approved, if at most …",
        columns=["limit", "approved", "", "bad rate among them", "frauds let through"],
        rows=rows,
        numeric=(1, 3, 4),
    )


def _declined(found: Coverage) -> Table:
    return Table(
        caption="The most frauds that can be declined, if at least so many of the declined are fraud",
        columns=["precision", "frauds declined", "", "of all events"],
        rows=[
            [short_share(one.precision), _figure(one.recall), bar(one.recall.value, series=2), _figure(one.share)]
            for one in found.declined
        ],
        numeric=(0, 1, 3),
    )


def _decided(found: Coverage) -> Table:
    precisions = [one.precision for one in found.declined]
    missed = list(dict.fromkeys(one.missed for one in found.decided))
    cells = {(one.missed, one.precision): one.share for one in found.decided}
    return Table(
        caption="Decided without a person: approved and declined together",
        columns=[
            "frauds let through",
            *(f"declined at {short_share(precision)} precision" for precision in precisions),
        ],
        rows=[[short_share(row), *(_figure(cells[row, precision]) for precision in precisions)] for row in missed],
        numeric=(0, *range(1, len(precisions) + 1)),
    )


def _figure(found: Interval) -> Cell:
    return figure(found.value, found.low, found.high, share)

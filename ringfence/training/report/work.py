# SPDX-License-Identifier: Apache-2.0
"""What the scores are worth in work and money: alert capacity, and the actions of the policy against the truth."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.reports import (
    Axis,
    Block,
    Callout,
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
from ringfence.reports.numerals import DASH, money, n_days, share, short_money
from ringfence.reports.page import Cell
from ringfence.training.evaluation import DAY_MS, Evaluation
from ringfence.training.money import Money
from ringfence.training.ranking import Interval
from ringfence.training.report.content import ReportInput
from ringfence.training.reservations import PLACEHOLDERS


def capacity(report: ReportInput) -> Section:
    main = report.evaluations[0]
    each = "Each UTC day" if report.has_times else "Each run of 86,400 rows"
    figures = [_capacity_chart(main, report.reviews_per_day)]
    if report.money is not None and report.money.at_capacity:
        figures.append(_saving_chart(report, report.money))
    return Section(
        anchor="capacity",
        title="Alerts an investigator team can take",
        short="Alert capacity",
        note=f"{each}'s highest-scored events are opened, so many a day. A day here holds "
        f"{main.n / _days(main):,.1f} events on average, all of them with a known label; live, events without "
        "one take up alerts too.",
        blocks=[Figures(figures=figures), _capacity_table(report, main)],
    )


def _days(evaluation: Evaluation) -> float:
    return max(1.0, (evaluation.to_ms - evaluation.from_ms) / DAY_MS)


def _capacity_chart(main: Evaluation, policy: int | None) -> Figure:
    rows = main.capacity
    alerts = [float(row.alerts_per_day) for row in rows]

    def draw(width: float) -> str:
        chart = Chart(
            _alerts_axis(alerts),
            share_axis("share"),
            title="Recall and precision by alert capacity",
            description="; ".join(f"{row.alerts_per_day} a day find {share(row.recall.value)}" for row in rows[:8]),
            width=width,
        )
        if policy is not None:
            chart.guide(policy, 0.0, policy, 1.0)
        lines: list[tuple[int, list[Interval]]] = [(2, [row.precision for row in rows])]
        with_amounts = [row.amount_recall for row in rows if row.amount_recall is not None]
        if len(with_amounts) == len(rows):
            lines.append((3, with_amounts))
        lines.append((1, [row.recall for row in rows]))
        for series, found in lines:
            if all(one.value == one.value for one in found):
                chart.band(alerts, [one.low for one in found], [one.high for one in found], series=series)
                chart.line(alerts, [one.value for one in found], series=series)
        for row in rows:
            if row.recall.value == row.recall.value:
                chart.dot(
                    row.alerts_per_day, row.recall.value, f"{row.alerts_per_day} a day: {share(row.recall.value)}"
                )
        return chart.svg()

    amounts = [("s3", "of the fraud amount found")] if rows[0].amount_recall is not None else []
    guide = [("s0", "the policy's reviews a day, dotted")] if policy is not None else []
    return Figure(
        title="What so many alerts a day find",
        text="More alerts find more fraud, and more of them are about honest people.",
        draw=draw,
        legend=[("s1", "of the frauds found"), *amounts, ("s2", "precision"), *guide],
    )


def _alerts_axis(alerts: list[float]) -> Axis:
    high = max(alerts[-1], 2.0)
    told = [at for at in alerts if at < high / 1.5 and str(int(at))[0] in "125"]
    if len(told) > 6:
        told = [at for at in told if str(int(at))[0] == "1"]
    text = "{:,.0f}".format
    return Axis(label="alerts a day", low=1.0, high=high, ticks=(*told, high), log=True, text=text)


def _saving_chart(report: ReportInput, found: Money) -> Figure:
    policy = report.reviews_per_day
    rows = found.at_capacity
    alerts = [float(row.alerts_per_day) for row in rows]
    saved = [row.saved_per_day for row in rows]
    # A capacity that opens everything loses so much that the rest of the curve would be a line along the top.
    top = max(max(one.high for one in saved), 1e-9)
    low = max(min(one.low for one in saved), -1.2 * top)

    def draw(width: float) -> str:
        chart = Chart(
            _alerts_axis(alerts),
            linear_axis(f"saved a day, {found.currency}", min(low, 0.0), top, short_money),
            title="Money saved by alert capacity",
            description="; ".join(f"{row.alerts_per_day} a day: {money(row.saved_per_day.value)}" for row in rows[:8]),
            width=width,
        )
        chart.guide(chart.x.low, 0.0, chart.x.high, 0.0)
        if policy is not None:
            chart.guide(policy, chart.y.low, policy, chart.y.high)
        chart.band(alerts, [one.low for one in saved], [one.high for one in saved])
        chart.line(alerts, [one.value for one in saved])
        for row in rows:
            note = f"{row.alerts_per_day} a day: {money(row.saved_per_day.value, found.currency)}"
            chart.dot(row.alerts_per_day, row.saved_per_day.value, note)
        return chart.svg()

    return Figure(
        title=f"What so many alerts a day save, each answered with {found.alert_action}",
        text="Loss avoided minus the cost of the work, against approving everything. Past the top, the next alert "
        f"costs more than it saves.{_placeholders(report, found)}",
        draw=draw,
        legend=[("s1", "saved a day, 95 %")],
    )


def _capacity_table(report: ReportInput, main: Evaluation) -> Table:
    saved = {} if report.money is None else {row.alerts_per_day: row.saved_per_day for row in report.money.at_capacity}
    currency = "" if report.money is None else f", {report.money.currency}"
    rows: list[list[Cell]] = []
    for row in main.capacity:
        name: Cell = f"{row.alerts_per_day:,}"
        if row.alerts_per_day == report.reviews_per_day:
            name = small(f"{row.alerts_per_day:,}", "the policy's")
        money_cell: Cell = DASH
        if row.alerts_per_day in saved:
            money_cell = _figure(saved[row.alerts_per_day], money)
        rows.append(
            [
                name,
                _figure(row.recall),
                bar(row.recall.value),
                _figure(row.precision),
                DASH if row.amount_recall is None else _figure(row.amount_recall),
                money_cell,
            ]
        )
    return Table(
        caption="Precision, recall and money by alert capacity",
        columns=["alerts a day", "frauds found", "", "precision", "fraud amount found", f"saved a day{currency}"],
        rows=rows,
        numeric=(1, 3, 4, 5),
        note="" if report.money is None else _placeholders(report, report.money).strip(),
    )


def actions(report: ReportInput) -> Section:
    found = report.money
    assert found is not None
    loss, best = found.cost_approving_all, found.cost_knowing_all
    room = loss - best
    reached = f" That is {share((loss - found.cost) / room)} of what knowing the truth would save." if room > 0 else ""
    blocks: list[Block] = [Figures(figures=[_mix(found)]), _confusion(found), _ladder(found)]
    if found.costs_are_placeholders:
        line = (
            f"Every figure in money here, and which action is cheapest, rests on costs that ringfence wrote itself. "
            f"Put your own into policies/{report.scenario}.yaml, under costs, and train again."
        )
        blocks.insert(0, Callout(tone="warn", title="The costs are placeholders", lines=[line]))
    if found.best_single != "approve" and found.cost >= found.cost_best_single:
        line = (
            f"To {found.best_single} every event would have cost {money(found.cost_best_single, found.currency)}, no "
            f"more than the {money(found.cost, found.currency)} of this policy with these scores: what is saved "
            "against approving all comes from the costs, and not from telling fraud from legit."
        )
        blocks.append(Callout(tone="warn", title="One answer to all would do as well", lines=[line]))
    if found.saved.low <= 0:
        line = "The interval of the saving holds 0: these events do not show that the policy pays."
        blocks.append(Callout(tone="warn", title="Not shown to pay", lines=[line]))
    return Section(
        anchor="money",
        title="What the policy does, and what it costs",
        short="Actions and money",
        note=f"Policy {found.policy} at its fitted review price of {money(found.review_price, found.currency)}, with "
        f"an empty queue, on events whose truth is known. Against approving everything it saves "
        f"{money(found.saved.value, found.currency)} ({money(found.saved.low)} to {money(found.saved.high)}) in "
        f"{n_days(found.n_days)}.{reached}{_placeholders(report, found)}",
        blocks=blocks,
    )


def _placeholders(report: ReportInput, found: Money) -> str:
    if not found.costs_are_placeholders:
        return ""
    return f" The {PLACEHOLDERS}: edit policies/{report.scenario}.yaml."


def _mix(found: Money) -> Figure:
    n_fraud = sum(line.n_fraud for line in found.actions)
    n_legit = sum(line.n_legit for line in found.actions)
    rows = [
        Stack(
            name=f"{n:,} {what}",
            parts=[
                (line.action, line.action, count / max(n, 1), f"{line.action}: {count:,} of {n:,}")
                for line, count in zip(found.actions, counts, strict=True)
            ],
        )
        for what, n, counts in (
            ("frauds", n_fraud, [line.n_fraud for line in found.actions]),
            ("legit events", n_legit, [line.n_legit for line in found.actions]),
        )
    ]
    return Figure(
        title="Who meets which action",
        text="All the colour on the frauds but none on the legit events would be perfect.",
        draw=lambda width: stacks(
            rows,
            title="Action mix of frauds and of legit events",
            description="; ".join(f"{a.action}: {a.n_fraud} frauds, {a.n_legit} legit" for a in found.actions),
            width=width,
        ),
        legend=[(line.action, line.action) for line in found.actions],
        wide=True,
    )


def _confusion(found: Money) -> Table:
    rows: list[list[Cell]] = []
    for line in found.actions:
        rows.append(
            [
                line.action,
                _counted(line.n_fraud, line.fraud_amount),
                money(line.fraud_cost),
                _counted(line.n_legit, line.legit_amount),
                money(line.legit_cost),
                money(line.fraud_cost + line.legit_cost),
            ]
        )
    bad, good = found.actions, found.actions
    rows.append(
        [
            "all",
            _counted(sum(a.n_fraud for a in bad), _sum([a.fraud_amount for a in bad])),
            money(sum(a.fraud_cost for a in bad)),
            _counted(sum(a.n_legit for a in good), _sum([a.legit_amount for a in good])),
            money(sum(a.legit_cost for a in good)),
            money(found.cost),
        ]
    )
    return Table(
        caption=f"Confusion in money, {found.currency}: what each action met, and what it cost",
        columns=["action", "frauds", "cost", "legit events", "cost", "cost in all"],
        rows=rows,
        numeric=(1, 2, 3, 4, 5),
        note="Costs are those of the policy file, at the true label: a review leaves the share of the loss that it "
        "does not detect. A negative cost is a gain."
        + ("" if found.has_amounts else " These events have no amounts, so only the fixed parts of the costs count."),
    )


def _ladder(found: Money) -> Table:
    top = max(abs(found.cost_approving_all), abs(found.cost), abs(found.cost_knowing_all), 1e-9)
    rows: list[list[Cell]] = [
        [name, money(cost), money(cost / found.n_days), bar(abs(cost) / top, series=series)]
        for name, cost, series in (
            ("approve everything", found.cost_approving_all, 2),
            *(
                [(f"{found.best_single} everything, the best single answer", found.cost_best_single, 2)]
                if found.best_single != "approve"
                else []
            ),
            ("this policy with these scores", found.cost, 1),
            ("the cheapest action, had the truth been known", found.cost_knowing_all, 3),
        )
    ]
    return Table(
        caption=f"Cost in {found.currency}: of doing nothing, of this release, and the bound of any score",
        columns=["way to decide", "cost", "a day", ""],
        rows=rows,
        numeric=(1, 2),
    )


def _counted(n: int, amount: float | None) -> Cell:
    return f"{n:,}" if amount is None else small(f"{n:,}", f"worth {money(amount)}")


def _sum(amounts: list[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _figure(found: Interval, text: Callable[[float], str] = share) -> Cell:
    return figure(found.value, found.low, found.high, text)

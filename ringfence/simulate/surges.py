# SPDX-License-Identifier: Apache-2.0
"""Spans whose days hold more or fewer rows, or more or fewer planned ones, from some day on. Days before stay as is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ringfence.simulate.calendar import Span
from ringfence.simulate.traits import Bools, Ints


def with_plans(span: Span, plan: Ints, day: Ints, rng: np.random.Generator) -> Span:
    """Give ordinary rows to further plans.

    Parameters
    ----------
    plan, day : shape (p,), which plan, and the day of the world on which it is to happen; those outside the span are
        left out, and so are those for which their day has no ordinary row left.

    Returns
    -------
    The same rows on the same days; of each day's ordinary rows, as many as it has plans now follow one.
    """
    last_day = span.first_day + len(span.first_row) - 1
    inside = np.flatnonzero((day >= span.first_day) & (day < last_day))
    if not len(inside):
        return span
    inside = inside[np.argsort(day[inside], kind="stable")]
    rows: list[Ints] = []
    plans: list[Ints] = []
    days, begins = np.unique(day[inside] - span.first_day, return_index=True)
    for at, todays in zip(days, np.split(plan[inside], begins[1:]), strict=True):
        first, end = int(span.first_row[at]), int(span.first_row[at + 1])
        low, high = np.searchsorted(span.planned_row, [first, end])
        free = np.setdiff1d(np.arange(first, end), span.planned_row[low:high], assume_unique=True)
        chosen = rng.permutation(free)[: len(todays)]
        rows.append(chosen)
        plans.append(todays[: len(chosen)])
    row = np.concatenate([span.planned_row, *rows])
    order = np.argsort(row, kind="stable")
    return replace(span, planned_row=row[order], planned=np.concatenate([span.planned, *plans])[order])


def without_plans(span: Span, dropped: Bools) -> tuple[Span, Ints]:
    """Turn planned rows into ordinary ones. `dropped`, shape (P,), says of every plan whether it goes.

    Returns the span, and the rows that are ordinary now.
    """
    goes = dropped[span.planned]
    kept = replace(span, planned_row=span.planned_row[~goes], planned=span.planned[~goes])
    return kept, span.planned_row[goes]


def with_holiday(span: Span, first_day: int, days: int, change: float, rng: np.random.Generator) -> Span:
    """Change how many ordinary rows the days of a holiday have.

    Parameters
    ----------
    first_day, days : the holiday, in days of the world; inside the span, and not at its very end.
    change : relative change of the number of ordinary rows a day, > -1. What is missing happens on the days after the
        holiday, to the end of the span; what is too much is taken from them, at most half of what they have.

    Returns
    -------
    A span with as many rows as before; planned rows stay on their days.
    """
    begins, ends = first_day - span.first_day, first_day - span.first_day + days
    counts = np.diff(span.first_row)
    day = np.searchsorted(span.first_row, span.planned_row, side="right") - 1
    ordinary = counts - np.bincount(day, minlength=len(counts))
    after = ordinary[ends:]
    changed = counts.copy()
    if change < 0.0:
        fewer = rng.binomial(ordinary[begins:ends], -change)
        changed[begins:ends] -= fewer
        changed[ends:] += rng.multinomial(int(fewer.sum()), np.maximum(after, 1) / np.maximum(after, 1).sum())
    else:
        more = rng.binomial(ordinary[begins:ends], change)
        most = int(after.sum()) // 2
        if int(more.sum()) > most:
            more = (more * (most / more.sum())).astype(np.int64)
        changed[begins:ends] += more
        changed[ends:] -= rng.multivariate_hypergeometric(after, int(more.sum()), method="marginals")
    first_row = np.concatenate([[0], np.cumsum(changed)]).astype(np.int64)
    # Before the holiday a planned row keeps its place; from then on it gets one of its day's places anew.
    row = span.planned_row.copy()
    for today in np.unique(day[day >= begins]):
        planned = day == today
        places = rng.permutation(int(changed[today]))[: int(planned.sum())]
        row[planned] = first_row[today] + np.sort(places)
    return replace(span, first_row=first_row, planned_row=row)

# SPDX-License-Identifier: Apache-2.0
"""One study as a section of a page: the question, the answer, each difference drawn and in numbers."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from ringfence.reports import Axis, Block, Callout, Figure, Figures, Section, Table, figure
from ringfence.reports.intervals import IntervalRow, interval_rows
from ringfence.reports.numerals import decimal
from ringfence.reports.page import Cell
from ringfence.training.comparisons.study import TITLES, Study, Variant, in_words

_NAMED = Markup("{}<div><small>{}</small></div>")  # within a block of its own a name's small print may break
_BELOW = Markup("{}<br><small>{}</small>")


def study_section(study: Study) -> Section:
    blocks: list[Block] = []
    if len(study.variants) > 1:
        blocks = [Figures(figures=[_differences(study)]), _figures(study)]
    if study.notes:
        blocks.append(Callout(tone="note", title="To know", lines=list(study.notes)))
    judged = f" Compared on {study.n:,} events, {study.n_fraud:,} of them fraud: {study.window}." if study.n else ""
    return Section(
        anchor=study.name,
        title=study.title,
        short=study.name.capitalize(),
        note=f"{study.question} {study.answer}{judged}",
        blocks=blocks,
    )


def _differences(study: Study) -> Figure:
    first, others = study.variants[0], study.variants[1:]
    gains = [one.against["average_precision"] for one in others]
    reach = max(1e-3, *(abs(edge) for gain in gains for edge in (gain.low, gain.high) if np.isfinite(edge)))
    rows = [
        IntervalRow(
            name=one.name,
            value=gain.value,
            low=gain.low,
            high=gain.high,
            told=f"{gain.value:+.3f}".replace("-", "−"),
            series=3 if one.is_control else 1 if gain.low > 0.0 else 2 if gain.high < 0.0 else 0,
        )
        for one, gain in zip(others, gains, strict=True)
    ]
    axis = Axis(label="", low=-1.05 * reach, high=1.05 * reach, ticks=())
    return Figure(
        title=f"Average precision of “{first.name}” minus that of each other way",
        text="To the right of the middle line “"
        + first.name
        + "” is better. Whiskers are 95 %, paired: both ways were "
        "asked about the same events.",
        draw=lambda width: interval_rows(
            rows,
            axis=axis,
            guide=0.0,
            title="Differences of average precision",
            description="; ".join(f"{row.name} {row.told}" for row in rows),
            width=width,
        ),
        legend=[
            ("s1", f"“{first.name}” is better"),
            ("s2", f"“{first.name}” is worse"),
            ("s0", "chance would explain it"),
            *([("s3", "differs by chance alone")] if any(one.is_control for one in others) else []),
        ],
        wide=True,
    )


def _figures(study: Study) -> Table:
    first = study.variants[0]
    has_width, is_timed = first.n_features is not None, first.seconds is not None
    rows: list[list[Cell]] = []
    for one in study.variants:
        cells: list[Cell] = [_NAMED.format(one.name, one.text) if one.text else one.name]
        if has_width:
            cells.append(f"{one.n_features:,}")
        cells += [_figure(one, metric) for metric in TITLES]
        if one.seconds is not None and first.seconds is not None:
            more = f"{one.seconds - first.seconds:+.1f} s".replace("-", "−") if one is not first else ""
            cells.append(_BELOW.format(f"{one.seconds:.1f} s", more))
        rows.append(cells)
    columns = ["way", *(["features"] * has_width), *TITLES.values(), *(["time to fit"] * is_timed)]
    return Table(
        caption="Figures of each way; below, the first way minus it",
        columns=columns,
        rows=rows,
        numeric=tuple(range(1, len(columns))),
        note="Times are of this machine, with whatever else ran there, features in hand." if is_timed else "",
    )


def _figure(one: Variant, metric: str) -> Cell:
    found = one.figures[metric]
    cell = figure(found.value, found.low, found.high, decimal)
    gain = one.against.get(metric)
    if gain is None:
        return cell
    return _BELOW.format(cell, in_words(gain))

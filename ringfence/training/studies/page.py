# SPDX-License-Identifier: Apache-2.0
"""The studies of a release on one page: questions, answers, and what each difference was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from ringfence.reports import Axis, Block, Callout, Figure, Figures, Page, Section, Table, figure, small
from ringfence.reports.intervals import IntervalRow, interval_rows
from ringfence.reports.numerals import date, decimal
from ringfence.reports.page import Cell
from ringfence.training.studies.detection import Detection
from ringfence.training.studies.detection_section import detection_section
from ringfence.training.studies.study import TITLES, Study, Variant, in_words


def studies_page(
    release: str, scenario: str, until_ms: int, studies: Sequence[Study], detection: Detection | None, *, version: str
) -> str:
    """Write the page as HTML text.

    Parameters
    ----------
    until_ms : the cut of the release.
    detection : how its rings were found, in a world whose truth is known.
    """
    sections = [_section(study) for study in studies]
    if detection is not None:
        sections.append(detection_section(detection))
    return Page(
        over=f"ringfence · studies of {release}",
        title=scenario,
        lede=f"What would have been, had release {release} been made another way. Everything was fitted and scored in "
        f"time, on what was known at its cut, {date(until_ms)}.",
        opening=[Callout(tone=_tone(study.is_good), title=study.title, lines=[study.answer]) for study in studies],
        sections=sections,
        footer=f"Made by ringfence {version}. This page is one file: no script, nothing fetched. The same numbers are "
        "in studies.json beside it.",
    ).html()


def _tone(is_good: bool | None) -> str:
    return "note" if is_good is None else "good" if is_good else "warn"


def _section(study: Study) -> Section:
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
        text="To the right of the middle line “" + first.name + "” is better. Whiskers are 95 %, paired: both ways were "
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
    rows: list[list[Cell]] = []
    for one in study.variants:
        name: Cell = small(one.name, one.text) if one.text else one.name
        cells = [_figure(one, metric) for metric in TITLES]
        more = f"{one.seconds - first.seconds:+.1f} s".replace("-", "−") if one is not first else ""
        width = "" if one.n_features is None else f"{one.n_features:,}"
        rows.append([name, width, *cells, small(f"{one.seconds:.1f} s", more)])
    return Table(
        caption="Figures of each way, and below each the difference of the first way to it",
        columns=["way", "features", *TITLES.values(), "time to fit"],
        rows=rows,
        numeric=(1, *range(2, len(TITLES) + 3)),
        note="Times are of this machine, with whatever else ran there, features in hand.",
    )


def _figure(one: Variant, metric: str) -> Cell:
    found = one.figures[metric]
    cell = figure(found.value, found.low, found.high, decimal)
    gain = one.against.get(metric)
    if gain is None:
        return cell
    return cell + Markup("<br><small>{}</small>").format(in_words(gain))

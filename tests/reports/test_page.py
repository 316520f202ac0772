# SPDX-License-Identifier: Apache-2.0
"""A page is one well-formed file that fetches nothing and lets nobody's text become markup."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.reports import (
    Callout,
    Card,
    CardLine,
    Cards,
    Chart,
    Facts,
    Figure,
    Figures,
    Page,
    Section,
    Stack,
    Table,
    Tile,
    Tiles,
    bar,
    figure,
    histograms,
    linear_axis,
    share_axis,
    stacks,
    whisker,
)
from tests.reports.markup import Read

EVIL = "<script>alert('x')</script>&"


def _page() -> Page:
    def draw(width: float) -> str:
        chart = Chart(share_axis(EVIL), share_axis("y"), title=EVIL, description=EVIL, width=width)
        return chart.line([0.0, 1.0], [0.0, 1.0]).dot(0.5, 0.5, EVIL, low=0.4, high=0.6).label(0.5, 0.5, EVIL).svg()

    table = Table(
        caption=EVIL, columns=[EVIL, "n"], rows=[[EVIL], [EVIL, bar(0.5)], [whisker(1, 0, 2, axis=(0, 3), guide=1)] * 2]
    )
    blocks = [
        Tiles(tiles=[Tile(name=EVIL, value=EVIL)]),
        Callout(tone="warn", title=EVIL, lines=[EVIL]),
        Figures(figures=[Figure(title=EVIL, text=EVIL, draw=draw, wide=wide, table=table) for wide in (True, False)]),
        table,
        Cards(
            title=EVIL,
            text=EVIL,
            style="hit",
            cards=[Card(title=EVIL, over=EVIL, figures=[(EVIL, EVIL)], lines=[CardLine(text=EVIL)])],
            empty="",
        ),
        Facts(caption=EVIL, facts=[(EVIL, EVIL)]),
    ]
    section = Section(anchor="all", title=EVIL, short=EVIL, note=EVIL, blocks=blocks)
    return Page(over=EVIL, title=EVIL, lede=EVIL, opening=[], sections=[section], footer=EVIL)


def test_page_is_well_formed_and_escapes_every_text() -> None:
    read = Read.of(_page().html())
    assert read.open_tags == []
    assert "script" not in read.tags
    assert "alert('x')" in read.text  # shown as text


def test_page_fetches_nothing_and_every_link_leads_into_it() -> None:
    read = Read.of(_page().html())
    assert read.fetched == []
    assert read.links
    assert set(read.links) <= read.ids


def test_wide_figures_are_drawn_again_for_narrow_screens() -> None:
    assert Read.of(_page().html()).classes.count("draw narrow") == 1


def test_every_table_has_a_caption_and_every_drawing_a_name() -> None:
    read = Read.of(_page().html())
    assert read.tags.count("caption") == read.tags.count("table") > 0
    assert read.unnamed_drawings == 0


def test_stack_keeps_a_sliver_of_the_smallest_part() -> None:
    rows = [Stack(name="frauds", parts=[("approve", "approve", 0.99999, "most"), ("review", "review", 0.00001, "one")])]
    assert Read.of(stacks(rows, title="t", description="d")).tags.count("rect") == 2


def test_figure_without_a_value_says_so() -> None:
    assert "not defined" in figure(float("nan"), 0.0, 1.0, str)
    assert figure(0.5, float("nan"), 1.0, str) == "<span>0.5</span>"
    assert histograms([0.0, 0.0], [0.0, 0.0]).count("svg") == 2


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-6, 1e6))
def test_linear_axis_covers_its_range_in_round_steps(low: float, span: float) -> None:
    axis = linear_axis("x", low, low + span)
    tolerance = 1e-6 * max(span, 1e-3)
    assert axis.low <= low + tolerance
    assert axis.high >= low + span - tolerance
    steps = np.diff(axis.ticks)
    assert 2 <= len(axis.ticks) <= 8
    assert steps == pytest.approx(np.full(steps.shape, steps[0]), rel=1e-3)

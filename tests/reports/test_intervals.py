# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from ringfence.reports import Axis, Span, timeline
from ringfence.reports.intervals import IntervalRow, interval_rows
from tests.reports.markup import Read

NAN = float("nan")


@pytest.mark.parametrize("width", [940.0, 400.0])
def test_a_point_stands_in_its_interval_on_the_side_of_the_guide_that_its_sign_says(width: float) -> None:
    rows = [
        IntervalRow(name="above", value=0.2, low=0.1, high=0.3, told="+0.200"),
        IntervalRow(name="<below>", value=-0.2, low=NAN, high=NAN, told="−0.200"),
    ]
    axis = Axis(label="", low=-0.4, high=0.4, ticks=())
    svg = interval_rows(rows, axis=axis, guide=0.0, title="t", description="d", width=width)
    guide = float(re.findall(r'class="cut" x1="([\d.]+)"', svg)[0])
    above, below = (float(x) for x in re.findall(r'cx="([\d.]+)"', svg))
    ((low, high),) = re.findall(r'class="whisker s1" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert below < guide < float(low) < above < float(high) < width
    assert "&lt;below&gt;" in svg
    assert Read.of(svg).open_tags == []


def test_a_mark_before_all_spans_stands_left_of_them() -> None:
    span = Span(row="ring", style="gap", from_ms=1_000, to_ms=2_000, note="n")
    svg = timeline([span], marks=[(500, "cut")], title="t", description="d")
    mark = float(re.findall(r'class="cut" x1="([\d.]+)"', svg)[0])
    assert mark < float(re.findall(r'class="span gap" x="([\d.]+)"', svg)[0])

# SPDX-License-Identifier: Apache-2.0
"""How is it shown? Pages of one file: charts as inline SVG, tables, cards; no script, nothing fetched."""

from ringfence.reports.axis import Axis, linear_axis, log_axis, percent, share_axis, time_axis
from ringfence.reports.cells import bar, figure, histograms, small, whisker
from ringfence.reports.chart import Chart
from ringfence.reports.page import (
    Block,
    Callout,
    Card,
    CardLine,
    Cards,
    Facts,
    Figure,
    Figures,
    Page,
    Section,
    Table,
    Tile,
    Tiles,
)
from ringfence.reports.stack import Stack, stacks
from ringfence.reports.timeline import Span, timeline

__all__ = [
    "Axis",
    "Block",
    "Callout",
    "Card",
    "CardLine",
    "Cards",
    "Chart",
    "Facts",
    "Figure",
    "Figures",
    "Page",
    "Section",
    "Span",
    "Stack",
    "Table",
    "Tile",
    "Tiles",
    "bar",
    "figure",
    "histograms",
    "linear_axis",
    "log_axis",
    "percent",
    "share_axis",
    "small",
    "stacks",
    "time_axis",
    "timeline",
    "whisker",
]

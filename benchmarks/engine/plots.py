# SPDX-License-Identifier: Apache-2.0
"""Events a second as streams grow, and values a second as batches do; as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.engine.contender import ROLLING
from benchmarks.engine.programme import RINGFENCE, Found, Table, library_of
from benchmarks.engine.stream import Graph
from benchmarks.engine.trial import BULK
from benchmarks.worlds.plots import HEIGHT, Panel, sheet_of_panels
from ringfence.reports import Axis, Chart, log_axis
from ringfence.reports.chart import BOTTOM, TOP

NAMES: Final = {
    "ringfence": "ringfence, default families",
    "ringfence-rolling": f"ringfence, {len(ROLLING)} columns alone",
    "ringfence-labels": "ringfence, with labels",
    "ringfence-rings": "ringfence, with labels and rings",
    "snapml": "snapml, default",
    "snapml-2": "snapml, default, 2 threads",
    "snapml-statistics": "snapml, vertex statistics",
    "snapml-degrees": "snapml, fan, degree, ratio",
    "snapml-patterns": "snapml, all patterns",
    "duckdb": f"DuckDB, {len(ROLLING)} columns",
    "duckdb-2": f"DuckDB, {len(ROLLING)} columns, 2 threads",
    "pandas": f"pandas, {len(ROLLING)} columns",
    "river": f"River, {len(ROLLING)} columns",
}
_ROOM: Final = 60.0  # times the last place on the x axis, for names
_LINE_HEIGHT: Final = 14.0
_GROWTH: Final = ("ringfence", "ringfence-rolling", "snapml", "snapml-statistics", "duckdb", "pandas", "river")
_LIVE: Final = ("ringfence", "snapml", "snapml-2", "snapml-statistics", "snapml-degrees", "snapml-patterns")
_SHORT: Final = NAMES | {
    "ringfence": "ringfence",
    "ringfence-rolling": f"ringfence, {len(ROLLING)} columns",
    "duckdb": "DuckDB",
    "pandas": "pandas",
    "river": "River",
}
_TITLES: Final = {Graph.UNIFORM: "uniform graph", Graph.HUBS: "hub-heavy graph"}

Lines = dict[str, list[tuple[float, float]]]


def svg_of(panels: Sequence[Panel], label: str) -> str:
    return sheet_of_panels(panels, label)


def growth_panels(found: Sequence[Found]) -> list[Panel]:
    """Events a second by the number of events, a panel for each graph."""
    panels = []
    for graph in Graph:
        lines: Lines = {}
        for one in _done(found, Table.GROWTH, graph):
            name = one.trial.contender
            usual = {"river": 1, "snapml": 128}.get(library_of(name), BULK)
            if name in _GROWTH and one.trial.batch_size == usual:
                lines.setdefault(name, []).append((float(one.trial.stream.n_events), one.median.events_per_s))
        title = f"Events a second, {_TITLES[graph]}"
        note = f"Green: ringfence; orange: others; dashed: {len(ROLLING)} columns; a line ends at the cap"
        x_label = "transfers in the stream; a twentieth as many accounts"
        panels.append(_panel(lines, title, note, x_label, "events a second"))
    return panels


def live_panels(found: Sequence[Found]) -> list[Panel]:
    """Values a second by the size of a batch, a panel for each graph."""
    panels = []
    for graph in Graph:
        lines: Lines = {}
        for one in _done(found, Table.LIVE, graph):
            if one.trial.contender in _LIVE:
                point = float(one.trial.batch_size), one.median.values_per_s
                lines.setdefault(one.trial.contender, []).append(point)
        title = f"Feature values a second, {_TITLES[graph]}"
        note = "Green: ringfence; orange: snapml; after a history of transfers"
        panels.append(_panel(lines, title, note, "events in a batch", "values a second"))
    return panels


PLOTS: Final[dict[Table, tuple[str, str, Callable[[Sequence[Found]], list[Panel]]]]] = {
    Table.LIVE: ("engine-live.svg", "Feature values a second in batches of 1 and of 128", live_panels),
    Table.GROWTH: ("engine-growth.svg", "Events a second as streams and entities grow", growth_panels),
}


def _done(found: Sequence[Found], table: Table, graph: Graph) -> list[Found]:
    return [one for one in found if one.table is table and one.trial.stream.graph is graph and one.median.n_done]


def _panel(lines: Lines, title: str, note: str, x_label: str, y_label: str) -> Panel:
    xs = sorted({x for points in lines.values() for x, _ in points}) or [1.0]
    ys = [y for points in lines.values() for _, y in points] or [1.0]
    x_axis = Axis(label=x_label, low=xs[0], high=xs[-1] * _ROOM, ticks=tuple(xs), log=True, text=_short)
    y_axis = log_axis(y_label, min(ys), max(ys), _short)
    chart = Chart(x_axis, y_axis, title=title)
    panel = Panel(title, note, chart)
    apart = (y_axis.high / y_axis.low) ** (_LINE_HEIGHT / (HEIGHT - TOP - BOTTOM))  # between two names
    level = y_axis.high * apart
    for name, points in sorted(lines.items(), key=lambda item: -max(item[1])[1]):
        points.sort()
        series = 1 if library_of(name) == RINGFENCE else 2
        is_dashed = _SHORT[name] != NAMES[name] and name != RINGFENCE
        chart.line([x for x, _ in points], [y for _, y in points], series=series, dashed=is_dashed)
        if len(points) == 1:
            chart.dot(*points[0], NAMES[name])
        level = min(points[-1][1], level / apart)
        panel.name(_SHORT[name], points[-1][0] * 1.15, level / apart**0.6, series)
    return panel


def _short(value: float) -> str:
    for unit, text in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{text}"
    return f"{value:g}"

# SPDX-License-Identifier: Apache-2.0
"""Events a second as streams grow, and values a second beside time a call; as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.engine.programme import RINGFENCE, Found, Table, library_of
from benchmarks.engine.stream import Graph
from benchmarks.engine.trial import BULK
from benchmarks.worlds.plots import Panel, sheet_of_panels
from ringfence.training.chart import Axis, Chart, log_axis

NAMES: Final = {
    "ringfence": "ringfence, default families",
    "ringfence-rolling": "ringfence, 18 columns alone",
    "ringfence-labels": "ringfence, with labels",
    "ringfence-rings": "ringfence, with labels and rings",
    "snapml": "snapml, default",
    "snapml-2": "snapml, default, 2 threads",
    "snapml-statistics": "snapml, vertex statistics",
    "snapml-degrees": "snapml, fan, degree, ratio",
    "snapml-patterns": "snapml, all patterns",
    "duckdb": "DuckDB, 18 columns",
    "duckdb-2": "DuckDB, 18 columns, 2 threads",
    "pandas": "pandas, 18 columns",
    "river": "River, 18 columns",
}
_ROOM: Final = 60.0  # beside the last stream, for names
_APART: Final = 1.45  # names, as a ratio of what they stand beside
_DRAWN: Final = ("ringfence", "ringfence-rolling", "snapml", "snapml-statistics", "duckdb", "pandas", "river")
_TITLES: Final = {Graph.UNIFORM: "uniform graph", Graph.HUBS: "hub-heavy graph"}


def svg_of(panels: Sequence[Panel], label: str) -> str:
    return sheet_of_panels(panels, label)


def growth_panels(found: Sequence[Found]) -> list[Panel]:
    """Events a second by the number of events, a panel for each graph."""
    return [_growth(found, graph) for graph in Graph]


def live_panels(found: Sequence[Found]) -> list[Panel]:
    """Values a second by time of a call, a panel for each batch size; both graphs in one."""
    return [_live(found, size) for size in (1, 128)]


PLOTS: Final[tuple[tuple[str, str, Callable[[Sequence[Found]], list[Panel]]], ...]] = (
    ("engine-growth.svg", "Events a second as streams and entities grow", growth_panels),
    ("engine-live.svg", "Feature values a second in batches of 1 and of 128", live_panels),
)


def _growth(found: Sequence[Found], graph: Graph) -> Panel:
    lines = {}
    for name in _DRAWN:
        size = {"river": 1}.get(name, 128 if library_of(name) == "snapml" else BULK)
        points = [
            (float(one.trial.stream.n_events), one.median.events_per_s)
            for one in found
            if one.table is Table.GROWTH and (one.trial.contender, one.trial.batch_size) == (name, size)
            if one.trial.stream.graph is graph and one.median.n_done
        ]
        if points:
            lines[name] = sorted(points)
    xs = sorted({x for points in lines.values() for x, _ in points}) or [1e5, 1e6]
    ys = [y for points in lines.values() for _, y in points] or [1e3, 1e6]
    chart = Chart(
        Axis(
            label="transfers in the stream; a twentieth as many accounts",
            low=xs[0],
            high=xs[-1] * _ROOM,
            ticks=tuple(xs),
            log=True,
            text=_short,
        ),
        log_axis("events a second", min(ys), max(ys), _short),
        title=f"growth, {_TITLES[graph]}",
    )
    note = "Green: ringfence; orange: others; dashed: 18 columns; a line ends at the cap"
    panel = Panel(f"Events a second, {_TITLES[graph]}", note, chart)
    level = float("inf")
    for name, points in sorted(lines.items(), key=lambda item: -item[1][-1][1]):
        series = 1 if library_of(name) == RINGFENCE else 2
        is_dashed = name not in ("ringfence", "snapml", "snapml-statistics")
        chart.line([x for x, _ in points], [y for _, y in points], series=series, dashed=is_dashed)
        level = min(points[-1][1], level / _APART)
        panel.name(NAMES[name].replace(", 18 columns", ""), points[-1][0] * 1.15, level / 1.12, series)
    return panel


def _live(found: Sequence[Found], size: int) -> Panel:
    lines = [one for one in found if one.table is Table.LIVE and one.trial.batch_size == size and one.median.n_done]
    graphs = {Graph.UNIFORM: "uniform", Graph.HUBS: "hubs"}
    times = [one.median.call_us["p50"] for one in lines] or [1.0, 10.0]
    rates = [one.median.values_per_s for one in lines] or [1e5, 1e6]
    chart = Chart(
        log_axis("p50 of a call, µs", min(times), max(times) * 3.0, _short),
        log_axis("feature values a second", min(rates), max(rates), _short),
        title=f"live, batches of {size}",
    )
    panel = Panel(f"In batches of {size}", "After a history of transfers; hover for the name of a dot", chart)
    taken: list[tuple[float, float]] = []
    for one in sorted(lines, key=lambda one: -one.median.values_per_s):
        run, series = one.median, 1 if library_of(one.trial.contender) == RINGFENCE else 2
        x, y = run.call_us["p50"], run.values_per_s
        name = f"{NAMES[one.trial.contender]} ({graphs[one.trial.stream.graph]})"
        chart.dot(x, y, f"{name}: {y / 1e6:.2f} million values/s, p50 {x:.0f} µs, p99 {run.call_us['p99']:.0f} µs")
        if one.trial.contender in ("ringfence", "snapml"):
            level = y
            for at, below in taken:
                if max(at, x) / min(at, x) < 3.0:
                    level = min(level, below / _APART)
            taken.append((x, level))
            panel.name(name.replace(", default families", "").replace(", default", ""), x * 1.08, level / 1.12, series)
    return panel


def _short(value: float) -> str:
    for unit, text in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{text}"
    return f"{value:g}"

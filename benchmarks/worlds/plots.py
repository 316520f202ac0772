# SPDX-License-Identifier: Apache-2.0
"""Two sheets of small plots as SVG files: no script, no font to fetch, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np

from benchmarks.worlds.published import ACCIDENTS_2021, MEAN_CLAIM, RINGS
from benchmarks.worlds.realism import BENFORD
from benchmarks.worlds.sheet import Sheet
from benchmarks.worlds.sightings import Floats, Ints
from ringfence.reports import Axis, Chart, log_axis, percent, share_axis

WIDTH, HEIGHT, CAPTION, GAP = 460.0, 300.0, 46.0, 20.0
MOST_POINTS: Final = 60  # of a curve
STYLE: Final = """
svg { --ink: #17211d; --soft: #5c6b64; --rule: #e1e7e3; --s1: #0b7a5b; --s2: #c2571a; --page: #ffffff; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e8efec; --soft: #9aaba4; --rule: #2b373d; --s1: #4cc9a0; --s2: #f09a5e; --page: #161d22; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.page { fill: var(--page); }
.title { fill: var(--ink); font-size: 14.5px; font-weight: 600; } .note { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--rule); } .guide { stroke: var(--soft); stroke-dasharray: 2 4; }
.tick, .axis, .name { fill: var(--soft); font-size: 11.5px; }
.name.s1 { fill: var(--s1); } .name.s2 { fill: var(--s2); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .dashed { stroke-dasharray: 5 4; }
.line.s1 { stroke: var(--s1); } .line.s2 { stroke: var(--s2); } .dot { fill: var(--s2); }
.steps { fill-opacity: .2; stroke-width: 1.5; }
.steps.s1 { fill: var(--s1); stroke: var(--s1); } .steps.s2 { fill: var(--s2); stroke: var(--s2); }
"""


class Panel:
    """A chart with its heading and names written beside its lines."""

    def __init__(self, title: str, note: str, chart: Chart) -> None:
        self.title, self.note, self.chart = title, note, chart
        self._names: list[str] = []

    def name(self, text: str, x: float, y: float, series: int = 0, anchor: str = "start") -> Panel:
        """Write beside a point of the plot, in the colour of a series; 0: in grey."""
        place = f'x="{self.chart.px(x):.1f}" y="{self.chart.py(y) - 5:.1f}" text-anchor="{anchor}"'
        self._names.append(f'<text class="name s{series}" {place}>{escape(text)}</text>')
        return self

    def svg(self, left: float, top: float) -> str:
        size = f'<svg x="{left:g}" y="{top + CAPTION:g}" width="{WIDTH:g}" height="{HEIGHT:g}" overflow="visible" '
        inner = self.chart.svg().replace("<svg ", size, 1).removesuffix("</svg>") + "".join(self._names) + "</svg>"
        heading = f'<text class="title" x="{left + 12:g}" y="{top + 22:g}">{escape(self.title)}</text>'
        return heading + f'<text class="note" x="{left + 12:g}" y="{top + 40:g}">{escape(self.note)}</text>' + inner


def sheet_of_panels(panels: Sequence[Panel], label: str) -> str:
    """Lay panels out in two columns; return the text of an SVG file."""
    rows = -(-len(panels) // 2)
    width, height = 2 * WIDTH + GAP, rows * (HEIGHT + CAPTION + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + GAP:g} {height:g}" role="img" '
    parts = [f'{head}aria-label="{escape(label)}"><style>{STYLE}</style>']
    parts.append(f'<rect class="page" width="{width + GAP:g}" height="{height:g}"/>')
    for index, panel in enumerate(panels):
        parts.append(panel.svg((index % 2) * (WIDTH + GAP), (index // 2) * (HEIGHT + CAPTION + GAP)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def network_panels(sheets: Sequence[Sheet]) -> list[Panel]:
    """How often who is named, sizes of rings, gaps and delays; all worlds of the sheet together."""
    return [_degrees(sheets), _rings(sheets), _gaps(sheets), _delays(sheets)]


def claim_panels(sheets: Sequence[Sheet]) -> list[Panel]:
    """Amounts, first digits, hours and weekdays; all worlds of the sheet together."""
    return [_amounts(sheets), _digits(sheets), _hours(sheets), _weekdays(sheets)]


def _at_least(values: Floats, least: float = 0.0) -> tuple[list[float], list[float]]:
    """Share of values that are at least x, at up to MOST_POINTS places evenly apart in log(x), while above `least`."""
    ordered = np.sort(values.astype(np.float64))
    x = np.geomspace(max(ordered[0], 1e-3), ordered[-1], MOST_POINTS)
    x = np.unique(np.rint(x) if (ordered == np.rint(ordered)).all() else x)
    share = 1.0 - np.searchsorted(ordered, x, side="left") / len(ordered)
    return list(x[share >= least]), list(share[share >= least])


def _pooled(parts: Sequence[Floats | Ints]) -> Floats:
    return np.concatenate([part.astype(np.float64) for part in parts])


def _thousands(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _degrees(sheets: Sequence[Sheet]) -> Panel:
    roles = [role for role in ("claimant", "witness", "vehicle", "lawyer", "doctor", "repair_shop") if role in
             sheets[0].shapes.degrees]  # fmt: skip
    curves = {role: _at_least(_pooled([s.shapes.degrees[role] for s in sheets]), 1e-4) for role in roles}
    most = max(x[-1] for x, _ in curves.values())
    chart = Chart(
        log_axis("claims that name the entity, k", 1.0, most, _thousands),
        log_axis("entities with at least k", 1e-4, 1.0, percent),
        title="degree by role",
    )
    panel = Panel(
        "How often an entity is named",
        "Green: persons and cars; orange: who serves them; dashed: witness, doctor",
        chart,
    )
    for number, (role, (x, y)) in enumerate(curves.items()):
        series = 1 if role in ("claimant", "witness", "vehicle") else 2
        chart.line(x, y, series=series, dashed=role in ("witness", "doctor"))
        level = 10.0 ** (-0.7 - 0.75 * (number % 3))
        at = int(np.searchsorted(-np.array(y), -level))
        panel.name(role.replace("_", " "), x[min(at, len(x) - 1)] * 1.12, level, series)
    return panel


def _rings(sheets: Sequence[Sheet]) -> Panel:
    people, claims = (_pooled([getattr(s.shapes, name) for s in sheets]) for name in ("ring_people", "ring_claims"))
    chart = Chart(
        log_axis("size, k", 1.0, max(300.0, people.max(), claims.max()), _thousands),
        share_axis("rings with at least k"),
        title="sizes of rings",
    )
    panel = Panel("Sizes of rings", "Dots: people in rings that were convicted or linked; see the table", chart)
    chart.line(*_at_least(claims), series=1).line(*_at_least(people), series=2)
    panel.name("fraudulent claims", 1.3, 0.22, 1).name("people", 1.3, 0.12, 2)
    for row, (name, n_people, _) in enumerate(RINGS):
        chart.dot(n_people, 0.77 + 0.09 * row, f"{name}: {n_people} people")
        panel.name(name, n_people * 0.9, 0.74 + 0.09 * row, 0, "end")
    return panel


def _histogram(values: Floats, edges: Floats) -> list[float]:
    return list(np.histogram(values, edges)[0] / max(len(values), 1))


def _gaps(sheets: Sequence[Sheet]) -> Panel:
    honest, fraud = (_pooled([getattr(s.shapes, name)["claimant"] for s in sheets]) for name in ("gaps", "fraud_gaps"))
    edges = np.geomspace(0.1, 1_000.0, 25)
    tallest = [_histogram(one, edges) for one in (honest, fraud)]
    top = float(np.ceil(20.0 * max(map(max, tallest))) / 20.0)
    chart = Chart(
        log_axis("days since the claimant's claim before", 0.1, 1_000.0, _thousands),
        Axis(label="share", low=0.0, high=top, ticks=tuple(np.linspace(0.0, top, 5)), text=_tenth_percent),
        title="gaps between claims",
    )
    chart.steps(list(edges), tallest[0], series=1).steps(list(edges), tallest[1], series=2)
    panel = Panel("Gaps between the claims of a claimant", "By the later of the two claims", chart)
    return panel.name("honest", 0.13, 0.92 * top, 1).name("fraud", 0.13, 0.83 * top, 2)


def _delays(sheets: Sequence[Sheet]) -> Panel:
    legit, fraud = (_pooled([getattr(s.shapes, name) for s in sheets]) for name in ("label_delays", "fraud_delays"))
    chart = Chart(
        log_axis("days from claim to label, k", 1.0, 1_000.0, _thousands),
        share_axis("labels that take at least k days"),
        title="delay of labels",
    )
    chart.line(*_at_least(legit), series=1).line(*_at_least(fraud), series=2)
    panel = Panel("How long it takes to know", "Labels in the claims file", chart)
    return panel.name("says legit", 1.3, 0.22, 1).name("says fraud", 1.3, 0.12, 2)


def _amounts(sheets: Sequence[Sheet]) -> Panel:
    honest, fraud = (_pooled([getattr(s.shapes, name) for s in sheets]) for name in ("amounts", "fraud_amounts"))
    chart = Chart(
        log_axis("amount x, EUR", 60.0, 450_000.0, _thousands),
        log_axis("claims of at least x", 1e-4, 1.0, percent),
        title="amounts",
    )
    chart.line(*_at_least(honest, 1e-4), series=1).line(*_at_least(fraud, 1e-4), series=2).guide(
        25_000.0, 1e-4, 25_000.0, 1.0
    )
    year, mean = MEAN_CLAIM[-1]
    chart.dot(mean, 1.2e-4, f"mean claim in German motor liability {year}: {mean:,.0f} EUR")
    panel = Panel("Amounts", f"Dot: mean claim in German motor liability, {year}; line: 25,000 EUR", chart)
    return panel.name("honest", 60.0, 0.02, 1).name("fraud", 60.0, 0.008, 2)


def _digits(sheets: Sequence[Sheet]) -> Panel:
    typed, every = (
        np.mean([getattr(s.realism, name) for s in sheets], axis=0) for name in ("typed_digits", "first_digits")
    )
    chart = Chart(
        Axis(label="first digit of the amount", low=0.5, high=9.5, ticks=tuple(range(1, 10))),
        Axis(label="share", low=0.0, high=0.35, ticks=(0.0, 0.1, 0.2, 0.3), text=percent),
        title="first digits",
    )
    chart.steps(list(np.arange(0.5, 10.0)), list(typed), series=1)
    chart.line(list(range(1, 10)), list(BENFORD), series=2, dashed=True)
    panel = Panel("First digits", "Amounts in whole tens, as people type them, and Benford's law", chart)
    deviation = float(np.abs(every - BENFORD).mean())
    return panel.name("Benford's law", 1.1, 0.31, 2).name(f"all amounts: deviation {deviation:.3f}", 4.6, 0.25)


def _hours(sheets: Sequence[Sheet]) -> Panel:
    honest, fraud = (np.mean([getattr(s.realism, name) for s in sheets], axis=0) for name in ("hours", "fraud_hours"))
    chart = Chart(
        Axis(label="local hour", low=0.0, high=24.0, ticks=(0, 6, 12, 18, 24)),
        Axis(label="share", low=0.0, high=0.1, ticks=(0.0, 0.025, 0.05, 0.075, 0.1), text=percent),
        title="hours",
    )
    chart.steps(list(range(25)), list(honest), series=1).steps(list(range(25)), list(fraud), series=2)
    panel = Panel("Hours of the day", "Honest and fraudulent claims", chart)
    return panel.name("honest", 0.6, 0.090, 1).name("fraud", 0.6, 0.082, 2)


def _weekdays(sheets: Sequence[Sheet]) -> Panel:
    share = np.mean([s.realism.weekdays for s in sheets], axis=0)
    names = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
    chart = Chart(
        Axis(label="weekday", low=-0.5, high=6.5, ticks=tuple(range(7)), text=lambda day: names[int(day)]),
        Axis(label="share", low=0.0, high=0.2, ticks=(0.0, 0.05, 0.1, 0.15, 0.2), text=percent),
        title="weekdays",
    )
    published = np.array(ACCIDENTS_2021) / sum(ACCIDENTS_2021)
    chart.steps(list(np.arange(-0.5, 7.0)), list(share), series=1).line(list(range(7)), list(published), series=2)
    panel = Panel("Weekdays", "Claims, and accidents with injuries in Germany in 2021", chart)
    return panel.name("Germany 2021", 4.1, 0.17, 2)


def _tenth_percent(value: float) -> str:
    return f"{100 * value:.3g} %"

# SPDX-License-Identifier: Apache-2.0
"""Two plots: how much fraud is found by so many reviews a day, and at what precision so much of it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.insurer.contenders import FULL
from benchmarks.insurer.figures import PRECISION, RECALL_GRID, REVIEW_GRID, REVIEWS, Figures
from benchmarks.insurer.runs import Runs
from benchmarks.worlds.plots import Panel, sheet_of_panels
from ringfence.reports import Axis, Chart, percent, share_axis

FILE: Final = "insurer-recall.svg"
LEAST: Final = 0.01  # precision that is plotted
# contender -> (name beside the line, series, dashed): green is the product, orange what it is held against
LINES: Final = {
    FULL: ("all branches", 1, False),
    "trees": ("GBDT, engine features", 1, True),
    "logistic": ("logistic regression", 2, False),
    "attributes": ("GBDT, attributes", 2, True),
    "rules": ("15 hand rules", 0, False),
}


def write_plots(runs: Runs, folder: Path) -> None:
    """Write the plots of the contenders that were measured; none where there is nothing to plot."""
    curves = {key: _curves(runs, key) for key in LINES if key in runs.results}
    if curves:
        text = sheet_of_panels(
            [_by_reviews(curves), _by_recall(curves)], "Recall by reviews a day; precision by recall"
        )
        (folder / FILE).write_text(text.replace("</style>", ".line.s0 { stroke: var(--soft); }</style>", 1), "utf-8")


def _curves(runs: Runs, key: str) -> tuple[list[float], list[float]]:
    """Average both curves over model seeds and then over worlds."""
    by_world: list[list[Figures]] = list(runs.figures(key).values())
    recall = np.mean([np.mean([one.recall_by_reviews for one in found], axis=0) for found in by_world], axis=0)
    precision = np.mean([np.mean([one.precision_by_recall for one in found], axis=0) for found in by_world], axis=0)
    return [float(value) for value in recall], [float(value) for value in precision]


def _by_reviews(curves: dict[str, tuple[list[float], list[float]]]) -> Panel:
    chart = Chart(
        Axis(label="reviews a day", low=1.0, high=200.0, ticks=(1, 2, 5, 10, 20, 50, 100, 200), log=True),
        share_axis("frauds found"),
        title="recall by reviews a day",
    )
    panel = Panel("Who finds how much", "Mean over runs; the highest scores of each day are reviewed", chart)
    for reviews in REVIEWS:
        chart.guide(reviews, 0.0, reviews, 1.0)
    for key, (recall, _) in curves.items():
        _, series, dashed = LINES[key]
        chart.line(list(REVIEW_GRID), recall, series=series, dashed=dashed)
    return panel


def _by_recall(curves: dict[str, tuple[list[float], list[float]]]) -> Panel:
    chart = Chart(
        share_axis("frauds found"),
        Axis(
            label="precision", low=LEAST, high=1.0, ticks=(LEAST, 0.02, 0.05, 0.1, 0.2, 0.5, 1), log=True, text=percent
        ),
        title="precision by recall",
    )
    panel = Panel("At what precision", f"Dotted: {percent(PRECISION)} of what is flagged is fraud", chart)
    chart.guide(0.0, PRECISION, 1.0, PRECISION)
    for row, (key, (_, precision)) in enumerate(curves.items()):
        name, series, dashed = LINES[key]
        chart.line(list(RECALL_GRID), [max(value, LEAST) for value in precision], series=series, dashed=dashed)
        panel.name(f"{name} {'- -' if dashed else '—'}", 0.98, 0.78 * 0.75**row, series, "end")
    return panel

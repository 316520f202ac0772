# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/insurer.md, and the floors that they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.insurer.conclusions import FLOOR_OVER_LOGISTIC, FLOOR_PAIRS, conclusions, points
from benchmarks.insurer.contenders import CONTENDERS, FULL
from benchmarks.insurer.figures import AP, AT, AUC, BRIER, ECE, RECALL, REVIEWS, Mean, mean_of
from benchmarks.insurer.plots import write_plots
from benchmarks.insurer.runs import Runs
from benchmarks.insurer.unseen import BY_POLICY, KNOWN, UNSEEN, Flagged
from benchmarks.written import write_table
from ringfence.training.slices import wilson

PAGE: Final = "insurer.md"
NOTHING: Final = "–"
_RUNG_NAMES: Final = {"full": "`full`: all branches", "gbdt": "`gbdt`: trees", "rules": "`rules`: 13 hand rules"}
_MEMBERS: Final = {"full": "full score", "gbdt": "trees", "member_gnn": "graph network"}
_FLAGGERS: Final = {
    "full": "**ringfence, all branches**",
    "gbdt": "GBDT, engine features",
    "member_gnn": "graph network alone",
    "logistic": "logistic regression",
    "rules": "15 hand rules",
}


def texts(runs: Runs) -> dict[str, str]:
    """Return every table by the name of its marks in the page; a table of what was not measured is not there."""
    parts = {
        "conclusions": conclusions(runs),
        "worlds": _worlds(runs),
        "contenders": _contenders(runs),
        "gains": _gains(runs),
        "by-world": _by_world(runs),
        "stack": _stack(runs),
        "rungs": _rungs(runs),
        "unseen": _unseen(runs),
        "pairs": _pairs(runs),
    }
    return {name: text for name, text in parts.items() if text}


def write_page(runs: Runs, folder: Path) -> None:
    """Put tables into the page and its plots beside it."""
    for name, text in texts(runs).items():
        write_table(folder / PAGE, name, text)
    write_plots(runs, folder)


def floors(runs: Runs) -> list[tuple[str, bool]]:
    """Tell each floor with what was found, and whether it is met; one that was not measured is not there."""
    found = []
    gain = runs.gain(FULL, "logistic", RECALL)
    if gain is not None:
        told = f"recall at 15 % precision above that of the regression by {100 * FLOOR_OVER_LOGISTIC:.0f} points"
        found.append((f"{told}: {points(gain)}", gain.value >= FLOOR_OVER_LOGISTIC))
    if runs.pairs:
        right = float(np.mean([one.right["full"] for one in runs.pairs]))
        told = f"planted pairs ranked right by the full score, {100 * FLOOR_PAIRS:.0f} % or more"
        found.append((f"{told}: {100 * right:.1f} %", right >= FLOOR_PAIRS))
    return found


def percent(one: Mean | None) -> str:
    return "–" if one is None else f"{100 * one.value:.1f} ({100 * one.low:.0f}–{100 * one.high:.0f})"


def three(one: Mean | None, digits: int = 3) -> str:
    if one is None:
        return "–"
    return f"{one.value:.{digits}f} ({one.low:.{digits}f}–{one.high:.{digits}f})"


def plain(one: Mean | None, digits: int = 4) -> str:
    return "–" if one is None else f"{one.value:.{digits}f}"


def took(seconds: float, processor_s: float | None) -> str:
    return f"{seconds:,.0f} s" + ("" if processor_s is None else f" ({processor_s:,.0f} s)")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)])


def _worlds(runs: Runs) -> str:
    splits = runs.splits
    if not splits:
        return ""
    rows = [
        ["claims", *(f"{one.n_claims:,}" for one in splits.values())],
        [
            "labels that teach, of them fraud",
            *(f"{one.n_labels:,}, {one.n_label_frauds:,}" for one in splits.values()),
        ],
        ["claims judged, of them fraud", *(f"{one.n_judged:,}, {one.n_fraud:,}" for one in splits.values())],
        [
            "judged claims a day",
            *(f"{one.n_judged * 86_400_000 / (one.ends_ms - one.cut_ms):.0f}" for one in splits.values()),
        ],
    ]
    worlds, seeds = (" ".join(map(str, numbers)) for numbers in (splits, runs.seeds))
    command = f"python -m benchmarks.insurer --events {runs.n_events} --worlds {worlds} --seeds {seeds} --write"
    table = _table(["", *(f"world {number}" for number in splits)], rows)
    return f"Tables and plots on this page are written by `{command}`.\n\n{table}"


def _contenders(runs: Runs) -> str:
    rows = []
    for one in CONTENDERS:
        if one.key not in runs.results:
            continue
        rows.append(
            [
                one.title,
                percent(runs.mean(one.key, RECALL)),
                *(percent(runs.mean(one.key, AT[reviews])) for reviews in REVIEWS),
                three(runs.mean(one.key, AP)),
                plain(runs.mean(one.key, AUC), 3),
                plain(runs.mean(one.key, ECE)),
                plain(runs.mean(one.key, BRIER), 5),
                took(*runs.seconds(one.key)),
                f"{len(runs.results[one.key])}",
            ]
        )
    head = [
        "", "recall at 15 % precision, %", *(f"recall at {reviews} reviews a day, %" for reviews in REVIEWS), "AP",
        "ROC-AUC", "ECE", "Brier", "to train (processor)", "runs",
    ]  # fmt: skip
    return _table(head, rows)


def _gains(runs: Runs) -> str:
    names = (RECALL, *AT.values())
    rows = []
    for one in CONTENDERS:
        gains = [runs.gain(FULL, one.key, name) for name in (*names, AP)]
        if one.key == FULL or gains[0] is None:
            continue
        *recalls, ap = gains
        told = "–" if ap is None else f"{ap.value:+.3f} ({ap.low:+.3f} to {ap.high:+.3f})"
        rows.append([one.title, *map(points, recalls), told])
    return _table(["all branches less …", *(f"{name}, points" for name in names), AP], rows)


def _by_world(runs: Runs) -> str:
    rows = []
    for one in CONTENDERS:
        found = runs.figures(one.key)
        if not found:
            continue
        cells = []
        for world in runs.worlds:
            values = [100 * figures.values[RECALL] for figures in found.get(world, [])]
            cells.append(" · ".join(f"{value:.1f}" for value in values) or "–")
        rows.append([one.title, *cells])
    return _table(["recall at 15 % precision, %, by model seed", *(f"world {world}" for world in runs.worlds)], rows)


def _stack(runs: Runs) -> str:
    names = list(dict.fromkeys(name for _, _, one in runs.trained for name in one.worth))
    rows = []
    for world, seed, one in runs.trained:
        cells = []
        for name in names:
            gain, low, high = one.worth.get(name, [float("nan")] * 3)
            part = f"**{one.weights[name]:.2f}**" if name in one.weights else "out"
            cells.append(f"{part}; {1e4 * gain:+.1f} ({1e4 * low:+.1f} to {1e4 * high:+.1f})")
        told = f"{one.seconds / 60:.1f} min ({one.processor_s / 60:.1f}), {one.peak_gb:.1f} GB"
        rows.append([f"{world}, {seed}", f"{one.weights['gbdt']:.2f}", *cells, told])
    return _table(["world, seed", "gbdt", *names, "training (processor)"], rows)


def _rungs(runs: Runs) -> str:
    rows = []
    for name, by_world in runs.rungs.items():
        after = {world: [one.after for one in found] for world, found in by_world.items()}
        before = {world: [one.before for one in found] for world, found in by_world.items()}
        rows.append(
            [
                _RUNG_NAMES[name],
                *(percent(mean_of(after, AT[reviews])) for reviews in REVIEWS),
                *(
                    f"{mean_of(before, figure).value:.{digits}f} → {three(mean_of(after, figure), digits)}"
                    for figure, digits in ((BRIER, 5), (ECE, 4))
                ),
            ]
        )
    head = ["rung", *(f"recall at {reviews} reviews a day, %" for reviews in REVIEWS), "Brier: before → after",
            "ECE: before → after"]  # fmt: skip
    return _table(head, rows)


def _unseen(runs: Runs) -> str:
    flaggers = [f"{name}, {reviews} a day" for name in _FLAGGERS for reviews in REVIEWS] + [BY_POLICY]
    rows = []
    for flagger in flaggers:
        cells = []
        for kind in (UNSEEN, KNOWN):
            found = [told[kind][flagger] for told in runs.unseen if flagger in told[kind]]
            once = [told[kind][flagger] for told in runs.unseen_without_release if flagger in told[kind]]
            cells += list(_flagged(once or found, len(once) or len(runs.splits)))
        name, _, rest = flagger.partition(", ")
        title = f"{_FLAGGERS[name]}, {rest}" if rest else f"all branches, {BY_POLICY}"
        if any(cell != NOTHING for cell in cells):
            rows.append([title, *cells])
    head = ["", "rings of the unseen pattern", "their claims", "rings of known patterns", "their claims"]
    return _table(head, rows)


def _flagged(found: Sequence[Flagged], n_worlds: int) -> tuple[str, str]:
    """Tell the share of rings, and of their claims, over runs; seeds of a world judge the same rings again."""
    if not found or not sum(one.n_rings for one in found):
        return NOTHING, NOTHING
    total = reduce(add, found)
    n = max(1, round(total.n_rings * n_worlds / len(found)))  # rings that there are
    rate = total.n_flagged / total.n_rings
    low, high = wilson(rate, n)
    return (
        f"{100 * rate:.0f} % ({100 * low:.0f}–{100 * high:.0f}) of {n}",
        f"{100 * total.n_claims_flagged / total.n_claims:.0f} %",
    )


def _pairs(runs: Runs) -> str:
    rows = []
    for name, title in _MEMBERS.items():
        found = [one for one in runs.pairs if name in one.right]
        if found:
            rows.append(
                [
                    title,
                    " · ".join(f"{100 * one.right[name]:.1f} %" for one in found),
                    " · ".join(f"{100 * one.level[name]:.1f} %" for one in found),
                    str(found[0].n),
                ]
            )
    return _table(["", "ring first, by seed", "level", "pairs"], rows)

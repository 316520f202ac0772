# SPDX-License-Identifier: Apache-2.0
"""The page: every table, written from what was measured alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.engine.contender import LONGEST_S, ROLLING, WINDOWS_S
from benchmarks.engine.machine import Machine
from benchmarks.engine.plots import NAMES, PLOTS, svg_of
from benchmarks.engine.programme import LONG_S, Found, Programme, Table, library_of
from benchmarks.engine.stream import DAY_S, Graph, Stream
from benchmarks.engine.targets import river_of, targets
from benchmarks.engine.trial import BULK, Measured
from benchmarks.worlds.plots import Panel

NAME: Final = "engine-speed.md"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    command: str
    programme: Programme
    machine: Machine
    load_at_end: float
    minutes: float
    hub_share: float  # of the transfers, in which the busiest account of the hub-heavy graph takes part
    agreement: tuple[str, ...]
    found: tuple[Found, ...]

    def lines(self, table: Table, graph: Graph) -> list[Found]:
        return [one for one in self.found if one.table is table and one.trial.stream.graph is graph]


def write_page(report: Report, folder: Path) -> Path:
    """Write the page and its plots into a folder that exists; return the path of the page."""
    for name, label, draw in _plots(report):
        (folder / name).write_text(svg_of(draw(report.found), label), encoding="utf-8")
    page = folder / NAME
    page.write_text(page_text(report, plots=True), encoding="utf-8")
    return page


def _plots(report: Report) -> list[tuple[str, str, Callable[[Sequence[Found]], list[Panel]]]]:
    measured = {one.table for one in report.found}
    return [plot for table, plot in PLOTS.items() if table in measured]


def page_text(report: Report, *, plots: bool = False) -> str:
    programme = report.programme
    parts = ["# How fast the engine is, beside other ways to the same numbers", _how(report)]
    parts += ["## Verdict", _verdict(report)]
    parts += ["## What can be compared", _what(report), "Values were compared before any time was taken:"]
    parts += ["\n".join(f"- {sentence}" for sentence in report.agreement)]
    if plots:
        parts += [f"![{label}]({name})" for name, label, _ in _plots(report)]
    sections = (
        ("Event by event, and in batches of 128", Table.LIVE, _live, _LIVE_NOTE),
        ("All of history, growing", Table.GROWTH, _growth, _GROWTH_NOTE),
        ("Memory", Table.GROWTH, _memory, _MEMORY_NOTE),
        ("With and without ticks", Table.TICKS, _ticks, _TICKS_NOTE),
        ("Sparse and dense accounts", Table.DENSITY, _density, _DENSITY_NOTE),
    )
    for title, table, lines_of, note in sections:
        if any(one.table is table for one in report.found):
            counts = {"history": programme.history, "one": programme.n_live(1), "many": programme.n_live(128)}
            parts += [f"## {title}", note.format_map(counts)]
            for graph in Graph:
                lines = report.lines(table, graph)
                river = river_of(report.lines(Table.GROWTH, graph))
                parts += [
                    f"**{_GRAPHS[graph]}**",
                    lines_of([*lines, river] if table is Table.LIVE and river else lines),
                ]
    return "\n\n".join(parts) + "\n"


_GRAPHS: Final = {Graph.UNIFORM: "Uniform graph", Graph.HUBS: "Hub-heavy graph"}
_LIVE_NOTE: Final = (
    "Of {history:,} transfers, history is taken in first and not timed (snapml: `partial_fit`); then the last {one:,} "
    "one by one, or the last {many:,} in batches of 128. p50 and p99 are those of a call, by the clock on the wall; "
    "the last column is its processor time, which does not hold the waiting for a processor. River from an empty state."
)
_GROWTH_NOTE: Final = (
    "From an empty state. ringfence replays in batches of 65,536 unless said otherwise, River event by event, DuckDB "
    "and pandas take everything in one call, loading not timed. Times an event are those of all its threads' "
    "processors, which says more than the clock on the wall where other work shares the machine."
)
_MEMORY_NOTE: Final = (
    "Bytes an account at the largest number of transfers that a contender finished, or reached within its cap: "
    "resident memory at the end less that before the first event, over the different accounts; for DuckDB and pandas, "
    "which keep no state, the peak less that before. `state`: what the engine itself counts, tables sized ahead "
    "included. Peak: of the whole process with its libraries."
)
_TICKS_NOTE: Final = (
    "Labels seven days late in both lines. Rings are surveyed every 7 days over accounts tied by every transfer, the "
    "worst case: in a real scenario few roles are `strong`. Ticks can be computed beside the service."
)
_DENSITY_NOTE: Final = (
    "Batches of 128 from an empty state. snapml computes its statistics from all edges within the window, so its cost "
    "follows how much an account did; the engine keeps sums and at most the last 16 events for walks."
)


def _how(report: Report) -> str:
    machine, programme = report.machine, report.programme
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    once = f"of one where the timed part took longer than {LONG_S:.0f} s"
    times = f"medians of {programme.repeats}, {once}" if programme.repeats > 1 else "of one run"
    return (
        f"Written by `{report.command}` in {report.minutes:.0f} minutes on {machine.n_processors} x "
        f"{machine.processor}, {machine.memory_bytes / 2**30:.0f} GB, Python {machine.python}; "
        f"{versions}. Load average {machine.load:.1f} before and {report.load_at_end:.1f} at the "
        "end. Each trial runs in a process of its own, one thread unless said otherwise; figures are "
        f"{times}. A rival stops after {programme.cap_s:.0f} timed seconds, and the table says so."
    )


def _what(report: Report) -> str:
    stream = Stream(graph=Graph.UNIFORM, n_events=report.programme.history)
    return (
        f"The stream is drawn: transfers (source, destination, amount, second) over {stream.days} days; accounts grow "
        f"with the events, each sends and receives {stream.per_account} on average. Uniform: any account to any other. "
        "Hub-heavy: half of the destinations and a fifth of the sources are drawn with probability 1 / rank; the "
        f"busiest account takes part in {report.hub_share:.1%} of {stream.n_events:,} transfers.\n\n"
        f"- **The same {len(ROLLING)} columns** (count, sum and mean of amounts per source and per destination in "
        f"{', '.join(WINDOWS_S)}, as in the template account-transfers) come from DuckDB, pandas, River and, with only "
        "these switched on, ringfence. The rivals include the event itself, as people write it; ringfence reads before "
        "it applies.\n"
        "- **ringfence, default families** has two directed roles of one entity type. The values that need labels are "
        "computed and not counted, nor are those that repeat the event (amount, hour). **With labels** the truth about "
        "every transfer comes a week after it, once an hour in one batch: they are counted then, and folding the "
        "labels is timed as well.\n"
        f"- **snapml** has one window of {LONGEST_S // DAY_S} days for everything, ringfence has {len(WINDOWS_S)}. Its "
        "default is 32 vertex statistics and 58 columns of fan histograms; each histogram spreads one number, the fan, "
        "which the statistics hold as well, over 29 columns. All 90 are counted. Variance, skew and kurtosis within a "
        "window and "
        "both directions of both accounts are its own. Scatter-gather, temporal and simple cycles (all patterns: 1, 7 "
        "and 1 days) are patterns that ringfence does not compute; novelty, gaps, pair and reverse-pair history, "
        "neighbours of neighbours, known fraud and near amounts are what snapml does not compute. Values a second of "
        "the two are of different values.\n"
        "- Account numbers are whole numbers, as snapml needs them; hashing of text ids at the door is not timed. "
        "Bringing transfers into each library's own form (arrays, dicts, frames, tables) is not timed either.\n"
        "- DuckDB and pandas have no live form: they compute a whole table, so there is no time of one event."
    )


def _verdict(report: Report) -> str:
    rows = [
        [target.name, target.wanted, target.text(target.wall), target.text(target.processor), target.verdict]
        for target in targets(report.found)
    ]
    head = ["target", "wanted", "by the clock", "by processor time", ""]
    return _table(head, rows) if rows else "Nothing that a target is about was measured."


def _live(found: Sequence[Found]) -> str:
    rows = []
    for one in sorted(found, key=lambda one: one.trial.batch_size):
        run, size = one.median, one.trial.batch_size
        cells = [NAMES[one.trial.contender], str(run.n_values or "-"), str(size)]
        if run.n_done:
            cells += [f"{run.events_per_s:,.0f}", _millions(run.values_per_s), f"{one.processor_us:.1f}"]
            cells += [f"{run.call_us['p50']:,.0f}", f"{run.call_us['p99']:,.0f}", f"{run.call_us['p50'] / size:,.1f}"]
            cells.append(f"{run.call_us['processor p99']:,.0f}")
        else:
            cells += ["gave up", *[""] * 6]
        rows.append([*cells, _stopped(run)])
    head = [
        "", "values", "batch", "events/s", "million values/s", "processor µs an event", "p50 µs a call",
        "p99 µs a call", "p50 µs an event", "p99 µs of processor time a call", "",
    ]  # fmt: skip
    return _table(head, rows)


def _growth(found: Sequence[Found]) -> str:
    sizes = sorted({one.trial.stream.n_events for one in found})
    rows = []
    for line in _lines(found):
        runs = {one.trial.stream.n_events: one for one in line}
        name = NAMES[line[0].trial.contender]
        batch = line[0].trial.batch_size
        values = max(one.median.n_values for one in line)
        cells = [name + (f", batches of {batch}" if 1 < batch < BULK else ""), str(values or "-")]
        cells += [_rate(runs.get(n)) for n in sizes]
        cells += [f"{runs[n].processor_us:.1f}" if n in runs and runs[n].median.n_done else "-" for n in sizes]
        at = runs.get(sizes[min(1, len(sizes) - 1)])
        cells.append(_millions(at.median.values_per_s) if at is not None and at.median.n_done else "-")
        rows.append(cells)
    head = ["", "values", *(f"events/s at {_power(n)}" for n in sizes), *(f"µs an event at {_power(n)}" for n in sizes)]
    return _table([*head, f"million values/s at {_power(sizes[min(1, len(sizes) - 1)])}"], rows)


def _memory(found: Sequence[Found]) -> str:
    rows = []
    for line in _lines(found):
        done = [one for one in line if one.median.n_done]
        if not done or (line[0].trial.contender == "ringfence" and line[0].trial.batch_size < BULK):
            continue
        one = done[-1]
        run = one.median
        takes_all = library_of(one.trial.contender) in ("duckdb", "pandas")
        grown = (run.peak_bytes if takes_all else run.last_bytes) - run.first_bytes
        state = run.facts.get("state_bytes")
        rows.append(
            [
                NAMES[one.trial.contender],
                f"{run.n_done:,}",
                f"{run.n_accounts:,}",
                f"{grown / run.n_accounts:,.0f}",
                f"{state / run.n_accounts:,.0f}" if state else "",
                f"{run.peak_bytes / 1e6:,.0f}",
            ]
        )
    head = ["", "transfers", "accounts", "bytes an account", "of these state", "peak MB"]
    return _table(head, rows)


def _ticks(found: Sequence[Found]) -> str:
    rows = []
    for one in found:
        run, n_ticks = one.median, one.median.facts.get("n_ticks", 0.0)
        tick_s = run.facts.get("tick_s", 0.0)
        rows.append(
            [
                NAMES[one.trial.contender],
                f"{one.trial.stream.n_events:,}",
                str(run.n_values),
                f"{run.events_per_s:,.0f}",
                f"{run.n_done / (run.wall_s - tick_s):,.0f}",
                f"{n_ticks:.0f}",
                f"{1e3 * tick_s / n_ticks:,.0f}" if n_ticks else "",
            ]
        )
    return _table(["", "transfers", "values", "events/s", "without the ticks themselves", "ticks", "ms a tick"], rows)


def _density(found: Sequence[Found]) -> str:
    counts = sorted({one.trial.stream.per_account for one in found})
    rows = []
    for name in dict.fromkeys(one.trial.contender for one in found):
        runs = {one.trial.stream.per_account: one for one in found if one.trial.contender == name}
        cells = [NAMES[name], *(_rate(runs.get(n)) for n in counts)]
        rows.append(cells + [_millions(runs[n].median.values_per_s) if n in runs else "-" for n in counts])
    head = ["", *(f"events/s, {n} an account" for n in counts), *(f"million values/s, {n}" for n in counts)]
    return _table(head, rows)


def _lines(found: Sequence[Found]) -> Iterable[list[Found]]:
    """Trials that differ in the number of events alone, smaller first."""
    keys = dict.fromkeys((one.trial.contender, one.trial.batch_size) for one in found)
    for key in keys:
        line = [one for one in found if (one.trial.contender, one.trial.batch_size) == key]
        yield sorted(line, key=lambda one: one.trial.stream.n_events)


def _rate(one: Found | None) -> str:
    if one is None:
        return "-"
    run = one.median
    if not run.n_done:
        return "over the cap"
    return f"{run.events_per_s:,.0f}" + (f" (stopped after {run.n_done:,})" if run.stopped else "")


def _stopped(run: Measured) -> str:
    return f"stopped after {run.n_done:,}" if run.stopped and run.n_done else ""


def _millions(values_per_s: float) -> str:
    return f"{values_per_s / 1e6:,.2f}"


def _power(n: int) -> str:
    digits = len(str(n)) - 1
    return f"10^{digits}" if n == 10**digits else f"{n:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])

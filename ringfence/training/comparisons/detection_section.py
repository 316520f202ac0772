# SPDX-License-Identifier: Apache-2.0
"""How rings were found, drawn: each ring's life, and the moment that somebody would have looked."""

from __future__ import annotations

from typing import Final

from ringfence.reports import Block, Figure, Figures, Section, Span, Table, Tile, Tiles, bar, figure, timeline
from ringfence.reports.cells import code
from ringfence.reports.numerals import DASH, date, days, share
from ringfence.reports.page import Cell
from ringfence.training.comparisons.detection import Detection, RingFound
from ringfence.training.evaluation import DAY_MS

N_DRAWN: Final = 30
_HOUR_MS: Final = 3_600_000


def detection_section(found: Detection) -> Section:
    drawn = sorted(found.rings, key=lambda ring: -ring.n_events)[:N_DRAWN]
    drawn.sort(key=lambda ring: ring.first_ms)
    blocks: list[Block] = [Tiles(tiles=_tiles(found))]
    if drawn:
        blocks += [Figures(figures=[_lives(found, drawn)]), _within(found), _rings(found)]
    return Section(
        anchor="rings",
        title="How rings are found",
        short="Rings",
        note=f"From the truth of this world: {len(found.rings)} rings acted after the cut, among {found.n_events:,} "
        f"events, labelled or not. Each UTC day's {found.alerts_per_day} highest scores are opened; a ring is found "
        "when one of its events is.",
        blocks=blocks,
    )


def _tiles(found: Detection) -> list[Tile]:
    n, seen = len(found.rings), len(found.found)
    ahead = sum(ring.is_ahead_of_labels for ring in found.rings)
    tiles = [
        Tile(name="Rings found", value=f"{seen} of {n}", aside=f"by {found.alerts_per_day} alerts a day"),
        Tile(
            name="Time to detection, median",
            value=DASH if found.median_days is None else days(found.median_days),
            aside="from a ring's first event after the cut, of those found",
        ),
        Tile(name="Found before any label", value=f"{ahead} of {n}", aside="nobody had called one of its events fraud"),
    ]
    ruled = [ring for ring in found.rings if ring.by_rule is not None]
    if ruled:
        alone = sum(ring.found_ms is not None and not ring.by_rule for ring in ruled)
        tiles.append(
            Tile(name="Found, and no rule fired", value=f"{alone} of {len(ruled)}", aside="on any of its events")
        )
    return tiles


def _lives(found: Detection, drawn: list[RingFound]) -> Figure:
    spans = []
    for ring in drawn:
        last = max(ring.last_ms, ring.first_ms + _HOUR_MS)
        until = last if ring.found_ms is None else ring.found_ms
        told = "never found" if ring.found_ms is None else f"found on {date(ring.found_ms)}"
        note = f"{ring.ring}: {ring.n_events} events from {date(ring.first_ms)}, {told}"
        if until > ring.first_ms:
            spans.append(Span(row=ring.ring, style="gap", from_ms=ring.first_ms, to_ms=until, note=note))
        if ring.found_ms is not None:
            end = max(last, until + DAY_MS)
            spans.append(Span(row=ring.ring, style="emit", from_ms=until, to_ms=end, note=note))
    few = "" if len(drawn) == len(found.rings) else f" The {N_DRAWN} with most events are shown."
    return Figure(
        title="Each ring's life after the cut",
        text=f"From its first event to its last. It turns dark when one of its events is opened.{few}",
        draw=lambda width: timeline(
            spans,
            marks=[(found.from_ms, "cut")],
            title="Rings from their first event until they were found",
            description=f"{len(found.found)} of {len(found.rings)} rings were found",
            width=width,
        ),
        legend=[("gap", "active, not found"), ("emit", "found")],
        wide=True,
    )


def _within(found: Detection) -> Table:
    rows: list[list[Cell]] = []
    for one in found.within:
        when = (
            "at its third event, or before" if one.days == 0 else f"within {one.days} day{'s' * (one.days > 1)} of it"
        )
        value, low, high = one.share.value, one.share.low, one.share.high
        rows.append([when, figure(value, low, high, share), bar(value), f"{one.n:,}"])
    return Table(
        caption="Rings found by so many days after their third event",
        columns=["when", "found", "", "rings that could be"],
        rows=rows,
        numeric=(1, 3),
        note="Counted are rings whose third event came after the cut, and so many days before the end.",
    )


def _rings(found: Detection) -> Table:
    def when(time_ms: int | None) -> Cell:
        return DASH if time_ms is None else date(time_ms)

    has_rules = any(ring.by_rule is not None for ring in found.rings)
    rows: list[list[Cell]] = [
        [
            code(ring.ring),
            f"{ring.n_events:,}",
            f"{ring.n_before:,}",
            f"{ring.n_alerted:,}",
            when(ring.first_ms),
            when(ring.third_ms),
            when(ring.found_ms),
            when(ring.label_ms),
            *(["yes" if ring.by_rule else "no"] if has_rules else []),
        ]
        for ring in found.rings
    ]
    columns = ["ring", "events", "before the cut", "opened", "first", "third", "found", "first fraud label"]
    return Table(
        caption="Every ring that acted after the cut",
        columns=[*columns, *(["a rule fired"] if has_rules else [])],
        rows=rows,
        numeric=(1, 2, 3),
        folded=True,
    )

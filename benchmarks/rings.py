# SPDX-License-Identifier: Apache-2.0
"""Rings: how many planted ones are found in time, how pure they are, and how many of those listed are false.

    python -m benchmarks.rings --events 200000 --seeds 1 2           # simulated insurers, one tick a week
    python -m benchmarks.rings --events 200000 --seeds 1 2 --write   # and put the table into docs/rings.md

A staged ring is found when, at a tick within 14 days of its third claim, one group holds at least half of all its
claims so far; for BiRank, when at least half of them are among the top 1 % of active claims. Purity of a group: the
ring's share of its claims, at the best of these ticks; of BiRank: the share of fraud among the top 1 %. A listed group
(at least three claims and two entities, highest mean BiRank first, as `ringfence rings` lists them) is false when less
than half of its claims are fraud.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.links import KnownLinks, links_known_at
from ringfence.rings import (
    Graph,
    Groups,
    Links,
    RingSettings,
    birank,
    communities,
    components,
    fraud_seeds,
    freeze_for,
    split_over_large,
)
from ringfence.scenario.clock import SystemClock
from ringfence.scenario.spec import Scenario
from ringfence.simulate import simulate_motor_claims
from ringfence.workspace import Workspace

DAY_MS = 86_400_000
WITHIN_MS = 14 * DAY_MS
TOP_SHARE = 0.01
KIND = "staged_accident"
LISTED = 20
LISTED_EVERY = 4  # ticks
LISTED_AFTER_MS = 365 * DAY_MS  # of the history: until then too few labels are known to list anything by
PAGE = Path(__file__).parent.parent / "docs" / "rings.md"
BEGIN, END = "<!-- planted rings -->", "<!-- end of planted rings -->"
COLUMNS = ("method", "found", "half pure or more", "median purity", "largest group", f"false of {LISTED}", "CPU ms")

PROPAGATION = "label propagation over all links"

Method = Callable[[Graph], Groups]


class World(msgspec.Struct):
    """A simulated insurer's links, when each label became known, and the truth."""

    scenario: Scenario
    known: KnownLinks
    label_known_ms: np.ndarray  # (n,) of the label in `known`
    fraud: np.ndarray  # (n,) the truth
    rings: dict[str, np.ndarray]  # staged ring -> seqs of its claims, by time


class Tally:
    """What one method found, over all ticks of all worlds."""

    def __init__(self) -> None:
        self.purity: dict[tuple[int, str], float] = {}  # (seed, ring) -> purity where found, the best of its ticks
        self.seconds: list[float] = []
        self.largest = 0
        self.false: list[float] = []  # share of the groups listed first

    def see(self, ring: tuple[int, str], purity: float) -> None:
        self.purity[ring] = max(purity, self.purity.get(ring, 0.0))

    def row(self, n_rings: int) -> list[str]:
        purity = list(self.purity.values())
        return [
            f"{len(purity)} of {n_rings} ({len(purity) / max(n_rings, 1):.0%})",
            f"{sum(share >= 0.5 for share in purity)}",
            f"{np.median(purity):.2f}" if purity else "",
            f"{self.largest:,}" if self.largest else "",
            f"{LISTED * np.mean(self.false):.1f}" if self.false else "",
            f"{1000 * np.mean(self.seconds):,.0f}" if self.seconds else "",
        ]


def load_world(folder: Path, n_events: int, seed: int) -> World:
    """Simulate, import, and join the truth to the ledger's seqs."""
    simulate_motor_claims(n_events, seed, folder)
    here = Workspace(folder)
    scenario = here.scenario()
    import_files(here.ledger_dir(scenario), scenario, here.path, SystemClock())
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    known = links_known_at(ledger, ledger.watermark_ms, -(2**62))
    truth = pl.read_parquet(folder / "truth.parquet").join(
        ledger.events(-(2**62)), left_on="claim_id", right_on="event_id", how="inner"
    )
    staged = truth.filter(pl.col("kind") == KIND).sort("event_time_ms", "seq")
    fraud = np.zeros(len(known.seq), np.bool_)
    fraud[np.searchsorted(known.seq, truth.filter("fraud")["seq"].to_numpy())] = True
    labels = ledger.labels()
    known_ms = np.full(len(known.seq), np.iinfo(np.int64).max)
    known_ms[np.searchsorted(known.seq, labels["event_seq"].to_numpy())] = labels["known_at_ms"].to_numpy()
    return World(
        scenario=scenario,
        known=known,
        label_known_ms=known_ms,
        fraud=fraud,
        rings={str(ring): part["seq"].to_numpy() for (ring,), part in staged.group_by("ring_id", maintain_order=True)},
    )


def links_at(world: World, as_of_ms: int) -> Links:
    """What was known then. Imported events are in order of time, so the first n are those up to T."""
    known = world.known
    n = int(np.searchsorted(known.time_ms, as_of_ms, side="right"))
    m = int(np.searchsorted(known.link_event, n))
    return Links(
        event_key=known.seq[:n],
        event_time_ms=known.time_ms[:n],
        event_label=np.where(world.label_known_ms[:n] <= as_of_ms, known.label[:n], np.int8(-1)),
        event_decided=known.event_type[:n] == world.scenario.decided.index,
        amount_minor=known.amount_minor[:n],
        link_event=known.link_event[:m],
        link_key=known.link_lo[:m],
        link_check=known.link_hi[:m],
        link_role=known.link_role[:m],
    )


def methods_for(scenario: Scenario, settings: RingSettings) -> dict[str, Method]:
    """The rings as they are by default first; then variants, and label propagation."""
    strong = np.array([role.strong for role in scenario.roles], np.bool_)
    fewer = np.array([role.strong and role.name != "witness" for role in scenario.roles], np.bool_)
    everything = np.ones(len(scenario.roles), np.bool_)

    def rings(tie_ms: int | None, roles: np.ndarray) -> Method:
        def method(graph: Graph) -> Groups:
            graph = msgspec.structs.replace(graph, strong=roles)
            return split_over_large(graph, components(graph, tie_ms=tie_ms), settings.over_large)

        return method

    days = settings.tie_ms // DAY_MS
    return {
        f"**rings**: ties of {days} days": rings(settings.tie_ms, strong),
        f"ties of {days} days, witnesses not strong": rings(settings.tie_ms, fewer),
        "ties without end, witnesses not strong": rings(None, fewer),
        "ties without end, over-large groups not split": components,
        PROPAGATION: lambda graph: communities(graph, roles=everything),
    }


def judge_groups(tally: Tally, graph: Graph, groups: Groups, due: dict[tuple[int, str], np.ndarray]) -> None:
    n_events = groups.table["n_events"]
    for ring, seqs in due.items():
        at = np.minimum(np.searchsorted(graph.event_key, seqs), graph.n_events - 1)
        group = np.where(graph.event_key[at] == seqs, groups.event_group[at], -1)
        counts = np.bincount(group[group >= 0], minlength=1)
        if 2 * counts.max() >= len(seqs):
            # Of groups with equally many of the ring's claims, the smaller.
            best = min(np.flatnonzero(counts == counts.max()), key=lambda g: n_events[g])
            tally.see(ring, counts[best] / n_events[best])
    tally.largest = max(tally.largest, int(n_events.max()))


def judge_list(tally: Tally, graph: Graph, groups: Groups, score: np.ndarray, fraud: np.ndarray) -> None:
    """Count the false groups among those listed first. score, fraud: of each active event."""
    n_events = groups.table["n_events"]
    claims = graph.event_decided & (groups.event_group >= 0)
    by_group = groups.event_group[claims]
    risk = np.bincount(by_group, weights=score[claims], minlength=len(groups)) / np.maximum(n_events, 1)
    share = np.bincount(by_group, weights=fraud[claims], minlength=len(groups)) / np.maximum(n_events, 1)
    rows = np.flatnonzero((n_events >= 3) & (groups.table["n_entities"] >= 2))
    listed = rows[np.argsort(-risk[rows], kind="stable")[:LISTED]]
    tally.false.append(float((share[listed] < 0.5).mean()))


def judge_scores(
    tally: Tally, graph: Graph, score: np.ndarray, fraud: np.ndarray, due: dict[tuple[int, str], np.ndarray]
) -> None:
    claims = np.flatnonzero(graph.event_decided)
    chosen = claims[np.argsort(-score[claims], kind="stable")[: max(1, int(TOP_SHARE * len(claims)))]]
    chosen = chosen[score[chosen] > 0.0]
    for ring, seqs in due.items():
        if 2 * np.isin(seqs, graph.event_key[chosen]).sum() >= len(seqs):
            tally.see(ring, float(fraud[chosen].mean()))


def planted(n_events: int, seeds: Sequence[int], *, propagation: bool) -> str:
    """The table of planted rings, and what was measured."""
    settings, tallies, scores = RingSettings(), {}, Tally()
    n_rings, said = 0, []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="ringfence-rings-") as folder:
            world = load_world(Path(folder) / "insurer", n_events, seed)
        methods = methods_for(world.scenario, settings)
        if not propagation:
            del methods[PROPAGATION]
        tallies = tallies or {name: Tally() for name in methods}
        first_ms, last_ms = int(world.known.time_ms[0]), int(world.known.time_ms[-1])
        third = {
            ring: int(world.known.time_ms[np.searchsorted(world.known.seq, seqs[2])])
            for ring, seqs in world.rings.items()
            if len(seqs) > 2
        }
        third = {ring: at for ring, at in third.items() if at + WITHIN_MS <= last_ms}
        n_rings += len(third)
        for tick, as_of_ms in enumerate(range(first_ms + settings.tick_ms, last_ms, settings.tick_ms)):
            lists = tick % LISTED_EVERY == 0 and as_of_ms - first_ms > LISTED_AFTER_MS
            links = links_at(world, as_of_ms)
            due = {
                (seed, ring): world.rings[ring][world.rings[ring] <= links.event_key[-1]]
                for ring, at in third.items()
                if at <= as_of_ms <= at + WITHIN_MS
            }
            if not due and not lists:
                continue
            graph = freeze_for(world.scenario, links, settings, as_of_ms)
            fraud = world.fraud[np.searchsorted(world.known.seq, graph.event_key)]
            began = time.process_time()
            score = birank(graph, fraud_seeds(graph)).event
            scores.seconds.append(time.process_time() - began)
            judge_scores(scores, graph, score, fraud, due)
            for name, method in methods.items():
                began = time.process_time()
                groups = method(graph)
                tallies[name].seconds.append(time.process_time() - began)
                judge_groups(tallies[name], graph, groups, due)
                if lists:
                    judge_list(tallies[name], graph, groups, score, fraud)
        said.append(f"{graph.n_events:,} events, {graph.n_entities:,} entities and {graph.n_links:,} links")
        print(f"seed {seed}: {len(third)} staged rings with a third claim in time", file=sys.stderr, flush=True)
    either = Tally()
    for tally in (next(iter(tallies.values())), scores):
        for ring, purity in tally.purity.items():
            either.see(ring, purity)
    rows = [[name, *tally.row(n_rings)] for name, tally in tallies.items()]
    rows.append([f"BiRank, top {TOP_SHARE:.0%} of claims", *scores.row(n_rings)])
    rows.append(["**rings** or BiRank", *either.row(n_rings)])
    table = [list(COLUMNS), ["---"] * len(COLUMNS), *rows]
    return "\n".join(
        [
            f"{n_events:,} claims a world, seeds {', '.join(map(str, seeds))}: {n_rings} staged rings. Active at the "
            f"end: {'; '.join(said)}.",
            "",
            *("| " + " | ".join(row) + " |" for row in table),
        ]
    )


def write_between_marks(page: Path, text: str) -> None:
    before, mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{page} has no lines {BEGIN} and {END} to write between")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="claims of each simulated insurer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--quick", action="store_true", help="without label propagation, which takes most of the time")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    arguments = parser.parse_args()
    table = planted(arguments.events, arguments.seeds, propagation=not arguments.quick)
    print(table)
    if arguments.write:
        command = shlex.join(["python", "-m", "benchmarks.rings", *sys.argv[1:]])
        write_between_marks(PAGE, f"Written by `{command}`. {table}")


if __name__ == "__main__":
    main()

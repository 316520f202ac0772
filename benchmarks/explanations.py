# SPDX-License-Identifier: Apache-2.0
"""Deletion test of explanations: is what they name what the score hangs on? And what an explanation costs.

    python -m benchmarks.explanations [--events 24000] [--explain 200] [--replayed 30] [--seed 1]
    python -m benchmarks.explanations --workspace DIR     # of a ledger and a champion that holds the network

Explained are the events with the highest scores among those that came after all the release was made from. An
explanation names links and earlier events by what each does *alone*; here several are taken out *together*, which that
does not settle, and beside them as many of the same event's that are drawn at random:

links       two entities: the event is read again by the engine as if it named neither, and scored by everything
neighbours  three sampled events: out of the neighbourhood by its mask, the feature row as it was
history     the same three events, and their labels, out of the ledger: a replay without them, rows and all

Negative is what a deletion lowers the raw score by. Named less drawn is paired by event, with 95 % bootstrap intervals.
Exit code 1 unless links and neighbours lie below zero with theirs; history, of fewer events, is reported.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.explained_insurer import explained_insurer
from ringfence.engine.engine import Engine
from ringfence.engine.without import Reading, read_next, read_without_each, without_entities
from ringfence.ledger.assembly import select, slice_batch
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.left_out import masked, readers_of, stacked_without, without_each
from ringfence.models.seen import Seen
from ringfence.rollout.registry import Registry
from ringfence.scenario.batch import LABEL, Batch
from ringfence.scenario.batches import joined
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import Scorer
from ringfence.scoring.told import told
from ringfence.scoring.whole import Whole, whole_of
from ringfence.workspace import Workspace

FloatArray = NDArray[np.float64]
N_LINKS, N_NEIGHBOURS = 2, 3  # taken out together
LINKS: Final = f"{N_LINKS} links"
MASKED: Final = f"{N_NEIGHBOURS} neighbours, by mask"
HISTORY: Final = f"{N_NEIGHBOURS} neighbours, from history"
MUST_HOLD: Final = (LINKS, MASKED)
RESAMPLES: Final = 2_000


@dataclass
class Deletions:
    """What was lost, in log-odds of the whole stack; a pair (named, drawn) an event."""

    links: list[tuple[float, float]]
    neighbours: list[tuple[float, float]]
    history: list[tuple[float, float]]
    read_s: list[float]
    scored_s: list[float]
    told_s: list[float]

    @property
    def by_name(self) -> dict[str, list[tuple[float, float]]]:
        return {LINKS: self.links, MASKED: self.neighbours, HISTORY: self.history}


def highest(ledger: Ledger, release: Release, seqs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the seqs, ascending, of the events with the n highest scores."""
    engine, scorer = Engine(release.catalogue), Scorer(release)
    found: list[tuple[float, int]] = []
    for batch in ledger.batches(until_seq=int(seqs[-1]), size=8_192):
        wanted = np.isin(batch.seq, seqs)
        rows, near = engine.observe_sampled(batch, wanted, wanted)
        if len(near):
            seen = Seen(rows, near, event_texts(ledger, near.seq))
            found += zip(scorer.score(seen).raw.tolist(), near.seq.tolist(), strict=True)
    return np.array(sorted(seq for _, seq in sorted(found, reverse=True)[:n]), np.int64)


def delete(ledger: Ledger, release: Release, seqs: NDArray[np.int64], *, n_replayed: int, seed: int) -> Deletions:
    """Explain events, delete what is named and as much at random, and ask the ensemble again."""
    rng, scorer, engine = np.random.default_rng(seed), Scorer(release), Engine(release.catalogue)
    found = Deletions([], [], [], [], [], [])
    history = joined(ledger.batches(until_seq=int(seqs[-1])))
    replayed = set(rng.choice(seqs, min(n_replayed, len(seqs)), replace=False).tolist())
    begin = 0
    for place in np.flatnonzero(np.isin(history.seq, seqs)).tolist():
        _fold(engine, slice_batch(history, begin, place))
        begin = place
        event = slice_batch(history, place, place + 1)
        began = time.perf_counter()
        reading = read_without_each(engine, event)
        between = time.perf_counter()
        texts = tuple(text[0] for text in event_texts(ledger, event.seq))
        seen = _seen(reading, texts)
        score = float(scorer.score(seen.part(slice(0, 1))).score[0])
        asked = time.perf_counter()
        time_ms = int(event.time_ms.item())
        whole = whole_of(scorer, reading, event_time_ms=time_ms, rung="full", score=score, texts=texts)
        explained = time.perf_counter()
        told(whole, ledger)
        ended = time.perf_counter()
        found.read_s.append(between - began)
        found.scored_s.append(explained - asked)
        found.told_s.append(ended - explained)
        one = seen.part(slice(0, 1))
        _delete_links(engine, scorer, event, reading, whole, one, rng, found)
        groups = _delete_neighbours(release, reading, whole, one, rng, found)
        if groups is not None and int(event.seq.item()) in replayed:
            changed = [_without_history(scorer, history, place, gone, one) - whole.raw for gone in groups]
            found.history.append((changed[0], changed[1]))
            print(f"  replayed without {len(found.history)}", file=sys.stderr, end="\r", flush=True)
    return found


def _seen(reading: Reading, texts: tuple[str | None, ...]) -> Seen:
    near = reading.neighbourhoods
    assert near is not None
    n = reading.rows.shape[0]
    sampled = SampledArrays(near.events, near.mask, near.nodes)
    return Seen(reading.rows, sampled, tuple([text] * n for text in texts))


def _fold(engine: Engine, batch: Batch) -> None:
    if len(batch):
        engine.observe(batch, want=np.zeros(len(batch), np.bool_))


def _delete_links(
    engine: Engine,
    scorer: Scorer,
    event: Batch,
    reading: Reading,
    whole: Whole,
    one: Seen,
    rng: np.random.Generator,
    found: Deletions,
) -> None:
    if len(reading.entities) < 2 * N_LINKS:
        return  # nearly the same would be drawn as is named
    strongest = [
        (int.from_bytes(link.entity[:8], "big"), int.from_bytes(link.entity[8:], "big")) for link in whole.links
    ]
    drawn = [reading.entities[at] for at in rng.choice(len(reading.entities), N_LINKS, replace=False).tolist()]
    raws = []
    for gone in ((), tuple(strongest[:N_LINKS]), tuple(drawn)):
        left = without_entities(event, gone)
        rows, near = read_next(engine, left)
        assert near is not None
        raws.append(float(scorer.score(Seen(rows, near, one.texts)).raw[0]))
    found.links.append((raws[1] - raws[0], raws[2] - raws[0]))


def _delete_neighbours(
    release: Release, reading: Reading, whole: Whole, one: Seen, rng: np.random.Generator, found: Deletions
) -> list[list[int]] | None:
    near = reading.neighbourhoods
    assert near is not None
    assert one.neighbourhoods is not None
    out = without_each(one.neighbourhoods, near.event_seq[0])
    if len(out.keys) < 2 * N_NEIGHBOURS:
        return None
    named = [neighbour.event_seq for neighbour in whole.neighbours[:N_NEIGHBOURS]]
    drawn = rng.choice(out.keys, N_NEIGHBOURS, replace=False).tolist()
    slots = [np.argwhere(near.mask[0] & np.isin(near.event_seq[0], gone)).tolist() for gone in ([], named, drawn)]
    raw = stacked_without(release.ensemble, one, masked(one.neighbourhoods, [[(s, k) for s, k in g] for g in slots]))
    found.neighbours.append((float(raw[1] - raw[0]), float(raw[2] - raw[0])))
    return [named, drawn]


def _without_history(scorer: Scorer, history: Batch, place: int, gone: list[int], one: Seen) -> float:
    """The raw score of the event at `place`, had some earlier events and their labels never been."""
    before = slice_batch(history, 0, place)
    is_label = (before.kind == LABEL) & np.isin(before.label_event_seq, gone)
    engine = Engine(scorer.release.catalogue)
    _fold(engine, select(before, ~(np.isin(before.seq, gone) | is_label)))
    event = slice_batch(history, place, place + 1)
    return float(scorer.score(Seen(*engine.observe_sampled(event), one.texts)).raw[0])


def line(name: str, pairs: list[tuple[float, float]], seed: int) -> tuple[str, float]:
    """Return a row of the table, and the upper bound of named less drawn."""
    both = np.array(pairs)
    less = both[:, 0] - both[:, 1]
    drawn = np.random.default_rng(seed).choice(less, (RESAMPLES, len(less))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    means = both.mean(axis=0)
    more = float(np.mean(less < 0.0))
    cells = [name, f"{len(less):,}", f"{means[0]:+.3f}", f"{means[1]:+.3f}"]
    cells += [f"{less.mean():+.3f} ({low:+.3f} to {high:+.3f})", f"{100 * more:.0f} %"]
    return f"| {' | '.join(cells)} |", high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="explain the newest events of this one, by its champion")
    parser.add_argument("--events", type=int, default=24_000, help="claims of the simulated insurer")
    parser.add_argument("--explain", type=int, default=200, help="events to explain")
    parser.add_argument("--replayed", type=int, default=30, help="of these, those whose history is replayed without")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as scratch:
        if options.workspace is None:
            ledger, release, seqs = explained_insurer(Path(scratch), n_events=options.events, seed=options.seed)
        else:
            workspace = Workspace(options.workspace)
            scenario = workspace.scenario()
            ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
            release = load_release(workspace.releases_dir / (Registry.read(ledger).champion() or ""))
            seqs = ledger.events(-(2**62)).sort("seq")["seq"].tail(20_000).to_numpy().astype(np.int64)
        if not readers_of(release.ensemble):
            raise SystemExit("no network counts in the score of this release: there are no neighbours to delete")
        chosen = highest(ledger, release, seqs, options.explain)
        found = delete(ledger, release, chosen, n_replayed=options.replayed, seed=options.seed)
    print("| deleted together | events | named | drawn | named less drawn | named lowers it more |")
    print("|---|---|---|---|---|---|")
    rows = {name: line(name, pairs, options.seed) for name, pairs in found.by_name.items() if pairs}
    for row, _ in rows.values():
        print(row)
    for what, took in (("read", found.read_s), ("score", found.scored_s), ("name", found.told_s)):
        p50, p99 = np.percentile(np.array(took[1:]) * 1e3, [50, 99])
        print(f"to {what} one explanation: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    if wrong := failures({name: high for name, (_, high) in rows.items()}):
        raise SystemExit(f"what is named does not lower the score more than what is drawn: {', '.join(wrong)}")


def failures(bounds: dict[str, float]) -> list[str]:
    """Name the deletions that had to lower the score and did not, or were not tried, by their upper bounds."""
    return [name for name in MUST_HOLD if not bounds.get(name, np.inf) < 0.0]


if __name__ == "__main__":
    main()

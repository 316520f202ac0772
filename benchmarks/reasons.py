# SPDX-License-Identifier: Apache-2.0
"""The reasons on an answer against exact TreeSHAP, on events that no model was fitted on.

    python -m benchmarks.reasons                                              # live claims of a simulated insurer
    python -m benchmarks.reasons --workspace DIR --from 2018-08-08 --to 2018-08-15     # a window of any ledger

Of the events that are not approved: how often the first family is the same, how much of the first three groups is
shared, and what each attribution costs a row. Exit code 1 when the first family agrees on less than 90 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.subject import Subject, prepare
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.replay import feature_rows, sampled_batches
from ringfence.ledger.assembly import BatchAssembler
from ringfence.ledger.ledger import Ledger
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.packed import joined
from ringfence.models.seen import Seen
from ringfence.policy.costs import ACTIONS, APPROVE
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import SystemClock
from ringfence.scenario.door import Door
from ringfence.scoring.release import load_release
from ringfence.scoring.scorer import Scorer
from ringfence.workspace import Workspace

LEAST_AGREEMENT = 0.9
TOP = 3


def live_events(subject: Subject, ledger: Ledger, catalogue: Catalogue, n: int) -> tuple[Seen, np.ndarray]:
    """What is seen of `n` claims after the ledger's end, and their amounts (minor units, NaN where missing)."""
    engine = Engine(catalogue)
    for batch in ledger.batches():
        engine.observe(batch, want=np.zeros(len(batch), np.bool_))
    door, assembler = Door(catalogue.scenario, ledger.identity), BatchAssembler(catalogue.scenario)
    now_ms = SystemClock().now_ms()
    amounts = []
    for seq, raw in enumerate(islice(subject.events(n), n), start=ledger.last_seq + 1):
        admission = door.admit(raw, now_ms=now_ms)
        assembler.add_event(seq, admission.event, admission.values)
        amounts.append(np.nan if admission.event.amount_minor is None else float(admission.event.amount_minor))
    batch = assembler.take()
    seen = Seen(engine.observe(batch)) if catalogue.neighbourhoods is None else Seen(*engine.observe_sampled(batch))
    return seen, np.array(amounts)


def window_events(ledger: Ledger, catalogue: Catalogue, since: str, until: str) -> tuple[Seen, np.ndarray]:
    """What is seen of the decided events of a window, and their amounts; dates in UTC, `until` exclusive."""
    from_ms, to_ms = (int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000) for day in (since, until))
    events = ledger.events(from_ms, to_ms, ledger.last_seq).sort("seq")
    amounts = events["amount_minor"].cast(float).fill_null(float("nan")).to_numpy()
    seqs = events["seq"].to_numpy()
    if catalogue.neighbourhoods is None:
        return Seen(feature_rows(ledger, catalogue, seqs).rows), amounts
    parts = [
        (rows, SampledArrays(near.events, near.mask, near.nodes))
        for rows, near in sampled_batches(ledger, catalogue, seqs)
    ]
    return Seen(np.concatenate([rows for rows, _ in parts]), joined([near for _, near in parts])), amounts


def compare(scorer: Scorer, seen: Seen, amounts: np.ndarray, most: int) -> dict[str, Any]:
    """Attribute the events that are not approved twice, and compare."""
    found = scorer.score(seen)
    codes = scorer.release.policy.decide(found.score, amounts, reviews_left=None).codes
    told = np.flatnonzero(codes != APPROVE)[:most]
    ensemble, book = scorer.release.ensemble, scorer.release.reason_book
    ensemble.contributions(seen.part(slice(0, 2)), found.encoded[:2])  # compiled before it is timed
    began = time.perf_counter()
    fast = ensemble.contributions(seen.part(told), found.encoded[told])
    between = time.perf_counter()
    exact = scorer.explain(seen.part(told))
    ended = time.perf_counter()
    same = book.by_family(fast).argmax(axis=1) == book.by_family(exact).argmax(axis=1)
    first_fast = np.argsort(-book.by_group(fast), axis=1, kind="stable")[:, :TOP]
    first_exact = np.argsort(-book.by_group(exact), axis=1, kind="stable")[:, :TOP]
    shared = [len(set(a) & set(b)) / TOP for a, b in zip(first_fast.tolist(), first_exact.tolist(), strict=True)]
    return {
        "events": seen.n,
        "not_approved": int(np.count_nonzero(codes != APPROVE)),
        "compared": told.shape[0],
        "actions": {name: int(np.count_nonzero(codes == code)) for code, name in enumerate(ACTIONS)},
        "features": seen.rows.shape[1],
        "trees": scorer.release.ensemble.gbdt.n_trees,
        "same_first_family": round(float(same.mean()), 4),
        "top_three_overlap": round(float(np.mean(shared)), 4),
        "fast_us_per_row": round((between - began) / told.shape[0] * 1e6, 1),
        "exact_us_per_row": round((ended - between) / told.shape[0] * 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--from", dest="since", help="first day of a window of the ledger")
    parser.add_argument("--to", dest="until", help="the day after it")
    parser.add_argument("--release", help="a release id; the champion by default")
    parser.add_argument("--events", type=int, default=60_000, help="claims in the simulated history")
    parser.add_argument("--live", type=int, default=20_000, help="live claims to score")
    parser.add_argument("--most", type=int, default=2_000, help="compare at most so many events")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as scratch:
        path = options.workspace or Path(scratch) / "workspace"
        subject = None if options.since else prepare(path, n_events=options.events, seed=options.seed)
        workspace = Workspace(path)
        scenario = workspace.scenario()
        ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
        release = load_release(workspace.releases_dir / (options.release or Registry.read(ledger).champion() or ""))
        catalogue = release.catalogue
        if subject is not None:
            seen, amounts = live_events(subject, ledger, catalogue, options.live)
        else:
            seen, amounts = window_events(ledger, catalogue, options.since, options.until)
        found = compare(Scorer(release), seen, amounts, options.most)
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["same_first_family"] >= LEAST_AGREEMENT else 1)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Planted pairs: does the whole release rank the claim inside a ring before its equal beside strangers?

The two claims of a pair are equal in every column and in every count of their own entities; only the wiring of the
claims behind them differs (docs/worlds.md). The insurer's labels get one for each claim of a pair, known a day later;
`ringfence train` sees those of the earlier half of the pairs among all others, and the later half is ranked.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from benchmarks.commands import ringfence
from benchmarks.insurer.releases import said_of
from benchmarks.insurer.work import Work
from benchmarks.insurer.worlds import iso
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.release import load_release
from ringfence.simulate import simulate_motor_claims
from ringfence.workspace import Workspace

N_EVENTS: Final = 20_000
N_PAIRS: Final = 400
SEED: Final = 3


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs of the later half."""

    n: int
    n_taught: int
    right: dict[str, float]  # member -> share of pairs whose ring comes first
    level: dict[str, float]  # member -> share of pairs with equal scores
    seconds: float
    weights: dict[str, float]


def measured_pairs(work: Work, seed: int, *, n_events: int = N_EVENTS, n_pairs: int = N_PAIRS) -> Pairs:
    """Train on the earlier half of the pairs, and rank the later half by every member of the release."""
    path = work.path("topology", f"pairs-{seed}")
    kept = work.read(path, Pairs)
    if kept is not None:
        return kept
    work.step(f"seed {seed}: planted pairs")
    folder = work.folder / "topology" / "workspace"
    pairs = _world(folder, n_events, n_pairs)
    cut_ms = int(np.median(pairs["time_ms"].to_numpy()))
    said = ringfence("train", "-w", str(folder), "--until", iso(cut_ms), "--seed", str(seed))
    here = Workspace(folder)
    scenario = here.scenario()
    release = load_release(Path(said["path"]))
    scores = said_of(Ledger.open(here.ledger_dir(scenario), scenario), release, cut_ms + 1)
    found = ranked(pairs.filter(pl.col("time_ms") > cut_ms), scores)
    weights = dict(zip(release.stack.members, release.stack.weights, strict=True))
    result = Pairs(
        n=pairs.filter(pl.col("time_ms") > cut_ms).height,
        n_taught=pairs.filter(pl.col("time_ms") <= cut_ms).height,
        right={name: share for name, (share, _) in found.items()},
        level={name: share for name, (_, share) in found.items()},
        seconds=said["seconds"],
        weights=weights,
    )
    work.keep(path, result)
    return result


def ranked(pairs: pl.DataFrame, scores: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """Return, per column of scores but the first, the share of pairs with the ring's claim first, and of level ones.

    Parameters
    ----------
    pairs : ring_claim_id, honest_claim_id.
    scores : event_id, and numbers.
    """
    found = {}
    for name in scores.columns[1:]:
        if not scores.schema[name].is_numeric():
            continue
        value = scores.select("event_id", name)
        ring, honest = (
            pairs.select(event_id=f"{side}_claim_id").join(value, on="event_id", how="left", maintain_order="left")[
                name
            ]
            for side in ("ring", "honest")
        )
        first, second = ring.to_numpy(), honest.to_numpy()
        found[name] = (float(np.mean(first > second)), float(np.mean(first == second)))
    return found


def _world(folder: Path, n_events: int, n_pairs: int) -> pl.DataFrame:
    """Simulate, label and import; return the pairs with the moment of their ring's claim."""
    if not (folder / "pairs.parquet").exists():
        shutil.rmtree(folder, ignore_errors=True)
        report = simulate_motor_claims(n_events, SEED, folder, planted_pairs=n_pairs)
        claims = pl.read_parquet(folder / "claims.parquet")
        pairs = pl.read_parquet(folder / "planted_pairs.parquet")
        told = pl.concat(
            [
                pairs.select(claim_id="ring_claim_id", told=pl.lit(1, claims.schema["is_fraud"])),
                pairs.select(claim_id="honest_claim_id", told=pl.lit(0, claims.schema["is_fraud"])),
            ]
        )
        labelled = claims.join(told, on="claim_id", how="left", maintain_order="left").with_columns(
            is_fraud=pl.coalesce("told", "is_fraud"),
            label_time=pl.when(pl.col("told").is_not_null())
            .then(pl.col("claim_time") + pl.duration(days=1))
            .otherwise("label_time"),
        )
        labelled.drop("told").write_parquet(folder / "claims.parquet")
        here = Workspace(folder)
        scenario = here.scenario()
        import_files(here.ledger_dir(scenario), scenario, folder, FakeClock(report.ends_ms + 2 * 86_400_000))
        times = claims.select(ring_claim_id="claim_id", time_ms=pl.col("claim_time").dt.timestamp("ms"))
        pairs.join(times, on="ring_claim_id", how="left").write_parquet(folder / "pairs.parquet")
    return pl.read_parquet(folder / "pairs.parquet")

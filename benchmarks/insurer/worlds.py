# SPDX-License-Identifier: Apache-2.0
"""One simulated insurer as the table needs it: simulated and imported once, split in time, held with its truth.

      warm up       labels known by the cut teach          judged by the truth
   |-----------|---------------------------------------|------------------------|
   0          10 %                                 cut = 80 % of the claims     end

The shocked world is the same insurer, claim by claim, until the day after the cut; from then on there are storage
yards, a fraud that nobody has seen before (docs/worlds.md, `new_pattern`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from benchmarks.insurer.hand_rules import add_rules
from benchmarks.insurer.work import Work
from benchmarks.worlds.judged import WARM_UP_SHARE, Judged
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.simulate import Shock, simulate_motor_claims
from ringfence.workspace import Workspace

UNSEEN_SHARE: Final = 0.004  # of the claims from the day after the cut on
WITHOUT_ENTITIES: Final = ("novelty_gaps", "velocity", "label_risk", "one_hop", "neighbour_risk", "text")
_ZONE_LINE: Final = "    time_zone: Europe/Berlin\n"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """When the examples begin, when the cut is, and when the history ends; ms since 1970."""

    warm_ms: int
    cut_ms: int
    ends_ms: int
    n_claims: int
    n_judged: int
    n_fraud: int  # among the judged
    n_labels: int  # that teach
    n_label_frauds: int


@dataclass(frozen=True)
class Bench:
    """A world on disk."""

    number: int  # its seed
    n_events: int
    fraud_rate: float
    folder: Path  # of its workspace

    @cached_property
    def split(self) -> Split:
        return msgspec.json.decode((self.folder / "split.json").read_bytes(), type=Split)

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace(self.folder)

    def ledger(self) -> Ledger:
        scenario = self.workspace.scenario()
        return Ledger.open(self.workspace.ledger_dir(scenario), scenario)

    def judge(self) -> Judged:
        """Load the world with its truth, split where the base world is split."""
        world = Judged.load(self.folder)
        split = self.split
        world.cut = int(np.searchsorted(world.time_ms, split.cut_ms, side="left"))
        world.trained_on = (world.label_ms < split.cut_ms) & (world.time_ms >= split.warm_ms)
        return world

    def judged(self, world: Judged | None = None) -> pl.DataFrame:
        """Return the claims after the cut: event_id, time_ms, fraud, kind, ring_id, group.

        `group` numbers rings, and every honest claim by itself.
        """
        world = self.judge() if world is None else world
        truth = world.truth.select("claim_id", "fraud", "kind", "ring_id").with_columns(
            time_ms=pl.Series(world.time_ms)
        )
        later = truth[world.cut :].rename({"claim_id": "event_id"})
        return later.with_columns(group=pl.coalesce("ring_id", "event_id").rank("dense").cast(pl.Int64))

    @property
    def until(self) -> str:
        """The cut as `train --until` takes it: the last moment before the first judged claim."""
        return iso(self.split.cut_ms - 1)


def iso(ms: int) -> str:
    return str(pl.Series([ms]).cast(pl.Datetime("ms"))[0].isoformat(timespec="milliseconds")) + "Z"


def base_world(work: Work, number: int, *, n_events: int, fraud_rate: float) -> Bench:
    """Simulate and import a world, or open what an earlier run left."""
    bench = Bench(number, n_events, fraud_rate, work.folder / f"world-{number}" / "base")
    if not (bench.folder / "split.json").exists():
        work.step(f"world {number}: simulating and importing {n_events:,} claims")
        shutil.rmtree(bench.folder, ignore_errors=True)
        report = simulate_motor_claims(n_events, number, bench.folder, fraud_rate=fraud_rate)
        world = Judged.load(bench.folder)
        cut_ms, warm_ms = int(world.time_ms[world.cut]), int(world.time_ms[int(world.n * WARM_UP_SHARE)])
        _import(bench, report.ends_ms)
        teaches = (world.label_ms < cut_ms) & (world.time_ms >= warm_ms)
        split = Split(
            warm_ms=warm_ms,
            cut_ms=cut_ms,
            ends_ms=report.ends_ms,
            n_claims=world.n,
            n_judged=int((world.time_ms >= cut_ms).sum()),
            n_fraud=int(world.fraud[world.time_ms >= cut_ms].sum()),
            n_labels=int(teaches.sum()),
            n_label_frauds=int((teaches & world.label).sum()),
        )
        (bench.folder / "split.json").write_bytes(msgspec.json.encode(split))
    return bench


def shocked_world(work: Work, base: Bench) -> Bench:
    """The same world with storage yards from the day after the cut on."""
    bench = Bench(base.number, base.n_events, base.fraud_rate, base.folder.with_name("shocked"))
    if not (bench.folder / "split.json").exists():
        work.step(f"world {base.number}: simulating and importing it with a pattern that begins after the cut")
        shutil.rmtree(bench.folder, ignore_errors=True)
        cut = pl.Series([base.split.cut_ms]).cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone("Europe/Berlin")
        shock = Shock(name="new_pattern", onset=cut.dt.date()[0] + timedelta(days=1), size=UNSEEN_SHARE)
        report = simulate_motor_claims(
            base.n_events, base.number, bench.folder, fraud_rate=base.fraud_rate, shocks=[shock]
        )
        _import(bench, report.ends_ms)
        (bench.folder / "split.json").write_bytes(msgspec.json.encode(base.split))
    return bench


def _import(bench: Bench, ends_ms: int) -> None:
    add_rules(bench.folder / "ringfence.yaml")
    scenario = bench.workspace.scenario()
    import_files(bench.workspace.ledger_dir(scenario), scenario, bench.folder, FakeClock(ends_ms))


def without_entities(bench: Bench) -> Path:
    """Return a workspace on the same ledger whose features are those of the claim alone."""
    folder = bench.folder.with_name("attributes")
    if not (folder / "ringfence.yaml").exists():
        (folder / "policies").mkdir(parents=True, exist_ok=True)
        shutil.copy(bench.folder / "policies" / "motor-claims.yaml", folder / "policies")
        for name in ("ledger", "state"):
            (bench.folder / name).mkdir(exist_ok=True)
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(bench.folder / name)
        switches = ", ".join(f"{family}: false" for family in WITHOUT_ENTITIES)
        text, _, _ = (bench.folder / "ringfence.yaml").read_text(encoding="utf-8").partition("    rules:\n")
        if _ZONE_LINE not in text:
            raise SystemExit(f"{bench.folder / 'ringfence.yaml'} has no line {_ZONE_LINE.strip()!r}")
        text = text.replace(_ZONE_LINE, f"{_ZONE_LINE}    features: {{{switches}}}\n", 1)
        (folder / "ringfence.yaml").write_text(text, encoding="utf-8")
    return folder

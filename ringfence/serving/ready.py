# SPDX-License-Identifier: Apache-2.0
"""A release made ready to decide: all that a service has of it, so that it goes on with another by exchanging one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from ringfence.engine.engine import Engine
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.outcomes import outcome_of
from ringfence.models.packed import pack
from ringfence.scenario.batch import EVENT, Batch
from ringfence.scenario.clock import Clock
from ringfence.scenario.door import Door
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release
from ringfence.serving.config import ServiceConfig
from ringfence.serving.cycle import Live
from ringfence.serving.errors import ReleaseRefusedError
from ringfence.serving.kept import Kept, KeptRows
from ringfence.serving.reviews import ReviewBudget
from ringfence.serving.rungs import Rungs
from ringfence.serving.telemetry import Telemetry

_RESTART: Final = "stop the service, promote it, and start the service again"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What decides by one release. While it is live the engine's thread owns it, otherwise the thread of the switch."""

    release: Release
    ledger: Ledger  # under the release's scenario
    door: Door
    live: Live
    rungs: Rungs
    kept: KeptRows
    reviews: ReviewBudget

    def shares_state_with(self, other: Ready) -> bool:
        return self.live.engine is other.live.engine

    def catch_up(self) -> int:
        """Fold what the ledger has beyond the state; return how many records those were."""
        n = 0
        for batch in self.ledger.batches(after_seq=self.live.engine.seq):
            fold(self.live.engine, batch, self.kept)
            n += len(batch)
        return n

    def close(self) -> None:
        self.rungs.close()
        self.kept.close()


def made_ready(
    live: Live,
    release: Release,
    ledger: Ledger,
    door: Door,
    state_dir: Path,
    clock: Clock,
    config: ServiceConfig,
    telemetry: Telemetry,
) -> Ready:
    """Make a release ready whose state and models are there: at a start, where nobody else decides yet."""
    scenario, catalogue = release.scenario, live.engine.catalogue
    rungs = Rungs(scenario.name, live.scorer, config, telemetry)
    rungs.rehearse()
    reviews = ReviewBudget(release.policy.reviews_per_day, scenario.time_zone, clock)
    reviews.recover(ledger)
    return Ready(
        release=release,
        ledger=ledger,
        door=door,
        live=live,
        rungs=rungs,
        kept=KeptRows(state_dir, catalogue.spec_hash, len(catalogue.names)),
        reviews=reviews,
    )


def fold(engine: Engine, batch: Batch, kept: KeptRows) -> None:
    """Fold a batch beside the live state; of events in it that wait for a decision, keep what they have here."""
    waiting = kept.lacking(int(batch.seq[0]) - 1, int(batch.seq[-1]))
    want = (batch.kind == EVENT) & (batch.event_type == engine.catalogue.scenario.decided.index)
    want &= np.isin(batch.seq, np.array(list(waiting), np.int64))
    if engine.catalogue.neighbourhoods is None:
        rows, near = engine.observe(batch, want), None
    else:
        rows, near = engine.observe_sampled(batch, want, want)
    if len(rows):
        seqs = batch.seq[want].tolist()
        kept.put(
            (seq, waiting[seq], Kept(row, b"" if near is None else pack(near, at)))
            for at, (seq, row) in enumerate(zip(seqs, rows, strict=True))
        )


def ledger_for(current: Ready, release: Release) -> Ledger:
    """Open the ledger under another release's scenario.

    Raises
    ------
    ReleaseRefusedError
        If that is a scenario which the service cannot go on with between two batches, and back again.
    """
    had, found = _kind(current.release.scenario), _kind(release.scenario)
    for what in had:
        if had[what] != found[what]:
            raise ReleaseRefusedError(release.id, f"its {what}: {found[what]}; of the live one: {had[what]}", _RESTART)
    return Ledger.open(current.ledger.directory, release.scenario)


def _kind(scenario: Scenario) -> dict[str, str]:
    """What two releases must have in common, so that the records of each can be read under the other."""
    return {
        "scenario": scenario.name,
        "decided event type": scenario.decide,
        "event types": ", ".join(event_type.name for event_type in scenario.event_types),
        "roles": ", ".join(f"{role.name} ({role.entity_type})" for role in scenario.roles),
        "durability": scenario.durability,
        "outcome that labels": str(outcome_of(scenario)),
    }

# SPDX-License-Identifier: Apache-2.0
"""A champion like the one before it, whose policy leaves some events to the nightly run."""

from __future__ import annotations

import msgspec

from ringfence.ledger.ledger import Ledger
from ringfence.policy.policy import Route
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import Clock
from ringfence.scoring import Contents, Release, write_release
from ringfence.serving.recovery import champion_of
from ringfence.workspace import Workspace

REALTIME = "amount > 5000"


def promote_routed_release(
    workspace: Workspace, clock: Clock, realtime: str | None = REALTIME, *, reviews_per_day: float | None = None
) -> Release:
    """Promote the champion's models under a policy with (or, without `realtime`, lacking) a route."""
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    base = champion_of(ledger, workspace.releases_dir)
    route = msgspec.UNSET if realtime is None else Route(realtime=realtime, otherwise="batch")
    capacity = msgspec.structs.replace(base.policy.capacity, reviews_per_day=reviews_per_day)
    release = write_release(
        workspace.releases_dir,
        Contents(
            scenario=base.scenario,
            ensemble=base.ensemble,
            calibrator=base.calibrator,
            gbdt_calibrator=base.gbdt_calibrator,
            policy=msgspec.structs.replace(base.policy, route=route, capacity=capacity),
            made=base.manifest.made,
            neighbourhoods=base.catalogue.neighbourhoods,
        ),
    )
    with ledger.writer(clock) as writer:
        registry = Registry.read(ledger)
        registry.register(writer, release.id, digest=release.digest)
        writer.commit()
        Registry.read(ledger).promote(writer, release.id)
        writer.commit()
    return release

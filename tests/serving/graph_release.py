# SPDX-License-Identifier: Apache-2.0
"""A champion whose score counts on a graph network: drawn at random, not trained, so that a test need not wait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ringfence.engine.replay import sampled_batches
from ringfence.ledger.ledger import Ledger
from ringfence.models import Encoder, Stack
from ringfence.models.gnn_branch import GNN, GnnBranch
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.packed import joined
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scoring import Contents, Release, write_release
from ringfence.training.gnn_examples import ArrayExamples
from ringfence.training.samples import sampling_catalogue
from ringfence.workspace import Workspace
from tests.oracles.gnn_networks import untrained

LAST = 4


def promote_graph_release(workspace: Workspace, clock: FakeClock) -> Release:
    """Put a network beside the champion's trees, and make the two the champion."""
    from ringfence.serving.recovery import champion_of

    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    base = champion_of(ledger, workspace.releases_dir)
    seqs = ledger.events(-(2**62)).sort("seq")["seq"].to_numpy().astype(np.int64)
    sampling = sampling_catalogue(base.catalogue, LAST)
    parts = [found for _, found in sampled_batches(ledger, sampling, seqs)]
    near = joined([SampledArrays(part.events, part.mask, part.nodes) for part in parts])
    examples = ArrayExamples(
        near,
        None,
        seats=tuple(seat.name for seat in sampling.seats),
        event_columns=tuple(feature.name for feature in sampling.sample_features),
        seat_columns=tuple(feature.name for feature in sampling.seat_features),
    )
    ensemble = replace(
        base.ensemble,
        branches={**base.ensemble.branches, GNN: GnnBranch(untrained(examples))},
        stack=Stack(members=("gbdt", GNN), weights=(0.7, 0.6), intercept=1.0, centres=(-2.0, -2.5)),
    )
    assert isinstance(base.encoder, Encoder)
    release = write_release(
        workspace.releases_dir,
        Contents(
            scenario=base.scenario,
            ensemble=ensemble,
            calibrator=base.calibrator,
            gbdt_calibrator=base.gbdt_calibrator,
            policy=base.policy,
            made=base.manifest.made,
            neighbourhoods=LAST,
        ),
    )
    with ledger.writer(clock) as writer:
        registry = Registry.read(ledger)
        registry.register(writer, release.id, digest=release.digest)
        writer.commit()
        Registry.read(ledger).promote(writer, release.id)
        writer.commit()
    return release

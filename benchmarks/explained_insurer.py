# SPDX-License-Identifier: Apache-2.0
"""A simulated insurer with a release whose stack counts on the graph network, made in a minute or two.

    |------ fit: trees and network ------|-- stack, calibration --|---- explained ----|
    0                                   .55                      .75                  1

The network takes part because it is put there, by weights that a logistic regression found on events that neither had
seen. Whether it would have earned its place is asked by `ringfence train` and `benchmarks.gnn`, and not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.sample_files import sampled_rows
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.models import Encoder, Ensemble, fit_calibrator, train_gbdt
from ringfence.models.gnn_branch import GNN, GnnBranch
from ringfence.models.seen import Seen
from ringfence.models.stack import BACKBONE, Stack, fit_stack
from ringfence.policy import policy_from_text
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.lookup_files import read_lookup_files
from ringfence.scoring import Contents, Made, Release, write_release
from ringfence.simulate import simulate_motor_claims
from ringfence.training.gnn import train_gnn
from ringfence.training.gnn_examples import FileExamples
from ringfence.workspace import Workspace

LAST: Final = 16
FRAUD_RATE: Final = 0.015  # as in the demo: a small world is to hold enough frauds to learn from
FIT_UNTIL, STACK_UNTIL = 0.55, 0.75  # shares of the events
N_TREES, N_EPOCHS = 150, 10


def explained_insurer(folder: Path, *, n_events: int, seed: int) -> tuple[Ledger, Release, np.ndarray]:
    """Simulate, import, sample, fit, and write the release.

    Returns
    -------
    Ledger and release, and the seqs of the decided events that came after all that it was made from, ascending.
    """
    home = folder / "workspace"
    report = simulate_motor_claims(n_events, seed, home, fraud_rate=FRAUD_RATE)
    workspace = Workspace(home)
    scenario = workspace.scenario()
    import_files(workspace.ledger_dir(scenario), scenario, home, FakeClock(report.ends_ms))
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    catalogue = Catalogue.build(scenario, neighbourhoods=LAST)
    events = ledger.events(-(2**62)).join(ledger.labels(), left_on="seq", right_on="event_seq", how="left").sort("seq")
    fit_ms, stack_ms = (events["event_time_ms"][int(share * events.height)] for share in (FIT_UNTIL, STACK_UNTIL))
    labelled = events.filter(pl.col("known_at_ms") < stack_ms)
    files = sampled_rows(ledger, catalogue, labelled["seq"].to_numpy().astype(np.int64), folder / "samples")
    fraud = labelled["value"].to_numpy().astype(np.int8)
    is_early = (labelled["known_at_ms"] < fit_ms).to_numpy()
    early, late = np.flatnonzero(is_early), np.flatnonzero((labelled["event_time_ms"] >= fit_ms).to_numpy())
    rows = np.concatenate([chunk.rows for chunk in files])
    encoder = Encoder.fit(rows[early], [feature.is_category for feature in catalogue.features])
    encoded = encoder.apply(rows)
    gbdt = train_gbdt(encoded[early], fraud[early], n_trees=N_TREES, seed=seed, categories=encoder.category_columns)
    examples = FileExamples(files, encoder=encoder)
    times = labelled["event_time_ms"].to_numpy()
    network = train_gnn(examples, fraud, times, fit=early, seed=seed, n_epochs=N_EPOCHS, n_threads=2)
    ensemble = Ensemble(encoder=encoder, gbdt=gbdt, branches={GNN: GnnBranch(network.gnn)}, stack=Stack())
    taken = examples.take(late)
    members = {BACKBONE: gbdt.raw(encoded[late]), GNN: network.gnn.raw(taken.sampled, taken.rows)}
    stack = fit_stack(members, fraud[late], (BACKBONE, GNN))
    raw = stack.raw(members)
    made = Made(
        data_digest="0" * 32,
        examples_from_ms=None,
        until_ms=int(stack_ms),
        until_seq=ledger.last_seq,
        n_examples=labelled.height,
        n_fraud=int(fraud.sum()),
        seed=seed,
    )
    policy = (home / "policies" / f"{scenario.name}.yaml").read_text()
    release = write_release(
        workspace.releases_dir,
        Contents(
            scenario=scenario,
            ensemble=Ensemble(encoder=encoder, gbdt=gbdt, branches=ensemble.branches, stack=stack),
            calibrator=fit_calibrator(raw, fraud[late]),
            gbdt_calibrator=fit_calibrator(members[BACKBONE], fraud[late]),
            policy=policy_from_text(policy, where="policy.yaml"),
            made=made,
            lookup_files=read_lookup_files(scenario, home),
            neighbourhoods=LAST,
        ),
    )
    gap = np.abs(release.ensemble.raw(Seen(rows[late], taken.sampled)) - raw).max()
    if gap > 1e-5:
        raise SystemExit(f"the release says other log-odds than its parts, by {gap}")
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(stack.members, stack.weights, strict=True))
    print(
        f"{len(early):,} events to fit on, {int(fraud[early].sum())} of them fraud; {len(late):,} to stack on, "
        f"{int(fraud[late].sum())} of them fraud; weights {weights}"
    )
    after = events.filter(pl.col("event_time_ms") >= stack_ms)["seq"].to_numpy().astype(np.int64)
    return ledger, release, after

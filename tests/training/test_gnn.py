# SPDX-License-Identifier: Apache-2.0
"""Training a graph network: what it can find, that it repeats itself, and that what is exported is what was trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.engine import Catalogue
from ringfence.engine.sample_files import sampled_rows
from ringfence.models import ModelShapeError, TooFewLabelsError
from ringfence.models.encoder import Encoder
from ringfence.models.metrics import roc_auc
from ringfence.training.errors import DeviceError, ExportMismatchError, MissingExtraError
from ringfence.training.folds import Fold, expanding_folds
from ringfence.training.gnn import check_export, train_gnn
from ringfence.training.gnn_crossfit import cross_fit_gnn
from ringfence.training.gnn_examples import FileExamples
from ringfence.training.gnn_options import Device, GnnOptions
from tests.engine.test_snapshot import ListedLedger
from tests.oracles.gnn_networks import TINY, network_and_served, said_by
from tests.oracles.gnn_worlds import drawn_examples, two_hop_world
from tests.oracles.streams import batch_of, claims_scenario, drawn_records

WORLD, FRAUD, TIMES = two_hop_world(1, 700)
EARLY, LATE = np.arange(500), np.arange(500, 700)
QUICK = GnnOptions(
    **TINY, batch=64, most_epochs=12, learning_rate=1e-2, negatives_per_fraud=None, dropout=0.0, prior_strength=5.0
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gather": "attention"},
        {"gather": "attention", "heads": 1, "members": 3},
        {"gather": "recurrent"},
        {"gather": "recurrent", "hops": 1, "members": 1, "roles": ("witness",)},
        {"hops": 1, "last": 3},
        {"hops": 0},
        {"members": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [True, False], ids=["rows", "no rows"])
def test_the_exported_graph_computes_what_the_network_does(changes: dict[str, Any], rows: bool) -> None:
    examples = drawn_examples(1, 64, rows=rows)
    network, gnn = network_and_served(examples, **changes)
    gap = check_export(gnn, lambda prepared: said_by(network, prepared) + 0.25, examples.take(np.arange(64)))
    assert gap <= 1e-5


def test_an_export_that_computes_something_else_is_refused() -> None:
    examples = drawn_examples(2, 8)
    network, gnn = network_and_served(examples)
    with pytest.raises(ExportMismatchError, match="differs from the trained one"):
        check_export(gnn, lambda prepared: said_by(network, prepared), examples.take(np.arange(8)))


@pytest.mark.parametrize("gather", ["gated", "attention", "recurrent"])
def test_two_hops_find_a_signal_that_lies_two_hops_away(gather: Any) -> None:
    options = msgspec.structs.replace(QUICK, gather=gather)
    trained = train_gnn(WORLD, FRAUD, TIMES, fit=EARLY, options=options, seed=1)
    assert roc_auc(FRAUD[LATE], trained.gnn.raw(WORLD.take(LATE).sampled)) > 0.95


@pytest.mark.parametrize("hops", [0, 1])
def test_fewer_hops_find_nothing_there(hops: Any) -> None:
    options = msgspec.structs.replace(QUICK, hops=hops)
    trained = train_gnn(WORLD, FRAUD, TIMES, fit=EARLY, options=options, seed=1)
    assert 0.35 < roc_auc(FRAUD[LATE], trained.gnn.raw(WORLD.take(LATE).sampled)) < 0.65


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    one, same, other = (
        train_gnn(WORLD, FRAUD, TIMES, fit=EARLY, options=QUICK, seed=seed, n_epochs=2).gnn.to_bytes()
        for seed in (3, 3, 4)
    )
    assert one == same
    assert one != other


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    class InterruptedTrainingError(Exception):
        pass

    def interrupt(done: int, total: int, later_loss: float) -> None:
        if done == 2:
            raise InterruptedTrainingError

    checkpoint = tmp_path / "made" / "gnn.pt"
    passes: list[int] = []
    call: dict[str, Any] = {"fit": EARLY, "options": QUICK, "seed": 5, "n_epochs": 4}
    with pytest.raises(InterruptedTrainingError):
        train_gnn(WORLD, FRAUD, TIMES, **call, checkpoint=checkpoint, progress=interrupt)
    resumed = train_gnn(
        WORLD, FRAUD, TIMES, **call, checkpoint=checkpoint, progress=lambda done, total, loss: passes.append(done)
    )
    assert passes == [3, 4]
    assert resumed.gnn.to_bytes() == train_gnn(WORLD, FRAUD, TIMES, **call).gnn.to_bytes()


def test_a_checkpoint_of_another_call_is_left_alone(tmp_path: Path) -> None:
    checkpoint = tmp_path / "gnn.pt"
    call: dict[str, Any] = {"fit": EARLY, "options": QUICK, "n_epochs": 1}
    train_gnn(WORLD, FRAUD, TIMES, **call, seed=5, checkpoint=checkpoint)
    other = train_gnn(WORLD, FRAUD, TIMES, **call, seed=6, checkpoint=checkpoint)
    assert other.gnn.to_bytes() == train_gnn(WORLD, FRAUD, TIMES, **call, seed=6).gnn.to_bytes()
    checkpoint.write_bytes(b"damaged")
    again = train_gnn(WORLD, FRAUD, TIMES, **call, seed=6, checkpoint=checkpoint)
    assert again.gnn.to_bytes() == other.gnn.to_bytes()


def test_training_stops_when_the_later_window_gains_no_more() -> None:
    noise = np.random.default_rng(1).permutation(FRAUD)
    options = msgspec.structs.replace(QUICK, patience=2, most_epochs=40)
    trained = train_gnn(WORLD, noise, TIMES, fit=EARLY, later=LATE, options=options, seed=1)
    assert len(trained.epochs) < 40
    assert trained.epochs[trained.best_epoch - 1].later_loss == min(epoch.later_loss for epoch in trained.epochs)


def test_sampling_legit_examples_leaves_the_level_of_the_scores() -> None:
    rare = np.where(np.cumsum(FRAUD) % 4 == 0, FRAUD, 0).astype(np.int8)
    kept = np.flatnonzero((rare == 1) | (FRAUD == 0))
    for negatives in (None, 2.0):
        options = msgspec.structs.replace(QUICK, negatives_per_fraud=negatives, hops=0, most_epochs=8)
        trained = train_gnn(WORLD, rare, TIMES, fit=kept, options=options, seed=1, n_epochs=8)
        said = 1.0 / (1.0 + np.exp(-trained.gnn.raw(WORLD.take(kept).sampled)))
        assert said.mean() == pytest.approx(rare[kept].mean(), rel=0.25)


def test_a_residual_network_learns_what_the_other_model_lacks() -> None:
    odds = 4.0 * FRAUD - 2.0  # the other model knows all there is to know: what is left is chance
    drawn = (np.random.default_rng(77).random(len(FRAUD)) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    spread = {}
    for name, offset in (("all", np.full(len(FRAUD), -0.8)), ("nothing", odds)):
        gnn = train_gnn(WORLD, drawn, TIMES, fit=EARLY, offset=offset, options=QUICK, seed=1, n_epochs=4).gnn
        said = gnn.raw(WORLD.take(LATE).sampled)
        assert gnn.is_residual
        spread[name] = abs(said[FRAUD[LATE] == 1].mean() - said[FRAUD[LATE] == 0].mean())
    assert spread["all"] > 2.0
    assert spread["nothing"] < 0.7


def test_out_of_fold_scores_are_made_by_networks_of_the_past() -> None:
    folds = expanding_folds(TIMES, TIMES, FRAUD, n_blocks=2, first_share=0.5)
    found = cross_fit_gnn(WORLD, FRAUD, folds, options=QUICK, seed=1)
    emitted = np.concatenate([fold.emit for fold in folds])
    assert np.array_equal(np.flatnonzero(found.emitted), np.sort(emitted))
    assert roc_auc(FRAUD[emitted], found.raw[emitted]) > 0.95
    assert found.n_epochs == int(np.argmin(found.log_loss)) + 1
    # Labels of a block have no part in its scores, but for the number of epochs: with one epoch, none at all.
    once = msgspec.structs.replace(QUICK, most_epochs=1)
    turned = FRAUD.copy()
    turned[folds[-1].emit] = 1 - turned[folds[-1].emit]
    one, other = (cross_fit_gnn(WORLD, labels, folds, options=once, seed=1).raw for labels in (FRAUD, turned))
    steps = (one - other)[folds[-1].emit]  # the base rate of all examples is another one
    assert np.allclose(steps, steps[0])


def test_a_residual_is_cross_fitted_where_the_other_model_has_scores() -> None:
    offset = np.full(len(FRAUD), -0.8)
    offset[:200] = np.nan
    folds = [
        Fold(fit=np.arange(200), emit=np.arange(200, 400), start_ms=0, end_ms=0, label_delay=True),
        Fold(fit=np.arange(400), emit=np.arange(400, 600), start_ms=0, end_ms=0, label_delay=True),
    ]
    found = cross_fit_gnn(WORLD, FRAUD, folds, offset=offset, options=QUICK, seed=1)
    assert np.array_equal(np.flatnonzero(found.emitted), np.arange(400, 600))


def test_examples_from_files_give_the_network_of_examples_in_memory(tmp_path: Path) -> None:
    scenario = claims_scenario(features={"velocity": False, "one_hop": False})
    catalogue = Catalogue.build(scenario, neighbourhoods=4)
    batch = batch_of(drawn_records(9, 400), scenario)
    decided = batch.seq[(batch.kind == 0) & (batch.event_type == 0)]
    files = sampled_rows(ListedLedger(batch), catalogue, decided, tmp_path / "samples", chunk_events=50)
    rows = np.concatenate([chunk.rows for chunk in files])
    encoder = Encoder.fit(rows, [feature.is_category for feature in catalogue.features])
    fraud = (np.random.default_rng(2).random(len(decided)) < 0.3).astype(np.int8)
    times = np.arange(len(decided))
    options = msgspec.structs.replace(QUICK, negatives_per_fraud=1.5)
    streamed = FileExamples(files, encoder=encoder)
    beside = FileExamples(files, rows=encoder.apply(rows), categories=encoder.category_columns)
    bare = FileExamples(files, reads_rows=False)
    fit = np.arange(0, len(decided), 2)
    one, other = (
        train_gnn(examples, fraud, times, fit=fit, options=options, n_epochs=1).gnn for examples in (streamed, beside)
    )
    assert one.to_bytes() == other.to_bytes()
    taken = bare.take(np.array([3, 49, 50, 120]))
    assert taken.rows is None
    whole = streamed.take(np.arange(len(decided)))
    assert np.array_equal(taken.sampled.events, whole.sampled.events[[3, 49, 50, 120]])
    assert streamed.take(np.empty(0, np.int64)).sampled.mask.shape[0] == 0


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, Any] = sys.modules
    for name in ("ringfence.training.gnn_run", "ringfence.training.gnn_network"):
        monkeypatch.delitem(modules, name, raising=False)
    monkeypatch.setitem(modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"needs torch.*pip install 'ringfence\[gnn\]'"):
        train_gnn(WORLD, FRAUD, TIMES, fit=EARLY)


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(TooFewLabelsError):
        train_gnn(WORLD, np.zeros_like(FRAUD), TIMES, fit=EARLY)
    with pytest.raises(ModelShapeError, match="fraud of shape"):
        train_gnn(WORLD, FRAUD[:5], TIMES, fit=EARLY)
    with pytest.raises(ValueError, match="not a multiple"):
        GnnOptions(width=10, heads=4)


def test_a_device_that_is_not_there_is_told() -> None:
    import torch

    absent: Device = "mps" if torch.cuda.is_available() else "cuda"  # no machine has both
    with pytest.raises(DeviceError, match=f"device '{absent}' is not available"):
        train_gnn(WORLD, FRAUD, TIMES, fit=EARLY, options=QUICK, device=absent)

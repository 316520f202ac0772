# SPDX-License-Identifier: Apache-2.0
"""The sequence model: what only an order tells, events of other types, and entities that have too few."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine
from ringfence.models.branches import SEQUENCE, STORED
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.metrics import roc_auc
from ringfence.models.seen import Seen
from ringfence.scoring.reasons import branch_sentence
from ringfence.training.examples import Examples
from ringfence.training.fitting import fit
from ringfence.training.gnn_examples import ArrayExamples
from ringfence.training.gnn_learner import GnnLearner
from ringfence.training.gnn_options import GnnOptions
from ringfence.training.learners import beside_trees
from ringfence.training.samples import sampled
from ringfence.training.sequence import median_lengths, sequence_options, sequence_roles, why_no_sequence
from tests.engine.test_snapshot import ListedLedger
from tests.oracles.gnn_worlds import EVENT_COLUMNS, SEAT_COLUMNS
from tests.oracles.streams import (
    CHANGE,
    CLAIMANT,
    DAY,
    SHOP,
    START,
    Happening,
    Record,
    Truth,
    batch_of,
    claims_scenario,
)

SCENARIO = claims_scenario(sequence=True)
CATALOGUE = Catalogue.build(SCENARIO, neighbourhoods=4, only=())
N, N_EARLY = 600, 400


def examples_of(records: list[Record], wanted: list[int]) -> ArrayExamples:
    """Observe records and keep the neighbourhoods of some."""
    batch = batch_of(records, SCENARIO)
    is_wanted = np.zeros(len(records), np.bool_)
    is_wanted[wanted] = True
    _, found = Engine(CATALOGUE).observe_sampled(batch, np.zeros(len(records), np.bool_), is_wanted)
    return ArrayExamples(
        SampledArrays(found.events, found.mask, found.nodes),
        None,
        seats=tuple(seat.name for seat in CATALOGUE.seats),
        event_columns=EVENT_COLUMNS,
        seat_columns=SEAT_COLUMNS,
    )


def world(seed: int) -> tuple[list[Record], list[int], NDArray[np.int8]]:
    """Return records, which of them are examples, and whether these are fraud.

    Plant fraud in an order: a large claim, a small one, then another large one; legit claims have any other order.

    All claims lie ten to twelve days apart, so that neither a time nor a mean tells.
    """
    rng = np.random.default_rng(seed)
    fraud = (rng.random(N) < 0.4).astype(np.int8)
    records: list[Record] = []
    wanted = []
    for i in range(N):
        orders = [(9_000, 100, 9_000), (9_000, 9_000, 100), (100, 9_000, 9_000)]
        amounts = orders[0] if fraud[i] else orders[int(rng.integers(1, 3))]
        at = START + 60 * i * DAY
        for step, amount in enumerate((*amounts, 500)):
            if step == 3:
                wanted.append(len(records))
            at += int(rng.integers(10, 13)) * DAY
            records.append(Happening(at, ((CLAIMANT, i), (SHOP, 10_000 * step + i)), amount + int(rng.integers(50))))
    return records, wanted, fraud


def times_of(records: list[Record], wanted: list[int]) -> NDArray[np.int64]:
    return np.array([records[at].time_ms for at in wanted])


def labelled(records: list[Record], wanted: list[int], fraud: NDArray[np.int8]) -> Examples:
    """Examples whose labels were known at once."""
    times_ms = times_of(records, wanted)
    return Examples(
        seq=np.array(wanted) + 1,
        event_id=(),
        event_time_ms=times_ms,
        known_at_ms=times_ms,
        settled_at_ms=times_ms,
        amount_minor=np.zeros(N, np.int64),
        fraud=fraud,
        until_seq=len(records),
        n_unlabelled=0,
    )


def quick(**changes: object) -> GnnOptions:
    tiny = {"members": 1, "width": 12, "row_width": 4, "head_width": 8, "batch": 64, "most_epochs": 6}
    calm = {"learning_rate": 2e-2, "negatives_per_fraud": None, "dropout": 0.0, "prior_strength": 5.0}
    return msgspec.structs.replace(sequence_options(N, sequence_roles(SCENARIO)), **{**tiny, **calm, **changes})


def test_a_recurrent_unit_finds_what_only_the_order_tells() -> None:
    pytest.importorskip("torch", reason="a network is trained with PyTorch")
    from ringfence.training.gnn import train_gnn

    records, wanted, fraud = world(1)
    examples, times_ms = examples_of(records, wanted), times_of(records, wanted)
    later = np.arange(N_EARLY, N)
    found = {}
    for gather in ("recurrent", "gated"):
        # Without the time of an event a mean cannot know which came first; the order is all there is.
        blind = [at for at, name in enumerate(EVENT_COLUMNS) if name in ("gap", "gap_log")]
        examples.sampled.events[..., blind] = 0.0
        trained = train_gnn(examples, fraud, times_ms, fit=np.arange(N_EARLY), options=quick(gather=gather), n_epochs=8)
        assert trained.gnn.inputs.seats == ("claimant",)
        found[gather] = roc_auc(fraud[later], trained.gnn.raw(examples.take(later).sampled))
    assert found["recurrent"] > 0.95
    assert found["gated"] < 0.7


def test_an_event_of_another_type_is_told_from_a_decided_one() -> None:
    pytest.importorskip("torch", reason="a network is trained with PyTorch")
    from ringfence.training.gnn import train_gnn

    rng = np.random.default_rng(2)
    fraud = (rng.random(N) < 0.4).astype(np.int8)
    records: list[Record] = []
    wanted = []
    for i in range(N):  # as many events before either; of a fraud one is a change of the policy
        at = START + 9 * i * DAY
        kinds = [0, CHANGE] if fraud[i] else [0, 0]
        for step, kind in enumerate(kinds):
            links = ((CLAIMANT, i),) if kind == CHANGE else ((CLAIMANT, i), (SHOP, 2 * i + step))
            records.append(Happening(at + step * DAY, links, None, kind))
        wanted.append(len(records))
        records.append(Happening(at + 3 * DAY, ((CLAIMANT, i), (SHOP, 2 * N + i)), None))
    examples = examples_of(records, wanted)
    times_ms = times_of(records, wanted)
    examples.sampled.nodes[..., [at for at, name in enumerate(SEAT_COLUMNS) if name != "present"]] = 0.0
    trained = train_gnn(examples, fraud, times_ms, fit=np.arange(N_EARLY), options=quick(), n_epochs=6)
    assert trained.gnn.inputs.n_types == 1
    later = np.arange(N_EARLY, N)
    assert roc_auc(fraud[later], trained.gnn.raw(examples.take(later).sampled)) > 0.99


def test_a_release_scores_with_the_sequence_that_its_stack_counts_on(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="a network is trained with PyTorch")
    records, wanted, fraud = world(3)
    ledger, examples = ListedLedger(batch_of(records, SCENARIO)), labelled(records, wanted, fraud)
    rows = np.random.default_rng(1).normal(size=(N, 2))
    with sampled(ledger, CATALOGUE, examples.seq, fraud, tmp_path, last=4) as samples:
        learner = GnnLearner(samples, name=SEQUENCE, options=quick())
        fitted = fit(rows, examples, is_category=[False, False], seed=1, learners=[learner])
        seen = Seen(rows, samples.take(np.arange(N)))
    ensemble = fitted.ensemble
    assert ensemble.stack.weight_of(SEQUENCE) > 0.0
    assert roc_auc(fraud, ensemble.raw(seen)) > 0.9
    stored = STORED[SEQUENCE].read(ensemble.branches[SEQUENCE].to_bytes())
    assert np.array_equal(stored.raw(seen, rows), ensemble.branches[SEQUENCE].raw(seen, rows))
    assert branch_sentence(SEQUENCE, ("claimant",)).startswith("What went before")


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ({}, "no role is declared"),
        ({"card": 9.5}, "the median card has 9.5 events, it takes 10"),
        ({"card": 9.5, "shop": 10.0}, ""),
    ],
)
def test_entities_with_few_events_are_a_reason_not_to_try(lengths: dict[str, float], told: str) -> None:
    assert why_no_sequence(lengths).startswith(told)
    assert bool(why_no_sequence(lengths)) == bool(told)


def test_a_training_says_why_it_tries_no_sequence(tmp_path: Path) -> None:
    records, wanted, fraud = world(4)
    ledger, examples = ListedLedger(batch_of(records, SCENARIO)), labelled(records, wanted, fraud)
    stages: list[str] = []
    with beside_trees(
        ledger,
        CATALOGUE,
        examples.seq,
        examples,
        np.zeros((N, 1)),
        without=("gnn",),
        folder=tmp_path,
        report=lambda stage, done, total: stages.append(stage),
    ) as beside:
        assert beside.left_out[SEQUENCE] == "the median claimant has 4 events, it takes 10"
        assert SEQUENCE not in [learner.name for learner in beside.learners]
    assert "sampling" not in stages  # nobody reads neighbourhoods


def test_the_median_entity_counts_its_events_of_every_type() -> None:
    # Claimant 0: three claims and a change; 1: one claim and two changes; 2: two claims; 3: changes alone.
    records: list[Record] = [
        *(Happening(START + i, ((CLAIMANT, who), (SHOP, 9)), 5) for i, who in enumerate((0, 0, 0, 1, 2, 2))),
        *(Happening(START + 10 + i, ((CLAIMANT, who),), None, CHANGE) for i, who in enumerate((0, 1, 1, 3, 3, 3, 3))),
        Truth(0, START + 99, 1),
    ]
    ledger = ListedLedger(batch_of(records, SCENARIO))
    assert median_lengths(ledger, CATALOGUE) == {"claimant": 3.0}
    assert median_lengths(ledger, CATALOGUE, until_seq=6) == {"claimant": 2.0}
    assert median_lengths(ledger, Catalogue.build(claims_scenario(), neighbourhoods=4, only=())) == {}


def test_a_sequence_without_entities_has_length_zero() -> None:
    records: list[Record] = [Happening(START, ((SHOP, 1),), 5)]
    assert median_lengths(ListedLedger(batch_of(records, SCENARIO)), CATALOGUE) == {"claimant": 0.0}

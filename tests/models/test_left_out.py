# SPDX-License-Identifier: Apache-2.0
"""Leave-one-out of sampled events: one batch says what they say one by one, and what is named matters."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.models import Encoder, Ensemble, Stack
from ringfence.models.gnn_branch import GnnBranch
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.left_out import masked, readers_of, stacked_without, without_each
from ringfence.models.seen import Seen
from tests.oracles.gnn_networks import untrained
from tests.oracles.gnn_worlds import drawn_examples, drawn_rows, drawn_sampled

GNN = untrained(drawn_examples(1, 200))
ROWS = drawn_rows(2, 60)
SAMPLED = drawn_sampled(2, 60)
ENSEMBLE = Ensemble(
    encoder=Encoder.fit(ROWS, [False] * ROWS.shape[1]),
    gbdt=None,
    branches={"gnn": GnnBranch(GNN)},
    stack=Stack(members=("gnn",), weights=(0.7,), intercept=0.2, centres=(-1.0,)),
)


def one_of(at: int) -> Seen:
    part = slice(at, at + 1)
    return Seen(ROWS[part], SampledArrays(SAMPLED.events[part], SAMPLED.mask[part], SAMPLED.nodes[part]))


def distinct_keys(at: int) -> np.ndarray:
    return np.arange(SAMPLED.mask[at].size, dtype=np.int64).reshape(SAMPLED.mask[at].shape) + 100


@pytest.mark.parametrize("at", range(8))
def test_the_batch_equals_leaving_out_one_by_one(at: int) -> None:
    seen = one_of(at)
    out = without_each(seen.neighbourhoods, distinct_keys(at))
    together = stacked_without(ENSEMBLE, seen, out.sampled)
    assert together[0] == pytest.approx(ENSEMBLE.raw(seen)[0], abs=1e-6)
    places = np.argwhere(SAMPLED.mask[at])
    assert out.keys.tolist() == [int(distinct_keys(at)[seat, slot]) for seat, slot in places]
    assert out.n_sampled == len(places) == len(out.first)
    for place, (seat, slot) in enumerate(places.tolist()):
        mask, events = SAMPLED.mask[at : at + 1].copy(), SAMPLED.events[at : at + 1].copy()
        mask[0, seat, slot] = False
        events[0, seat, slot] = np.nan  # not looked at
        alone = ENSEMBLE.raw(Seen(seen.rows, SampledArrays(events, mask, seen.neighbourhoods.nodes)))
        assert together[1 + place] == pytest.approx(alone[0], abs=1e-6)
        assert out.first[place] == (seat, slot)


def test_an_event_that_was_sampled_twice_is_taken_out_of_all_its_seats() -> None:
    mask = np.ones((1, 2, 3), np.bool_)
    sampled = SampledArrays(np.ones((1, 2, 3, 1), np.float32), mask, np.ones((1, 2, 1), np.float32))
    out = without_each(sampled, np.array([[9, 8, 7], [8, 5, 3]]))
    assert out.keys.tolist() == [9, 8, 7, 5, 3]
    assert out.seats == ((0,), (0, 1), (0,), (1,), (1,))
    assert out.sampled.mask[2].tolist() == [[True, False, True], [False, True, True]]
    assert not out.sampled.events[2][~out.sampled.mask[2]].any()


def test_of_many_the_newest_of_every_seat_are_taken_out_and_all_are_counted() -> None:
    sampled = SampledArrays(
        np.ones((1, 3, 4, 1), np.float32), np.ones((1, 3, 4), np.bool_), np.ones((1, 3, 1), np.float32)
    )
    out = without_each(sampled, np.arange(12).reshape(3, 4), most=6)
    assert (out.keys.tolist(), out.n_sampled) == ([0, 1, 4, 5, 8, 9], 12)


def test_nobody_sampled_leaves_nothing_to_take_out() -> None:
    nothing = SampledArrays(np.zeros((1, 2, 3, 1), np.float32), np.zeros((1, 2, 3), np.bool_), np.zeros((1, 2, 1)))
    out = without_each(nothing, np.zeros((2, 3), np.int64))
    assert (out.n_sampled, out.sampled.mask.shape[0], out.first) == (0, 1, ())


def test_a_branch_without_weight_reads_for_nobody() -> None:
    mute = Ensemble(
        encoder=ENSEMBLE.encoder,
        gbdt=None,
        branches=ENSEMBLE.branches,
        stack=Stack(members=("gnn",), weights=(0.0,)),
    )
    assert (readers_of(ENSEMBLE), readers_of(mute)) == (("gnn",), ())


def test_taking_out_the_named_events_together_lowers_the_score_more_than_others_do() -> None:
    # Each is named by what it does alone; taken out are three at once, which that does not settle.
    rng = np.random.default_rng(5)
    more = []
    for at in range(60):
        seen = one_of(at)
        out = without_each(seen.neighbourhoods, distinct_keys(at))
        if out.n_sampled < 6:
            continue
        change = stacked_without(ENSEMBLE, seen, out.sampled)
        named = np.argsort(change[1:], kind="stable")[:3]
        drawn = rng.choice(out.n_sampled, 3, replace=False)
        both = masked(seen.neighbourhoods, [[out.first[i] for i in group] for group in (named, drawn)])
        lower = stacked_without(ENSEMBLE, seen, both)
        more.append(lower[1] - lower[0])
    low, high = np.percentile(rng.choice(more, (500, len(more))).mean(axis=1), [2.5, 97.5])
    assert len(more) > 30
    assert 0.0 < low < high

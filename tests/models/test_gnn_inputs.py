# SPDX-License-Identifier: Apache-2.0
"""What a graph network reads: the scale is that of training, and nothing stands where nothing was."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.models import ModelShapeError
from ringfence.models._kernels_gnn import MOST
from ringfence.models.gnn_inputs import MOST_CODES, GnnInputs, Prepared, SampledArrays
from tests.oracles.gnn_worlds import (
    EVENT_COLUMNS,
    N_FEATURES,
    PRESENT,
    SEAT_COLUMNS,
    SEATS,
    drawn_examples,
    drawn_rows,
    drawn_sampled,
    inputs_of,
    prepared_twin,
)

FITTED = drawn_examples(1, 300)
INPUTS = inputs_of(FITTED)


def flat(prepared: Prepared) -> Any:
    return np.concatenate([part.reshape(part.shape[0], -1) for part in prepared], axis=1)


@pytest.mark.parametrize("changes", [{}, {"last": 3}, {"hops": 1}, {"hops": 0}])
def test_inputs_equal_their_slow_twin(changes: dict[str, Any]) -> None:
    inputs = inputs_of(FITTED, **changes)
    sampled, rows = drawn_sampled(2, 25), drawn_rows(2, 25)
    assert np.allclose(flat(inputs.prepare(sampled, rows)), prepared_twin(inputs, sampled, rows), atol=1e-5)


def test_an_event_alone_is_prepared_to_the_same_bits_as_in_a_batch() -> None:
    sampled, rows = drawn_sampled(3, 20), drawn_rows(3, 20)
    together = flat(INPUTS.prepare(sampled, rows))
    for at in range(20):
        one = slice(at, at + 1)
        alone = SampledArrays(sampled.events[one], sampled.mask[one], sampled.nodes[one])
        assert flat(INPUTS.prepare(alone, rows[one])).tobytes() == together[one].tobytes()


def test_training_events_have_mean_zero_and_spread_one() -> None:
    prepared = INPUTS.prepare(*FITTED.take(np.arange(300)))
    there = prepared.events[prepared.events[..., 0] == 1.0]
    n_scaled = len(INPUTS.events.columns)
    assert np.allclose(there[:, 1 : 1 + n_scaled].mean(axis=0), 0.0, atol=0.05)
    assert np.allclose(there[:, 1 : 1 + n_scaled].std(axis=0), 1.0, atol=0.05)
    numbers = prepared.numbers[:, : len(INPUTS.numbers)]
    assert np.abs(numbers.mean(axis=0)).max() < 0.3
    assert np.abs(numbers).max() <= 6.0


def test_what_stands_in_empty_slots_and_empty_seats_is_never_read() -> None:
    sampled, rows = drawn_sampled(3, 20), drawn_rows(3, 20)
    empty = sampled.nodes[..., PRESENT] == 0.0
    events, nodes, mask = sampled.events.copy(), sampled.nodes.copy(), sampled.mask.copy()
    events[~mask] = np.nan
    nodes[empty] = np.where(np.arange(len(SEAT_COLUMNS)) == PRESENT, 0.0, np.nan)
    mask[empty] = True
    before, after = INPUTS.prepare(sampled, rows), INPUTS.prepare(SampledArrays(events, mask, nodes), rows)
    assert flat(before).tobytes() == flat(after).tobytes()


def test_only_the_newest_events_are_read_where_more_were_sampled() -> None:
    inputs = inputs_of(FITTED, last=2)
    sampled, rows = drawn_sampled(4, 20), drawn_rows(4, 20)
    cut = SampledArrays(sampled.events[:, :, :2], sampled.mask[:, :, :2], sampled.nodes)
    assert flat(inputs.prepare(sampled, rows)).tobytes() == flat(inputs.prepare(cut, rows)).tobytes()


def test_a_value_beyond_all_that_was_seen_is_bounded() -> None:
    sampled, rows = drawn_sampled(5, 4), drawn_rows(5, 4)
    sampled.events[sampled.mask] = 1e30
    rows[:, 0] = [np.inf, -np.inf, 1e300, -1e300]
    prepared = INPUTS.prepare(sampled, rows)
    assert np.abs(prepared.events).max() <= MOST
    assert np.abs(prepared.numbers).max() <= 6.0


def test_columns_that_say_nothing_are_left_out_and_a_missing_number_has_a_flag() -> None:
    assert [number.column for number in INPUTS.numbers] == [0, 1, 4, 6]  # 2 is constant, 3 never there
    assert [number.has_flag for number in INPUTS.numbers] == [False, True, False, False]
    rows = np.full((1, N_FEATURES), np.nan)
    assert INPUTS.prepare(drawn_sampled(6, 1), rows).numbers.tolist() == [[0.0, 0.0, 0.0, 0.0, 1.0]]


def test_an_unseen_category_shares_the_place_of_all_others() -> None:
    rows = drawn_rows(7, 3)
    rows[:, 5] = [4.0, 250.0, np.nan]
    assert INPUTS.prepare(drawn_sampled(7, 3), rows).codes[:, 0].tolist() == [4, 4, 5]
    many = drawn_rows(7, 3)
    many[:, 5] = [0.0, 200.0, 5.0]
    fitted = GnnInputs.fit(
        drawn_sampled(7, 3), many, seats=SEATS, event_columns=EVENT_COLUMNS, seat_columns=SEAT_COLUMNS, categories=[5]
    )
    assert fitted.n_codes == MOST_CODES


def test_the_two_seats_of_a_role_share_its_parameters() -> None:
    assert INPUTS.seat_role == (0, 1, 1, 2)


def test_hops_decide_which_columns_are_read() -> None:
    read = {hops: inputs_of(FITTED, hops=hops) for hops in (0, 1, 2)}
    names = {hops: {EVENT_COLUMNS[column] for column in inputs.events.columns} for hops, inputs in read.items()}
    assert names[2] - names[1] == {name for name in EVENT_COLUMNS if name.startswith("others")} | {"shared"}
    assert {SEAT_COLUMNS[c] for c in read[2].nodes.columns} - {SEAT_COLUMNS[c] for c in read[1].nodes.columns} == {
        "near_frauds"
    }
    assert (read[0].event_width, read[1].event_width > 0) == (0, True)


def test_inputs_survive_their_own_json() -> None:
    again = msgspec.json.decode(msgspec.json.encode(INPUTS), type=GnnInputs)
    sampled, rows = drawn_sampled(8, 5), drawn_rows(8, 5)
    assert flat(again.prepare(sampled, rows)).tobytes() == flat(INPUTS.prepare(sampled, rows)).tobytes()


def test_arrays_of_another_catalogue_are_refused() -> None:
    sampled, rows = drawn_sampled(9, 4), drawn_rows(9, 4)
    with pytest.raises(ModelShapeError, match="expected \\(n, 4, >= 6, 17\\)"):
        INPUTS.prepare(drawn_sampled(9, 4, last=5), rows)
    with pytest.raises(ModelShapeError, match="expected \\(4, 7\\)"):
        INPUTS.prepare(sampled, rows[:, 1:])
    with pytest.raises(ModelShapeError, match="found shape None"):
        INPUTS.prepare(sampled, None)
    with pytest.raises(ModelShapeError, match="do not go with"):
        INPUTS.prepare(SampledArrays(sampled.events, sampled.mask[:2], sampled.nodes), rows)
    with pytest.raises(ModelShapeError, match="no column 'gap'"):
        GnnInputs.fit(sampled, None, seats=SEATS, event_columns=("x",) * len(EVENT_COLUMNS), seat_columns=SEAT_COLUMNS)
    with pytest.raises(ModelShapeError, match="as many sampled"):
        inputs_of(FITTED, last=7)

# SPDX-License-Identifier: Apache-2.0
"""A graph network as it is served: what must not matter does not, and a damaged file is told."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from ringfence.models import ModelShapeError
from ringfence.models.errors import DamagedNetworkError, MissingRuntimeError
from ringfence.models.gnn import MOST_AT_ONCE, Gnn
from ringfence.models.gnn_inputs import SampledArrays
from tests.oracles.gnn_networks import untrained
from tests.oracles.gnn_worlds import PRESENT, SEAT_COLUMNS, drawn_examples, drawn_rows, drawn_sampled

GATED = untrained(drawn_examples(1, 200))
ATTENTION = untrained(drawn_examples(1, 200), gather="attention")
BOTH = pytest.mark.parametrize("gnn", [GATED, ATTENTION], ids=["gated", "attention"])


@BOTH
def test_an_event_has_the_same_score_alone_and_in_a_batch(gnn: Gnn) -> None:
    n = MOST_AT_ONCE + 40
    sampled, rows = drawn_sampled(2, n), drawn_rows(2, n)
    together = gnn.raw(sampled, rows)
    assert together.shape == (n,)
    assert together.std() > 0.05
    for i in (0, 5, MOST_AT_ONCE - 1, MOST_AT_ONCE, n - 1):
        one = SampledArrays(sampled.events[i : i + 1], sampled.mask[i : i + 1], sampled.nodes[i : i + 1])
        assert gnn.raw(one, rows[i : i + 1])[0] == pytest.approx(together[i], abs=1e-6)


@BOTH
def test_the_order_of_an_entitys_events_does_not_matter(gnn: Gnn) -> None:
    sampled, rows = drawn_sampled(3, 30), drawn_rows(3, 30)
    order = np.random.default_rng(3).permutation(sampled.mask.shape[2])
    turned = SampledArrays(sampled.events[:, :, order], sampled.mask[:, :, order], sampled.nodes)
    assert np.allclose(gnn.raw(turned, rows), gnn.raw(sampled, rows), atol=1e-6)


@BOTH
def test_the_order_of_two_witnesses_does_not_matter_and_that_of_roles_does(gnn: Gnn) -> None:
    sampled, rows = drawn_sampled(4, 30), drawn_rows(4, 30)

    def swapped(order: list[int]) -> SampledArrays:
        return SampledArrays(sampled.events[:, order], sampled.mask[:, order], sampled.nodes[:, order])

    before = gnn.raw(sampled, rows)
    assert np.allclose(gnn.raw(swapped([0, 2, 1, 3]), rows), before, atol=1e-6)
    assert not np.allclose(gnn.raw(swapped([3, 1, 2, 0]), rows), before, atol=1e-3)


@BOTH
def test_garbage_behind_the_mask_does_not_matter(gnn: Gnn) -> None:
    sampled, rows = drawn_sampled(5, 30), drawn_rows(5, 30)
    events, nodes = sampled.events.copy(), sampled.nodes.copy()
    events[~sampled.mask] = np.nan
    nodes[sampled.nodes[..., PRESENT] == 0.0] = np.where(np.arange(len(SEAT_COLUMNS)) == PRESENT, 0.0, 1e9)
    assert gnn.raw(SampledArrays(events, sampled.mask, nodes), rows).tobytes() == gnn.raw(sampled, rows).tobytes()


@BOTH
def test_one_sampled_event_more_matters(gnn: Gnn) -> None:
    sampled, rows = drawn_sampled(6, 200), drawn_rows(6, 200)
    mask = sampled.mask.copy()
    mask[:, 3, 0] = False
    changed = gnn.raw(SampledArrays(sampled.events, mask, sampled.nodes), rows) != gnn.raw(sampled, rows)
    assert np.array_equal(changed, sampled.mask[:, 3, 0])


@BOTH
def test_an_event_of_which_nothing_is_known_has_a_finite_score(gnn: Gnn) -> None:
    sampled = SampledArrays(*(np.zeros_like(part) for part in drawn_sampled(7, 3)))
    assert np.isfinite(gnn.raw(sampled, np.full((3, 7), np.nan))).all()
    assert gnn.raw(drawn_sampled(7, 0), drawn_rows(7, 0)).shape == (0,)


def test_a_network_survives_its_own_bytes() -> None:
    data = GATED.to_bytes()
    again = Gnn.from_bytes(data)
    sampled, rows = drawn_sampled(8, 5), drawn_rows(8, 5)
    assert again.to_bytes() == data
    assert again.raw(sampled, rows).tobytes() == GATED.raw(sampled, rows).tobytes()


def test_one_changed_byte_is_told() -> None:
    data = GATED.to_bytes()
    for at in (0, 20, 45, len(data) // 2, len(data) - 1):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(DamagedNetworkError, match="take the file from the release once more"):
            Gnn.from_bytes(damaged)
    with pytest.raises(DamagedNetworkError):
        Gnn.from_bytes(data[:-1])


def test_a_graph_of_another_kind_is_told() -> None:
    with pytest.raises(DamagedNetworkError, match="onnxruntime is to load its graph"):
        Gnn(GATED.header, b"no graph")


def test_rows_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ModelShapeError, match="expected \\(3, 7\\)"):
        GATED.raw(drawn_sampled(9, 3), drawn_rows(9, 3)[:, :5])


def test_without_onnxruntime_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, Any] = sys.modules
    monkeypatch.setitem(modules, "onnxruntime", None)
    with pytest.raises(MissingRuntimeError, match="pip install onnxruntime"):
        Gnn.from_bytes(GATED.to_bytes())

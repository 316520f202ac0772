# SPDX-License-Identifier: Apache-2.0
"""Rows and state, observed one by one, in bulk and across a restore: equal as bytes, not as numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ringfence.engine import Catalogue, Engine, restore_newest, write_snapshot
from ringfence.engine.engine import empty_state
from ringfence.scenario.batch import Batch
from tests.oracles.streams import batch_of, claims_scenario, cut, drawn_records

SCENARIO = claims_scenario()
CATALOGUE = Catalogue.build(SCENARIO)


def observed(engine: Engine, batch: Batch, cuts: list[int]) -> bytes:
    edges = [0, *cuts, len(batch)]
    return b"".join(engine.observe(cut(batch, begin, end)).tobytes() for begin, end in itertools.pairwise(edges))


@pytest.fixture(scope="module")
def batch() -> Batch:
    # More entities than state starts with room for in logs, so that growth falls into the middle.
    return batch_of(drawn_records(3, 700, n_people=150, n_shops=20), SCENARIO)


@pytest.fixture(scope="module")
def bulk(batch: Batch) -> tuple[bytes, str]:
    engine = Engine(CATALOGUE)
    return engine.observe(batch).tobytes(), engine.state_hash()


def test_rows_observed_one_by_one_equal_rows_in_bulk(batch: Batch, bulk: tuple[bytes, str]) -> None:
    engine = Engine(CATALOGUE)
    assert observed(engine, batch, list(range(1, len(batch)))) == bulk[0]
    assert engine.state_hash() == bulk[1]


@pytest.mark.parametrize("seed", range(3))
def test_rows_do_not_depend_on_how_records_are_batched(batch: Batch, bulk: tuple[bytes, str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    cuts = sorted(int(c) for c in rng.choice(len(batch), size=int(rng.integers(1, 60)), replace=False))
    engine = Engine(CATALOGUE)
    assert observed(engine, batch, cuts) == bulk[0]
    assert engine.state_hash() == bulk[1]


@pytest.mark.parametrize("at", [1, 137, 350, 699])
def test_rows_across_snapshot_and_restore_equal_rows_in_bulk(
    batch: Batch, bulk: tuple[bytes, str], at: int, tmp_path: Path
) -> None:
    engine = Engine(CATALOGUE)
    before = engine.observe(cut(batch, 0, at)).tobytes()
    write_snapshot(engine, tmp_path)
    restored = restore_newest(CATALOGUE, tmp_path)
    assert restored is not None
    assert restored.seq == at
    assert restored.state_hash() == engine.state_hash()
    after = restored.observe(cut(batch, at, len(batch))).tobytes()
    assert before + after == bulk[0]
    assert restored.state_hash() == bulk[1]


def test_growth_in_the_middle_changes_no_row(batch: Batch, bulk: tuple[bytes, str]) -> None:
    cramped = Engine(CATALOGUE, state=empty_state(CATALOGUE, bucket_entries=16, first_log=2))
    n_bytes = cramped.state.table.nbytes
    assert cramped.observe(batch).tobytes() == bulk[0]
    assert cramped.state.table.nbytes > 4 * n_bytes
    assert cramped.state.event_log.shape[0] > 2
    assert cramped.state_hash() == bulk[1]

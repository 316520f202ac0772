# SPDX-License-Identifier: Apache-2.0
"""Neighbourhoods for a training: those that serving sees, within the disk that there is, and gone afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ringfence.engine import Catalogue, Engine
from ringfence.engine.replay import NotDecidedError
from ringfence.engine.sample_files import bytes_per_event
from ringfence.training.samples import Samples, drawn_positions, sampled, sampling_catalogue
from tests.engine.test_snapshot import ListedLedger
from tests.oracles.streams import batch_of, claims_scenario, drawn_records

SCENARIO = claims_scenario()
CATALOGUE = Catalogue.build(SCENARIO)
BATCH = batch_of(drawn_records(9, 240), SCENARIO)
LEDGER = ListedLedger(BATCH)
SEQS = BATCH.seq[(BATCH.kind == 0) & (BATCH.event_type == 0)][5:]
FRAUD = (np.random.default_rng(1).random(len(SEQS) - 20) < 0.2).astype(np.int8)  # the last twenty are no examples
EACH = bytes_per_event(sampling_catalogue(CATALOGUE, 4))
LIVE = Engine(Catalogue.build(SCENARIO, neighbourhoods=4)).observe_sampled(BATCH, None, np.isin(BATCH.seq, SEQS))[1]


def assert_those_of_the_service(samples: Samples, positions: np.ndarray) -> None:
    for at, found in samples.blocks(positions, size=7):
        for name in ("events", "mask", "nodes"):
            assert np.array_equal(getattr(found, name), getattr(LIVE, name)[at]), name


def test_neighbourhoods_of_a_training_are_those_of_the_service(tmp_path: Path) -> None:
    with sampled(LEDGER, CATALOGUE, SEQS, FRAUD, tmp_path / "samples", last=4) as samples:
        assert np.array_equal(samples.drawn, np.arange(len(SEQS)))
        assert_those_of_the_service(samples, np.arange(len(SEQS)))
        assert_those_of_the_service(samples, np.array([3, 4, 60]))
        assert samples.seats == tuple(seat.name for seat in sampling_catalogue(CATALOGUE, 4).seats)


def test_where_disk_is_short_frauds_are_drawn_first_and_the_rest_is_replayed(tmp_path: Path) -> None:
    most = int(FRAUD.sum()) * 2 + 9
    with sampled(LEDGER, CATALOGUE, SEQS, FRAUD, tmp_path, last=4, most_bytes=most * EACH) as samples:
        assert len(samples.drawn) == most
        assert set(np.flatnonzero(FRAUD)) <= set(samples.drawn.tolist())
        assert samples.drawn.max() < len(FRAUD)
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.npy")) <= most * EACH + 1_000
        assert_those_of_the_service(samples, samples.drawn)
        assert_those_of_the_service(samples, np.arange(len(SEQS)))  # a replay
        seen = [at for at, _ in samples.blocks(np.arange(len(SEQS)), size=7)]
        assert np.array_equal(np.concatenate(seen), np.arange(len(SEQS)))
        assert max(map(len, seen)) <= 7


def test_the_same_seed_draws_the_same_legit_examples() -> None:
    one, same, other = (drawn_positions(500, FRAUD, most=60, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(drawn_positions(500, FRAUD, most=0, seed=1)) == 0


def test_files_are_gone_afterwards_and_so_are_those_of_a_killed_training(tmp_path: Path) -> None:
    killed = tmp_path / "tmpkilled"
    killed.mkdir()
    (killed / "lock").touch()
    with sampled(LEDGER, CATALOGUE, SEQS, FRAUD, tmp_path, last=4) as first:
        assert not killed.exists()
        with sampled(LEDGER, CATALOGUE, SEQS, FRAUD, tmp_path, last=4):  # another training at the same time
            pass
        assert_those_of_the_service(first, np.arange(10))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="in the middle"), sampled(LEDGER, CATALOGUE, SEQS, FRAUD, tmp_path, last=4):
        raise RuntimeError("in the middle")
    assert list(tmp_path.iterdir()) == []


def test_a_seq_that_is_no_decided_event_is_told(tmp_path: Path) -> None:
    none = BATCH.seq[BATCH.kind != 0][:1]
    with pytest.raises(NotDecidedError), sampled(LEDGER, CATALOGUE, none, FRAUD[:1], tmp_path, last=4):
        pass

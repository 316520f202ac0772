# SPDX-License-Identifier: Apache-2.0
"""Equal settings give equal rows, whatever the chunk size; another seed gives another world."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.simulate import WorldExistsError, WorldSettingError, WorldSettings, simulate_motor_claims
from ringfence.simulate.calendar import BLOCK
from ringfence.simulate.motor.world import World
from ringfence.simulate.traits import ID_BITS, key_of, scrambled, uniform_of
from tests.simulate.insurer import FRAUD_RATE, N_CLAIMS, SEED, SmallWorld

FILES = ("claims.parquet", "truth.parquet", "truth_rings.parquet", "policy_changes.parquet")


def test_chunk_size_does_not_change_the_rows(world: SmallWorld, tmp_path: Path) -> None:
    again = simulate_motor_claims(N_CLAIMS, SEED, tmp_path, fraud_rate=FRAUD_RATE, chunk_rows=3_001)
    assert again.digest == world.report.digest
    for name in FILES:
        assert pl.read_parquet(tmp_path / name).equals(pl.read_parquet(world.report.output / name)), name


def test_a_block_made_alone_equals_the_same_block_of_the_whole() -> None:
    settings = WorldSettings(n_events=3 * BLOCK, seed=3)
    one, other = World(settings), World(settings)
    whole = list(one.blocks(one.history))
    alone = other.claims(other.history, 1)
    for name, column in vars(alone).items():
        np.testing.assert_array_equal(column, getattr(whole[1], name), err_msg=name)


def test_rows_of_a_seed_change_only_with_the_version(tmp_path: Path) -> None:
    # Fails on purpose when a change moves a single row: then bump WORLD_VERSION and measure docs/worlds.md again.
    report = simulate_motor_claims(1_000, 1, tmp_path)
    assert (report.version, report.digest) == (2, "8b94c98717e078bb8dc1644d2f275c58")


def test_another_seed_gives_another_world(tmp_path: Path) -> None:
    first = simulate_motor_claims(1_000, 1, tmp_path / "first", fraud_rate=FRAUD_RATE)
    second = simulate_motor_claims(1_000, 2, tmp_path / "second", fraud_rate=FRAUD_RATE)
    assert first.digest != second.digest
    ids = [set(pl.read_parquet(tmp_path / name / "claims.parquet")["claim_id"]) for name in ("first", "second")]
    assert not ids[0] & ids[1]


def test_the_smallest_world_has_a_ring_of_every_kind(tmp_path: Path) -> None:
    report = simulate_motor_claims(1_000, 4, tmp_path, fraud_rate=0.05)
    assert report.n_events == 1_000
    assert report.n_rings >= 3


def test_history_ends_when_asked(tmp_path: Path) -> None:
    report = simulate_motor_claims(1_000, 4, tmp_path, days=120, ends=date(2026, 6, 1))
    last = pl.read_parquet(tmp_path / "claims.parquet")["claim_time"].dt.convert_time_zone("Europe/Berlin").max()
    assert str(last)[:10] == "2026-05-31"
    assert report.ends_ms == 1_780_264_800_000  # midnight in Berlin, summer time


def test_progress_ends_at_the_number_of_claims(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    simulate_motor_claims(BLOCK + 5, 1, tmp_path, lambda done, total: calls.append((done, total)))
    assert calls == [(BLOCK, BLOCK + 5), (BLOCK + 5, BLOCK + 5)]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("n_events", 10),
        ("seed", -1),
        ("fraud_rate", 0.9),
        ("days", 7),
        ("investigated", 1.5),
        ("ends", date(1900, 1, 1)),
    ],
)
def test_a_setting_outside_its_bounds_is_named(setting: str, value: object) -> None:
    settings = {"n_events": 1_000, "seed": 1, setting: value}
    with pytest.raises(WorldSettingError, match=r"simulated world: .* is .*; choose a value from"):
        WorldSettings(**settings)  # type: ignore[arg-type]


def test_an_existing_workspace_is_not_overwritten(world: SmallWorld) -> None:
    with pytest.raises(WorldExistsError, match="exists already"):
        simulate_motor_claims(1_000, 1, world.report.output)


def test_printed_numbers_are_distinct_and_traits_are_even() -> None:
    index = np.arange(200_000)
    printed = scrambled(key_of(9, "id/claim"), index)
    assert np.unique(printed).size == index.size
    assert 0 <= int(printed.min()) <= int(printed.max()) < 2**ID_BITS
    assert abs(float(np.corrcoef(index, printed)[0, 1])) < 0.01
    uniform = uniform_of(key_of(9, "trait/sex"), index)
    assert float(uniform.min()) >= 0.0
    assert float(uniform.max()) < 1.0
    assert abs(float(uniform.mean()) - 0.5) < 0.005

# SPDX-License-Identifier: Apache-2.0
"""A world is there whole or not at all, whatever interrupts it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ringfence.simulate import WorldExistsError, WorldSettingError, simulate_motor_claims
from ringfence.simulate.delivery import Delivery

N_CLAIMS = 9_000  # more than one block
SIMULATED = {
    "claims.parquet", "policies", "policy_changes.parquet", "ringfence.yaml", "truth.parquet", "truth_rings.parquet"
}  # fmt: skip


def stop_after_the_first_block(n_done: int, n_in_all: int) -> None:
    raise KeyboardInterrupt


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_interrupted_world_leaves_nothing_and_can_be_made_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        simulate_motor_claims(N_CLAIMS, 1, tmp_path, stop_after_the_first_block, chunk_rows=1_000)
    assert names_in(tmp_path) == set()
    assert simulate_motor_claims(N_CLAIMS, 1, tmp_path).n_events == N_CLAIMS
    assert names_in(tmp_path) == SIMULATED


def test_leftovers_of_a_killed_run_have_names_that_say_so_and_are_written_over(tmp_path: Path) -> None:
    seen: set[str] = set()

    def look(n_done: int, n_in_all: int) -> None:
        seen.update(names_in(tmp_path))

    (tmp_path / "claims.parquet.unfinished").write_bytes(b"half a file")
    simulate_motor_claims(N_CLAIMS, 1, tmp_path, look, chunk_rows=1_000)
    # What a process killed at that moment would have left.
    assert seen == {f"{name}.unfinished" for name in ("policy_changes.parquet", "claims.parquet", "truth.parquet")}
    assert names_in(tmp_path) == SIMULATED
    assert pl.read_parquet(tmp_path / "claims.parquet").height == N_CLAIMS


def test_files_get_their_names_in_the_order_asked_for(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()  # a folder in its place: this name cannot be given
    delivery = Delivery(tmp_path)
    for name in ("first", "second", "third"):
        delivery.path(name).write_text(name)
    with pytest.raises(IsADirectoryError):
        delivery.__exit__(None, None, None)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        "first", "second.unfinished", "third.unfinished",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ringfence.yaml", "claims.parquet", "truth.parquet", "policies/motor-claims.yaml"])
def test_a_file_in_the_place_of_one_of_a_world_is_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(WorldExistsError, match="exists already; choose a folder without a world"):
        simulate_motor_claims(1_000, 1, tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_files_of_others_do_not_hinder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    simulate_motor_claims(1_000, 1, str(tmp_path))
    assert names_in(tmp_path) == SIMULATED | {"notes.txt"}


@pytest.mark.parametrize("below", ["", "new/folder"])
def test_a_file_is_no_folder_to_write_to(below: str, tmp_path: Path) -> None:
    file = tmp_path / "afile"
    file.write_text("mine")
    with pytest.raises(WorldSettingError, match=r"give a folder: .*afile is a file"):
        simulate_motor_claims(1_000, 1, file / below)

# SPDX-License-Identifier: Apache-2.0
"""Digests hide ids from everyone without the key, and keep types apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from ringfence.scenario.errors import IdentityKeyError
from ringfence.scenario.identity import IdentityKey

KEY = IdentityKey(bytes(range(32)))


def test_whole_numbers_are_their_decimals() -> None:
    assert KEY.entity("person", 7) == KEY.entity("person", "7")
    columns = [
        pl.Series([7]),
        pl.Series([7.0]),
        pl.Series(["7"]),
        pl.Series(["7"], dtype=pl.Categorical),
        pl.Series([7]).cast(pl.Decimal(18, 0)),
    ]
    assert {tuple(int(half[0]) for half in KEY.entities("person", column)) for column in columns} == {
        KEY.entity("person", "7")
    }


def test_type_and_key_are_part_of_the_digest() -> None:
    other = IdentityKey(bytes(32))
    digests = {
        KEY.entity("person", "7"),
        KEY.entity("shop", "7"),
        KEY.entity("perso", "n7"),
        other.entity("person", "7"),
    }
    assert len(digests) == 4
    assert KEY.event("claim", "7") != KEY.event("claims", "7")
    assert KEY.token("7") != KEY.token("8")


@pytest.mark.parametrize("column", [pl.Series(["a", None]), pl.Series([""]), pl.Series([1.5]), pl.Series([True])])
def test_column_with_something_that_is_no_id_is_refused(column: pl.Series) -> None:
    with pytest.raises(ValueError, match="no id"):
        KEY.entities("person", column)


def test_key_file_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "identity.key"
    made = IdentityKey.load_or_create(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert IdentityKey.load_or_create(file).entity("person", "7") == made.entity("person", "7")
    assert IdentityKey.load_or_create(tmp_path / "other.key").entity("person", "7") != made.entity("person", "7")


def test_threads_that_start_together_get_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: IdentityKey.load_or_create(tmp_path / "identity.key"), range(32)))
    assert len({key.entity("person", "7") for key in keys}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["identity.key"]


def test_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "identity.key"
    IdentityKey.load_or_create(file)
    file.chmod(0o644)
    with pytest.raises(IdentityKeyError, match="chmod 600"):
        IdentityKey.load_or_create(file)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_key_of_the_wrong_size_is_refused_with_its_file(tmp_path: Path, size: int) -> None:
    file = tmp_path / "identity.key"
    file.write_bytes(b"x" * size)
    file.chmod(0o600)
    with pytest.raises(IdentityKeyError, match=r"identity\.key: .*16 to 64 bytes"):
        IdentityKey.load_or_create(file)

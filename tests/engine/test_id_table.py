# SPDX-License-Identifier: Apache-2.0
"""The id table against a dictionary: buckets that split, keys that leave, directories that double."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.engine import layout as at
from ringfence.engine._kernels_table import fill, find, insert, mix64, remove
from ringfence.engine.id_table import BYTES_PER_ROW, IdTable, new_table, table_of


def found(table: IdTable, keys: list[int]) -> list[int]:
    return [int(find(table, np.uint64(key))) for key in keys]


@pytest.mark.parametrize("bucket_entries", [16, 50, 64])
def test_a_table_equals_a_dictionary_while_keys_come_and_go(bucket_entries: int) -> None:
    rng = np.random.default_rng(bucket_entries)
    table = new_table(2_000, bucket_entries=bucket_entries)
    kept: dict[int, int] = {}
    gone: list[int] = []
    for step in range(1_500):
        if kept and rng.random() < 0.3:
            key = list(kept)[int(rng.integers(len(kept)))]
            remove(table, np.uint64(key))
            del kept[key]
            gone.append(key)
        else:
            key = int(mix64(np.uint64(step)))
            insert(table, np.uint64(key), np.int64(step))
            kept[key] = step
        if step % 50 == 0:
            assert found(table, list(kept)) == list(kept.values())
            assert set(found(table, gone)) <= {-1}
    assert found(table, list(kept)) == list(kept.values())
    assert int(table.buckets["n"].sum()) == len(kept)
    assert int(table.counts[at.TABLE_BUCKETS]) > 4


def test_keys_taken_out_of_a_crowded_bucket_leave_the_others_to_be_found() -> None:
    rng = np.random.default_rng(5)
    table = new_table(40, bucket_entries=64)
    kept: dict[int, int] = {}
    for step in range(800):
        if len(kept) >= 40 or (kept and rng.random() < 0.4):
            key = list(kept)[int(rng.integers(len(kept)))]
            remove(table, np.uint64(key))
            del kept[key]
        else:
            # One bucket and a few homes only, some at its end, so that runs are long and wrap around.
            home = int(rng.choice([1, 2, 3, 62, 63]))
            key = int(mix64(np.uint64(step))) >> 1 & ~0xFFFFFFFF | (home << 32) // 64 + int(rng.integers(1 << 26))
            if key not in kept:
                insert(table, np.uint64(key), np.int64(step))
                kept[key] = step
        assert found(table, list(kept)) == list(kept.values())


def test_each_place_of_the_directory_leads_to_the_keys_that_begin_with_its_bits() -> None:
    rows = np.zeros(700, at.KEY)
    rows["key"] = [int(mix64(np.uint64(i))) for i in range(700)]
    table = new_table(700, bucket_entries=16)
    for slot in range(700):
        insert(table, rows["key"][slot], np.int64(slot))
    depth = 64 - int(table.counts[at.TABLE_SHIFT])
    for place in range(1 << depth):
        bucket = int(table.directory[place])
        own = int(table.buckets["depth"][bucket])
        held = table.entries[bucket]["key"][table.entries[bucket]["slot"] > 0]
        assert {int(key) >> (64 - own) for key in held} <= {place >> (depth - own)}
        assert len(held) == table.buckets["n"][bucket] <= 10


@pytest.mark.parametrize("n", [900, 4_100, 20_000, 65_536, 70_001])
def test_a_table_filled_at_once_finds_what_one_that_grew_finds_and_both_keep_to_their_memory(n: int) -> None:
    rows = np.zeros(n, at.KEY)
    rows["key"] = np.random.default_rng(3).integers(0, 1 << 63, n, np.uint64) << np.uint64(1)
    grown = new_table(n)
    fill(grown, rows, n)
    for table in (table_of(rows, n), grown):
        assert found(table, rows["key"][::97].tolist()) == list(range(0, n, 97))
        assert table.nbytes <= max(n, 4_096) * BYTES_PER_ROW


def test_keys_that_are_not_spread_are_refused_and_not_searched_for_without_end() -> None:
    table = new_table(10, bucket_entries=16)
    for key in range(10):
        insert(table, np.uint64(key), np.int64(key))
    with pytest.raises(OverflowError, match="not evenly spread"):
        insert(table, np.uint64(10), np.int64(10))

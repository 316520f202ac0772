# SPDX-License-Identifier: Apache-2.0
"""Reserved memory: zeros that cost nothing before they are written, in pages of either size."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from ringfence.engine import layout as at
from ringfence.engine.reserved import reserved, take_pages


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_what_is_reserved_is_zero_and_not_taken_before_it_is_written() -> None:
    before = resident_bytes()
    rows = reserved(1 << 28, at.KEY)  # sixteen gigabytes
    rows["mean"][12_345_678] = 1.5
    assert rows.dtype == at.KEY
    assert rows["mean"][[0, 12_345_678, -1]].tolist() == [0.0, 1.5, 0.0]
    assert resident_bytes() - before < 64 << 20


@pytest.mark.parametrize("shape", [(3,), (5_000,), (70_000, 16)])
def test_an_array_keeps_its_values_whatever_pages_it_takes(shape: tuple[int, ...]) -> None:
    array = reserved(shape, np.int32)
    for small in (False, True):
        take_pages(array, small=small)
        array += 1
    assert (array == 2).all()


def test_large_pages_are_asked_for_where_memory_is_mapped() -> None:
    array = reserved(16 << 20, np.uint8)
    flags = {}
    for small in (True, False):
        take_pages(array, small=small)
        flags[small] = _flags_of(array.ctypes.data)
    assert ("nh" in flags[True], "hg" in flags[True]) == (True, False)
    assert ("nh" in flags[False], "hg" in flags[False]) == (False, True)


def _flags_of(address: int) -> list[str]:
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head:
            begin, end = (int(part, 16) for part in head.split("-"))
            inside = begin <= address < end
        elif inside and head == "VmFlags:":
            return line.split()[1:]
    return []

# SPDX-License-Identifier: Apache-2.0
"""Who copies rows while others hold copies: waits for room, is never shut out, and gives back what it held."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import pytest

from ringfence.training.copies import Copies


def test_copies_beyond_the_room_wait_until_one_is_given_up() -> None:
    room, there, most, lock = Copies(100), [0], [0], Lock()

    def copy(n_bytes: int) -> int:
        with room.of(n_bytes):
            with lock:
                there[0] += n_bytes
                most[0] = max(most[0], there[0])
            Event().wait(0.002)
            with lock:
                there[0] -= n_bytes
        return n_bytes

    sizes = [60, 30, 50, 100, 10, 40, 70] * 5
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(copy, sizes)) == sizes
    assert 60 < most[0] <= 100


def test_what_is_larger_than_the_room_is_copied_alone() -> None:
    room, entered, leave = Copies(100), Event(), Event()

    def second() -> None:
        with room.of(1):
            entered.set()
            leave.wait(5.0)

    with ThreadPoolExecutor(1) as pool:
        with room.of(1_000):
            waiting = pool.submit(second)
            assert not entered.wait(0.02)
        assert entered.wait(5.0)
        leave.set()
        waiting.result()


def test_room_is_given_back_where_a_copy_fails() -> None:
    room = Copies(10)
    with pytest.raises(MemoryError), room.of(10):
        raise MemoryError
    with room.of(10):
        pass

# SPDX-License-Identifier: Apache-2.0
"""The bounded queue, and rows kept for later."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ringfence.serving.errors import QueueFullError
from ringfence.serving.kept import KEPT_ROWS, Kept, KeptRows
from ringfence.serving.queue import Ask, Ticket, TurnTimes, WorkQueue


def tickets(n: int) -> list[Ticket]:
    loop = asyncio.new_event_loop()
    made = [Ticket(Ask.READ, loop.create_future()) for _ in range(n)]
    loop.close()
    return made


def test_tickets_come_out_in_order_and_no_more_than_asked_for() -> None:
    queue, made = WorkQueue(10), tickets(5)
    for ticket in made:
        queue.put(ticket)
    assert queue.depth == 5
    assert queue.take(3, 0) == made[:3]
    assert queue.take(3, 0) == made[3:]
    assert queue.take(3, 0) == []


def test_a_full_queue_refuses_and_takes_again_when_there_is_room() -> None:
    queue, made = WorkQueue(2), tickets(3)
    queue.put(made[0])
    queue.put(made[1])
    with pytest.raises(QueueFullError, match="2 requests"):
        queue.put(made[2])
    queue.take(1, 0)
    queue.put(made[2])
    assert queue.take(8, 0) == made[1:]


def test_turns_begin_apart_under_load_and_at_once_after_a_pause() -> None:
    queue, made = WorkQueue(10, linger_ns=1_000_000_000), tickets(4)
    queue.put(made[0])
    began = time.perf_counter()
    assert queue.take(8, 10) == made[:1]
    assert time.perf_counter() - began < 0.9  # nothing was taken for long
    later = threading.Timer(0.05, lambda: [queue.put(ticket) for ticket in made[1:3]])
    later.start()
    assert queue.take(8, 10) == made[1:3]  # it waited for company
    again = time.perf_counter()
    assert again - began >= 0.999
    queue.put(made[3])
    assert queue.take(8, 0) == made[3:]  # whoever asks for what is there does not linger
    assert time.perf_counter() - again < 0.9
    later.join()


def test_a_request_in_a_hurry_ends_the_wait_for_company() -> None:
    queue, (patient, hurried) = WorkQueue(10, linger_ns=5_000_000_000), tickets(2)
    queue.put(patient)
    assert queue.take(8, 10) == [patient]
    hurried.deadline_ns = hurried.queued_at_ns + 40_000_000
    later = threading.Timer(0.05, lambda: queue.put(hurried))
    later.start()
    began = time.perf_counter()
    assert queue.take(8, 10) == [hurried]
    assert time.perf_counter() - began < 2
    later.join()


def test_a_queue_that_is_woken_does_not_linger() -> None:
    queue, made = WorkQueue(10, linger_ns=5_000_000_000), tickets(1)
    queue.put(made[0])
    queue.take(8, 10)
    queue.wake()
    began = time.perf_counter()
    assert queue.take(8, 10) == []
    assert time.perf_counter() - began < 2


def test_who_would_wait_beyond_the_deadline_is_refused_at_once_where_the_overload_lasts() -> None:
    clock = [0]
    queue, made = WorkQueue(100, lambda: clock[0]), tickets(12)
    queue.took(4, 40_000_000)
    for _ in range(50):
        queue.took(5, 50_000_000)  # ten milliseconds a ticket
    for ticket in made[:10]:
        queue.put(ticket)

    def is_refused(at_ms: int, deadline_ms: int) -> bool:
        clock[0] = at_ms * 1_000_000
        try:
            queue.require_room((at_ms + deadline_ms) * 1_000_000)
        except QueueFullError:
            return True
        return False

    pause = [is_refused(at_ms, 50) for at_ms in range(5_000, 5_150)]
    assert not any(pause)  # a machine that stood still and catches up
    assert is_refused(5_150, 50)
    assert not is_refused(5_150, 10_000)
    assert is_refused(6_100, 50)  # the next wait within a second is no pause
    queue.take(100, 0)
    assert not is_refused(6_101, 0)  # late already, but nobody waits: it is decided by the rules
    for ticket in made[:10]:
        queue.put(ticket)
    assert is_refused(6_900, 50)
    assert not is_refused(7_901, 50)  # a second of calm
    assert not is_refused(8_050, 50)
    assert is_refused(8_051, 50)


def test_wake_ends_a_wait_without_a_ticket() -> None:
    queue = WorkQueue(2)
    queue.wake()
    assert queue.take(8, 5.0) == []


def test_a_kept_row_comes_back_as_bytes_for_its_own_event_only(tmp_path: Path) -> None:
    row = np.array([1.5, np.nan, -0.0])
    kept = KeptRows(tmp_path, "spec", 3)
    kept.put([(7, b"digest", Kept(row, b"near"))])
    kept.close()
    again = KeptRows(tmp_path, "spec", 3)
    found = again.get(7, b"digest")
    assert found is not None
    assert (found.row.tobytes(), found.near) == (row.tobytes(), b"near")
    assert again.get(7, b"other!") is None
    assert again.get(8, b"digest") is None
    again.forget([7])
    assert again.get(7, b"digest") is None
    again.close()


def test_a_row_of_another_feature_spec_is_not_used(tmp_path: Path) -> None:
    kept = KeptRows(tmp_path, "old", 1)
    kept.put([(7, b"digest", Kept(np.ones(1)))])
    kept.close()
    renewed = KeptRows(tmp_path, "new", 1)
    assert renewed.get(7, b"digest") is None
    renewed.close()


def test_a_table_from_before_neighbourhoods_were_kept_goes_on(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / KEPT_ROWS)) as old:
        old.execute(
            "CREATE TABLE kept (event_seq INTEGER PRIMARY KEY, payload_digest BLOB NOT NULL, "
            "spec_hash TEXT NOT NULL, row BLOB NOT NULL)"
        )
        old.execute("INSERT INTO kept VALUES (7, ?, 'spec', ?)", (b"digest", np.ones(1).tobytes()))
        old.commit()
    kept = KeptRows(tmp_path, "spec", 1)
    kept.put([(8, b"digest", Kept(np.zeros(1), b"near"))])
    before, after = kept.get(7, b"digest"), kept.get(8, b"digest")
    kept.close()
    assert before is not None
    assert after is not None
    assert (before.row.tolist(), before.near) == ([1.0], b"")
    assert (after.row.tolist(), after.near) == ([0.0], b"near")


def test_a_table_with_a_single_row_for_an_event_goes_on_with_one_for_each_feature_spec(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / KEPT_ROWS)) as before:
        before.execute(
            "CREATE TABLE kept (event_seq INTEGER PRIMARY KEY, payload_digest BLOB NOT NULL, "
            "spec_hash TEXT NOT NULL, row BLOB NOT NULL)"
        )
        before.execute("INSERT INTO kept VALUES (7, ?, 'old', ?)", (b"digest", np.array([1.5]).tobytes()))
        before.commit()
    opened = KeptRows(tmp_path, "old", 1), KeptRows(tmp_path, "new", 1)
    with contextlib.closing(opened[0]) as old, contextlib.closing(opened[1]) as new:
        kept = old.get(7, b"digest")
        assert kept is not None
        assert kept.row.tolist() == [1.5]
        assert (old.lacking(0, 9), new.lacking(0, 9), new.lacking(7, 9)) == ({}, {7: b"digest"}, {})
        new.put([(7, b"digest", Kept(np.array([2.5])))])
        assert new.lacking(0, 9) == {}
        assert old.get(7, b"digest") == kept
        new.forget([7])
        assert (old.get(7, b"digest"), new.get(7, b"digest")) == (None, None)


@pytest.mark.parametrize(("fixed_ms", "each_ms"), [(5.0, 0.3), (0.0, 1.0), (2.0, 0.0)])
def test_what_a_turn_takes_whatever_its_size_is_not_counted_for_every_ticket(fixed_ms: float, each_ms: float) -> None:
    rng, turns = random.Random(11), TurnTimes()
    assert turns.expected_ns(30, 64) == 0
    for _ in range(300):
        n = rng.randint(1, 12)
        turns.note(n, round((fixed_ms + each_ms * n) * 1e6))
    for n, n_turns in ((1, 1), (30, 1), (64, 1), (65, 2), (200, 4)):
        least_ms = 0.1 * fixed_ms * n / 12 if each_ms == 0 else 0.0  # a ticket is never thought to cost nothing
        expected_ms = n_turns * fixed_ms + each_ms * n
        assert expected_ms * 0.9 <= turns.expected_ns(n, 64) / 1e6 <= expected_ms * 1.1 + 3 * least_ms, (n, expected_ms)


def test_turns_of_one_size_say_no_more_than_what_a_ticket_took() -> None:
    turns = TurnTimes()
    for _ in range(50):
        turns.note(4, 8_000_000)
    assert turns.expected_ns(40, 64) == pytest.approx(80e6)


def test_a_few_requests_at_once_are_no_long_wait_where_turns_are_small_as_a_rule() -> None:
    clock = [0]
    queue, made = WorkQueue(1000, lambda: clock[0]), tickets(30)
    for at in range(200):
        n = 1 + at % 3
        queue.took(n, 6_000_000 + n * 300_000)  # three milliseconds a ticket, and more
    for ticket in made:
        queue.put(ticket)
    for at_ms in range(5_000, 6_000):
        clock[0] = at_ms * 1_000_000
        queue.require_room((at_ms + 40) * 1_000_000)  # 6 + 30 * 0.3 = 15 ms


def test_estimates_follow_a_machine_that_becomes_slow() -> None:
    turns = TurnTimes()
    for slow in (1, 10):
        for at in range(150):
            n = 1 + at % 5
            turns.note(n, slow * (1_000_000 + n * 100_000))
    assert turns.expected_ns(20, 64) == pytest.approx(30e6, rel=0.2)

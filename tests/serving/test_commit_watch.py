# SPDX-License-Identifier: Apache-2.0
"""When a commit counts as stuck, and what those who wait for it are told."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable

import pytest

from ringfence.ledger.writer import Writer
from ringfence.serving.commit_watch import LOOK_S, SOON_S, WARY_LOOKS, WARY_S, CommitWatch, Pace
from ringfence.serving.queue import NO_DEADLINE, Ask, Ticket, settle
from ringfence.serving.service import State

from .conftest import RunningService, claim

Start = Callable[..., RunningService]


PATIENT_LOOKS = 50


class Told:
    def __init__(self) -> None:
        self.groups: list[list[Ticket]] = []
        self.now_s = 100.0
        self.pressing: list[tuple[list[Ticket], bool]] = []
        self.watch = CommitWatch(
            self.groups.append, self.press, PATIENT_LOOKS * LOOK_S, lambda: self.now_s, lambda: self.now_ns
        )

    @property
    def now_ns(self) -> int:
        return round(self.now_s * 1e9)

    def press(self, tickets: list[Ticket], is_first: bool) -> None:
        self.pressing.append((tickets, is_first))
        settle(tickets)

    def ticket(self, time_left_s: float | None) -> Ticket:
        loop = asyncio.new_event_loop()
        deadline_ns = NO_DEADLINE if time_left_s is None else self.now_ns + round(time_left_s * 1e9)
        made = Ticket(Ask.DECIDE, loop.create_future(), deadline_ns=deadline_ns)
        loop.close()
        self.watch.asked(made)
        return made

    def look(self, n: int, *, every_s: float = LOOK_S) -> None:
        for _ in range(n):
            self.now_s += every_s
            self.watch.look(self.now_s)

    def commit(self, n: int, *, takes_s: float = 0.002) -> None:
        """Let `n` commits go by, with a pause after each."""
        for _ in range(n):
            self.watch.began([])
            self.now_s += takes_s
            self.watch.ended()
            self.look(1)

    def looks_until_told(self, time_left_s: float | None) -> int | None:
        """How many looks find a commit before somebody who waits for it is told; None: it is stuck before that."""
        group = [self.ticket(time_left_s)]
        self.watch.began(group)
        for n in range(1, 2 * PATIENT_LOOKS):
            self.look(1)
            if self.pressing:
                assert self.pressing == [(group, True)]
                assert not self.watch.is_stuck
                return n
            if self.watch.is_stuck:
                return None
        raise AssertionError("never")

    def stuck_once(self) -> None:
        self.watch.began([])
        self.look(PATIENT_LOOKS + 2)
        assert self.watch.is_stuck
        self.look(1)
        self.watch.ended()
        assert not self.watch.is_stuck


def test_a_commit_that_runs_too_long_is_stuck_and_told_of_once() -> None:
    told, group = Told(), list[Ticket]()
    told.watch.began(group)
    told.look(PATIENT_LOOKS)
    assert not told.watch.is_stuck
    told.look(3)
    assert told.watch.is_stuck
    assert told.groups == [group]
    told.watch.ended()
    assert not told.watch.is_stuck


def test_after_one_that_was_stuck_nobody_waits_that_long_again_for_a_while() -> None:
    told = Told()
    told.stuck_once()
    told.watch.began([])
    told.look(WARY_LOOKS - 1)
    assert not told.watch.is_stuck
    told.look(1)
    assert told.watch.is_stuck
    assert len(told.groups) == 2
    told.watch.ended()
    told.look(1)
    told.now_s += WARY_S
    told.watch.look(told.now_s)
    told.watch.began([])
    told.look(2 * WARY_LOOKS)
    assert not told.watch.is_stuck


def test_commits_that_follow_each_other_are_not_taken_for_one() -> None:
    told = Told()
    told.stuck_once()
    for _ in range(5 * WARY_LOOKS):
        told.watch.began([])
        told.look(1)
        told.watch.ended()
    assert not told.watch.is_stuck
    assert len(told.groups) == 1


def test_nothing_is_stuck_while_nothing_commits() -> None:
    told = Told()
    told.look(2 * PATIENT_LOOKS)
    assert not told.watch.is_stuck


def test_on_a_machine_too_busy_to_look_in_time_a_commit_gets_the_whole_patience_even_of_a_slow_disk() -> None:
    told = Told()
    told.stuck_once()
    told.watch.began([])
    told.look(2 * WARY_LOOKS, every_s=3 * LOOK_S)
    assert not told.watch.is_stuck
    told.look(2, every_s=3 * LOOK_S)
    assert told.watch.is_stuck


LEFT_S = 0.05  # of a deadline
IN_TIME = range(round((LEFT_S - SOON_S) / LOOK_S), round(LEFT_S / LOOK_S))  # looks after which it is told


def test_where_commits_are_fast_whoever_has_a_deadline_is_told_in_time_for_it() -> None:
    told = Told()
    told.commit(Pace.FROM)
    assert told.looks_until_told(LEFT_S) in IN_TIME


def test_whoever_has_no_deadline_or_a_late_one_waits_the_whole_patience() -> None:
    for time_left_s in (None, 3_600.0):
        told = Told()
        told.commit(Pace.FROM)
        assert told.looks_until_told(time_left_s) is None


def test_whose_deadline_passed_before_he_could_be_told_is_left_his_answer() -> None:
    told = Told()
    told.commit(Pace.FROM)
    assert told.looks_until_told(Pace.LEAST_S - 2 * LOOK_S) is None


def test_who_waits_behind_a_commit_is_told_as_well_and_each_once() -> None:
    told = Told()
    told.commit(Pace.FROM)
    running, patient, behind = told.ticket(LEFT_S), told.ticket(3_600.0), told.ticket(LEFT_S)
    told.watch.began([running, patient])
    told.look(IN_TIME[-1])
    assert told.pressing == [([running, behind], True)]
    told.look(3)
    after = told.ticket(SOON_S)
    told.look(2)
    assert told.pressing[1:] == [([after], False)]
    assert not patient.future.done()
    told.look(PATIENT_LOOKS)
    assert told.groups == [[running, patient]]


def test_a_commit_that_comes_back_leaves_those_alone_who_still_have_time() -> None:
    told = Told()
    told.commit(Pace.FROM)
    told.watch.began([told.ticket(LEFT_S)])
    told.look(IN_TIME[0] - 1)
    told.watch.ended()
    told.look(PATIENT_LOOKS)
    assert told.pressing == []


def test_where_commits_take_long_as_a_rule_one_that_does_is_waited_for() -> None:
    told = Told()
    told.commit(Pace.FROM)
    told.commit(1, takes_s=0.03)
    ordinary_s = Pace.TIMES * 0.03
    assert told.looks_until_told(LEFT_S) is None
    told = Told()
    told.commit(Pace.FROM)
    told.commit(1, takes_s=0.03)
    assert told.looks_until_told(ordinary_s + SOON_S) in range(
        round(ordinary_s / LOOK_S), round(ordinary_s / LOOK_S) + 3
    )


def test_what_commits_take_is_known_of_the_last_seconds_alone() -> None:
    few, long_ago = Told(), Told()
    few.commit(Pace.FROM - 1)
    assert few.looks_until_told(LEFT_S) is None
    long_ago.commit(Pace.FROM)
    long_ago.now_s += 2 * Pace.SPAN_S
    assert long_ago.looks_until_told(LEFT_S) is None


def test_one_slow_commit_is_forgotten_after_a_while() -> None:
    told = Told()
    told.commit(1, takes_s=0.05)
    spans = 2 * Pace.SPAN_S / (0.002 + LOOK_S)
    told.commit(round(spans) + Pace.FROM)
    assert told.looks_until_told(LEFT_S) in IN_TIME


def test_where_commits_are_fast_one_that_is_not_has_answers_in_time_and_the_service_stays_ready(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start(deadline_ms=150, stuck_commit_ms=60_000.0)
    for number in range(Pace.FROM):
        assert service.ask("POST", "/v1/decisions", claim(f"before-{number}")).status_code in (200, 503)
    commit, release = Writer.commit, threading.Event()

    def slow(writer: Writer) -> None:
        release.wait(30)
        commit(writer)

    monkeypatch.setattr(Writer, "commit", slow)
    unknown = service.ask("POST", "/v1/decisions", claim("unknown"))
    behind = service.ask("POST", "/v1/decisions", claim("behind"))
    assert (unknown.status_code, behind.status_code) == (503, 503)
    assert {unknown.json()["type"], behind.json()["type"]} == {"urn:ringfence:problem:outcome-unknown"}
    assert service.service.state is State.READY
    release.set()
    until = time.monotonic() + 20
    while service.ledger.find_event("claim", "c-unknown") is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    monkeypatch.setattr(Writer, "commit", commit)
    again = service.ask("POST", "/v1/decisions", claim("unknown"), headers={"ringfence-deadline-ms": "20000"})
    assert (again.status_code, again.headers["ringfence-repeated"]) == (200, "true")
    fresh = service.ask("POST", "/v1/decisions", claim("behind"), headers={"ringfence-deadline-ms": "20000"})
    assert fresh.status_code == 200
    assert "ringfence-repeated" not in fresh.headers, "who was told behind it was not begun"


def test_a_slow_disk_is_told_of_in_time_and_nothing_is_lost_or_done_twice(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    assert service.ask("POST", "/v1/decisions", claim("before")).status_code == 200
    commit, is_slow = Writer.commit, threading.Event()

    def slow(writer: Writer) -> None:
        if is_slow.is_set():
            time.sleep(0.7)
        commit(writer)

    monkeypatch.setattr(Writer, "commit", slow)
    is_slow.set()
    began = time.monotonic()
    unknown = service.ask("POST", "/v1/decisions", claim("unknown"))
    refused = service.ask("POST", "/v1/decisions", claim("refused"))
    took_s = time.monotonic() - began
    assert (unknown.status_code, refused.status_code) == (503, 503)
    assert unknown.json()["type"] == "urn:ringfence:problem:outcome-unknown"
    assert refused.json()["type"] == "urn:ringfence:problem:ledger-unavailable"
    assert took_s < 0.6, "both were answered while the commit still ran"
    assert service.service.state is State.LEDGER_UNAVAILABLE
    is_slow.clear()
    until = time.monotonic() + 20
    while service.service.state is not State.READY:
        assert time.monotonic() < until
        time.sleep(0.01)
    again = service.ask("POST", "/v1/decisions", claim("unknown"))
    assert again.status_code == 200
    assert again.headers["ringfence-repeated"] == "true", "the commit had gone through in the end"
    assert service.ledger.find_event("claim", "c-refused") is None


def test_a_ledger_that_somebody_locks_is_told_of_long_before_a_commit_counts_as_stuck(start: Start) -> None:
    service = start()
    assert service.ask("POST", "/v1/decisions", claim("before")).status_code == 200
    took_s = []
    for number in range(5):  # the machine may stand still in one of them
        blocker = sqlite3.connect(service.ledger.directory / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        unknown = service.ask("POST", "/v1/decisions", claim(f"unknown-{number}"))
        took_s.append(time.monotonic() - began)
        blocker.execute("ROLLBACK")
        blocker.close()
        assert unknown.status_code == 503
        assert unknown.json()["type"] == "urn:ringfence:problem:outcome-unknown"
        until = time.monotonic() + 20
        while service.service.state is not State.READY:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert min(took_s) < 0.1, "and not after the quarter of a second that a slow disk is given"

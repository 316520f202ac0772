# SPDX-License-Identifier: Apache-2.0
"""What a load's answers come to, on answers made up here: windows, rungs, whether the generator was on time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.answered import by_rung, generator_told, medians, summary, windows
from benchmarks.load import unchunked, wire
from benchmarks.loops import cut, per_second
from benchmarks.service import missed, parsed
from benchmarks.surroundings import Look, Surroundings

MS, S = 1_000_000, 1_000_000_000
START = 5_000 * S


def record(
    due_s: float, took_ms: float = 2.0, *, taken_ms: float = 0.0, sent_ms: float = 0.0, status: int = 200, **answer: Any
) -> dict[str, Any]:
    """A request due so long after the start; `taken_ms` and `sent_ms` count from when it was due."""
    due = START + round(due_s * S)
    body = {"action": "approve", "rung": "full", "reasons": [], "degraded": False, **answer}
    return {
        "intended_ns": due,
        "taken_ns": due + round(taken_ms * MS),
        "sent_ns": due + round(sent_ms * MS),
        "done_ns": due + round(took_ms * MS),
        "status": status,
        "timing": "score;dur=1.5",
        "answer": json.dumps(body) if status == 200 else "",
    }


def around(*looks: tuple[float, float, float]) -> Surroundings:
    """Looks as (seconds from the start, seconds stolen so far, load average)."""
    found = Surroundings()
    found.looks = [Look(START + round(at * S), steal, load) for at, steal, load in looks]
    return found


def test_each_window_tells_its_own_requests_errors_and_stolen_time() -> None:
    records = [record(second, 2.0 if second < 10 else 30.0) for second in range(25)]
    records[12] = record(12, status=503)
    looks = around((0, 1.0, 0.5), (10, 1.25, 0.6), (20, 4.25, 2.5), (25, 4.25, 2.0))
    told = windows(records, looks)
    assert [one["from_s"] for one in told] == [0.0, 10.0, 20.0]
    assert [(one["requests"], one["errors"]) for one in told] == [(10, 0), (10, 1), (5, 0)]
    assert [(one["p50"], one["max"]) for one in told] == [(2.0, 2.0), (30.0, 30.0), (30.0, 30.0)]
    assert [one["steal_s"] for one in told] == [0.25, 3.0, 0.0]
    assert [one["load_average"] for one in told] == [0.6, 2.5, 2.0]


def test_latency_is_told_by_rung() -> None:
    records = [record(0, 2.0), record(1, 40.0, rung="rules"), record(2, 3.0)]
    found = by_rung(records, [json.loads(one["answer"]) for one in records])
    assert {rung: one["requests"] for rung, one in found.items()} == {"full": 2, "rules": 1}
    assert found["full"]["max"] == 3.0
    assert found["rules"]["p50"] == 40.0


def test_requests_that_no_connection_was_free_for_are_not_the_generators_lateness() -> None:
    records = [record(second / 100, 500.0, sent_ms=400.0) for second in range(100)]
    assert generator_told(records, 0.99, 100.0)["late"] is False


def test_generator_that_turned_to_requests_late_is_told() -> None:
    records = [record(second / 100, taken_ms=0.1) for second in range(100)]
    for one in records[:2]:
        one["taken_ns"] += 20 * MS
    told = generator_told(records, 0.99, 100.0)
    assert told["late"] is True
    assert told["lag_ms"]["max"] == pytest.approx(20.1)


def test_generator_that_sent_fewer_requests_than_asked_for_is_told() -> None:
    records = [record(second / 100) for second in range(100)]
    told = generator_told(records, 1.2, 100.0)
    assert told["turned_to_per_s"] == 82.5
    assert told["late"] is True


def open_loop(**changes: Any) -> dict[str, Any]:
    records = [record(second / 10, action="review", reasons=[1, 2, 3]) for second in range(30)]
    return {**summary(records, {"seconds": 2.9}, 10.0, around((0, 0, 0), (3, 0, 0))), **changes}


def test_good_run_misses_nothing_and_a_bad_one_is_told_why() -> None:
    assert missed(open_loop()) == []
    assert "1 errors" in missed(open_loop(errors=1))[0]
    assert "p99 12.0 ms" in missed(open_loop(latency_ms={"p99": 12.0}))[0]
    assert "without three reasons" in missed(open_loop(explained_share=0.5))[0]
    late = {**open_loop()["generator"], "late": True}
    assert "the generator was late" in missed(open_loop(generator=late))[0]


def test_batches_have_a_floor() -> None:
    assert missed({"errors": 0, "lines": 64, "decisions_per_s": 3_000.0}) == []
    assert "2999.0 decisions/s" in missed({"errors": 0, "lines": 64, "decisions_per_s": 2_999.0})[0]


def test_medians_are_taken_figure_by_figure() -> None:
    runs = [{"latency": {"p99": value}, "late": False, "windows": [1], "n": 3} for value in (9.0, 2.0, 4.0)]
    assert medians(runs) == {"latency": {"p99": 4.0}, "n": 3}


def test_list_of_events_goes_out_as_lines() -> None:
    head, _, body = wire('/v1/decisions/batch\t[{"a": 1}, {"b": 2}]\n', "token", "localhost").partition(b"\r\n\r\n")
    assert b"Content-Type: application/x-ndjson" in head
    assert [json.loads(line) for line in body.splitlines()] == [{"a": 1}, {"b": 2}]
    assert f"Content-Length: {len(body)}".encode() in head


def test_chunks_are_put_together() -> None:
    assert unchunked(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n") == b"abc0123456789"


def test_events_are_cut_into_batches_and_counted_by_the_second() -> None:
    assert list(cut([{"n": n} for n in range(5)], 2)) == [[{"n": 0}, {"n": 1}], [{"n": 2}, {"n": 3}], [{"n": 4}]]
    assert per_second([record(0.0, 1_000.0), record(1.0, 1_000.0)], 128) == 64.0
    assert per_second([], 0) == 0.0


def test_ways_of_asking_exclude_each_other() -> None:
    with pytest.raises(SystemExit):
        parsed(["--closed", "8", "--batch", "64"])

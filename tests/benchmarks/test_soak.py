# SPDX-License-Identifier: Apache-2.0
"""The soak: what of it counts as the same at the end, and a few seconds of it with everything that happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak import PAGE, Quarter, Reading, Soak, main, quarters, state_bytes, table
from benchmarks.subject import Subject
from benchmarks.surroundings import Memory
from benchmarks.written import write_table

from .conftest import PATIENT

MB, S = 1_000_000, 1_000_000_000


def quarter(p99: float = 5.0, beyond: tuple[int, int] = (300 * MB, 250 * MB), **changes: Any) -> Quarter:
    told: dict[str, Any] = {
        "n": 100,
        "n_errors": 0,
        "n_degraded": 0,
        "latency_ms": {"p50": 2.0, "p99": p99, "p99.9": 9.0},
        "service": Memory(500 * MB, 400 * MB),
        "follower": Memory(450 * MB, 350 * MB),
        "state": 100 * MB,
        "unaccounted": beyond,
    }
    return Quarter(**{**told, **changes})


def soaked(*parts: Quarter, **changes: Any) -> Soak:
    told: dict[str, Any] = {
        "minutes": 20.0,
        "quarters": list(parts),
        "generator": {"late": False, "asked_per_s": 500.0, "lag_ms": {"p99": 0.5}},
        "switch": {"step": "done", "began_ns": 0, "ended_ns": 2 * S},
        "n_snapshots": 3,
        "steal_s": 0.5,
    }
    return Soak(**{**told, **changes})


def test_service_that_stays_as_it_is_misses_nothing() -> None:
    assert (
        soaked(quarter(), quarter(), quarter(beyond=(400 * MB, 350 * MB)), quarter(5.9, (410 * MB, 360 * MB))).missed
        == []
    )


def test_slower_last_quarter_is_told() -> None:
    told = soaked(quarter(5.0), quarter(), quarter(), quarter(6.1)).missed
    assert told == ["p99 6.10 ms in the last quarter, 5.00 in the first: at most 1.2 times"]


@pytest.mark.parametrize(("place", "name"), [(0, "service"), (1, "follower")])
def test_memory_that_rises_beyond_the_state_is_told(place: int, name: str) -> None:
    held = [300 * MB, 250 * MB]
    held[place] += 60 * MB
    told = soaked(quarter(), quarter(), quarter(), quarter(beyond=(held[0], held[1]))).missed
    assert len(told) == 1
    assert told[0].startswith(f"the {name} holds {held[place] / MB:.0f} MB beyond its state")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"switch": {"step": "failed", "failure": "why"}}, "the switch"),
        ({"n_snapshots": 0}, "no snapshot"),
        ({"generator": {"late": True}}, "the generator was late"),
    ],
)
def test_what_should_have_happened_and_did_not_is_told(changes: dict[str, Any], complaint: str) -> None:
    assert soaked(*[quarter()] * 4, **changes).missed[0].startswith(complaint)


def test_errors_and_degraded_answers_are_told() -> None:
    told = soaked(quarter(), quarter(n_errors=2), quarter(n_degraded=1), quarter()).missed
    assert told == ["quarter 2: 2 errors, 0 degraded answers", "quarter 3: 0 errors, 1 degraded answers"]


def test_requests_and_readings_go_to_the_quarter_that_they_were_due_in() -> None:
    records = [
        {"intended_ns": at * S, "done_ns": at * S + at * MB, "status": 503 if at == 7 else 200, "answer": ""}
        for at in range(1, 9)
    ]
    records[4]["answer"] = '{"degraded":true}'
    readings = [
        Reading(at_ns=at * S, service=Memory(at * MB, at * MB), follower=Memory(9 * MB, 9 * MB), state=MB)
        for at in (1, 2, 3, 8)
    ]
    found = quarters(records, readings)
    assert [one.n for one in found] == [2, 2, 2, 2]
    assert [one.n_errors for one in found] == [0, 0, 0, 1]
    assert [one.n_degraded for one in found] == [0, 0, 1, 0]
    assert [one.latency_ms["max"] for one in found] == [2.0, 4.0, 6.0, 8.0]
    assert found[0].service.pss == 1.5 * MB
    assert found[0].unaccounted == (0.5 * MB, 8 * MB)
    assert found[3].service.pss == 8 * MB


def test_state_is_added_up_over_scenarios() -> None:
    text = (
        "# HELP ringfence_engine_count What the engine counts\n"
        'ringfence_engine_count{scenario="a",what="state_bytes"} 1.5e+06\n'
        'ringfence_engine_count{scenario="a",what="entities"} 12\n'
        'ringfence_engine_count{scenario="b",what="state_bytes"} 500000.0\n'
    )
    assert state_bytes(text) == 2_000_000
    with pytest.raises(SystemExit, match="state_bytes"):
        state_bytes("")


def test_page_has_a_place_for_the_table(tmp_path: Path) -> None:
    page = tmp_path / "serving.md"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    write_table(page, "soak", table(soaked(*[quarter()] * 4)))
    assert "| 4 | 100 | 0, 0 | 2.0, 5.0, 9.0 | 100 | 500, 400, 300 | 450, 350, 250 |" in page.read_text("utf-8")


@pytest.mark.services
def test_seconds_of_soak_have_a_switch_snapshots_and_memory(
    subject: Subject, capfd: pytest.CaptureFixture[str]
) -> None:
    load = ["--minutes", "0.25", "--rate", "40", "--warm-up", "1", "--workspace", str(subject.path)]
    main(
        [*load, *PATIENT, "--look-every", "1", "--snapshot-every", "2"]
    )  # its exit code is about latency, which is nothing here
    told, complaints = capfd.readouterr()
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in told.splitlines()
        if line[:3] in ("| 1", "| 2", "| 3", "| 4")
    ]
    assert sum(int(row[2]) for row in rows) == 600
    assert [row[3] for row in rows] == ["0, 0"] * 4
    assert all(float(figure.replace(",", "")) > 0 for row in rows for figure in (row[5], *row[6].split(", ")))
    assert "the switch was done after" in told
    assert "snapshot" not in complaints

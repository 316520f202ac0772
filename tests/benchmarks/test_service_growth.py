# SPDX-License-Identifier: Apache-2.0
"""Growth with the history: what counts as flat, and two small histories from beginning to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service_growth import main, medians_of_p99, missed

from .conftest import PATIENT


def run(n_events: int, p99: float | None, **changes: Any) -> dict[str, Any]:
    latency = {} if p99 is None else {"p99": p99}
    good = {"errors": 0, "generator": {"late": False}, "memory_gb": 1.0}
    return {"n_events": n_events, "latency_ms": latency, **good, **changes}


def test_median_of_each_history_is_compared() -> None:
    runs = [run(100, 4.0), run(900, 5.2), run(900, 5.1), run(100, 4.0), run(100, 90.0), run(900, 90.0)]
    assert medians_of_p99(runs) == {100: 4.0, 900: 5.2}
    assert missed(runs) == []
    assert "1.50 times, at most 1.3" in missed([run(100, 4.0), run(900, 6.0)])[0]


def test_errors_memory_lateness_and_silence_are_missed() -> None:
    assert "run 2: 3 errors" in missed([run(100, 4.0), run(900, 4.0, errors=3)])[0]
    assert "8.5 GB held" in missed([run(100, 4.0), run(900, 4.0, memory_gb=8.5)])[0]
    assert "generator was late" in missed([run(100, 4.0, generator={"late": True}), run(900, 4.0)])[0]
    assert "inf" in missed([run(100, 4.0), run(900, None)])[0]


def test_one_size_is_no_comparison() -> None:
    with pytest.raises(SystemExit):
        main(["--sizes", "2000", "2000"])


@pytest.mark.services
def test_two_histories_are_decided_by_one_release_and_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sizes = ["--sizes", "20000", "2500", "--fraud-rate", "0.04"]
    load = ["--rate", "40", "--seconds", "2", "--warm-up", "0.5", "--repeat", "1", "--workspace", str(tmp_path)]
    code = main([*sizes, *load, *PATIENT])
    told, complaints = capfd.readouterr()
    rows = [line for line in told.splitlines() if line.startswith("| ")][1:]
    n_events = [int(row.split("|")[1].replace(",", "")) for row in rows]
    assert n_events[0] == pytest.approx(2_500, rel=0.4)
    assert n_events[1] == pytest.approx(20_000, rel=0.1)
    assert [row.split("|")[5].strip() for row in rows] == ["0", "0"]
    assert code == (0 if complaints.rstrip().endswith("all reached") else 1)
    small, large = ({path.name for path in (tmp_path / f"history-{n}" / "releases").iterdir()} for n in (2_500, 20_000))
    assert small == large
    notes = [json.loads((tmp_path / f"history-{n}" / "history.json").read_text()) for n in (2_500, 20_000)]
    assert [one["n_events"] for one in notes] == n_events
    assert notes[0]["n_entities"] < notes[1]["n_entities"]
    assert list((tmp_path / "history-20000" / "state" / "motor-claims").glob("*.snapshot"))

# SPDX-License-Identifier: Apache-2.0
"""The files between a benchmark and its load generator, and what becomes of an answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.load import IN_PYTHON, build, generator, record
from benchmarks.load_files import Ran, Result, read_requests, read_results, write_requests, write_results

RESULTS = [
    Result(1, 2, 3, 2**62, 200, b"HTTP/1.1 200 OK\r\n\r\n{}"),
    Result(5, 6, 7, 8, 429, b""),
    Result(0, 0, 0, 0, 0, b""),
]


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    requests = [b"GET / HTTP/1.1\r\n\r\n", b"", b"\x00\xff" * 5_000]
    assert write_requests(tmp_path / "requests", iter(requests)) == 3
    assert list(read_requests(tmp_path / "requests")) == requests
    assert write_requests(tmp_path / "none", []) == 0
    assert list(read_requests(tmp_path / "none")) == []


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_results(tmp_path / "results", Ran(10, 20), RESULTS)
    ran, results = read_results(tmp_path / "results")
    assert ran == Ran(elapsed_ns=10, cpu_ns=20)
    assert list(results) == RESULTS


@pytest.mark.parametrize("missing", [1, 30, 60])
def test_file_that_is_cut_off_is_told(tmp_path: Path, missing: int) -> None:
    write_results(tmp_path / "results", Ran(10, 20), RESULTS[:1])
    (tmp_path / "results").write_bytes((tmp_path / "results").read_bytes()[:-missing])
    with pytest.raises(ValueError, match="results is cut off"):
        list(read_results(tmp_path / "results")[1])
    (tmp_path / "requests").write_bytes(b"\x05\0\0\0\0\0\0\0four")
    with pytest.raises(ValueError, match="requests is cut off: 4 bytes where 5"):
        list(read_requests(tmp_path / "requests"))


def test_generator_in_c_refuses_a_file_that_is_cut_off(tmp_path: Path) -> None:
    if generator() == IN_PYTHON:
        pytest.skip("no C compiler")
    (tmp_path / "requests").write_bytes(b"\x02\0\0\0\0\0\0\0ab" + b"\x05\0\0\0\0\0\0\0four")
    bounds = ["127.0.0.1", "9", "100", "1", "1", "all"]
    command = [*generator().command, *bounds, str(tmp_path / "requests"), str(tmp_path / "results")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "request 1 is cut off" in ended.stderr


def test_timing_and_body_are_taken_out_of_an_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nserver-timing: score;dur=1.5, queue;dur=2\r\n"
    plain = record(Result(1, 2, 3, 4, 200, head + b'content-length: 2\r\n\r\n{"'))
    assert (plain["timing"], plain["answer"]) == ("score;dur=1.5, queue;dur=2", '{"')
    chunks = record(Result(1, 2, 3, 4, 200, head + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
    assert chunks["answer"] == "{}"
    assert [chunks[f"{moment}_ns"] for moment in ("intended", "taken", "sent", "done")] == [1, 2, 3, 4]
    assert record(RESULTS[2]) == {
        **{f"{moment}_ns": 0 for moment in ("intended", "taken", "sent", "done")},
        "status": 0,
        "timing": "",
        "answer": "",
    }


def test_without_a_compiler_the_generator_in_python_is_taken_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert generator.__wrapped__() == IN_PYTHON
    assert "the one in Python, since the one in C cannot be built" in capsys.readouterr().err
    with pytest.raises(OSError, match="cc"):
        build(tmp_path)

# SPDX-License-Identifier: Apache-2.0
"""What holds for every command: help, exit codes, JSON, times, one message per error."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import CODES, Exit, UsageError, exit_code
from ringfence.cli.options import iso_time, time_option
from ringfence.errors import RingfenceError
from ringfence.ledger.errors import LedgerLockedError


def test_help_answers_at_once_and_imports_no_heavy_library() -> None:
    probe = (
        "import sys\nfrom ringfence.cli.application import run\nrun(['--help'])\n"
        "heavy = {'polars', 'numba', 'duckdb', 'lightgbm', 'sklearn', 'pyarrow', 'uvicorn', 'rich.progress'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    began = time.perf_counter()
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"
    assert "import" in ended.stdout
    assert time.perf_counter() - began < 5.0  # 0.15 s on an idle machine; the bound only catches a heavy import


def test_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == Exit.OK
    assert capsys.readouterr().out.strip() == f"ringfence {ringfence.__version__}"


@pytest.mark.parametrize("arguments", [["nosuch"], ["train", "--nosuch"], ["score"], ["demo", "--events", "3"]])
def test_wrong_command_line_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == Exit.USAGE
    assert "Error" in capsys.readouterr().err


def test_error_is_one_message_without_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "-w", str(tmp_path)]) == Exit.BAD_INPUT
    message = capsys.readouterr().err
    assert str(tmp_path) in message
    assert "ringfence init" in message
    assert "Traceback" not in message


def test_debug_raises_the_error_itself(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError):
        run(["train", "-w", str(tmp_path), "--debug"])


def test_exit_codes_follow_the_cause(tmp_path: Path) -> None:
    assert exit_code(LedgerLockedError(tmp_path, 12)) == Exit.BUSY
    assert exit_code(UsageError("x")) == Exit.USAGE
    assert exit_code(RingfenceError("x")) == Exit.BAD_INPUT
    assert exit_code(OSError("disk")) == Exit.STORAGE
    assert exit_code(KeyboardInterrupt()) == Exit.INTERRUPTED
    assert exit_code(TypeError("x")) == Exit.INTERNAL


def test_every_exit_code_has_a_meaning() -> None:
    assert all(code.meaning for code in Exit)


def test_causes_in_the_table_exist() -> None:
    for module in pkgutil.walk_packages(ringfence.__path__, "ringfence."):
        if module.name.endswith((".errors", ".exits", ".cli.service")):
            importlib.import_module(module.name)
    known: set[str] = set()
    waiting = [RingfenceError]
    while waiting:
        cause = waiting.pop()
        known.add(cause.__name__)
        waiting += cause.__subclasses__()
    assert set(CODES) <= known


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("1970-01-02", "UTC", 86_400_000),
        ("2024-07-01", "Europe/Berlin", 1_719_784_800_000),
        ("2024-07-01T00:00:00Z", "Europe/Berlin", 1_719_792_000_000),
        ("2024-07-01T02:00+02:00", "UTC", 1_719_792_000_000),
    ],
)
def test_times_are_iso_8601_in_the_zone_of_the_scenario(text: str, zone: str, expected: int) -> None:
    assert time_option(text, "--until", zone) == expected


def test_what_is_no_time_is_a_usage_error_that_names_the_option() -> None:
    with pytest.raises(UsageError, match=r"--until 'soon'"):
        time_option("soon", "--until", "UTC")


def test_times_are_shown_in_utc() -> None:
    assert iso_time(86_400_000) == "1970-01-02T00:00:00Z"
    assert iso_time(None) is None


def test_doctor_without_a_workspace_checks_the_installation_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", "--json"]) == Exit.OK
    result = json.loads(capsys.readouterr().out)
    assert result["healthy"] is True
    assert {finding["what"] for finding in result["findings"]} >= {"machine", "packages", "kernels", "workspace"}
    assert run(["doctor"]) == Exit.OK
    assert "there was no workspace to look at" in capsys.readouterr().out.splitlines()[-1]


def test_workspace_that_was_named_and_is_none_is_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "-w", str(tmp_path)]) == Exit.CHECK_FAILED
    out = capsys.readouterr().out
    assert "BAD   workspace" in out
    assert "nothing is wrong" not in out


def test_doctor_finds_what_is_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert run(["doctor", "-w", str(tmp_path)]) == Exit.CHECK_FAILED
    out = capsys.readouterr().out
    assert "BAD   kernels" in out
    assert "-> unset NUMBA_DISABLE_JIT" in out

# SPDX-License-Identifier: Apache-2.0
"""A tracking store that refuses, fails or is not there: told without a secret. And MLflow reports nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ringfence.rollout.errors import TrackingStoreError
from ringfence.rollout.tracking import COMPLETE, DIGEST, RELEASE, Measured, TrackingStore, quieten_tracking
from ringfence.rollout.tracking_place import tracking_place
from tests.rollout.tracking_server import Held, listening, tracking_server

SECRET = "s3cret-word"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)


@contextmanager
def server(status: int, seen: list[str]) -> Iterator[str]:
    """A server that answers everything alike, and repeats what it was told."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            body = f"no: {SECRET} {self.headers.get('Authorization')}".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *told: object) -> None:
            pass

    with listening(Answers) as address:
        yield address


def refused(address: str) -> TrackingStoreError:
    with pytest.raises(TrackingStoreError) as error:
        TrackingStore(tracking_place(address), "payments", os.environ)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None
    assert SECRET not in str(error.value)
    assert "YW5u" not in str(error.value)  # ann, as it travels
    return error.value


def test_store_that_does_not_answer_is_told_with_place_and_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"  # bound, and nobody listens
        told = refused(address)
    assert str(told) == (
        f"tracking store {address}: experiment 'payments': no answer; see that it runs and that the address is right, "
        "then mirror again, which goes on where it stopped"
    )


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (401, "it refused (UNAUTHENTICATED); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, "it refused (PERMISSION_DENIED); set MLFLOW_TRACKING_USERNAME"),
        (500, "INTERNAL_ERROR); look into its log"),
        (200, "; look into its log"),
    ],
)
def test_what_a_server_answers_is_not_repeated(status: int, found: str) -> None:
    seen: list[str] = []
    with server(status, seen) as address:
        told = refused(address)
    assert found in str(told)
    assert seen
    assert all(one.startswith("Basic ") for one in seen)  # credentials are those that MLflow reads


def test_broken_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 4_096)
    told = refused(f"sqlite:///{tmp_path / 'runs.db'}")
    assert "look into" in str(told)


def test_server_is_given_all_of_a_run_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    held = Held()
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "gbdt.txt").write_bytes(b"trees")
    with tracking_server(held) as address:
        store = TrackingStore(tracking_place(address), "payments", os.environ)
        run = store.begin("r-1", {DIGEST: "d1", RELEASE: "r-1"}, at_ms=5)
        store.log(run, {"seed": "3"}, [Measured("n", 7.0), Measured("curve", 0.5, 10)], at_ms=5)
        store.upload(run, tmp_path)
        store.finish(run, {"part": "champion"}, at_ms=5)
        there = TrackingStore(tracking_place(address), "payments", os.environ).runs()["d1"]
    assert there.tags == {DIGEST: "d1", RELEASE: "r-1", "part": "champion", COMPLETE: "true"}
    assert (there.params, there.metrics) == ({"seed"}, {"n", "curve"})
    assert held.experiments == {"payments": "1"}
    assert held.files == {f"{run.id}/bundle/gbdt.txt": b"trees"}
    assert held.runs[run.id]["info"]["status"] == "FINISHED"
    assert [(one["key"], one["value"], one["step"]) for one in held.runs[run.id]["data"]["metrics"]] == [
        ("n", 7.0, 0), ("curve", 0.5, 10),
    ]  # fmt: skip
    assert len(held.credentials) == 1
    assert capfd.readouterr() == ("", "")


def test_runs_are_found_by_digest_and_of_two_the_complete_one(tmp_path: Path) -> None:
    store = TrackingStore(tracking_place(tmp_path), "payments", os.environ)
    assert store.runs() == {}
    tags = {DIGEST: "d1", RELEASE: "r-1"}
    _, second, _ = (store.begin("r-1", tags, at_ms=at) for at in (5, 6, 7))
    store.finish(second, {"a": "b"}, at_ms=6)
    assert store.runs()["d1"].id == second.id
    assert store.runs()["d1"].tags["a"] == "b"
    store.reopen(store.runs()["d1"], {})
    assert COMPLETE not in store.runs()["d1"].tags


def test_more_than_a_request_holds_is_written_whole_and_only_once(tmp_path: Path) -> None:
    store = TrackingStore(tracking_place(tmp_path), "payments", os.environ)
    run = store.begin("r-1", {DIGEST: "d1", RELEASE: "r-1"}, at_ms=5)
    params = {f"p{at}": str(at) for at in range(230)}
    curve = [Measured("curve", at / 7, at) for at in range(1_100)]
    store.log(run, {"p7": "7"}, curve[:40], at_ms=5)
    store.log(store.runs()["d1"], params, [*curve, Measured("n", 3.0)], at_ms=5)
    there = store.runs()["d1"]
    assert there.params == set(params)
    assert there.metrics == {"curve", "n"}
    lines = [path.read_text() for path in tmp_path.rglob("metrics/curve")]
    assert [int(line.split()[2]) for line in lines[0].splitlines()] == list(range(1_100))


def test_mlflow_reports_nothing_to_its_makers() -> None:
    probe = (
        "import os\nfrom ringfence.rollout.tracking import quieten_tracking\nquieten_tracking(os.environ)\n"
        "from mlflow.telemetry.client import get_telemetry_client\nimport mlflow, threading\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(get_telemetry_client(), is_telemetry_disabled(), threading.active_count())"
    )
    alone = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}  # not in a test
    said = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=alone).stdout
    assert said == "None True 1\n"


def test_what_somebody_has_set_stays_but_for_what_is_reported() -> None:
    environment = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "7", "MLFLOW_DISABLE_TELEMETRY": "false", "OTHER": "x"}
    quieten_tracking(environment)
    assert environment["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["OTHER"] == "x"

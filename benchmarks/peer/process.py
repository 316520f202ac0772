# SPDX-License-Identifier: Apache-2.0
"""The peer as processes: a redis-server and a uvicorn of its own, on free ports of loopback, in a folder of its own."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peer.model import read_history, train
from benchmarks.peer.velocity import Pipelines, fill
from benchmarks.subject import free_port, tail


def require_installed() -> None:
    """End with what to install where something is missing."""
    missing = [name for name in ("fastapi", "pydantic", "redis") if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)} missing; install with: pip install -c constraints.txt -e '.[bench]'")
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is missing; install it with: bash scripts/install_services.sh")


class RedisProcess:
    """A redis-server that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.log = free_port(), folder / "redis.log"
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def wait_ready(self, patience_s: float = 30.0) -> None:
        from redis import Redis
        from redis.exceptions import ConnectionError as NotConnectedError

        deadline = time.monotonic() + patience_s
        with contextlib.closing(Redis(port=self.port)) as client:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    client.ping()
                    return
                except NotConnectedError:
                    time.sleep(0.05)
        raise SystemExit(f"redis-server did not answer:\n{tail(self.log)}")

    def stop(self) -> None:
        end(self.process)


class PeerProcess:
    """The peer with the windows of a workspace's history filled; `folder` holds its model and decisions."""

    def __init__(self, workspace: Path, folder: Path, pipelines: Pipelines = "window") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.token, self.port, self.log = secrets.token_urlsafe(32), free_port(), folder / "peer.log"
        history = read_history(workspace)
        if not (folder / "model.txt").exists():
            train(history, folder)
        self.redis = RedisProcess(folder / "redis")
        try:
            self.redis.wait_ready()
            from redis import Redis

            with contextlib.closing(Redis(port=self.redis.port)) as client:
                self.n_filled = fill(client, history)
            command = [sys.executable, "-m", "uvicorn", "benchmarks.peer.app:app", "--port", str(self.port)]
            command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"]
            environment = {
                "PEER_FOLDER": str(folder),
                "PEER_REDIS_PORT": str(self.redis.port),
                "PEER_TOKEN": self.token,
                "PEER_PIPELINES": pipelines,
            }
            with self.log.open("ab") as out:
                self.process = subprocess.Popen(
                    command, stdout=out, stderr=out, env={**os.environ, **environment}, start_new_session=True
                )
        except BaseException:
            self.redis.stop()
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        return self.process.pid, self.redis.process.pid

    def wait_ready(self, patience_s: float = 60.0) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)) as connection:
                    connection.request("GET", "/readyz")
                    if connection.getresponse().status == 200:
                        return
            except OSError:
                pass  # not listening yet
            time.sleep(0.05)
        raise SystemExit(f"the peer did not answer:\n{tail(self.log)}")

    def stop(self) -> None:
        end(self.process)
        self.redis.stop()


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

# SPDX-License-Identifier: Apache-2.0
"""A service in a process of its own, and a client that talks to it as any other would."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from ringfence.errors import RingfenceError

_START_S = 180.0  # the first start on a machine compiles the kernels
_STOP_S = 30.0


class ServiceStartError(RingfenceError):
    """The service ended, or did not get ready in time."""

    def __init__(self, found: str, log: Path) -> None:
        self.log = log
        tail = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-15:]) if log.exists() else ""
        super().__init__(f"the service did not start: {found}; its log, {log}, ends:\n{tail}")


class RefusedError(RingfenceError):
    """The service answered with a problem."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        super().__init__(f"the service answered {status}: {body.decode('utf-8', errors='replace')[:500]}")


class Service:
    """`ringfence serve` as a child process. Ends with the `with` block, however that ends."""

    def __init__(self, workspace: Path, port: int, log: Path) -> None:
        self.port = port
        self._log = log
        command = [sys.executable, "-m", "ringfence.cli", "serve", "-w", str(workspace), "--port", str(port)]
        # A demonstration is to show the models, on however busy a machine.
        command += ["--deadline", "10000"]
        with log.open("ab") as out:
            # A session of its own: an interrupt at the terminal reaches us alone, and we end the service in order.
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self) -> float:
        """Wait until decisions are answered; return the seconds it took.

        Raises
        ------
        ServiceStartError
            If the process ends first, or three minutes pass.
        """
        began = time.monotonic()
        while time.monotonic() - began < _START_S:
            if not self.alive:
                raise ServiceStartError(f"it ended with code {self._process.returncode}", self._log)
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return time.monotonic() - began
            except OSError:
                pass  # not listening yet
            time.sleep(0.05)
        raise ServiceStartError(f"not ready after {_START_S:.0f} s", self._log)

    def stop(self) -> None:
        """Ask it to end, as a supervisor would; insist after half a minute."""
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()


class Client:
    """One kept-alive connection with an API key."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send one object and return the answer.

        Raises
        ------
        RefusedError
            If the status is not 2xx.
        """
        self._connection.request("POST", path, json.dumps(body).encode(), self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RefusedError(response.status, answer)
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def close(self) -> None:
        self._connection.close()


def free_port() -> int:
    """Name a TCP port on the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

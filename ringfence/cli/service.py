# SPDX-License-Identifier: Apache-2.0
"""`serve`: the HTTP service."""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated

import typer

from ringfence.cli.options import HERE, ScenarioOption, WorkspaceOption
from ringfence.errors import RingfenceError


class AddressTakenError(RingfenceError):
    """Someone else listens there, or the machine has no such address."""

    def __init__(self, host: str, port: int, found: str) -> None:
        self.host, self.port = host, port
        super().__init__(f"cannot listen on {host}:{port}: {found}; name another with --port, or end who holds it")


def serve(
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; put a proxy that speaks TLS before any other than loopback.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8473,
    metrics_open: Annotated[bool, typer.Option("--metrics-open", help="Let /metrics be read without a key.")] = False,
    snapshot_every: Annotated[
        float,
        typer.Option(min=1.0, help="Seconds between two snapshots of the state; 50,000 records force one."),
    ] = 300.0,
    deadline: Annotated[
        int,
        typer.Option(
            min=1, max=60_000, help="Milliseconds to decide in, where a request names none; a lower rung answers then."
        ),
    ] = 50,
) -> None:
    """Answer decisions over HTTP until interrupted. Start-up is recovery: newest snapshot, then replay.

    Serves every scenario of the workspace that --scenario does not narrow down. API keys come from keys.txt and the
    environment variable RINGFENCE_KEYS. One line on stdout says where it answers, as soon as it does. Logs are JSON
    lines on stderr.
    """
    from ringfence.scenario.clock import SystemClock
    from ringfence.serving.config import ServiceConfig
    from ringfence.serving.keys import load_keys
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    keys = load_keys(here.keys_path, os.environ.get("RINGFENCE_KEYS"))
    config = ServiceConfig(
        host=host, port=port, metrics_open=metrics_open, snapshot_every_s=snapshot_every, deadline_ms=deadline
    )
    _require_free(host, port)
    from ringfence.serving.server import serve as run_server

    run_server(
        here,
        keys,
        SystemClock(),
        config,
        sys.stderr,
        scenario=scenario,
        on_ready=lambda url: typer.echo(f"ready: decisions at {url}/v1/decisions; Ctrl-C ends it"),
    )


def _require_free(host: str, port: int) -> None:
    """Raise `AddressTakenError` now rather than after the recovery of the state."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a closing socket is no holder
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressTakenError(host, port, error.strerror or str(error)) from None

# SPDX-License-Identifier: Apache-2.0
"""`serve`: the HTTP service."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ringfence.cli.options import HERE, ScenarioOption, WorkspaceOption


def serve(
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; put a proxy that speaks TLS before any other than loopback.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8473,
    metrics_open: Annotated[bool, typer.Option("--metrics-open", help="Let /metrics be read without a key.")] = False,
) -> None:
    """Answer decisions over HTTP until interrupted. Start-up is recovery: newest snapshot, then replay.

    Serves every scenario of the workspace that --scenario does not narrow down. API keys come from keys.txt and the
    environment variable RINGFENCE_KEYS. Logs are JSON lines on stderr.
    """
    from ringfence.scenario.clock import SystemClock
    from ringfence.serving.config import ServiceConfig
    from ringfence.serving.keys import load_keys
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    keys = load_keys(here.keys_path, os.environ.get("RINGFENCE_KEYS"))
    config = ServiceConfig(host=host, port=port, metrics_open=metrics_open)
    from ringfence.serving.server import serve as run_server

    run_server(here, keys, SystemClock(), config, sys.stderr, scenario=scenario)

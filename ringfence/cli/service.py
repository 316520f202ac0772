# SPDX-License-Identifier: Apache-2.0
"""`serve`: the HTTP service."""

from __future__ import annotations

from typing import Annotated

import typer

from ringfence.cli.options import HERE, WorkspaceOption


def serve(
    workspace: WorkspaceOption = HERE,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8473,
) -> None:
    """Answer decisions over HTTP until interrupted. Start-up is recovery: newest snapshot, then replay."""

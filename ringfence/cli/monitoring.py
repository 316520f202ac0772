# SPDX-License-Identifier: Apache-2.0
"""`export monitoring`: alert rules and a dashboard for who watches the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.options import JsonOption
from ringfence.cli.terminal import show


def monitoring(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A folder; it is made where absent.")],
    as_json: JsonOption = False,
) -> None:
    """Write alert rules for Prometheus (alerts.yaml) and a Grafana dashboard (dashboard.json), replacing older ones.

    The rules expect a scrape job named `ringfence`. docs/runbook.md says what each alert means and what to do first.
    """
    from ringfence.serving.monitoring import FILES, text_of

    output.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (output / name).write_text(text_of(name), "utf-8")
    written = [str(output / name) for name in FILES]
    show({"written": written}, as_json=as_json, text="written: " + ", ".join(written))

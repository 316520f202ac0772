# SPDX-License-Identifier: Apache-2.0
"""`ticks`: the events of entities that are due, for the nightly run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time, time_option
from ringfence.cli.output import require_folder
from ringfence.cli.terminal import show


def ticks(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=".ndjson: messages for POST /v1/decisions/batch; .csv: rows for `ringfence import FILE`.",
        ),
    ],
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help="The last moment that counts; now, if left out.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="T", help="The first one; one period before --until, if left out."),
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """List entities whose tick is due and not decided yet (`ticks:` in ringfence.yaml). Writes only the output file.

    Run it each night: each entity that was active comes once a period, with the same event_id however often it is
    asked for. A service that decides the .ndjson puts the ticks on record; so does an import of the .csv.
    """
    import msgspec

    from ringfence.cli.exits import UsageError
    from ringfence.scenario.clock import SystemClock
    from ringfence.steps.entity_ticks import as_events, due_ticks
    from ringfence.workspace import Workspace

    if output.suffix not in (".ndjson", ".csv"):
        raise UsageError(f"--output {str(output)!r} is neither .ndjson nor .csv; its name says what is written")
    here = Workspace(workspace)
    spec = here.scenario(scenario)
    require_folder(output)
    until_ms = SystemClock().now_ms() if until is None else time_option(until, "--until", spec.time_zone)
    from_ms = None if from_ is None else time_option(from_, "--from", spec.time_zone)
    due = due_ticks(here, spec, until_ms=until_ms, from_ms=from_ms)
    if output.suffix == ".csv":
        due.write_csv(output)
    else:
        output.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in as_events(due, spec)))
    times_ms = due["tick_time"]
    newest = None if due.is_empty() else iso_time(int(times_ms[-1]))
    show(
        {"output": str(output), "n_ticks": due.height, "newest": newest},
        as_json=as_json,
        text=f"{due.height:,} ticks due until {iso_time(until_ms)}" + (f", the newest at {newest}" if newest else "")
        + f"; written to {output}",
    )  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""`features`: entity and time in, features as of then out, for other people's models."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.output import require_folder, write_whole
from ringfence.cli.terminal import progress, show


def features(
    spine: Annotated[
        Path, typer.Option("--spine", metavar="FILE", help="CSV or Parquet: who, and as of when; a row per question.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")],
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the features of entities as of any time. Reads only; writes nothing but the output file.

    The spine has a column `event_time` (or `time`), and columns named as roles that hold entity ids, or `role` and
    `id`, one entity a row; optionally `amount`, and columns named as attributes. Others are carried along. A row reads
    what an event that names these entities at that time would read, before anything else that happened at that time.
    Rows come back in the order of the spine: its columns, then a column per feature.
    """
    from ringfence.steps.features import features_as_of
    from ringfence.steps.spine import read_spine
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    require_folder(output)
    began = time.monotonic()
    asked = read_spine(spine)
    with progress("replaying", unit="records") as report_progress:
        found = features_as_of(here, spec, asked, progress=report_progress)
    write_whole(found, output)
    seconds, n_features = time.monotonic() - began, found.width - asked.width
    show(
        {"output": str(output), "n_rows": found.height, "n_features": n_features, "seconds": seconds},
        as_json=as_json,
        text=f"{found.height:,} rows of {n_features} features in {seconds:.1f} s; written to {output}",
    )

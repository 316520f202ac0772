# SPDX-License-Identifier: Apache-2.0
"""`features`: entity and time in, features as of then out, for other people's models; and what features there are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.output import require_folder, write_whole
from ringfence.cli.terminal import progress, remark, show, table

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace


def features(
    spine: Annotated[
        Path | None,
        typer.Option("--spine", metavar="FILE", help="CSV or Parquet: who, and as of when; a row per question."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the features of this scenario instead, by family.")
    ] = False,
    family: Annotated[
        str | None, typer.Option("--family", metavar="FAMILY", help="With --list: only those of this family.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="TEXT", help="With --list: only those with this text in name or meaning."),
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the features of entities as of any time, or list what features there are. Writes only the output file.

    With --spine and --output: the spine has a column `event_time` (or `time`), and columns named as roles that hold
    entity ids, or `role` and `id`, one entity a row; optionally `amount`, and columns named as attributes. Others are
    carried along, with a warning where one nearly is called as a role. A row reads what an event that names these
    entities at that time would read, before anything else that happened at that time. Rows come back in the order of
    the spine: its columns, then a column per feature.

    With --list: name, meaning, unit, window and to what its lower bound is rounded, when it is missing, version, and
    its share of a row in nanoseconds; and which families are on.
    """
    from ringfence.workspace import Workspace

    if listed:
        if spine is not None or output is not None:
            raise UsageError("--list lists features and writes no file; leave out --spine and --output")
        spec = Workspace(workspace).scenario(scenario)
        _list(spec, family, like, as_json=as_json)
        return
    if family is not None or like is not None:
        raise UsageError("--family and --like choose what is listed; add --list")
    if spine is None or output is None:
        raise UsageError("give --spine FILE and --output FILE, or --list for what features there are")
    here = Workspace(workspace)
    _write(here, here.scenario(scenario), spine, output, as_json=as_json)


def _write(here: Workspace, spec: Scenario, spine: Path, output: Path, *, as_json: bool) -> None:
    from ringfence.steps.features import features_as_of
    from ringfence.steps.spine import read_spine

    require_folder(output)
    began = time.monotonic()
    asked = read_spine(spine)
    doubts: list[str] = []
    with progress("replaying", unit="records") as report_progress:
        found = features_as_of(here, spec, asked, doubt=doubts.append, progress=report_progress)
    write_whole(found, output)
    seconds, n_features = time.monotonic() - began, found.width - asked.width
    for text in doubts:
        remark(f"warning: {text}")
    result = {"output": str(output), "n_rows": found.height, "n_features": n_features, "seconds": seconds}
    show(
        result | {"warnings": doubts},
        as_json=as_json,
        text=f"{found.height:,} rows of {n_features} features in {seconds:.1f} s; written to {output}",
    )


def _list(spec: Scenario, family: str | None, like: str | None, *, as_json: bool) -> None:
    from ringfence.steps.catalogue import catalogue_of

    found = catalogue_of(spec, family=family, like=like)
    parts = [_part(part) for part in found.partition_by("family", "is_on", maintain_order=True)]
    told = (
        "\n\n".join(parts) if parts else f"{spec.name} has no such feature; without --family and --like all are listed"
    )
    show({"scenario": spec.name, "features": found.to_dicts()}, as_json=as_json, text=told)


def _part(part: pl.DataFrame) -> str:
    from ringfence.engine.windows import span_text

    name, is_on = part["family"][0], part["is_on"][0]
    switch = "on" if is_on else f"off; `features: {{{name}: true}}` in ringfence.yaml adds them"
    rows = [
        [
            row["feature"],
            row["sentence"],
            row["unit"],
            "-" if row["window_ms"] is None else f"{span_text(row['window_ms'])}, {span_text(row['granule_ms'])}",
            row["missing"],
            str(row["version"]),
            f"{row['cost_ns']:.1f}",
        ]
        for row in part.iter_rows(named=True)
    ]
    headers = ["feature", "meaning", "unit", "window, rounded to", "missing when", "version", "ns"]
    return f"{name}: {part.height}, {switch}\n{table(headers, rows)}"

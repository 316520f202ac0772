# SPDX-License-Identifier: Apache-2.0
"""`export graph`: events, entities, links and labels as Parquet, for models of one's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, time_option
from ringfence.cli.terminal import progress, show

app = typer.Typer(no_args_is_help=True, help="Write what a scenario holds for other people's tools.")


@app.callback()
def _root() -> None:
    pass


@app.command("graph")
def graph(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="A folder that does not exist yet, or is empty.")
    ],
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The cut, as of `train --until`; the end of the ledger when left out."),
    ] = None,
    no_features: Annotated[bool, typer.Option("--no-features", help="Leave out the engine's feature rows.")] = False,
    later_labels: Annotated[
        bool, typer.Option("--later-labels", help="Write what labels said after the cut, too, to a file of its own.")
    ] = False,
    with_ids: Annotated[
        bool, typer.Option("--with-ids", help="Write original entity ids beside their digests, where not erased.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the graph of a scenario as Parquet: events, entities, links, labels, features. Writes only that folder.

    A row per event and per entity, numbered from 0, and one per link, each with `seq`, the order in which things became
    known. Events are split as by `train --until`, and their labels are those known at the cut. Feature rows are as of
    their event. manifest.json and README.md in the folder tell what is in it and how not to look ahead. Personal
    attributes, those for audits alone, and texts (but for their length) are never written.
    """
    from ringfence.steps.graph_export import export_graph
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    began = time.monotonic()
    with progress("exporting", unit="records") as report_progress:
        found = export_graph(
            here,
            spec,
            output.resolve(),
            until_ms=None if until is None else time_option(until, "--until", spec.time_zone),
            features=not no_features,
            later_labels=later_labels,
            with_ids=with_ids,
            progress=report_progress,
        )
    seconds, made = time.monotonic() - began, found.manifest
    n_events, n_entities = (sum(one.n for one in nodes) for nodes in (made.events, made.entities))
    n_edges = sum(one.n for one in made.edges)
    parts = ", ".join(f"{n:,} {name}" for name, n in made.parts.items())
    show(
        {
            "output": str(output), "n_events": n_events, "n_entities": n_entities, "n_edges": n_edges,
            "parts": made.parts, "n_fraud": made.n_fraud, "n_labels": made.n_labels,
            "n_later_labels": made.n_later_labels, "n_features": len(made.features), "digest": made.digest,
            "seconds": seconds,
        },
        as_json=as_json,
        text=f"{n_events:,} events, {n_entities:,} entities, {n_edges:,} links and {len(made.features)} features in "
        f"{seconds:.1f} s; written to {output}\ndecided events: {parts}; {made.n_fraud:,} known frauds\n"
        f"read {output / 'README.md'}",
    )  # fmt: skip

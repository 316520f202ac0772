# SPDX-License-Identifier: Apache-2.0
"""`release mirror`: releases, copied to a tracking store."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.terminal import progress, remark, show, table

ADDRESS = "MLFLOW_TRACKING_URI"


def mirror(
    to: Annotated[
        str,
        typer.Option(
            envvar=ADDRESS,
            show_envvar=False,
            metavar="ADDRESS",
            help=f"http(s)://HOST:PORT, sqlite:///FILE or a folder; else what {ADDRESS} says.",
        ),
    ],
    release: Annotated[
        str, typer.Argument(metavar="RELEASE", help="A release id, `latest`, `champion` or `all`.")
    ] = "all",
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="The experiment there; else the scenario's name.")
    ] = None,
    with_lookups: Annotated[
        bool, typer.Option("--with-lookups", help="Copy the tables of lookups, too: large, or not yours to pass on.")
    ] = False,
    with_cases: Annotated[
        bool, typer.Option("--with-cases", help="Copy the report with the single events that it shows.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy releases to a tracking store of MLflow: params, figures, plots, report and bundle; each one once.

    Those that are there are left as they are, and one that was interrupted is gone on with. The ledger alone decides
    what is live: nothing is read back. Credentials are MLflow's own, from the environment: MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
    """
    from ringfence.steps.mirroring import mirror_releases
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    with progress("mirroring", unit="releases") as report:
        made = mirror_releases(
            here,
            here.scenario(scenario),
            to=to,
            environment=os.environ,
            release=release,
            experiment=experiment,
            with_lookups=with_lookups,
            with_cases=with_cases,
            progress=report,
        )
    for name in made.absent:
        remark(f"left out: {name}; its bundle is no longer on disk")
    rows = [[one.release, one.outcome, one.run, ", ".join(one.left_out)] for one in made.releases]
    show(
        made,
        as_json=as_json,
        text=f"{made.store}, experiment {made.experiment}\n{table(['release', 'outcome', 'run', 'left out'], rows)}"
        if rows
        else "no release yet; make one with: ringfence train",
    )

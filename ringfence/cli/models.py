# SPDX-License-Identifier: Apache-2.0
"""`train`, `score`, `evaluate`: from the ledger to a release, and from a release to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time, time_option
from ringfence.cli.terminal import show, staged_progress


def train(
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    examples_from: Annotated[
        str | None, typer.Option(metavar="TIME", help="Examples are events from this time on (inclusive).")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Nothing known after this time is used.")] = None,
    trials: Annotated[int, typer.Option(min=0, help="Hyperparameter settings to try; 0 takes the defaults.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed on the same ledger makes the same release.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a release: replay the ledger, fit, calibrate, evaluate out of fold, write report and card.

    Examples are the decided events from --examples-from whose label was known by --until. The first release becomes
    the champion; later ones wait for `ringfence release promote`.
    """


def score(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")],
    from_time: Annotated[str, typer.Option("--from", metavar="TIME", help="Events from this time on (inclusive).")],
    to_time: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Events before this time (exclusive); default: the end.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(metavar="R|latest", help="A release id, or latest; default: the champion.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score past events as the service would have at that moment. Reads only; writes nothing but the output file.

    One row per event: event_id, event_time, score, action, rung, and one column per member score.
    """


def evaluate(
    release: Annotated[
        str | None, typer.Option(metavar="R|latest", help="A release id, or latest; default: the champion.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a release measured of itself out of fold, and where its report lies."""


_ = (iso_time, time_option, show, staged_progress)

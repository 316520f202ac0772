# SPDX-License-Identifier: Apache-2.0
"""`release recalibrate`: the same models, probabilities from what became known since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ringfence.cli.models import told_registered
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time, time_option
from ringfence.cli.releases import NoteOption, ReleaseArgument
from ringfence.cli.terminal import remark, show, staged_progress, table

if TYPE_CHECKING:
    from ringfence.scoring.release import Release

_FIGURES = {"ece": "calibration error", "brier": "Brier score", "calibration_slope": "calibration slope"}


def recalibrate(
    release: ReleaseArgument = "champion",
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Nothing that became known after this time is used; default: the end."),
    ] = None,
    weights: Annotated[
        bool,
        typer.Option(
            "--weights", help="Let the stack's weights follow these labels, too, where that forecasts better."
        ),
    ] = False,
    note: NoteOption = "",
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a release of the same models with their calibration fitted anew, on labels known since. Retrains nothing.

    Fitted on are events whose labels became known after the release's cut and by --until, and that its models were not
    fitted on. What became known last judges whether probabilities got better; the report tells. The new release waits
    for `ringfence release promote`. With fewer than 30 frauds or 30 legit events it is refused.

    With --weights the weights of trees and branches move, too: pulled to the released ones as by 100 labelled frauds,
    and never below half or above twice what training gave them, however often this is repeated. They stay where they
    were, and it says why, unless the labels known last are forecast better with them.
    """
    from ringfence.scenario.clock import SystemClock
    from ringfence.steps.recalibrating import recalibrate_release
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    until_ms = None if until is None else time_option(until, "--until", spec.time_zone)
    with staged_progress() as report_progress:
        base, made = recalibrate_release(
            here,
            spec,
            clock=SystemClock(),
            release=release,
            until_ms=until_ms,
            weights=weights,
            note=note,
            progress=report_progress,
        )
    found: dict[str, Any] = made.metrics["recalibrated"]
    for rung in found["rungs"]:
        if rung["verdict"] != "better":
            remark(f"warning: rung {rung['name']}: {rung['verdict']} on the labels that became known last")
    is_known = told_registered(here, spec, made)
    show(
        {
            "release": made.id,
            "registered": is_known,
            "models_of": base.id,
            "until": iso_time(made.manifest.made.until_ms),
            **{name: found[name] for name in ("n", "n_fraud", "n_fitted", "n_fitted_fraud", "rungs", "review_price")},
            "weights": found["weights"],
            "path": str(made.path),
            "report": str(made.path / "report.html"),
        },
        as_json=as_json,
        text=_told(base, made, found),
    )


def _told(base: Release, made: Release, found: dict[str, Any]) -> str:
    judged = found["n"] - found["n_fitted"]
    lines = [
        f"release {made.id}: the models of {base.id}, calibrated on {found['n']:,} events ({found['n_fraud']:,} fraud) "
        f"known after {iso_time(found['after_ms'])} and by {iso_time(found['until_ms'])}",
        f"judged on the {judged:,} of them known last, by a calibration on the others:",
    ]
    rows = [
        [rung["name"], title, *(_number(rung[when][name]) for when in ("before", "after"))]
        for rung in found["rungs"]
        for name, title in _FIGURES.items()
    ]
    lines += [f"  {line}" for line in table(["rung", "", "before", "after"], rows).splitlines()]
    if found["weights"] is not None:
        from ringfence.training.following import COLUMNS, Following, rows_of, verdict_of

        following = msgspec.convert(found["weights"], Following)
        lines.append(verdict_of(following))
        lines += [f"  {line}" for line in table(list(COLUMNS), rows_of(following)).splitlines()]
    return "\n".join(
        [
            *lines,
            f"it waits: ringfence release promote {made.id}",
            f"report: {made.path / 'report.html'}",
        ]
    )


def _number(found: dict[str, float | None]) -> str:
    value = found["value"]
    return "none" if value is None else f"{value:.5f}"

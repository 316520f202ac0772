# SPDX-License-Identifier: Apache-2.0
"""`import`, `simulate`: the history in a workspace."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from ringfence.cli.exits import Exit, UsageError
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time
from ringfence.cli.terminal import progress, remark, show

_OF_A_NEW_WORLD = ("events", "seed", "fraud_rate", "days", "shock", "planted_pairs")


class OnBadRows(StrEnum):
    REJECT = "reject"
    ABORT = "abort"


def import_history(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="CSV, JSON lines or Parquet files of the decided event type; without any, the scenario's sources.",
        ),
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    on_bad_rows: Annotated[
        OnBadRows, typer.Option(help="reject: load the good rows, list the bad ones. abort: load nothing.")
    ] = OnBadRows.REJECT,
    replace: Annotated[
        bool, typer.Option("--replace", help="Start the ledger anew; allowed while it holds no live records.")
    ] = False,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory for the external sort, such as 512MB or 2GB.")
    ] = "800MB",
    as_json: JsonOption = False,
) -> None:
    """Read history from CSV, JSON lines or Parquet into the ledger, in time order, each label at its own known_at.

    One import is all or nothing. The same import again adds nothing. Every bad row is listed in a rejects file with
    its line and reason; the most frequent reasons are told. What is odd about the rows let in is a warning on stderr:
    times that lie after their event, missing amounts, files without a row.
    """
    from ringfence.cli.import_report import as_dict, summary, warnings
    from ringfence.scenario.clock import SystemClock
    from ringfence.steps.history import import_history as load
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    with progress(f"importing into {spec.name}", unit="rows") as report_progress:
        report = load(
            here,
            spec,
            files,
            clock=SystemClock(),
            on_bad_rows=on_bad_rows.value,
            replace=replace,
            memory=memory,
            progress=report_progress,
        )
    show(as_dict(report), as_json=as_json, text=summary(report))
    for warning in warnings(report):
        remark(f"warning: {warning}")
    if not report.n_events + report.n_labels and report.n_conflicts > report.n_duplicates:
        raise typer.Exit(Exit.BAD_INPUT)
    if not report.n_events + report.n_labels + report.n_duplicates:
        remark("nothing was imported: " + ("every row was rejected" if report.n_rejected else "there is no row"))
        raise typer.Exit(Exit.BAD_INPUT)


def _output_folder(text: str) -> Path:
    if not text:
        raise typer.BadParameter("name a folder; for the current one write .")
    return Path(text)


def simulate(
    context: typer.Context,
    world: Annotated[str, typer.Argument(metavar="SCENARIO", help="Which world: motor-claims.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", parser=_output_folder, help="Where the files and workspace go."),
    ],
    events: Annotated[
        int, typer.Option(min=1_000, max=20_000_000, help="How many claims, 1,000 to 20 million.")
    ] = 30_000,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="0 or more; the same seed makes the same world.")] = 0,
    fraud_rate: Annotated[
        float, typer.Option(min=0.001, max=0.2, help="Share of fraud, 0.001 to 0.2. The demo takes 0.015.")
    ] = 0.0056,
    days: Annotated[
        int, typer.Option(min=120, max=3_650, help="Length of the history, 120 to 3,650; it ends with the year 2024.")
    ] = 730,
    shock: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:onset=T,size=X]",
            help="Something that happens on some day: amounts, new_pattern, base_rate, broken_field, holiday or "
            "label_backlog; each at most once. docs/worlds.md tells their onsets and sizes.",
        ),
    ] = None,
    planted_pairs: Annotated[
        int,
        typer.Option(
            min=0, max=10_000, help="Pairs of claims that differ in their wiring alone, on top; up to 10,000."
        ),
    ] = 0,
    explain: Annotated[
        str | None,
        typer.Option(metavar="RING", help="Make nothing; tell the story of a ring of the world that is in DIR."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a world whose truth is known, as an importable workspace: files, ringfence.yaml and truth.parquet."""
    if world != "motor-claims":
        raise UsageError(f"no world {world!r}; known: motor-claims")
    if explain is not None:
        given = [f"--{name.replace('_', '-')}" for name in _OF_A_NEW_WORLD if _is_given(context, name)]
        if given:
            raise UsageError(f"--explain makes no world: leave out {', '.join(given)}")
        _explain(output, explain, as_json=as_json)
        return
    from ringfence.simulate import WorldSettingError, WorldSettings, parse_shock, simulate_motor_claims

    try:
        shocks = [parse_shock(text) for text in shock or ()]
        WorldSettings(
            n_events=events, seed=seed, fraud_rate=fraud_rate, days=days, shocks=tuple(shocks),
            planted_pairs=planted_pairs,
        )  # fmt: skip
    except WorldSettingError as wrong:  # the parser has checked the other options
        raise UsageError(f"--shock: {wrong}") from wrong
    with progress(f"simulating {world}", unit="claims") as report_progress:
        report = simulate_motor_claims(
            events, seed, output, report_progress, fraud_rate=fraud_rate, days=days, shocks=shocks,
            planted_pairs=planted_pairs,
        )  # fmt: skip
    result = report.as_dict()
    for name in ("starts", "ends"):
        result[name] = iso_time(result.pop(f"{name}_ms"))
    happened = "".join(
        f"\nshock {told['name']} from {told['begins']} on: {told['meaning']} {told['size']:g}" for told in report.shocks
    )
    if planted_pairs:
        happened += (
            f"\n{planted_pairs:,} planted {'pair' if planted_pairs == 1 else 'pairs'}, for the judge: "
            f"{output / 'planted_pairs.parquet'}; {report.n_planted_claims:,} of the claims and "
            f"{report.n_planted_fraud:,} of the frauds are theirs"
        )
    show(
        result,
        as_json=as_json,
        text=f"simulated {report.n_events:,} claims from {result['starts']} to {result['ends']} in {output}: "
        f"{report.n_fraud:,} fraudulent, in {report.n_rings:,} rings; investigators know the truth about "
        f"{report.n_labelled:,} and found {report.n_labelled_fraud:,} frauds{happened}\n"
        f"next: ringfence import -w {quote(str(output))}",
    )


def _is_given(context: typer.Context, parameter: str) -> bool:
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def _explain(folder: Path, ring: str, *, as_json: bool) -> None:
    from ringfence.cli.stories import story_dict, story_text
    from ringfence.simulate import ring_story

    story = ring_story(folder, ring)
    show(story_dict(story), as_json=as_json, text=story_text(story))

# SPDX-License-Identifier: Apache-2.0
"""`train`, `score`, `evaluate`: from the ledger to a release, and from a release to scores and figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time, size_option, time_option
from ringfence.cli.output import require_folder, write_whole
from ringfence.cli.phases import Phase, Phases, phase_table
from ringfence.cli.reservations import lopsided, reservation_lines, told_reservations
from ringfence.cli.shortfalls import shortfalls
from ringfence.cli.studies import studied
from ringfence.cli.terminal import progress, remark, show, staged_progress, table
from ringfence.cli.text_report import text_report

if TYPE_CHECKING:
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace

_FIGURES = {
    "average_precision": "average precision",
    "roc_auc": "ROC-AUC",
    "brier_skill": "Brier skill",
    "ece": "calibration error",
}
_BEGINNING_MS = -62_135_596_800_000  # 0001-01-01, before any event

ReleaseOption = Annotated[
    str | None, typer.Option(metavar="RELEASE", help="A release id, or `latest`.", show_default="the champion")
]


def train(
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    examples_from: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Examples are events from this time on (inclusive); earlier ones teach."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Nothing that became known after this time is fitted; default: the end."),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=0, help="Settings to try beside the default; an interrupted search goes on.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed on the same ledger makes the same release.")] = 0,
    row_cache: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Disk for feature rows, below state/, so that the next train replays only what changed; 0: none.",
        ),
    ] = "4GiB",
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="BRANCH", help="A branch beside the trees that is not to be tried, such as gnn; repeat."),
    ] = None,
    assumed_rate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            min=0.0,
            max=1.0,
            help="Without labels: order events by how unusual they are and by rules, their mean score being this rate.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a release: replay the ledger, fit, calibrate, evaluate, write the bundle with report and card.

    Examples are the decided events from --examples-from whose label was known by --until. The first release becomes
    the champion; later ones wait for `ringfence release promote`. It may run beside a service. Features that an earlier
    train computed from the same records are not replayed. Time and peak memory of each phase are told. What was
    forgotten for want of memory, and what is missing in every example, is a warning on stderr, and stands in the card.
    """
    from ringfence.workspace import Workspace

    if assumed_rate is not None and not 0.0 < assumed_rate < 1.0:
        raise UsageError(
            f"--assumed-rate {assumed_rate:g} is no rate of fraud; write one between 0 and 1, such as 0.01"
        )
    if assumed_rate is not None and (trials or without):
        raise UsageError("--assumed-rate learns from no label: leave out --trials and --without")
    here = Workspace(workspace)
    spec = here.scenario(scenario)
    made = make_release(
        here,
        spec,
        examples_from_ms=_time(examples_from, "--examples-from", spec),
        until_ms=_time(until, "--until", spec),
        trials=trials,
        seed=seed,
        row_cache_bytes=size_option(row_cache, "--row-cache"),
        without=tuple(without or ()),
        assumed_rate=assumed_rate,
    )
    release = made.release
    warnings = shortfalls(release)
    for warning in warnings:
        remark(f"warning: {warning}")
    is_known = told_registered(here, spec, release)
    show(
        {
            **_described(release),
            "registered": is_known,
            "memory": release.metrics["memory"],
            "missing_in_every_example": release.metrics["missing_in_every_example"],
            "warnings": warnings,
            "seconds": made.seconds,
            "phases": [phase._asdict() for phase in made.phases],
            "features_recalled": made.n_recalled,
            "features_replayed": made.n_replayed,
        },
        as_json=as_json,
        text=f"{headline(release)}\n{work_done(made)}\nreport: {release.path / 'report.html'}",
    )


def told_registered(here: Workspace, scenario: Scenario, release: Release) -> bool:
    """Tell whether the ledger knows a release that was just made, and where it does not, how it comes to."""
    from ringfence.steps.chosen import is_registered

    if is_registered(here, scenario, release.id):
        return True
    remark(
        f"something else writes to the ledger, a service as a rule: {release.id} is made, and not registered yet. What "
        f"names it next registers it: ringfence release shadow {release.id}, or ringfence release promote {release.id}"
    )
    return False


class MadeRelease(NamedTuple):
    """A release, and what it cost to make."""

    release: Release
    seconds: float
    phases: list[Phase]
    n_recalled: int  # features whose rows an earlier training kept
    n_replayed: int


def make_release(
    here: Workspace,
    scenario: Scenario,
    *,
    examples_from_ms: int | None = None,
    until_ms: int | None = None,
    trials: int = 0,
    seed: int = 0,
    row_cache_bytes: int | None = None,
    without: tuple[str, ...] = (),
    assumed_rate: float | None = None,
) -> MadeRelease:
    """Train with a bar per stage, on all cores; `row_cache_bytes` as in `steps.making.row_cache`."""
    from ringfence.scenario.clock import SystemClock
    from ringfence.steps.making import make_release as make
    from ringfence.steps.making import row_cache

    began = time.monotonic()
    with staged_progress() as report_progress:
        phases = Phases("reading", report_progress)
        cache = row_cache(here, scenario, row_cache_bytes)
        release = make(
            here,
            scenario,
            clock=SystemClock(),
            examples_from_ms=examples_from_ms,
            until_ms=until_ms,
            trials=trials,
            seed=seed,
            cache=cache,
            without=without,
            assumed_rate=assumed_rate,
            progress=phases,
        )
    n_all = len(release.features)
    recalled, replayed = (0, n_all) if cache is None else (cache.n_reused, cache.n_replayed)
    return MadeRelease(release, time.monotonic() - began, phases.end(), recalled, replayed)


def work_done(made: MadeRelease) -> str:
    """Say what making a release took, phase by phase."""
    from ringfence.reports.numerals import counted

    recalled = f", {made.n_recalled} known from an earlier train" if made.n_recalled else ""
    return (
        f"in {made.seconds:.1f} s, {counted(made.n_replayed, 'feature')} replayed{recalled}\n{phase_table(made.phases)}"
    )


def _known_by(release: Release) -> str:
    """The cut of a release; where events have no time, which row that is, too."""
    from ringfence.reports.numerals import MOST_ROWS, row

    until_ms = release.manifest.made.models_until_ms
    is_row = release.scenario.decided.event_time_column is None and until_ms < 1000 * MOST_ROWS
    return f"{row(until_ms)} ({iso_time(until_ms)})" if is_row else str(iso_time(until_ms))


def headline(release: Release) -> str:
    """Say what a release was made from and the figures worth reading first, with their intervals."""
    from ringfence.steps.figures import headline_figures

    made, figures = release.manifest.made, release.manifest.headline
    lines = [
        f"release {release.id} from {made.n_examples:,} examples, {made.n_fraud:,} of them fraud, "
        f"known by {_known_by(release)}"
    ]
    if made.assumed_rate is not None:
        lines = [
            f"release {release.id} from {made.n_examples:,} events without labels, known by {_known_by(release)}",
            f"nothing was measured: a rate of {made.assumed_rate:.4g} is assumed, and the score orders events by how "
            "unusual they are and by rules; it may approve and review, and nothing else",
        ]
    if made.calibrated is not None:
        lines.append(
            f"its models are those of {made.calibrated.release}; calibrated anew on {made.calibrated.n:,} events, "
            f"{made.calibrated.n_fraud:,} fraud, known after {iso_time(made.calibrated.after_ms)}"
        )
        if made.calibrated.weights is not None:
            moved = made.calibrated.weights
            lines.append(
                "weights: "
                + ", ".join(
                    f"{name} {now:.3f} ({moved.trained[name]:.3f} at training)" for name, now in moved.now.items()
                )
            )
    if figures:
        where = "events after the cut, never fitted" if figures["name"] == "later_window" else "out of fold, in time"
        lines.append(f"measured on {figures['n']:,} events ({where}), {figures['n_fraud']:,} of them fraud:")
        rows = [[_FIGURES[name], *_figure(figure)] for name, figure in headline_figures(release).items()]
        lines += [f"  {line}" for line in table(["", "value", "95 % interval"], rows).splitlines()]
    suspicions = leaks(release)
    if suspicions:
        lines.append("possible leaks; nothing was left out, look at these before believing the figures:")
        lines += [f"  {one['column']}: {one['sentence']}" for one in suspicions]
    lines += reservation_lines(release, with_money=False)
    return "\n".join(lines)


def leaks(release: Release) -> list[dict[str, Any]]:
    """Return what the leak hunt of `train` suspects; empty where it found nothing, or the release is older than it."""
    found: list[dict[str, Any]] = (release.metrics.get("leaks") or {}).get("suspicions", [])
    return found


def _figure(figure: tuple[float | None, float | None, float | None]) -> list[str]:
    value, low, high = figure
    interval = "" if low is None or high is None else f"{low:.3f} .. {high:.3f}"
    return ["none" if value is None else f"{value:.3f}", interval]


def _described(release: Release) -> dict[str, Any]:
    made = release.manifest.made
    return {
        "release": release.id,
        "scenario": release.manifest.scenario,
        "examples_from": iso_time(made.examples_from_ms),
        "until": iso_time(made.until_ms),
        "n_examples": made.n_examples,
        "n_fraud": made.n_fraud,
        "assumed_rate": made.assumed_rate,
        "n_trees": made.n_trees,
        "headline": release.manifest.headline,
        "leaks": leaks(release),
        "reservations": told_reservations(release),
        "path": str(release.path),
        "report": str(release.path / "report.html"),
        "card": str(release.path / "card.md"),
    }


def score(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")],
    from_time: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Events from this time on (inclusive); default: the first."),
    ] = None,
    to_time: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Events before this time (exclusive); default: the end.")
    ] = None,
    release: ReleaseOption = None,
    as_live: Annotated[
        bool, typer.Option("--as-live", help="Each event by the release that was live then; one more column names it.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score past events as the service would have at that moment. Reads only; writes nothing but the output file.

    One row per event: event_id, event_time, score, action, rung, and one column per member score; segment where the
    release has such by k-means. Actions assume an empty review queue. Where the window reaches into the span that the
    release was trained on, a warning says so; so it does where most events get one answer other than approve, or far
    more than training measured, with the costs that drive it.
    """
    from ringfence.steps.scoring import score_history
    from ringfence.workspace import Workspace

    if as_live and release is not None:
        raise UsageError("--as-live and --release exclude each other: one takes the release live then, one names it")
    here = Workspace(workspace)
    spec = here.scenario(scenario)
    from_ms, to_ms = _time(from_time, "--from", spec), _time(to_time, "--to", spec)
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise UsageError(f"--to {to_time} is not after --from {from_time}; --from is inclusive, --to exclusive")
    from_ms = _BEGINNING_MS if from_ms is None else from_ms
    require_folder(output)
    began = time.monotonic()
    with progress("scoring", unit="records") as report_progress:
        scored = score_history(here, spec, from_ms, to_ms, release=release, as_live=as_live, progress=report_progress)
    frame, n_seen = scored.rows, int(scored.in_training_span.sum())
    by = "the releases live then" if scored.release is None else scored.release.id
    warnings = [] if scored.release is None else _overlap(n_seen, frame.height, scored.release)
    if scored.release is not None:
        warnings += lopsided(frame, scored.release)
    write_whole(frame, output)
    seconds = time.monotonic() - began
    actions = dict(sorted(frame["action"].value_counts().iter_rows()))
    for warning in warnings:
        remark(f"warning: {warning}")
    show(
        {
            "output": str(output),
            "release": by,
            "n_events": frame.height,
            "n_in_training_span": n_seen,
            "actions": actions,
            "seconds": seconds,
            "warnings": warnings,
        },
        as_json=as_json,
        text=f"{frame.height:,} events scored by {by} in {seconds:.1f} s: "
        + ", ".join(f"{count:,} {action}" for action, count in actions.items())
        + f"; written to {output}",
    )


def _overlap(n_seen: int, n_events: int, release: Release) -> list[str]:
    if not n_seen:
        return []
    made = release.manifest.made
    begins = "the first event" if made.examples_from_ms is None else iso_time(made.examples_from_ms)
    return [
        f"{n_seen:,} of {n_events:,} events lie in the span that {release.id} was trained on ({begins} to "
        f"{iso_time(made.until_ms)}): the model may have been fitted on their own labels, so figures computed from "
        "these scores are too good; score a later window, or train with an earlier --until"
    ]


def evaluate(
    release: ReleaseOption = None,
    study: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Ask what would have been: branches, families, shuffled, network, frozen, personal, all; repeatable.",
            show_default=False,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of a world whose rings are known: a row per event with its ring_id, as `simulate` writes it.",
            show_default=False,
        ),
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    text: Annotated[
        bool, typer.Option("--text", help="The report in plain text: warnings, figures, findings, capacity, families.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a release measured of itself: figures with intervals, and where its report lies.

    With --study, trees are fitted again another way and compared on the same events: without each family of features,
    with links shuffled, with features frozen at midnight, with attributes that are kept out; and the stack without each
    branch. With --truth, how soon rings are found after the cut. Both are written below reports/, and take minutes.
    With --text, the report itself is printed, as far as a terminal can show it.
    """
    from ringfence.steps.chosen import find_release
    from ringfence.workspace import Workspace

    if text and (as_json or study or truth is not None):
        raise UsageError("--text prints the report of a release for people: leave out --json, --study and --truth")
    here = Workspace(workspace)
    spec = here.scenario(scenario)
    if study or truth is not None:
        studied(here, spec, study or [], release=release, truth=truth, as_json=as_json)
        return
    found = find_release(here, spec, release)
    show(
        {**_described(found), "metrics": found.metrics},
        as_json=as_json,
        text=text_report(found)
        if text
        else f"{headline(found)}\nall figures: {found.path / 'metrics.json'}\nreport: {found.path / 'report.html'}\n"
        f"card: {found.path / 'card.md'}",
    )


def _time(text: str | None, option: str, scenario: Scenario) -> int | None:
    return None if text is None else time_option(text, option, scenario.time_zone)

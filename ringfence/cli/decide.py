# SPDX-License-Identifier: Apache-2.0
"""`decide --pending`: the nightly run over what the policy left to it, with the service ended or by the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.running import TOKEN
from ringfence.cli.terminal import progress, remark, show, table
from ringfence.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.cli.beside import BesideRun
    from ringfence.ledger.errors import LedgerLockedError
    from ringfence.serving.pending import PendingRun, RouteCost

NOTHING: Final = "nothing waits for the nightly run"


class ServiceHoldsLedgerError(RingfenceError):
    """The nightly run has to append, and somebody else does, most likely the service."""

    def __init__(self, error: LedgerLockedError) -> None:
        self.path, self.holder_pid = error.path, error.holder_pid
        who = f"process {self.holder_pid}" if self.holder_pid else "another process"
        super().__init__(
            f"{who} is writing to the ledger (lock {self.path}); the nightly run appends its decisions itself, and a "
            "ledger has one writer: have the service decide, by `ringfence decide --pending --service URL`, or end "
            "`ringfence serve` (or the import) for as long as the run takes, and start it again afterwards; nothing "
            "was decided, and what waits goes on waiting"
        )


def decide(
    pending: Annotated[
        bool, typer.Option("--pending", help="Decide what the policy's `route` left to the nightly run.")
    ] = False,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=f"Have the service that runs there decide, beside its requests; asked with the token in {TOKEN}.",
        ),
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide events that wait for the nightly run, each once, from its features as of its own record.

    The champion decides, whole or not at all. Decisions are committed in groups: ended at any moment and run again, it
    goes on where it was. It holds the writer lock, so the service must not run meanwhile; with --service the service
    stays up and decides itself, a few events at a time between its requests. Told at the end: how many, by action, and,
    without --service, what each route cost; events decided at once between the first and the last stand beside.
    """
    if not pending:
        raise UsageError("decide what? `ringfence decide --pending` decides what the policy left to the nightly run")
    if service is not None:
        _beside(service, workspace, scenario, as_json=as_json)
        return
    from ringfence.ledger.errors import LedgerLockedError
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.clock import SystemClock
    from ringfence.serving.pending import champion_whole, decide_pending
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    release = champion_whole(Ledger.open(here.ledger_dir(spec), spec), here.releases_dir)
    ledger = Ledger.open(here.ledger_dir(spec), release.scenario)
    try:
        with progress("deciding", unit="events") as report_progress:
            run = decide_pending(ledger, release, here.state_dir(spec), SystemClock(), progress=report_progress)
    except LedgerLockedError as error:
        raise ServiceHoldsLedgerError(error) from None
    show(run, as_json=as_json, text=_text(run))


def _beside(url: str, workspace: Path, scenario: str | None, *, as_json: bool) -> None:
    """Have a running service decide, and tell what it came to."""
    from ringfence.cli.beside import decide_beside
    from ringfence.workspace import Workspace

    name = scenario or Workspace(workspace).scenario(None).name  # a machine that only asks needs no workspace
    waits = f"still waiting for the service at {url}: it decides between its requests, and may be busy or starting"
    with progress("deciding", unit="events", word=waits) as report_progress:
        run = decide_beside(url, name, progress=report_progress, say=remark)
    if run.n_need_replay:
        remark(
            f"{run.n_need_replay:,} go on waiting: their features are kept under another feature spec, or lost, and "
            "come out of a replay; end the service once and run `ringfence decide --pending`"
        )
    nothing = "nothing was decided" if run.n_need_replay else NOTHING
    show(run, as_json=as_json, text=_decided(run) if run.n_decided else nothing)


def _text(run: PendingRun) -> str:
    if not run.n_decided:
        return NOTHING
    text = _decided(run)
    if run.n_replayed:
        text += f"\nfeatures of {run.n_replayed:,} computed anew from the ledger"
    headers = ["route", "decisions", "ms each", "waited, s", f"expected cost, {run.currency}", "each"]
    return f"{text}\n{table(headers, [_row(name, cost) for name, cost in run.routes.items()])}"


def _decided(run: PendingRun | BesideRun) -> str:
    actions = ", ".join(f"{n:,} {action}" for action, n in run.by_action.items())
    return f"{run.n_decided:,} decided by {run.release} in {run.seconds:.1f} s: {actions}"


def _row(name: str, cost: RouteCost) -> list[str]:
    return [
        name,
        f"{cost.n_decisions:,}",
        "-" if cost.ms_per_decision is None else f"{cost.ms_per_decision:.2f}",
        "-" if cost.waited_s is None else f"{cost.waited_s:,.1f}",
        f"{cost.expected_cost:,.2f}",
        "-" if cost.expected_cost_per_decision is None else f"{cost.expected_cost_per_decision:,.2f}",
    ]

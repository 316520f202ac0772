# SPDX-License-Identifier: Apache-2.0
"""`explain`: why a decision has the score that it has, and what the score would be without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.terminal import progress, show, table

if TYPE_CHECKING:
    from ringfence.steps.explaining import Explained

_SHOWN = 5


def explain(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Decision ids, such as d-1042.")],
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why decisions have their scores: by branch, feature, link and earlier event, and what each would be without.

    Replays the ledger up to each event, from a snapshot where there is one before it, and reads the event again without
    each of its entities. So it works for decisions of any age and for approvals; it writes nothing.
    """
    from ringfence.steps.explaining import explain_decisions
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    with progress("replaying", unit="records") as report_progress:
        found = explain_decisions(here, here.scenario(scenario), ids, progress=report_progress)
    show({"explained": found}, as_json=as_json, text="\n\n".join(map(_told, found)))


def _told(one: Explained) -> str:
    told = one.explanation
    lines = [f"{one.decision_id} ({one.event_id}): {one.action} at score {told.score:.4f}, release {one.release}"]
    if told.without_strongest is not None:
        lines.append(told.without_strongest)
    shares = [["base", f"{told.base:+.2f}"], *([one.branch, f"{one.contribution:+.2f}"] for one in told.branches)]
    lines += ["", table(["branch", "log-odds"], [*shares, ["together", f"{told.raw:+.2f}"]])]
    strongest = [[f"{reason.contribution:+.2f}", reason.feature, reason.sentence] for reason in one.exact_reasons]
    if strongest:
        lines += ["", table(["adds", "feature", "what it is"], strongest[:_SHOWN])]
    if told.links:
        links = [[f"{-link.change:+.2f}", link.sentence] for link in told.links]
        lines += ["", table(["adds", f"link ({told.n_links} in all)"], links[:_SHOWN])]
    if told.neighbours:
        past = [[f"{-event.change:+.2f}", event.sentence] for event in told.neighbours]
        lines += ["", table(["adds", f"earlier event ({told.n_neighbours} looked at)"], past[:_SHOWN])]
    return "\n".join(lines)

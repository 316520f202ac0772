# SPDX-License-Identifier: Apache-2.0
"""`release shadow`: a release that scores along after the answer and acts never, and what it found."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.acts import operator
from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.releases import NoteOption
from ringfence.cli.running import HERE_URL, UrlOption, shadow_release
from ringfence.cli.terminal import show, table

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.serving.wire import ShadowAnswer
    from ringfence.workspace import Workspace


def shadow(
    release: Annotated[
        str | None, typer.Argument(metavar="RELEASE", help="A release id, or `latest`; without: what the shadow found.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Have no shadow any more.")] = False,
    note: NoteOption = "",
    differing: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="List the newest N decisions on record that a shadow would have taken otherwise."
        ),
    ] = None,
    url: UrlOption = HERE_URL,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a release score every live event along, after the answer, and put on record where it would act otherwise.

    It may be slower than a service can wait for, and have other features: it has an engine of its own in the process
    beside the service. Nobody acts on it. One release at a time; the change is a record in the ledger.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.workspace import Workspace

    if release is not None and off:
        raise UsageError(f"both {release!r} and --off: name the release that is to score along, or end the shadow")
    if release is None and not off and note:
        raise UsageError(
            "--note without a release: name the release that is to score along, or end the shadow by --off"
        )
    if differing is not None and (release is not None or off):
        raise UsageError("--differing lists what is on record and changes nothing: leave out the release and --off")
    here = Workspace(workspace)
    spec = here.scenario(scenario)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    if differing is not None:
        _list(ledger, differing, as_json=as_json)
        return
    from ringfence.serving.shadow_told import shadow_of

    found = shadow_of(ledger, here.state_dir(spec.name))
    if release is None and not off:
        text = "no release scores along; have one do so with: ringfence release shadow RELEASE"
        show({"shadow": found}, as_json=as_json, text=text if found is None else _text(found))
        return
    changed = _changed(here, ledger, spec.name, release, note, url)
    words = "scores along" if changed["act"] == "shadowed" else "scores along no more"
    lines = [f"{changed['release']} {words} from seq {changed['seq']} on"]
    if found is not None:
        lines = [_text(found), "", "That was all; its counts go, and where it differed stays on record.", *lines]
    show({**changed, "ended": found}, as_json=as_json, text="\n".join(lines))


def _changed(
    here: Workspace, ledger: Ledger, scenario: str, release: str | None, note: str, url: str
) -> dict[str, Any]:
    """Stage the record and commit it; where a service runs, have it do the same. `ShadowChange` of the API."""
    from ringfence.ledger.errors import LedgerLockedError
    from ringfence.rollout.registry import SHADOWED, UNSHADOWED, Registry
    from ringfence.scenario.clock import SystemClock
    from ringfence.steps.chosen import open_release

    try:
        with ledger.writer(SystemClock()) as writer:
            registry = Registry.read(ledger)
            if release is None:
                name = registry.unshadow(writer, note=note, by=operator())
            else:
                found = open_release(here, registry, release, scenario)  # whole, or it is refused
                name = found.id
                registry.shadow_with(writer, name, digest=found.digest, note=note, by=operator())
            writer.commit()
            return {"act": UNSHADOWED if release is None else SHADOWED, "release": name, "seq": writer.last_seq}
    except LedgerLockedError as error:
        if release is None:
            return shadow_release(url, "unshadow", {"note": note}, scenario, locked=error)
        return shadow_release(url, "shadow", {"release": release, "note": note}, scenario, locked=error)


def _list(ledger: Ledger, newest: int, *, as_json: bool) -> None:
    from ringfence.ledger.records import DisagreementBody, Kind

    on_record = deque(ledger.records(kinds=(Kind.DISAGREEMENT,)), maxlen=newest)
    found = [body for record in reversed(on_record) if isinstance(body := record.body, DisagreementBody)]
    rows = [
        [
            f"d-{one.decision_seq}",
            one.event_id,
            one.action,
            f"{one.score:.4f}",
            one.rung,
            one.shadow_action,
            f"{one.shadow_score:.4f}",
            one.shadow,
        ]
        for one in found
    ]
    head = ["decision", "event", "decided", "score", "rung", "the shadow", "score", "release"]
    text = table(head, rows) if rows else "no shadow differed from a decision, as far as the ledger has it"
    show({"disagreements": found}, as_json=as_json, text=text)


def _text(found: ShadowAnswer) -> str:
    lines = [f"{found.release} scores along since {found.since}" + (f": {found.note}" if found.note else "")]
    n = found.same + found.different
    if n:
        share = 100 * found.different / n
        lines.append(f"{found.different:,} of {n:,} decisions would have been others ({share:.1f} %)")
        lines.append(f"its score minus the decision's is {found.mean_difference:+.4f} on average")
        rows = [[one.action, one.shadow_action, f"{one.decisions:,}"] for one in found.actions]
        lines += ["", table(["decided", "the shadow", "decisions"], rows), ""]
    else:
        lines.append("no decision was held against it yet")
    if found.impossible:
        lines.append(f"{found.impossible:,} events it could not score; the log of the service says why")
    if found.waiting:
        lines.append(f"{found.waiting:,} scored events are not decided yet")
    if found.failure is not None:
        lines.append(f"it waits, and tries again: {found.failure}")
    lines.append(f"{found.records_behind:,} records of the ledger it has not read yet; it follows while a service runs")
    if found.different:
        lines.append("which ones: ringfence release shadow --differing 20")
    return "\n".join(lines)

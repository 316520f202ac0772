# SPDX-License-Identifier: Apache-2.0
"""`release list | show | promote | rollback`: what is live, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.acts import operator
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time, time_option
from ringfence.cli.running import HERE_URL, UrlOption, switch_release
from ringfence.cli.terminal import remark, show, table
from ringfence.errors import RingfenceError
from ringfence.steps.chosen import open_release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ringfence.ledger.writer import Writer
    from ringfence.rollout.registry import Entry, Registry
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace

app = typer.Typer(help="List, show, promote and roll back releases.", no_args_is_help=True)

ReleaseArgument = Annotated[str, typer.Argument(metavar="RELEASE", help="A release id, `latest` or `champion`.")]
EDITS_WAIT = "an edited policy waits for the next release: ringfence train, then ringfence release promote latest"
NoteOption = Annotated[str, typer.Option(help="Why; kept in the ledger with the change.")]


def policy_edits(workspace: Workspace, scenario: Scenario, release: Release) -> list[str]:
    """Say where the policy file and the policy of a release differ, a text per key.

    Raises
    ------
    PolicyFileError
        If the file cannot be read.
    """
    from ringfence.policy import differences, load_policy

    return [str(edit) for edit in differences(load_policy(workspace.policy_path(scenario)), release.policy)]


@app.command("list")
def list_all(
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="As the ledger had it at this time, by the clock of its records.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the releases in the order they were made; says where the policy file differs from the champion's policy.

    With --at, those that were registered by then, and which of them was live.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    registry = Registry.read(Ledger.open(here.ledger_dir(spec), spec))
    if at is not None:
        registry = registry.at(time_option(at, "--at", spec.time_zone))
        since = iso_time(registry.live_since_ms())
        remark(
            f"nothing was live at {at}" if since is None else f"{registry.champion()} was live at {at}, since {since}"
        )
    entries = registry.entries()
    edits = None
    if registry.champion() is not None and at is None:
        try:
            edits = policy_edits(here, spec, open_release(here, registry, None, spec.name))
        except RingfenceError as error:
            remark(f"the policy file cannot be compared with the champion's policy: {error}")
    if edits:
        file = here.policy_path(spec).relative_to(here.path)
        remark(f"{file} is not what the champion decides by: {'; '.join(edits)}\n{EDITS_WAIT}")
    rows = [
        [
            entry.release,
            iso_time(entry.registered_at_ms) or "",
            _part(entry),
            entry.note,
        ]
        for entry in entries
    ]
    show(
        [
            {
                "release": entry.release,
                "registered_at": iso_time(entry.registered_at_ms),
                "seq": entry.registered_seq,
                "champion": entry.is_champion,
                "was_champion": entry.was_champion,
                "shadow": entry.is_shadow,
                "note": entry.note,
                "by": entry.by,
                "policy_edits": edits if entry.is_champion else None,
            }
            for entry in entries
        ],
        as_json=as_json,
        text=table(["release", "registered", "part", "note"], rows)
        or ("no release yet; make one with: ringfence train" if at is None else "no release was registered by then"),
    )


@app.command("show")
def show_one(
    release: ReleaseArgument = "champion",
    data: Annotated[
        bool, typer.Option("--data", help="What it was made from: spans, counts, digests, settings, versions.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a release: its card, with --json its manifest; with --data what it was made from."""
    import msgspec

    from ringfence.cli.release_data import data_text
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry
    from ringfence.steps.release_data import data_of
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    found = open_release(here, Registry.read(ledger), release, spec.name)
    if data:
        told = data_of(found, ledger)
        show(told, as_json=as_json, text=data_text(told))
        return
    manifest = {"release": found.id, **msgspec.to_builtins(found.manifest)}
    show(manifest, as_json=as_json, text=found.card.rstrip())


@app.command()
def promote(
    release: ReleaseArgument,
    note: NoteOption = "",
    url: UrlOption = HERE_URL,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a release the champion. The change is a record in the ledger.

    While a service runs, it is asked to: the release is made ready beside the one that decides, and takes over between
    two batches, without a pause. The command waits until it has.
    """

    def change(here: Workspace, registry: Registry, writer: Writer, scenario: str) -> str:
        found = open_release(here, registry, release, scenario)  # a damaged bundle must not become the champion
        registry.install(writer, found.id, digest=found.digest, note=note, by=operator())
        return found.id

    changed = _change_champion(workspace, scenario, change, url, "promote", {"release": release, "note": note})
    show(changed, as_json=as_json, text=_told(changed, "is the champion"))


@app.command()
def rollback(
    note: NoteOption = "",
    url: UrlOption = HERE_URL,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the previous champion the champion again; a running service is asked to, as by `promote`."""

    def change(here: Workspace, registry: Registry, writer: Writer, scenario: str) -> str:
        return registry.rollback(writer, note=note, by=operator())

    changed = _change_champion(workspace, scenario, change, url, "rollback", {"note": note})
    show(changed, as_json=as_json, text=_told(changed, "is the champion again"))


def _part(entry: Entry) -> str:
    champion = "champion" if entry.is_champion else "former champion" if entry.was_champion else ""
    return ", ".join(part for part in (champion, "shadow" if entry.is_shadow else "") if part)


def _told(changed: dict[str, Any], words: str) -> str:
    text = f"{changed['champion']} {words} (was {changed['replaces']})"
    if (stall_ms := changed["stall_ms"]) is not None:
        text += f" from seq {changed['seq']} on; the service decided nothing for {stall_ms:.1f} ms"
    return text


def _change_champion(
    path: Path,
    scenario: str | None,
    change: Callable[[Workspace, Registry, Writer, str], str],
    url: str,
    route: str,
    body: dict[str, str],
) -> dict[str, Any]:
    """Let `change` stage the record that names a champion, and commit it; where a service runs, have it do the same.

    Returns
    -------
    The new champion, the one before, the seq of the record, and, by a service, for how long it decided nothing.
    """
    from ringfence.ledger.errors import LedgerLockedError
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry
    from ringfence.scenario.clock import SystemClock
    from ringfence.workspace import Workspace

    here = Workspace(path)
    spec = here.scenario(scenario)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    try:
        with ledger.writer(SystemClock()) as writer:
            registry = Registry.read(ledger)
            before = registry.champion()
            name = change(here, registry, writer, spec.name)
            writer.commit()
            return {"champion": name, "replaces": before, "seq": writer.last_seq, "stall_ms": None}
    except LedgerLockedError as error:
        status = switch_release(url, route, body, spec.name, locked=error, say=remark)
        return {
            "champion": status["release"],
            "replaces": status["replaces"],
            "seq": status["seq"],
            "stall_ms": status["stall_ms"],
        }

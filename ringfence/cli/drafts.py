# SPDX-License-Identifier: Apache-2.0
"""`init`: a new workspace, from a template or drafted from files."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.exits import UsageError
from ringfence.cli.options import JsonOption
from ringfence.cli.terminal import remark, show

if TYPE_CHECKING:
    from ringfence.drafting import Draft

_MOST_NAMED = 6


class Template(StrEnum):
    ACCOUNT_TRANSFERS = "account-transfers"
    CARD_PAYMENTS = "card-payments"
    CREDIT_APPLICATIONS = "credit-applications"
    MOTOR_CLAIMS = "motor-claims"
    SIGNUPS = "signups"
    SUBSCRIPTIONS = "subscriptions"


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make the workspace in.")],
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="More files to draft from, after --from.")
    ] = None,
    template: Annotated[
        Template | None,
        typer.Option(help="Which commented starting point to write.", show_default="motor-claims"),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="Draft from these files instead: CSV, JSON lines or Parquet."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a commented workspace: ringfence.yaml, a policy, stubs of CARD.md and RISKS.md, room for rules and lists.

    --from looks at your files and drafts the scenario: ids, times, entities, amounts, attributes, the likely label, and
    likely leaks, each with the numbers that speak for it. CHECK marks what no data can say. Files stay where they are.
    Refuses to overwrite anything that is already there.
    """
    files = [*(source or []), *(more or [])]
    if not source:
        if files:
            raise UsageError(f"{files[0]} is one argument too many; to draft from it: --from {quote(str(files[0]))}")
        _from_template(directory, template or Template.MOTOR_CLAIMS, as_json=as_json)
        return
    if template is not None:
        raise UsageError("--template and --from are two ways to begin; give one of them")
    _from_files(directory, files, as_json=as_json)


def _from_template(directory: Path, template: Template, *, as_json: bool) -> None:
    from ringfence.scenario.workspace import init_workspace

    written = init_workspace(directory, template.value)
    lines = [f"  {path}" for path in written]
    show(
        {"workspace": str(directory.resolve()), "template": template.value, "written": [str(path) for path in written]},
        as_json=as_json,
        text="\n".join(
            [
                f"wrote a {template.value} workspace:",
                *lines,
                f"next: edit {directory / 'ringfence.yaml'} to match your files, then: "
                f"ringfence check -w {quote(str(directory))}",
            ]
        ),
    )


def _from_files(directory: Path, files: list[Path], *, as_json: bool) -> None:
    from ringfence.drafting import checks_of, draft_scenario, workspace_files
    from ringfence.scenario.workspace import require_room, write_workspace

    require_room(directory)
    draft = draft_scenario(_scenario_name(directory), files)
    texts = workspace_files(draft, directory)
    written = write_workspace(directory, texts)
    to_check = checks_of(draft, directory=directory)
    policy = next(path for path in texts if path.startswith("policies/"))
    to_check.append(f"{policy}: CHECK what a mistake costs you; all its figures are placeholders")
    to_check += [f"{policy}: {' '.join(line.split())}" for line in texts[policy].splitlines() if "CHECK" in line]
    show(
        _as_dict(draft, directory, written, to_check),
        as_json=as_json,
        text="\n".join(_summary(draft, directory, to_check)),
    )
    for warning in draft.warnings:
        remark(f"warning: {warning}")
    for file, why in draft.unused_files:
        remark(f"warning: {file.name} is not used: {why}")
    for leak in draft.leaks:
        remark(f"warning: left out as a likely leak: {leak.column}: {leak.why}")


def _summary(draft: Draft, directory: Path, to_check: list[str]) -> list[str]:
    label = draft.label
    kinds = ", ".join(
        f"{n} {kind}"
        for kind in ("number", "category", "boolean", "text", "time")
        if (n := sum(attribute.type == kind for attribute in draft.attributes))
    )
    roles = [guess.role for guess in draft.roles]
    roles += [party.role for party in draft.joined.parties if not party.same_as] if draft.joined is not None else []
    roles += [guess.name for guess in draft.derived if guess.is_role]
    labelled = "none found" if label is None else f"{label.column.name}, {100 * label.rate:.2g} % fraud"
    rows = [
        ("event", f"{draft.event}, one per row of {', '.join(path.name for path in draft.files)}"),
        ("id", "the row number" if draft.event_id is None else draft.event_id.name),
        ("time", "the order of the rows" if draft.clock is None else draft.clock.column.name),
        ("entities", ", ".join(roles) or "none found"),
        ("amount", "none found" if draft.amount is None else draft.amount.name),
        ("attributes", kinds or "none"),
        ("label", labelled),
        ("left out", _named([out.column for out in draft.left_out]) or "nothing"),
    ]
    if draft.contexts:
        rows.append(("context", ", ".join(f"{one.name}: {one.why}" for one in draft.contexts)))
    folder = quote(str(directory))
    return [
        f"drafted {directory / 'ringfence.yaml'}; every line there says why:",
        *(f"  {what:<10}  {found}" for what, found in rows),
        *(["only you know:", *(f"  {line.removeprefix('# ')}" for line in to_check)] if to_check else []),
        f"next: read it, then: ringfence check -w {folder} && ringfence import -w {folder}",
    ]


def _as_dict(draft: Draft, directory: Path, written: list[Path], to_check: list[str]) -> dict[str, Any]:
    return {
        "workspace": str(directory.resolve()),
        "scenario": draft.name,
        "written": [str(path) for path in written],
        "event": draft.event,
        "event_id": None if draft.event_id is None else draft.event_id.name,
        "event_time": None if draft.clock is None else draft.clock.column.name,
        "entities": {guess.role: guess.column.name for guess in draft.roles},
        "derived": {guess.name: list(guess.columns) for guess in draft.derived},
        "amount": None if draft.amount is None else draft.amount.name,
        "attributes": {attribute.column.name: attribute.type for attribute in draft.attributes},
        "label": None if draft.label is None else draft.label.column.name,
        "left_out": {out.column: out.why for out in draft.left_out},
        "leaks": [leak.column for leak in draft.leaks],
        "warnings": list(draft.warnings),
        "unused_files": {path.name: why for path, why in draft.unused_files},
        "check": to_check,
    }


def _scenario_name(directory: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", directory.resolve().name.lower()).strip("-_")[:60]
    return name if name and name[0].isalpha() else f"scenario-{name}".rstrip("-")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more

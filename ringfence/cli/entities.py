# SPDX-License-Identifier: Apache-2.0
"""`entity export | erase`: everything that is held on one entity, and how to be rid of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ringfence.cli.acts import recorder
from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.terminal import remark, show

app = typer.Typer(no_args_is_help=True, help="Tell what is held on one entity, or erase it.")


@app.command("export")
def export(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="A role of its type; events in all such roles count.")],
    entity_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as events name it.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file, for its owner alone (default: stdout)."),
    ] = None,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what the ledger holds on one entity, a JSON object a line: events, labels, decisions. Changes no record.

    Other entities of the same events are counted and not named. Texts and personal attributes are written as they are
    held, whomever they concern: read the file before it is handed over. Releases and the engine's state are made of
    records and are not searched. That it was exported is put on record, by the entity's digest.
    """
    import msgspec

    from ringfence.ledger.held import HeldEntity, held_on
    from ringfence.ledger.ledger import Ledger
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    types = {one.name: one.entity_type for one in spec.roles}
    if role not in types:
        raise UsageError(f"{role!r} is no role of {spec.name!r}; it has: {', '.join(types)}")
    if as_json and output is None:
        raise UsageError("--json tells about a file; without --output, stdout has a JSON object a line anyway")
    record = recorder(here)
    counts: dict[str, int] = {}
    with _target(output) as file:
        for held in held_on(Ledger.open(here.ledger_dir(spec), spec), types[role], entity_id):
            if isinstance(held, HeldEntity):
                record("entity exported", f"{spec.name}: {held.entity_type} {held.digest}", [])
            kind = str(held.__struct_config__.tag)
            counts[kind] = counts.get(kind, 0) + 1
            file.write(msgspec.json.encode(held) + b"\n")
    found = {f"n_{kind}s": counts.get(kind, 0) for kind in ("event", "label", "decision")}
    told = ", ".join(f"{counts.get(kind, 0):,} {kind}s" for kind in ("event", "label", "decision"))
    if output is None:
        remark(told)
    else:
        show({"output": str(output), **found}, as_json=as_json, text=f"{told}; written to {output}")


@app.command("erase")
def erase(
    entity_type: Annotated[str, typer.Argument(metavar="TYPE", help="Its type, or a role of that type.")],
    entity_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as events name it.")],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why, for the record of acts; such as the number of the request.")
    ],
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase the id of one entity and the personal attributes of all events that name it. A service may be running.

    Records, which name it by a keyed digest, stay, and with them the chain, features and decisions. Files under
    reports/ that quote the id are removed; other files that do are named, and are yours to change. Interrupted, it is
    run again. The act is put on record, with the digest in place of the id. docs/erasing.md says what remains.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.clock import SystemClock
    from ringfence.steps.erasing import erase as erase_here
    from ringfence.steps.erasing import require_silent
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    types = {one.name: one.entity_type for one in spec.roles} | {one.entity_type: one.entity_type for one in spec.roles}
    if entity_type not in types:
        raise UsageError(
            f"{entity_type!r} is no type of an entity of {spec.name!r}, and no role; it has: {', '.join(types)}"
        )
    try:
        require_silent(reason, entity_id)
    except ValueError as error:
        raise UsageError(f"--reason {error}") from None
    record, named = recorder(here, reason), types[entity_type]
    done = erase_here(
        here,
        Ledger.open(here.ledger_dir(spec), spec),
        named,
        entity_id,
        at_ms=SystemClock().now_ms(),
        record=lambda digest: record("entity erased", f"{spec.name}: {named} {digest}", []),
    )
    show(done, as_json=as_json, text=done.text)


@contextmanager
def _target(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"--output {output} is there already; name a new file, or move it away") from None
    with os.fdopen(descriptor, "wb") as file:
        yield file

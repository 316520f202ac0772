# SPDX-License-Identifier: Apache-2.0
"""`keys create | list | revoke`: who may talk to the service."""

from __future__ import annotations

from typing import Annotated

import typer

from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, WorkspaceOption
from ringfence.cli.terminal import remark, show, table

app = typer.Typer(help="Make, list and revoke API keys of the service.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Who uses the key, such as claims-desk.")]


@app.command()
def create(
    name: NameArgument,
    scopes: Annotated[
        str, typer.Option(help="What it may do, joined by +: decide, label, read, admin.")
    ] = "decide+label+read",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show its token, once: the workspace keeps only a hash."""
    from ringfence.serving.keys import Scope, create_key
    from ringfence.workspace import Workspace

    unknown = sorted(set(scopes.split("+")) - set(Scope))
    if unknown:
        raise UsageError(f"--scopes {scopes!r}: unknown scope {unknown[0]!r}; join some of {', '.join(Scope)} with +")
    path = Workspace(workspace).keys_path
    token = create_key(path, name, {Scope(scope) for scope in scopes.split("+")})
    show(
        {"name": name, "scopes": scopes.split("+"), "token": token, "file": str(path)},
        as_json=as_json,
        text=token,
    )
    if not as_json:
        remark(
            f"the token is shown this once; send it as `Authorization: Bearer {token[:6]}…`; a running service reads "
            "new keys when it restarts"
        )


@app.command("list")
def list_all(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """List the keys by name and scope; tokens cannot be shown again."""
    from ringfence.serving.keys import list_keys
    from ringfence.workspace import Workspace

    keys = list_keys(Workspace(workspace).keys_path)
    rows = [[key.name, "+".join(sorted(key.scopes)), key.sha256.hex()[:12]] for key in keys]
    show(
        [{"name": name, "scopes": scopes.split("+"), "sha256": digest} for name, scopes, digest in rows],
        as_json=as_json,
        text=table(["name", "scopes", "sha256"], rows) or "no keys; make one with: ringfence keys create NAME",
    )


@app.command()
def revoke(name: NameArgument, workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Remove a key; a running service refuses it after a restart."""
    from ringfence.serving.keys import revoke_key
    from ringfence.workspace import Workspace

    revoke_key(Workspace(workspace).keys_path, name)
    show({"revoked": name}, as_json=as_json, text=f"revoked {name}; restart the service to apply it")

# SPDX-License-Identifier: Apache-2.0
"""`keys create | list | rotate | revoke`: who may talk to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.acts import recorder
from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, WorkspaceOption, duration_option, iso_time, rate_option, time_option
from ringfence.cli.terminal import remark, show, table

if TYPE_CHECKING:
    from ringfence.serving.key_ring import ApiKey

app = typer.Typer(help="Make, list, rotate and revoke API keys of the service.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Who uses the key, such as claims-desk.")]
_LONGEST_OVERLAP_MS = 366 * 86_400_000
_TAKEN_UP = "a running service takes it up within a second"


@app.command()
def create(
    name: NameArgument,
    scopes: Annotated[
        str, typer.Option(help="What it may do, joined by +: decide, label, read, admin.")
    ] = "decide+label+read",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Refuse it from this moment on (default: once it is revoked).")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second it may make (default: what `serve --rate` says).")
    ] = None,
    burst: Annotated[
        int | None, typer.Option(help="Requests it may make at once (default: those of a second).")
    ] = None,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show its token, once: the workspace keeps only a hash."""
    from ringfence.serving.key_ring import Scope
    from ringfence.serving.keys import create_key
    from ringfence.workspace import Workspace

    unknown = sorted(set(scopes.split("+")) - set(Scope))
    if unknown:
        raise UsageError(f"--scopes {scopes!r}: unknown scope {unknown[0]!r}; join some of {', '.join(Scope)} with +")
    until_ms = None if until is None else time_option(until, "--until", "UTC")
    here = Workspace(workspace)
    path = here.keys_path
    token = create_key(
        path,
        name,
        {Scope(scope) for scope in scopes.split("+")},
        until_ms=until_ms,
        rate=rate_option(rate, burst),
        record=recorder(here),
    )
    show(
        {"name": name, "scopes": scopes.split("+"), "until": iso_time(until_ms), "token": token, "file": str(path)},
        as_json=as_json,
        text=token,
    )
    if not as_json:
        remark(f"the token is shown this once; send it as `Authorization: Bearer {token[:6]}…`; {_TAKEN_UP}")


@app.command("list")
def list_all(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """List the keys by name and scope; tokens cannot be shown again."""
    from ringfence.scenario.clock import SystemClock
    from ringfence.serving.keys import list_keys
    from ringfence.workspace import Workspace

    now_ms = SystemClock().now_ms()
    keys = list_keys(Workspace(workspace).keys_path)
    shown = [
        {
            "name": key.name,
            "scopes": sorted(key.scopes),
            "sha256": key.sha256.hex()[:12],
            "until": iso_time(key.until_ms),
            "valid": key.stands_at(now_ms),
            "rate": None if key.rate is None else key.rate.per_s,
            "burst": None if key.rate is None else key.rate.burst,
        }
        for key in keys
    ]
    rows = [[key.name, "+".join(sorted(key.scopes)), key.sha256.hex()[:12], *_about(key, now_ms)] for key in keys]
    show(
        shown,
        as_json=as_json,
        text=table(["name", "scopes", "sha256", "valid", "rate"], rows)
        or "no keys; make one with: ringfence keys create NAME",
    )


def _about(key: ApiKey, now_ms: int) -> tuple[str, str]:
    until = iso_time(key.until_ms)
    valid = "until revoked" if until is None else f"until {until}" if key.stands_at(now_ms) else f"ended {until}"
    return valid, "" if key.rate is None else f"{key.rate.per_s:g}/s, {key.rate.burst} at once"


@app.command()
def rotate(
    name: NameArgument,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old token stays valid, such as 12h; 0s ends it now.")
    ] = "1d",
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Give a key a new token, shown once; the old one stays valid for a while, so that nobody is locked out."""
    from ringfence.scenario.clock import SystemClock
    from ringfence.serving.keys import rotate_key
    from ringfence.workspace import Workspace

    now_ms = SystemClock().now_ms()
    overlap_ms = duration_option(overlap, "--overlap")
    if overlap_ms > _LONGEST_OVERLAP_MS:
        raise UsageError(f"--overlap {overlap!r} is longer than a year; two tokens for so long are two keys")
    old_until_ms = now_ms + overlap_ms
    here = Workspace(workspace)
    token, old = rotate_key(here.keys_path, name, now_ms=now_ms, old_until_ms=old_until_ms, record=recorder(here))
    ends = iso_time(old.until_ms)
    show({"name": name, "token": token, "old_valid_until": ends}, as_json=as_json, text=token)
    if not as_json:
        remark(f"the token is shown this once; the old one is valid until {ends}; {_TAKEN_UP}")


@app.command()
def revoke(
    name: NameArgument,
    old: Annotated[
        bool, typer.Option("--old", help="Only the tokens that a rotation left valid; the newest stays.")
    ] = False,
    workspace: WorkspaceOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Remove a key with all its tokens; a running service refuses it within a second."""
    from ringfence.serving.keys import revoke_key
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    n_tokens = revoke_key(here.keys_path, name, only_old=old, record=recorder(here))
    what = f"{n_tokens} old token{'' if n_tokens == 1 else 's'} of {name}" if old else name
    show({"revoked": name, "tokens": n_tokens}, as_json=as_json, text=f"revoked {what}; {_TAKEN_UP}")

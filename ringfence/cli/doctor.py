# SPDX-License-Identifier: Apache-2.0
"""`doctor`: what is wrong with this installation, and what to do."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from ringfence.cli.exits import Exit
from ringfence.cli.options import HERE, JsonOption, WorkspaceOption
from ringfence.cli.terminal import show
from ringfence.errors import RingfenceError

if TYPE_CHECKING:
    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace

_MIN_FREE_BYTES = 1 << 30
_MIN_OPEN_FILES = 1024
_SLOW_FSYNC_MS = 5.0
_FILES_NAMED = 5
_OVERDUE_MS = 2 * 86_400_000  # a daily sweep is late by up to a day as it is


class Health(StrEnum):
    GOOD = "ok"
    NOTE = "note"  # works, but worth knowing
    BAD = "BAD"


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: how it stands, what was found, and what to do about it."""

    health: Health
    what: str
    found: str
    do: str = ""


def doctor(workspace: WorkspaceOption = HERE, as_json: JsonOption = False) -> None:
    """Check the installation and the workspace, and say what to do about what is wrong.

    Ends with exit code 1 if anything is bad; notes do not count. Of the sources it reads the column names, no rows.
    """
    findings = [*_installation(), *_workspace(workspace)]
    n_bad = sum(finding.health is Health.BAD for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.health:<5} {finding.what}: {finding.found}")
        if finding.do:
            lines.append(f"      -> {finding.do}")
    if n_bad:
        lines.append(f"{n_bad} to mend")
    elif findings[-1].what == "workspace":
        lines.append("nothing is wrong with the installation; there was no workspace to look at")
    else:
        lines.append("nothing is wrong")
    show({"healthy": n_bad == 0, "findings": findings}, as_json=as_json, text="\n".join(lines))
    if n_bad:
        raise typer.Exit(Exit.CHECK_FAILED)


def _installation() -> Iterator[Finding]:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if sys.platform == "linux":
        yield Finding(Health.GOOD, "machine", found)
    else:
        yield Finding(Health.NOTE, "machine", found, "Linux is supported; elsewhere things work at best effort")
    yield _packages()
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        yield Finding(
            Health.BAD, "kernels", "compilation is switched off by NUMBA_DISABLE_JIT=1", "unset NUMBA_DISABLE_JIT"
        )
    else:
        yield Finding(Health.GOOD, "kernels", "compiled on first use, then cached")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < _MIN_OPEN_FILES:
        yield Finding(Health.BAD, "open files", f"at most {limit}", f"raise the limit: ulimit -n {_MIN_OPEN_FILES}")
    else:
        yield Finding(Health.GOOD, "open files", f"at most {limit}")


def _packages() -> Finding:
    needed = [line for line in requires("ringfence") or [] if "extra ==" not in line]
    missing = []
    for line in needed:
        name = line.split(";")[0].split(">")[0].split("=")[0].strip()
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding(Health.BAD, "packages", f"missing: {', '.join(missing)}", "pip install -c constraints.txt -e .")
    return Finding(Health.GOOD, "packages", f"ringfence {version('ringfence')} and all {len(needed)} it needs")


def _workspace(path: Path) -> Iterator[Finding]:
    from ringfence.workspace import Workspace, WorkspaceNotFoundError

    try:
        here = Workspace(path)
    except WorkspaceNotFoundError as error:
        yield Finding(Health.NOTE if path == HERE else Health.BAD, "workspace", str(error))
        return
    try:
        scenarios = here.scenarios
    except RingfenceError as error:
        yield Finding(Health.BAD, "ringfence.yaml", str(error), "mend the file; nothing else can be checked before")
        return
    yield Finding(Health.GOOD, "workspace", f"{here.path} with {', '.join(scenarios)}")
    yield from _disk(here.path)
    for scenario in scenarios.values():
        for look in (_policy, _sources, _derived, _identity, _ledger, _retained):
            try:
                yield from look(here, scenario)
            except (RingfenceError, OSError) as error:
                yield Finding(Health.BAD, f"{scenario.name}: {look.__name__.lstrip('_')}", str(error))
    yield _keys(here)


def _disk(path: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(path).free
    found = f"{free / 1e9:.1f} GB free"
    if free < _MIN_FREE_BYTES:
        yield Finding(Health.BAD, "disk", found, "free some: a full disk stops every durable decision")
    else:
        yield Finding(Health.GOOD, "disk", found)
    try:
        took_ms = _fsync_ms(path)
    except OSError as error:
        yield Finding(Health.BAD, "disk", f"cannot be written: {error}", "check the owner and rights of the workspace")
        return
    found = f"a durable write takes {took_ms:.2f} ms (median of 21)"
    slow = took_ms > _SLOW_FSYNC_MS
    do = "every answer waits for one: use a local disk or SSD for the ledger" if slow else ""
    yield Finding(Health.NOTE if slow else Health.GOOD, "disk", found, do)


def _fsync_ms(path: Path) -> float:
    took = []
    with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-") as file:
        for _ in range(21):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return sorted(took)[10] * 1000


def _policy(here: Workspace, scenario: Scenario) -> Iterator[Finding]:
    from ringfence.engine.catalogue import Catalogue
    from ringfence.policy.load import load_policy
    from ringfence.scoring.route import Router

    path = here.policy_path(scenario)
    if path.exists():
        policy = load_policy(path)
        Router(policy, Catalogue.build(scenario), where=str(path))
        costs, amount = policy.costs, scenario.decided.amount
        if amount is not None and (amount.currency, amount.digits) != (costs.currency, costs.digits):
            yield Finding(
                Health.BAD,
                f"{scenario.name}: policy",
                f"costs are in {costs.currency} with {costs.digits} digits, amounts in {amount.currency} with "
                f"{amount.digits}; train refuses that",
                "set costs.currency and costs.digits as ringfence.yaml has them",
            )
        else:
            yield Finding(Health.GOOD, f"{scenario.name}: policy", f"{path.relative_to(here.path)} is readable")
    else:
        yield Finding(
            Health.BAD,
            f"{scenario.name}: policy",
            f"{path.relative_to(here.path)} is missing",
            "copy it from a new workspace made by `ringfence init`",
        )


def _sources(here: Workspace, scenario: Scenario) -> Iterator[Finding]:
    from ringfence.ledger.errors import ImportFailedError, SourceMissingError
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.runs import check_source
    from ringfence.ledger.sources import resolve

    what = f"{scenario.name}: sources"
    if not scenario.sources:
        yield Finding(
            Health.NOTE, what, "none declared", "name the files of your history under `sources:`, or import FILE"
        )
        return
    try:
        files = resolve(scenario, here.path)
    except SourceMissingError as error:
        directory = here.ledger_dir(scenario)
        is_imported = (directory / "ledger.db").exists() and Ledger.open(directory, scenario).last_seq > 0
        found, do = f"{error.file}: {error.found}", error.do
        if is_imported:
            yield Finding(Health.NOTE, what, found, "needed only to import again")
        else:
            yield Finding(Health.BAD, what, found, do)
        return
    for file in files:
        try:
            check_source(file)
        except ImportFailedError as error:
            yield Finding(Health.BAD, what, f"{error.file} {error.found}", error.do)
            return
    names = ", ".join(file.path.name for file in files[:_FILES_NAMED])
    more = f" and {len(files) - _FILES_NAMED} more" if len(files) > _FILES_NAMED else ""
    yield Finding(Health.GOOD, what, f"{names}{more}: every mapped column is there; rows are checked by import")


def _derived(here: Workspace, scenario: Scenario) -> Iterator[Finding]:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.lookup_files import prepare_lookups, read_lookup_files

    names = [one.name for event_type in scenario.event_types for one in event_type.derived]
    if not names:
        return
    prepare_lookups(scenario, read_lookup_files(scenario, here.path))
    directory = here.ledger_dir(scenario)
    if (directory / "ledger.db").exists():
        Ledger.open(directory, scenario).check_derived()
    files = ", ".join(sorted({lookup.file for lookup in scenario.lookups.values()}))
    tables = f"; {files} can be looked up in" if files else ""
    yield Finding(Health.GOOD, f"{scenario.name}: derived values", f"{', '.join(names)}{tables}")


def _identity(here: Workspace, scenario: Scenario) -> Iterator[Finding]:
    key = here.ledger_dir(scenario) / "identity.key"
    if not key.exists():
        return
    if stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield Finding(Health.BAD, f"{scenario.name}: identity key", f"others can read {key}", f"run: chmod 600 {key}")
    else:
        yield Finding(Health.GOOD, f"{scenario.name}: identity key", "readable by its owner only; back it up")


def _ledger(here: Workspace, scenario: Scenario) -> Iterator[Finding]:
    directory = here.ledger_dir(scenario)
    what = f"{scenario.name}: ledger"
    if not (directory / "ledger.db").exists():
        yield Finding(Health.NOTE, what, "empty", f"bring history in: ringfence import -w {here.path}")
        return
    from ringfence.cli.releases import EDITS_WAIT, policy_edits
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.lock import writer_of
    from ringfence.ledger.spool import n_spooled
    from ringfence.rollout.registry import Registry
    from ringfence.scoring.release import load_release

    ledger = Ledger.open(directory, scenario)
    writes = "" if (who := writer_of(directory)) is None else f"; {who} writes to it now"
    yield Finding(Health.GOOD, what, f"{ledger.last_seq:,} records{writes}")
    if n := ledger.n_pending:
        found = f"{n:,} {'event waits' if n == 1 else 'events wait'} for the nightly run"
        do = f"ringfence decide --pending -w {here.path}, with --service URL while a service runs"
        yield Finding(Health.NOTE, f"{scenario.name}: pending", found, do)
    if n := n_spooled(directory, ledger.last_seq):
        found = (
            f"{n:,} {'record was' if n == 1 else 'records were'} answered and {'is' if n == 1 else 'are'} not durable"
        )
        do = f"make room for the ledger, and let the service append them: ringfence serve -w {here.path}"
        yield Finding(Health.BAD, f"{scenario.name}: spool", found, do)
    champion = Registry.read(ledger).champion()
    if champion is None:
        yield Finding(Health.NOTE, f"{scenario.name}: champion", "none", f"make one: ringfence train -w {here.path}")
        return
    release = load_release(here.releases_dir / champion)
    yield Finding(Health.GOOD, f"{scenario.name}: champion", f"{champion}, bundle intact")
    if here.policy_path(scenario).exists() and (edits := policy_edits(here, scenario, release)):
        found = f"the file is not what {champion} decides by: {'; '.join(edits)}"
        yield Finding(Health.NOTE, f"{scenario.name}: policy", found, EDITS_WAIT)


def _retained(here: Workspace, scenario: Scenario) -> Iterator[Finding]:
    directory = here.ledger_dir(scenario)
    if scenario.retain_ms is None or not (directory / "ledger.db").exists():
        return
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.retention import n_overdue
    from ringfence.scenario.clock import SystemClock

    what, ledger = f"{scenario.name}: retain", Ledger.open(directory, scenario)
    n = n_overdue(ledger, retain_ms=scenario.retain_ms + _OVERDUE_MS, now_ms=SystemClock().now_ms())
    if n:
        found = f"{n:,} personal values are older than `retain` by more than two days"
        yield Finding(Health.BAD, what, found, f"run it from a timer, once a day: ringfence retain -w {here.path}")
    else:
        yield Finding(Health.GOOD, what, "no personal value is kept for longer")


def _keys(here: Workspace) -> Finding:
    from ringfence.serving.keys import list_keys

    try:
        keys = list_keys(here.keys_path)
    except RingfenceError as error:
        return Finding(Health.BAD, "API keys", str(error))
    if not keys:
        return Finding(Health.NOTE, "API keys", "none", "needed to serve: ringfence keys create NAME")
    return Finding(Health.GOOD, "API keys", ", ".join(dict.fromkeys(key.name for key in keys)))

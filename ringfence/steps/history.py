# SPDX-License-Identifier: Apache-2.0
"""Import: history into the ledger, and what was made from another ledger out of the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringfence.ledger.importer import ImportReport
    from ringfence.scenario.clock import Clock
    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace


def import_history(
    here: Workspace,
    scenario: Scenario,
    files: list[Path] | None = None,
    *,
    clock: Clock,
    on_bad_rows: str = "reject",
    replace: bool = False,
    memory: str = "800MB",
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Read history from files into the ledger; parameters and errors as in `ledger.importer.import_files`.

    Parameters
    ----------
    files : of the decided event type; None or none: the sources of ringfence.yaml.
    memory : of the external sort, such as 512MB or 2GB.
    """
    from ringfence.engine.snapshot import list_snapshots
    from ringfence.ledger.importer import import_files
    from ringfence.steps.making import row_cache

    if replace:
        # State of the old records must not meet the new ones. Before, not after: a crash in between loses only time.
        for snapshot in list_snapshots(here.state_dir(scenario)):
            snapshot.unlink(missing_ok=True)
        row_cache(here, scenario, limit_bytes=0)  # rows of old records are known by their chain; they take room
    return import_files(
        here.ledger_dir(scenario),
        scenario,
        here.path,
        clock,
        files=[file.resolve() for file in files] if files else None,
        progress=progress,
        memory_limit=memory,
        replace=replace,
        on_bad_rows=on_bad_rows,
    )

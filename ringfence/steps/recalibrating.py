# SPDX-License-Identifier: Apache-2.0
"""Recalibrate: from a release and what became known since to a release of the same models."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringfence.scenario.clock import Clock
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace


def recalibrate_release(
    here: Workspace,
    scenario: Scenario,
    *,
    clock: Clock,
    release: str | None = None,
    until_ms: int | None = None,
    weights: bool = False,
    note: str = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Release, Release]:
    """Calibrate a release anew and record what comes of it; parameters and errors as in `training.recalibrating`.

    Parameters
    ----------
    release : an id or `latest`; None: the champion.

    Returns
    -------
    The release whose models these are, and the new one, which waits for promotion.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.steps.chosen import find_release
    from ringfence.steps.making import row_cache
    from ringfence.training.recalibrating import recalibrate

    base = find_release(here, scenario, release)
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    made = recalibrate(
        ledger,
        base,
        releases_dir=here.releases_dir,
        clock=clock,
        until_ms=until_ms,
        weights=weights,
        n_threads=os.cpu_count() or 1,
        cache=row_cache(here, scenario),
        note=note or f"calibration {'and weights ' if weights else ''}of {base.id} anew",
        progress=progress,
    )
    return base, made

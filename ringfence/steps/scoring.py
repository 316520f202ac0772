# SPDX-License-Identifier: Apache-2.0
"""Score: past events as the service would have scored them at their moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ringfence.steps.chosen import open_release
from ringfence.steps.errors import TwoReleasesError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace


class Scored(NamedTuple):
    rows: pl.DataFrame  # as `training.score.score` returns them
    release: Release | None  # that scored them; None: each event by the one live then
    in_training_span: NDArray[np.bool_]  # (n events,) rows whose own label the release may have been fitted on


def score_history(
    here: Workspace,
    scenario: Scenario,
    from_ms: int,
    to_ms: int | None = None,
    *,
    release: str | None = None,
    as_live: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score the decided events with `from_ms` <= event time < `to_ms`; writes nothing.

    Parameters
    ----------
    to_ms : None: the end of the ledger.
    release : an id or `latest`; None: the champion.
    as_live : each event by the release that was live then; one more column names it.

    Raises
    ------
    TwoReleasesError
        If `release` is given together with `as_live`.
    EmptyWindowError
        If no decided event lies in the window.
    UnknownReleaseError, NoChampionError
        If there is no such release.
    """
    import numpy as np

    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry
    from ringfence.scoring.release import load_release
    from ringfence.training.score import in_training_span, score, score_as_live

    if as_live and release is not None:
        raise TwoReleasesError(release)
    ledger, n_threads = Ledger.open(here.ledger_dir(scenario), scenario), os.cpu_count() or 1
    if as_live:
        rows = score_as_live(
            ledger,
            lambda name: load_release(here.releases_dir / name),
            from_ms,
            to_ms,
            n_threads=n_threads,
            progress=progress,
        )
        return Scored(rows, None, np.zeros(rows.height, np.bool_))
    bundle = open_release(here, Registry.read(ledger), release, scenario.name)
    rows = score(ledger, bundle, from_ms, to_ms, n_threads=n_threads, progress=progress)
    return Scored(rows, bundle, in_training_span(rows, bundle))

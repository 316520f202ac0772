# SPDX-License-Identifier: Apache-2.0
"""Train: from the ledger to a release, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scenario.clock import Clock
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.training.row_cache import RowCache
    from ringfence.workspace import Workspace


def make_release(
    here: Workspace,
    scenario: Scenario,
    *,
    clock: Clock,
    examples_from_ms: int | None = None,
    until_ms: int | None = None,
    trials: int = 0,
    seed: int = 0,
    cache: RowCache | None = None,
    without: Collection[str] = (),
    assumed_rate: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Release:
    """Make a release under the workspace's policy and record it; parameters and errors as in `training.train.train`.

    Parameters
    ----------
    cache : as `row_cache` opens it; None: everything is replayed, and nothing kept.
    assumed_rate : of fraud, where nothing is labelled: as in `training.unlabelled.train_unlabelled`, and neither trials
        nor branches count. None: labels are learnt from.

    Raises
    ------
    MissingExtraError
        If there are trials and optuna is not installed.
    PolicyFileError
        If the policy cannot be read, or its route names what is no feature.
    LedgerLockedError
        If another process writes to a ledger that has no champion: at once, since the release is recorded at the end.
    """
    from ringfence.engine.catalogue import Catalogue
    from ringfence.ledger.ledger import Ledger
    from ringfence.policy.load import load_policy
    from ringfence.scenario.lookup_files import read_lookup_files
    from ringfence.scoring.route import Router
    from ringfence.training.brought import read_brought
    from ringfence.training.recorded import require_recordable
    from ringfence.training.train import train

    policy = load_policy(here.policy_path(scenario))
    Router(policy, Catalogue.build(scenario), where=str(here.policy_path(scenario)))  # now, not after the training
    lookup_files = read_lookup_files(scenario, here.path)
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    require_recordable(ledger)
    if assumed_rate is not None:
        from ringfence.training.unlabelled import train_unlabelled

        return train_unlabelled(
            ledger,
            scenario,
            policy,
            assumed_rate=assumed_rate,
            releases_dir=here.releases_dir,
            clock=clock,
            examples_from_ms=examples_from_ms,
            until_ms=until_ms,
            seed=seed,
            n_threads=os.cpu_count() or 1,
            cache=cache,
            progress=progress,
            lookup_files=lookup_files,
        )
    return train(
        ledger,
        scenario,
        policy,
        releases_dir=here.releases_dir,
        clock=clock,
        examples_from_ms=examples_from_ms,
        until_ms=until_ms,
        trials=trials,
        seed=seed,
        n_threads=os.cpu_count() or 1,
        cache=cache,
        studies=here.state_dir(scenario) / "search",
        progress=progress,
        lookup_files=lookup_files,
        brought=read_brought(scenario, here.path),
        without=without,
        samples_dir=here.state_dir(scenario) / "samples",
    )


def row_cache(here: Workspace, scenario: Scenario, limit_bytes: int | None = None) -> RowCache | None:
    """Open the cache of feature rows below the scenario's state.

    Parameters
    ----------
    limit_bytes : of all its files; 0: no cache, and what there was is deleted. None: 4 GiB.
    """
    from ringfence.training.row_cache import DEFAULT_BYTES, RowCache

    limit = DEFAULT_BYTES if limit_bytes is None else limit_bytes
    found = RowCache(here.state_dir(scenario) / "rows", limit_bytes=limit)
    if limit:
        return found
    found.clear()
    return None


def as_made(release: Release) -> pl.DataFrame:
    """Return what a training made, as one row."""
    import polars as pl

    made = release.manifest.made
    return pl.DataFrame(
        {
            "release": [release.id],
            "n_examples": [made.n_examples],
            "n_fraud": [made.n_fraud],
            "n_trees": [made.n_trees],
            "until": pl.Series([made.until_ms]).cast(pl.Datetime("ms", "UTC")),
            "report": [str(release.path / "report.html")],
            "card": [str(release.path / "card.md")],
        }
    )

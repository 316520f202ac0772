# SPDX-License-Identifier: Apache-2.0
"""Which release is meant: an id, `latest`, or the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ringfence.rollout.registry import Registry
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace


def resolve(registry: Registry, wanted: str | None, scenario: str, releases_dir: Path | None = None) -> str:
    """Name the release meant by an id, registered or in that folder, by `latest`, or by `champion` (also None).

    Raises
    ------
    UnknownReleaseError, NoChampionError
        If there is none such.
    """
    from ringfence.rollout.errors import NoChampionError

    if wanted is None or wanted == "champion":
        champion = registry.champion()
        if champion is None:
            raise NoChampionError(scenario)
        return champion
    return registry.named(wanted, releases_dir)


def open_release(workspace: Workspace, registry: Registry, wanted: str | None, scenario: str) -> Release:
    """Load the bundle of a release from disk, its digests verified.

    Raises
    ------
    UnknownReleaseError, NoChampionError
        If there is none such, or it is another scenario's.
    ReleaseError
        If its folder is gone or a file of it broken.
    """
    from ringfence.rollout.errors import UnknownReleaseError
    from ringfence.scoring.release import load_release

    name = resolve(registry, wanted, scenario, workspace.releases_dir)
    release = load_release(workspace.releases_dir / name)
    if release.scenario.name != scenario:
        raise UnknownReleaseError(name, [entry.release for entry in registry.entries()])
    return release


def is_registered(workspace: Workspace, scenario: Scenario, release: str) -> bool:
    """Tell whether the ledger knows a release; one that was made beside a service it learns of when it is used."""
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry

    return Registry.read(Ledger.open(workspace.ledger_dir(scenario), scenario)).is_registered(release)


def find_release(workspace: Workspace, scenario: Scenario, wanted: str | None) -> Release:
    """Open a release of a scenario by what its ledger says; errors as `resolve` and `open_release` have them."""
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry

    registry = Registry.read(Ledger.open(workspace.ledger_dir(scenario), scenario))
    return open_release(workspace, registry, wanted, scenario.name)

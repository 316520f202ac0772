# SPDX-License-Identifier: Apache-2.0
"""Which release is meant: an id, `latest`, or the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringfence.rollout.registry import Registry
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace


def resolve(registry: Registry, wanted: str | None, scenario: str) -> str:
    """Name the release meant by an id, `latest`, or `champion` (also None).

    Raises
    ------
    UnknownReleaseError, NoChampionError
        If there is none such.
    """
    from ringfence.rollout.errors import NoChampionError, UnknownReleaseError

    if wanted is None or wanted == "champion":
        champion = registry.champion()
        if champion is None:
            raise NoChampionError(scenario)
        return champion
    found = registry.latest() if wanted == "latest" else wanted
    if found is None or not registry.is_registered(found):
        raise UnknownReleaseError(wanted, [entry.release for entry in registry.entries()])
    return found


def open_release(workspace: Workspace, registry: Registry, wanted: str | None, scenario: str) -> Release:
    """Load the bundle of a release from disk, its digests verified."""
    from ringfence.scoring.release import load_release

    return load_release(workspace.releases_dir / resolve(registry, wanted, scenario))


def find_release(workspace: Workspace, scenario: Scenario, wanted: str | None) -> Release:
    """Open a release of a scenario by what its ledger says; errors as `resolve` and `open_release` have them."""
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry

    registry = Registry.read(Ledger.open(workspace.ledger_dir(scenario), scenario))
    return open_release(workspace, registry, wanted, scenario.name)

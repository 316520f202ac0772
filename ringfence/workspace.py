# SPDX-License-Identifier: Apache-2.0
"""A workspace: the folder that holds one deployment's files, and where each of them lies.

ringfence.yaml  policies/  rules/  lists/         text, for git
ledger/<scenario>/  state/<scenario>/  releases/  reports/  keys.txt  acts.jsonl       data, for backups
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ringfence.errors import RingfenceError
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.spec import Scenario

SCENARIO_FILE = "ringfence.yaml"


class WorkspaceNotFoundError(RingfenceError):
    """The folder given is not a workspace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} is not a workspace: it has no {SCENARIO_FILE}; "
            f"make one with `ringfence init {path} --from FILE` (or --template NAME), or point --workspace at one"
        )


class UnknownScenarioError(RingfenceError):
    """No scenario of that name, or several and none was named."""

    def __init__(self, wanted: str | None, known: tuple[str, ...], path: Path) -> None:
        self.wanted, self.known, self.path = wanted, known, path
        named = ", ".join(known)
        if wanted is None:
            super().__init__(f"{path} holds {len(known)} scenarios ({named}); say which one with --scenario")
        else:
            super().__init__(f"{path} has no scenario {wanted!r}; it has: {named}")


class Workspace:
    """Where everything of one deployment lies. Reads `ringfence.yaml` once; creates no folder by itself.

    Raises
    ------
    WorkspaceNotFoundError
        If the folder has no `ringfence.yaml`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().resolve()
        if not (self.path / SCENARIO_FILE).is_file():
            raise WorkspaceNotFoundError(self.path)

    @property
    def scenario_file(self) -> Path:
        return self.path / SCENARIO_FILE

    @cached_property
    def scenarios(self) -> dict[str, Scenario]:
        """All scenarios of `ringfence.yaml` by name, as they are written there."""
        return load_scenarios(self.scenario_file)

    def scenario(self, name: str | None = None) -> Scenario:
        """Return the named scenario, or the only one.

        Raises
        ------
        UnknownScenarioError
            If the name is unknown, or none is given and there are several.
        """
        if name is None and len(self.scenarios) == 1:
            return next(iter(self.scenarios.values()))
        if name is None or name not in self.scenarios:
            raise UnknownScenarioError(name, tuple(self.scenarios), self.scenario_file)
        return self.scenarios[name]

    def ledger_dir(self, scenario: Scenario | str) -> Path:
        return self.path / "ledger" / _name(scenario)

    def state_dir(self, scenario: Scenario | str) -> Path:
        """The folder of a scenario's engine snapshots: all of it can be deleted and is rebuilt by replay."""
        return self.path / "state" / _name(scenario)

    @property
    def releases_dir(self) -> Path:
        return self.path / "releases"

    @property
    def reports_dir(self) -> Path:
        return self.path / "reports"

    def policy_path(self, scenario: Scenario | str) -> Path:
        return self.path / "policies" / f"{_name(scenario)}.yaml"

    @property
    def keys_path(self) -> Path:
        """Hashes of the API keys; the tokens themselves are shown once and kept nowhere."""
        return self.path / "keys.txt"

    @property
    def acts_path(self) -> Path:
        """Who made, rotated and revoked keys, and when, as a chain."""
        return self.path / "acts.jsonl"


def _name(scenario: Scenario | str) -> str:
    return scenario if isinstance(scenario, str) else scenario.name

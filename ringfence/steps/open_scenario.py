# SPDX-License-Identifier: Apache-2.0
"""One scenario of a workspace, and what every part of `ringfence.open(path)` asks of it: its ledger, and moments."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ringfence.steps.errors import NoTimeError

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace

When = str | int | date | datetime  # ISO 8601, ms since 1970 (UTC), a date (its midnight); naive: the scenario's zone
Progress = Callable[[str, int, int], None]  # stage, done, total; a total of 0 means unknown


class OpenScenario:
    """Which scenario of which workspace; holds no file open."""

    _here: Workspace
    _scenario: Scenario
    _environment: MutableMapping[str, str]  # of this process, for what libraries read when they are loaded

    def _ledger(self) -> Ledger:
        from ringfence.ledger.ledger import Ledger

        return Ledger.open(self._here.ledger_dir(self._scenario), self._scenario)

    def _ms(self, name: str, when: When) -> int:
        """Return a moment in ms since 1970, UTC; `name` is the argument's, for the error."""
        from ringfence.scenario.times import moment_ms

        text: Any = when.isoformat() if isinstance(when, date) else when
        time_ms = moment_ms(text, self._scenario.time_zone)
        if time_ms is None:
            raise NoTimeError(name, when)
        return time_ms

# SPDX-License-Identifier: Apache-2.0
"""Who does what to a workspace, for the record."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringfence.workspace import Workspace


def operator() -> str:
    """Name the user of the operating system; its number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def recorder(here: Workspace, note: str = "") -> Callable[[str, str, list[str]], None]:
    """Return what puts an act on the workspace's record, with a note on why."""
    from ringfence.ledger.acts import add_act
    from ringfence.scenario.clock import SystemClock

    def record(act: str, about: str, stands: list[str]) -> None:
        add_act(here.acts_path, act, about, stands, at_ms=SystemClock().now_ms(), by=operator(), note=note)

    return record

# SPDX-License-Identifier: Apache-2.0
"""`retain`: drop what is older than the scenario keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringfence.cli.acts import recorder
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption
from ringfence.cli.terminal import show

if TYPE_CHECKING:
    from ringfence.ledger.retention import Sweep


def retain(workspace: WorkspaceOption = HERE, scenario: ScenarioOption = None, as_json: JsonOption = False) -> None:
    """Drop personal attributes, and ids of entities not named since, that are older than `retain` in ringfence.yaml.

    Run it from a timer, once a day: nothing else does it, and `ringfence doctor` tells where it is overdue. A service
    may be running. Records, features and the chain stay as they are. Interrupted, it is run again.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.retention import sweep
    from ringfence.scenario.clock import SystemClock
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    if spec.retain_ms is None:
        text = f"{spec.name} has no `retain` in {here.scenario_file.name}: everything is kept"
        show({"scenario": spec.name, "retains": "all", "sweep": None}, as_json=as_json, text=text)
        return

    def record(due: Sweep) -> None:
        recorder(here, due.text)("retention", spec.name, [])

    ledger = Ledger.open(here.ledger_dir(spec), spec)
    now_ms = SystemClock().now_ms()
    done = sweep(ledger, here.state_dir(spec), retain_ms=spec.retain_ms, now_ms=now_ms, record=record)
    text = f"dropped {done.text}" if done.until_seq else "nothing is older than `retain`"
    show({"scenario": spec.name, "retains": f"{spec.retain_ms} ms", "sweep": done}, as_json=as_json, text=text)

# SPDX-License-Identifier: Apache-2.0
"""What is an event? Scenario files, the door, and the flat batches that reach the engine."""

from __future__ import annotations

from ringfence.scenario.batch import Batch
from ringfence.scenario.clock import Clock, FakeClock, SystemClock
from ringfence.scenario.door import Door
from ringfence.scenario.errors import InvalidEventError, ScenarioFileError
from ringfence.scenario.event import Admission, Event, LabelNotice, Link
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.load import load_scenarios, scenario_from_mapping
from ringfence.scenario.spec import Scenario

__all__ = [
    "Admission",
    "Batch",
    "Clock",
    "Door",
    "Event",
    "FakeClock",
    "IdentityKey",
    "InvalidEventError",
    "LabelNotice",
    "Link",
    "Scenario",
    "ScenarioFileError",
    "SystemClock",
    "load_scenarios",
    "scenario_from_mapping",
]

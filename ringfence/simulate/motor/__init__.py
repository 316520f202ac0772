# SPDX-License-Identifier: Apache-2.0
"""A motor insurer: claims that name persons, vehicles, shops, lawyers, doctors, places and photos."""

from __future__ import annotations

from ringfence.simulate.motor.claims import Claims
from ringfence.simulate.motor.settings import LIVE_DAYS, WORLD_VERSION, WorldSettings
from ringfence.simulate.motor.stories import Link, Member, RingStory, StoryClaim, ring_story
from ringfence.simulate.motor.stream import LiveClaim, live_claims
from ringfence.simulate.motor.tables import Printer, claim_table, truth_table
from ringfence.simulate.motor.world import World
from ringfence.simulate.motor.writing import SimulationReport, simulate_motor_claims

__all__ = [
    "LIVE_DAYS",
    "WORLD_VERSION",
    "Claims",
    "Link",
    "LiveClaim",
    "Member",
    "Printer",
    "RingStory",
    "SimulationReport",
    "StoryClaim",
    "World",
    "WorldSettings",
    "claim_table",
    "live_claims",
    "ring_story",
    "simulate_motor_claims",
    "truth_table",
]

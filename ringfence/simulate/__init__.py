# SPDX-License-Identifier: Apache-2.0
"""What if we knew the truth? Simulated insurers with planted rings, decoys, and a truth that only the judge sees."""

from __future__ import annotations

from ringfence.simulate.errors import WorldExistsError, WorldSettingError
from ringfence.simulate.motor_claims import SimulationReport, simulate_motor_claims
from ringfence.simulate.settings import LIVE_DAYS, WORLD_VERSION, WorldSettings
from ringfence.simulate.stream import LiveClaim, live_claims

__all__ = [
    "LIVE_DAYS",
    "WORLD_VERSION",
    "LiveClaim",
    "SimulationReport",
    "WorldExistsError",
    "WorldSettingError",
    "WorldSettings",
    "live_claims",
    "simulate_motor_claims",
]

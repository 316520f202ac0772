# SPDX-License-Identifier: Apache-2.0
"""What if we knew the truth? Simulated insurers with planted rings, decoys, and a truth that only the judge sees.

Each world has a folder (`motor`); what any world can use lies beside it: `traits` (randomness by key), `calendar`
(days, rows, blocks), `row_groups` (files), `printed_ids`, `digest`.
"""

from __future__ import annotations

from ringfence.simulate.errors import WorldExistsError, WorldSettingError
from ringfence.simulate.motor import (
    LIVE_DAYS,
    WORLD_VERSION,
    LiveClaim,
    SimulationReport,
    WorldSettings,
    live_claims,
    simulate_motor_claims,
)

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

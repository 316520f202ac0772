# SPDX-License-Identifier: Apache-2.0
"""What if we knew the truth? Simulated insurers with planted rings, decoys, and a truth that only the judge sees.

Each world has a folder (`motor`); what any world can use lies beside it: `traits` (randomness by key), `calendar`
(days, rows, blocks), `shocks` and `surges` (what happens to a world), `gadgets` (planted wirings), `row_groups`
(files), `delivery` (files that appear together), `printed_ids`, `digest`.
"""

from __future__ import annotations

from ringfence.simulate.errors import (
    ForeignTruthError,
    NoTruthError,
    UnknownRingError,
    WorldExistsError,
    WorldSettingError,
)
from ringfence.simulate.motor import (
    LIVE_DAYS,
    WORLD_VERSION,
    LiveClaim,
    RingStory,
    SimulationReport,
    StoryClaim,
    WorldSettings,
    live_claims,
    ring_story,
    simulate_motor_claims,
)
from ringfence.simulate.shocks import SHOCKS, Shock, parse_shock

__all__ = [
    "LIVE_DAYS",
    "SHOCKS",
    "WORLD_VERSION",
    "ForeignTruthError",
    "LiveClaim",
    "NoTruthError",
    "RingStory",
    "Shock",
    "SimulationReport",
    "StoryClaim",
    "UnknownRingError",
    "WorldExistsError",
    "WorldSettingError",
    "WorldSettings",
    "live_claims",
    "parse_shock",
    "ring_story",
    "simulate_motor_claims",
]

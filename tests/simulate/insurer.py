# SPDX-License-Identifier: Apache-2.0
"""The small world that the tests of this room share: its settings, and its files once made."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ringfence.simulate import SimulationReport

N_CLAIMS = 20_000
SEED = 11
FRAUD_RATE = 0.03


@dataclass(frozen=True)
class SmallWorld:
    report: SimulationReport
    claims: pl.DataFrame
    truth: pl.DataFrame

# SPDX-License-Identifier: Apache-2.0
"""One small world, made once, that the tests of this room look at from different sides."""

from __future__ import annotations

import polars as pl
import pytest

from ringfence.simulate import simulate_motor_claims
from tests.simulate.insurer import FRAUD_RATE, N_CLAIMS, SEED, SmallWorld


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    output = tmp_path_factory.mktemp("insurer")
    report = simulate_motor_claims(N_CLAIMS, SEED, output, fraud_rate=FRAUD_RATE)
    return SmallWorld(report, pl.read_parquet(output / "claims.parquet"), pl.read_parquet(output / "truth.parquet"))

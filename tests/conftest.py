# SPDX-License-Identifier: Apache-2.0
"""What every test needs: one time zone, explicit warnings, and the data sets where they exist."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from ringfence.steps.kernel_cache import use_kernel_cache

os.environ["TZ"] = "UTC"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that load onnxruntime themselves
time.tzset()
use_kernel_cache(os.environ)  # before anything imports numba
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line has it: LightGBM's threads must not spin

# Drawn examples are the same in every run; hypothesis' own seed is that of the test's name.
settings.register_profile("ringfence", derandomize=True, deadline=None)
settings.load_profile("ringfence")

if os.environ.get("NUMBA_DISABLE_JIT") == "1":
    # Compiled unsigned arithmetic wraps around silently, which hashing relies on; numpy scalars warn.
    np.seterr(over="ignore")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of third-party data sets: $RINGFENCE_DATA, or ../shared/data beside the checkout.

    Without it the tests that need it are skipped; under CI that is a failure, since CI has it.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RINGFENCE_DATA", beside))
    if not folder.is_dir():
        reason = f"no data sets at {folder}; set RINGFENCE_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def data_sets(data_dir: Path) -> Path:
    """The same folder under its other name."""
    return data_dir

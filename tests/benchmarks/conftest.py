# SPDX-License-Identifier: Apache-2.0
"""A tiny simulated insurer with a release trained on it, for the benchmarks that load a real service."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.subject import Subject, prepare

PATIENT = ("--deadline", "60000")  # on a busy machine nothing is refused or decided on a lower rung
N_CLAIMS, FRAUD_RATE = 1_500, 0.03  # so few claims, and yet enough fraud to learn from


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A workspace nobody serves from; copy it."""
    path = tmp_path_factory.mktemp("trained") / "workspace"
    return prepare(path, n_events=N_CLAIMS, seed=7, fraud_rate=FRAUD_RATE)


@pytest.fixture
def subject(trained: Subject, tmp_path: Path) -> Subject:
    path = tmp_path / "workspace"
    shutil.copytree(trained.path, path)
    return prepare(path, n_events=N_CLAIMS, seed=7, fraud_rate=FRAUD_RATE)

# SPDX-License-Identifier: Apache-2.0
"""A workspace folder with one scenario, for tests of imports."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ringfence.ledger.importer import ImportReport, import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.spec import Scenario
from tests.ledger.claims import DAY, T0, claims_frame

NOW = FakeClock(T0 + 400 * DAY)


class Place:
    """A workspace folder with one scenario."""

    def __init__(self, path: Path, scenario: Scenario) -> None:
        self.path, self.scenario = path, msgspec.structs.replace(scenario, sources=scenario.sources[:1])
        self.directory = path / "ledger" / "claims"
        path.mkdir(exist_ok=True)

    def write(self, rows: list[dict[str, Any]], name: str = "claims.parquet") -> Path:
        claims_frame(rows).write_parquet(self.path / name)
        return self.path / name

    def load(self, **options: Any) -> ImportReport:
        return import_files(self.directory, self.scenario, self.path, NOW, **options)

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.directory, self.scenario)

    def rejects(self) -> list[dict[str, str]]:
        with (self.path / "reports" / "claims-rejects.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path: Path, scenario: Scenario) -> Place:
    return Place(tmp_path / "workspace", scenario)


def hi_lo(identity: IdentityKey, entity_type: str, entity_id: str) -> bytes:
    hi, lo = identity.entity(entity_type, entity_id)
    return hi.to_bytes(8, "big") + lo.to_bytes(8, "big")

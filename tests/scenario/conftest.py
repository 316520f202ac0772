# SPDX-License-Identifier: Apache-2.0
"""One scenario, one key, one door for all tests of this room."""

from __future__ import annotations

import pytest

from ringfence.scenario.door import Door
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from tests.scenario.claims import claim_scenario


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    return scenario_from_mapping("motor-claims", claim_scenario(), where="ringfence.yaml")


@pytest.fixture(scope="session")
def identity() -> IdentityKey:
    return IdentityKey(bytes(range(32)))


@pytest.fixture(scope="session")
def door(scenario: Scenario, identity: IdentityKey) -> Door:
    return Door(scenario, identity)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from tests.ledger.claims import clock, door, ledger, scenario
from tests.ledger.places import place

__all__ = ["clock", "door", "ledger", "place", "scenario"]

# SPDX-License-Identifier: Apache-2.0
"""What a scenario's service is doing."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    STARTING = "starting"
    REPLAYING = "replaying the ledger"
    WARMING = "warming up"
    READY = "ready"
    LEDGER_UNAVAILABLE = "waiting for the ledger"
    FAILED = "failed"
    STOPPED = "stopped"

# SPDX-License-Identifier: Apache-2.0
"""Local time asked of the standard library, one moment at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE_EPOCH = EPOCH.replace(tzinfo=None)
MS = timedelta(milliseconds=1)


def offset_ms(time_zone: str, time_ms: int) -> int:
    """Local time minus UTC at a moment."""
    offset = (EPOCH + time_ms * MS).astimezone(ZoneInfo(time_zone)).utcoffset()
    assert offset is not None
    return offset // MS


def utc_ms(time_zone: str, local_ms: int) -> int:
    """The moment of a wall clock's reading; `fold=0` is the earlier of two, and shifts what never was forward."""
    return ((NAIVE_EPOCH + local_ms * MS).replace(tzinfo=ZoneInfo(time_zone)) - EPOCH) // MS

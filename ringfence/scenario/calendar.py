# SPDX-License-Identifier: Apache-2.0
"""Local time from one table per zone, so that one event and a million rows get the same offset.

Ambiguous local times (clocks go back) mean the earlier moment; local times that never were (clocks go forward) are
shifted forward by the gap. Before 1900 and from 2200 on, the first and last offset of the table hold.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS: Final = -2_208_988_800_000  # 1900-01-01
_LAST_MS: Final = 7_258_118_400_000  # 2200-01-01
_STEP_MS: Final = 86_400_000


class _Zone(NamedTuple):
    """The offset `offset_ms[i]` holds from `from_utc_ms[i]` (inclusive) on; the first entry holds before it too."""

    from_utc_ms: NDArray[np.int64]
    from_local_ms: NDArray[np.int64]
    offset_ms: NDArray[np.int64]
    utc_list: list[int]
    local_list: list[int]
    offset_list: list[int]


def is_time_zone(name: str) -> bool:
    """Tell whether the time zone database knows `name`."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def local_offset_ms(time_zone: str, time_ms: NDArray[np.int64]) -> NDArray[np.int32]:
    """Local time minus UTC, in ms, at each UTC moment; shape (n,)."""
    zone = _zone(time_zone)
    at = np.maximum(np.searchsorted(zone.from_utc_ms, time_ms, side="right") - 1, 0)
    return zone.offset_ms[at].astype(np.int32)


def local_offset_ms_at(time_zone: str, time_ms: int) -> int:
    """The scalar twin of `local_offset_ms`."""
    zone = _zone(time_zone)
    return zone.offset_list[max(bisect_right(zone.utc_list, time_ms) - 1, 0)]


def to_utc_ms(time_zone: str, local_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn naive local times (ms since 1970-01-01 00:00 on the wall clock) into UTC; shape (n,)."""
    zone = _zone(time_zone)
    at = np.maximum(np.searchsorted(zone.from_local_ms, local_ms, side="right") - 1, 0)
    return local_ms - zone.offset_ms[at]


def to_utc_ms_at(time_zone: str, local_ms: int) -> int:
    """The scalar twin of `to_utc_ms`."""
    zone = _zone(time_zone)
    return local_ms - zone.offset_list[max(bisect_right(zone.local_list, local_ms) - 1, 0)]


@lru_cache(maxsize=64)
def _zone(time_zone: str) -> _Zone:
    info = ZoneInfo(time_zone)
    from_utc_ms, offset_ms = [_FIRST_MS], [_offset(info, _FIRST_MS)]
    if time_zone not in ("UTC", "Etc/UTC"):
        for day_ms in range(_FIRST_MS + _STEP_MS, _LAST_MS + 1, _STEP_MS):
            after = _offset(info, day_ms)
            if after != offset_ms[-1]:
                from_utc_ms.append(_change(info, day_ms - _STEP_MS, day_ms, after))
                offset_ms.append(after)
    # Fold and gap both resolve to the offset before the change, until the later of the two wall clocks shows it.
    #   wall clock (back)     02:00 ....... 03:00 | 02:00 ....... 03:00      threshold 03:00 (old offset)
    #   wall clock (forward)  01:00 ... 02:00 | 03:00 ...                    threshold 03:00 (new offset)
    from_local_ms = [_FIRST_MS + offset_ms[0]]
    for i in range(1, len(from_utc_ms)):
        from_local_ms.append(from_utc_ms[i] + max(offset_ms[i - 1], offset_ms[i]))
    return _Zone(
        np.array(from_utc_ms, np.int64),
        np.array(from_local_ms, np.int64),
        np.array(offset_ms, np.int64),
        from_utc_ms,
        from_local_ms,
        offset_ms,
    )


def at_changes(time_zone: str, local_ms: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which naive local times the clocks never showed, and which they showed twice; each of shape (n,)."""
    zone = _zone(time_zone)
    before, after = zone.offset_ms[:-1], zone.offset_ms[1:]
    if not len(after):
        nothing = np.zeros(local_ms.shape, np.bool_)
        return nothing, nothing.copy()
    low, high = zone.from_utc_ms[1:] + np.minimum(before, after), zone.from_utc_ms[1:] + np.maximum(before, after)
    at = np.maximum(np.searchsorted(low, local_ms, side="right") - 1, 0)
    inside = (local_ms >= low[at]) & (local_ms < high[at])
    forward = (after > before)[at]
    return inside & forward, inside & ~forward


def near_changes(time_zone: str, time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which UTC moments lie within a day of a change of the clocks; shape (n,)."""
    changes = _zone(time_zone).from_utc_ms[1:]
    if not len(changes):
        return np.zeros(time_ms.shape, np.bool_)
    at = np.searchsorted(changes, time_ms - _STEP_MS, side="right")
    return (at < len(changes)) & (changes[np.minimum(at, len(changes) - 1)] <= time_ms + _STEP_MS)


def _offset(info: ZoneInfo, time_ms: int) -> int:
    offset = (_EPOCH + timedelta(milliseconds=time_ms)).astimezone(info).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1_000


def _change(info: ZoneInfo, before_ms: int, after_ms: int, after: int) -> int:
    """The first whole second in (before_ms, after_ms] at which the offset is `after`."""
    low, high = before_ms // 1_000, after_ms // 1_000
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(info, middle * 1_000) == after:
            high = middle
        else:
            low = middle
    return high * 1_000

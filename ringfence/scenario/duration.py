# SPDX-License-Identifier: Apache-2.0
"""Durations as people write them: `90d`, `12h`, `30m`, `10s`."""

from __future__ import annotations

import re
from typing import Final

SECOND_MS: Final = 1_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
_UNIT_MS: Final = {"s": SECOND_MS, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


def duration_ms(text: object) -> int:
    """Read a duration of whole seconds, minutes, hours or days, >= 0.

    Raises
    ------
    ValueError
        If `text` is anything else; a bare number has no unit and is refused, except 0.
    """
    if text == 0 and not isinstance(text, bool):
        return 0
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("write a whole number and a unit, such as 90d, 12h, 30m or 10s")
    return int(match[1]) * _UNIT_MS[match[2]]

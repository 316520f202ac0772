# SPDX-License-Identifier: Apache-2.0
"""Moments as they arrive (ISO 8601 text, dates, datetimes, epoch milliseconds) -> milliseconds since 1970, UTC.

Fractions beyond the millisecond are cut off. A text without an offset takes the scenario's time zone; a date is its
midnight there. `moment_ms` reads one value, `moments_ms` a column; they agree on every input.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.calendar import at_changes, near_changes, to_utc_ms, to_utc_ms_at

EVENT_TIME_FROM_MS: Final = 0  # 1970-01-01, inclusive
EVENT_TIME_TO_MS: Final = 7_258_118_400_000  # 2200-01-01, exclusive
MOMENT_FROM_MS: Final = -62_135_596_800_000  # year 1, inclusive: for attributes such as a date of birth
MOMENT_TO_MS: Final = 253_402_300_800_000  # year 10000, exclusive

SHORTEST_EPOCH_MS: Final = (
    10**10
)  # 26 April 1970: whole numbers below it are seconds, or steps, rather than milliseconds

HOW_TO_WRITE: Final = "write ISO 8601 such as 2024-05-01T12:30:00+02:00, or whole milliseconds since 1970"
NOT_MILLISECONDS: Final = (
    "a whole number is read as milliseconds since 1970, and this one would lie in early 1970; where it counts seconds, "
    "multiply it by 1,000, or write ISO 8601 such as 2024-05-01T12:30:00+02:00"
)

_ISO: Final = (
    r"^([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?(Z|z|[+-][0-9]{2}:?[0-9]{2})?)?$"
)
_ISO_RE: Final = re.compile(_ISO)
# Milliseconds written out, as CSV has to. Fewer digits could as well be a date such as 20240501, or seconds.
_DIGITS: Final = r"^([0-9]{11,14})$"
_DIGITS_RE: Final = re.compile(r"[0-9]{11,14}")
_DAYS_IN_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PER_MS: Final = {"ms": 1, "us": 1_000, "ns": 1_000_000}


def moment_ms(value: object, time_zone: str) -> int | None:
    """Read one moment: text or a whole number of milliseconds. None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if MOMENT_FROM_MS <= value < MOMENT_TO_MS else None
    if not isinstance(value, str) or len(value) > 64:
        return None
    if _DIGITS_RE.fullmatch(value):
        return int(value)
    match = _ISO_RE.match(value)
    if match is None or value.endswith("\n"):
        return None
    year, month, day = int(match[1]), int(match[2]), int(match[3])
    hour, minute, second = int(match[4] or 0), int(match[5] or 0), int(match[6] or 0)
    if not _is_moment(year, month, day, hour, minute, second):
        return None
    ms = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1_000
    ms += int((match[7] or "0")[:3].ljust(3, "0"))
    offset = match[8]
    if offset is None:
        ms = to_utc_ms_at(time_zone, ms)
    elif offset not in "Zz":
        hours, minutes = int(offset[1:3]), int(offset[-2:])
        if hours > 23 or minutes > 59:
            return None
        ms -= (60_000 if offset[0] == "+" else -60_000) * (hours * 60 + minutes)
    return ms if MOMENT_FROM_MS <= ms < MOMENT_TO_MS else None


def looks_like_seconds(value: object) -> bool:
    """Tell a whole number that is too small to be the milliseconds of an event or of a label.

    Written out as text such a number is no moment at all. A date of birth may lie there, so attributes are not asked.
    """
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SHORTEST_EPOCH_MS


def look_like_seconds(values: pl.Series) -> NDArray[np.bool_]:
    """`looks_like_seconds` of a column; shape (n,). Columns of whole numbers with gaps are floats."""
    if not (values.dtype.is_integer() or values.dtype.is_float()):
        return np.zeros(len(values), np.bool_)
    return values.is_between(0, SHORTEST_EPOCH_MS, closed="left").fill_null(False).to_numpy()


def moments_ms(values: pl.Series, time_zone: str) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Read a column of moments.

    Returns
    -------
    time_ms (0 where there is none), missing, bad; each of shape (n,). Empty text and NaN are missing.
    """
    dtype = values.dtype
    missing = values.is_null().to_numpy()
    bad = np.zeros(len(values), np.bool_)
    if isinstance(dtype, pl.Datetime):
        physical = values.to_physical().fill_null(0).to_numpy()
        time_ms = physical // _PER_MS[dtype.time_unit]
        if dtype.time_zone is None:
            time_ms = to_utc_ms(time_zone, time_ms)
    elif dtype == pl.Date:
        time_ms = to_utc_ms(time_zone, values.to_physical().fill_null(0).to_numpy().astype(np.int64) * 86_400_000)
    elif dtype.is_integer():
        wide = values.cast(pl.Int64, strict=False)
        bad = wide.is_null().to_numpy() & ~missing
        time_ms = wide.fill_null(0).to_numpy().copy()
    elif dtype.is_float():
        number = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        missing = np.isnan(number)
        bad = ~missing & ~((np.abs(number) < 2.0**53) & (number == np.floor(number)))
        time_ms = np.where(missing | bad, 0.0, number).astype(np.int64)
    elif dtype == pl.String or dtype in (pl.Categorical, pl.Enum):
        time_ms, missing, bad = _texts_ms(values.cast(pl.String), time_zone)
    else:
        bad, time_ms = ~missing, np.zeros(len(values), np.int64)
    bad = bad | (~missing & ((time_ms < MOMENT_FROM_MS) | (time_ms >= MOMENT_TO_MS)))
    return np.where(missing | bad, np.int64(0), time_ms), missing, bad


def doubtful_moments(
    values: pl.Series, time_zone: str, time_ms: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the moments that a change of the clocks makes doubtful, among those that carry no offset.

    Parameters
    ----------
    time_ms : the column as `moments_ms` read it.

    Returns
    -------
    where the clocks skipped the time, where they showed it twice; each of shape (n,). Midnights count as days.
    """
    skipped, doubled = np.zeros(len(values), np.bool_), np.zeros(len(values), np.bool_)
    at = np.flatnonzero(near_changes(time_zone, time_ms))
    if len(at):
        near = values.gather(at)
        local_ms, missing, bad = moments_ms(near, "UTC")
        elsewhere_ms, _, _ = moments_ms(near, "Etc/GMT-1")  # what carries an offset reads the same there
        asked = ~missing & ~bad & (local_ms != elsewhere_ms) & (local_ms % 86_400_000 != 0)
        found = at_changes(time_zone, local_ms)
        skipped[at], doubled[at] = found[0] & asked, found[1] & asked
    return skipped, doubled


def _texts_ms(texts: pl.Series, time_zone: str) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    missing = (texts.is_null() | (texts == "")).fill_null(True).to_numpy()
    parts = texts.str.extract_groups(_ISO).struct.unnest()
    names = parts.columns
    whole = [_whole(parts[name], 0) for name in names[:6]]
    year, month, day, hour, minute, second = whole
    fraction = _whole(parts[names[6]].str.slice(0, 3).str.pad_end(3, "0"), 0)
    offset = parts[names[7]]
    matched = parts[names[0]].is_not_null().to_numpy() & ~texts.str.ends_with("\n").fill_null(False).to_numpy()
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = np.array((0, *_DAYS_IN_MONTH), np.int64)[np.clip(month, 0, 12)] - ((month == 2) & ~leap)
    good = matched & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= longest)
    good &= (hour <= 23) & (minute <= 59) & (second <= 59)
    ms = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + fraction
    naive = offset.is_null().to_numpy()
    zulu = offset.is_in(["Z", "z"]).fill_null(False).to_numpy()
    ahead_hours, ahead_minutes = _whole(offset.str.slice(1, 2), 0), _whole(offset.str.slice(-2), 0)
    good &= naive | zulu | ((ahead_hours <= 23) & (ahead_minutes <= 59))
    ahead = (ahead_hours * 60 + ahead_minutes) * np.where(offset.str.starts_with("-").fill_null(False), -60_000, 60_000)
    utc = np.where(naive, to_utc_ms(time_zone, ms), ms - np.where(naive | zulu, 0, ahead))
    if not (good | missing).all():
        written = texts.str.extract(_DIGITS)
        is_written = written.is_not_null().to_numpy() & ~texts.str.ends_with("\n").fill_null(False).to_numpy()
        utc, good = np.where(is_written, _whole(written, 0), utc), good | is_written
    return utc, missing, ~missing & ~good


def _whole(texts: pl.Series, absent: int) -> NDArray[np.int64]:
    return texts.cast(pl.Int64, strict=False).fill_null(absent).to_numpy()


def _is_moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> bool:
    if not (year >= 1 and 1 <= month <= 12 and hour <= 23 and minute <= 59 and second <= 59):
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _DAYS_IN_MONTH[month - 1] - (month == 2 and not leap)


def _days(year: Any, month: Any, day: Any) -> Any:
    """Days since 1970-01-01 of a Gregorian date; ints or int64 arrays alike (Hinnant, "chrono-compatible dates")."""
    year = year - (month <= 2)
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468

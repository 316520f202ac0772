# SPDX-License-Identifier: Apache-2.0
"""Which column says when the event happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import polars as pl

from ringfence.drafting.evidence import Floats, spearman
from ringfence.drafting.names import hints
from ringfence.drafting.profile import Column, Profile, is_clock_time, moments, respelt
from ringfence.scenario.dialect import DAY_FIRST, MONTH_FIRST, YEAR_FIRST, Dialect, Steps, plainly

_SINCE_MS: Final = 946_684_800_000  # 2000-01-01, where a file counts from a moment that it does not tell
_SORTED: Final = 0.999  # rank correlation with the order of the rows
_LATER: Final = 0.75  # share of rows in which one moment follows another
_AS_MANY: Final = 0.2  # different values, as a share of those of the event's time, without which a moment is no rival
_SAME_AGAIN: Final = 0.99  # share of rows in which two moments lie equally far apart, and are one
_UNITS: Final = (
    ("hour", 3_600_000), ("hours", 3_600_000), ("day", 86_400_000), ("days", 86_400_000), ("week", 604_800_000),
    ("month", 2_592_000_000), ("minute", 60_000), ("second", 1_000), ("seconds", 1_000), ("sec", 1_000), ("dt", 1_000),
)  # fmt: skip
_SERIAL_SINCE_MS: Final = -2_209_161_600_000  # 1899-12-30, the day 0 of spreadsheets
_SERIAL_DAYS: Final = (36_526.0, 73_051.0)  # 2000 to 2099, as spreadsheets count days
_MANY_STEPS: Final = 20_000.0  # beyond it a count without a unit is of seconds
_FEW_STEPS: Final = 366.0  # up to it one of days, between the two one of hours, where no rhythm says otherwise
_FEWEST_PERIODS: Final = 3  # different values of a count of months, weeks or days; of anything else ten
_EVEN: Final = 0.25  # distance (Kolmogorov-Smirnov) from an even pace up to which an unsorted count may be time
_RHYTHM: Final = 0.3  # autocorrelation of the rows per step from which on a day or a week shows in it
_CYCLES: Final = 4  # of the rhythm that the count has to cover
_PERIODS: Final = {"month": (1, 12), "week": (1, 53), "day": (0, 31)}  # in the calendar, where such numbers come back
_COUNTED: Final = frozenset(["no", "nr", "num", "number", "index", "idx", "period", "elapsed"])


class OtherMoment(msgspec.Struct, frozen=True, kw_only=True):
    """A column that could be the event's time as well."""

    column: Column
    n_earlier: int  # rows in which it lies before the column that was taken
    n_later: int
    n_both: int  # rows that give both
    apart_ms: float  # median over the rows that lie on its side: earlier where half or more are, else later


class ClockGuess(msgspec.Struct, frozen=True, kw_only=True):
    """The column taken for the event's time."""

    column: Column  # its values are moments in ms
    how: str | Steps | None  # what the source must say about it
    why: str
    is_guessed: bool  # its unit or order is not in the data
    others: tuple[OtherMoment, ...] = ()


def moments_of(profile: Profile) -> list[tuple[Column, str | Steps | None, bool]]:
    """All columns that can be read as moments: the column, how its source must say so, and whether that is a guess."""
    return [found for column in profile.columns if (found := _moment(profile, column)) is not None]


def clock_of(profile: Profile, moments: list[tuple[Column, str | Steps | None, bool]]) -> ClockGuess | None:
    """The most likely time of the event: complete, named so, in file order, and later than what was known before."""
    usable = [
        (column, how, is_guessed)
        for column, how, is_guessed in moments
        if column.given.mean() >= 0.98 and not hints(column.words, "ends", "birth") and not _is_label_time(column)
    ]
    if not usable:
        return None
    scored = []
    for column, how, is_guessed in usable:
        later = [text for other, _, _ in usable if other is not column and (text := _follows(column, other))]
        is_sorted = _is_sorted(column, profile)
        score = 1.0 * hints(column.words, "event") + 0.5 * hints(column.words, "time") + 1.5 * is_sorted
        score -= 4.0 * (isinstance(how, Steps) and is_assumed(how))  # a date is better
        score += 2.0 * len(later) / max(len(usable) - 1, 1) - 1.0 * hints(column.words, "starts", "after")
        why = [f"{column.n_given:,} of {column.n_rows:,} rows have it"]
        why += ["the file is in its order"] if is_sorted else []
        why += [f"it follows {', '.join(later[:3])}"] if later else []
        scored.append((score, column, how, is_guessed, "; ".join(why)))
    _, column, how, is_guessed, why_text = max(scored, key=lambda guess: guess[0])
    others = tuple(
        found
        for other, other_how, _ in usable
        if other is not column
        and not (isinstance(other_how, Steps) and is_assumed(other_how))
        and other.n_distinct >= _AS_MANY * column.n_distinct
        and (found := _other(column, other)) is not None
    )
    return ClockGuess(column=column, how=how, why=why_text, is_guessed=is_guessed, others=others)


def _other(column: Column, other: Column) -> OtherMoment | None:
    """How another moment lies to the one that was taken; None where it is the same one again."""
    apart: Floats = (other.values - column.values)[column.given & other.given]
    if not len(apart) or float(np.mean(apart == np.median(apart))) >= _SAME_AGAIN:
        return None
    n_earlier, n_later = int((apart < 0.0).sum()), int((apart > 0.0).sum())
    counted = apart[apart < 0.0] if 2 * n_earlier >= len(apart) else apart[apart > 0.0]
    return OtherMoment(
        column=other,
        n_earlier=n_earlier,
        n_later=n_later,
        n_both=len(apart),
        apart_ms=float(np.median(np.abs(counted))) if len(counted) else 0.0,
    )


def with_clock(profile: Profile, guess: ClockGuess) -> tuple[ClockGuess, Column | None]:
    """The time of the event with its time of day, where days stand in one column and times such as 14:05 in another."""
    days = guess.column
    given = days.values[days.given]
    clocks = [column for column in profile.columns if column is not days and is_clock_time(column)]
    if len(clocks) != 1 or isinstance(guess.how, Steps) or not len(given) or bool((given % 86_400_000 != 0.0).any()):
        return guess, None
    dialect = Dialect(times={} if guess.how is None else {days.name: guess.how}, clocks={days.name: clocks[0].name})
    plain = plainly(pl.DataFrame([days.sample, clocks[0].sample]), dialect, ())[days.name]
    column = msgspec.structs.replace(days, values=moments(plain))
    why = f"{guess.why}; {clocks[0].name} is its time of day"
    return msgspec.structs.replace(guess, column=column, why=why), clocks[0]


def unit_text(steps: Steps) -> str:
    """A unit as ringfence.yaml writes it."""
    for sign, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if steps.unit_ms % size == 0:
            return f"{steps.unit_ms // size}{sign}"
    return f"{steps.unit_ms // 1_000}s"


def counted_text(clock: ClockGuess) -> str:
    """How a count is read that names neither its unit nor its beginning, and why; empty where nothing is assumed."""
    how, column = clock.how, clock.column
    if not isinstance(how, Steps) or not is_assumed(how):
        return ""
    named = next((word for word, _ in _UNITS if word in column.words), None)
    numbers = np.round((column.values[column.given] - how.since_ms) / how.unit_ms)
    why = f"its name says {named!r}" if named is not None else _unit(numbers)[1]
    return (
        f"{column.name} counts from a moment that it does not tell, in steps of {unit_text(how)} by a guess ({why}); "
        f"{since_text(how)} is made up: spans and order are right, dates, weekdays and seasons are not"
    )


def is_assumed(how: Steps) -> bool:
    """Whether a count has been given a beginning that nothing in the file tells."""
    return how.since_ms == _SINCE_MS


def since_text(steps: Steps) -> str:
    """The day that a count begins with, as ringfence.yaml writes it."""
    return str(np.datetime64(steps.since_ms, "ms").astype("datetime64[D]"))


def _moment(profile: Profile, column: Column) -> tuple[Column, str | Steps | None, bool] | None:
    if column.kind == "time":
        if column.spelling.is_ambiguous:  # unless the file is in the order of one of both
            for order in (DAY_FIRST, MONTH_FIRST):
                read = respelt(column, order)
                if _is_sorted(read, profile):
                    return read, order, False
        return column, column.spelling.how, column.spelling.is_ambiguous
    if column.kind != "number":
        return None
    if not hints(column.words, "time", "event") and not set(column.words) & set(_PERIODS):
        return None
    is_sorted = _is_sorted(column, profile)
    if not _is_period(column, is_sorted) and (not hints(column.words, "time") or column.n_distinct < 10):
        return None
    if bool(((column.values >= _SERIAL_DAYS[0]) & (column.values < _SERIAL_DAYS[1]))[column.given].all()):
        serial = Steps(unit_ms=86_400_000, since_ms=_SERIAL_SINCE_MS)
        return respelt(column, serial), serial, True
    if not column.is_whole:
        return None
    for how, low, high in _epochs():
        if bool(((column.values >= low) & (column.values <= high))[column.given].all()):
            return (respelt(column, how) if how is not None else _as_moments(column)), how, False
    given = column.values[column.given]
    if given.min() < 0 or given.max() > 1e9:
        return None
    if not is_sorted and not _may_count(column, given):
        return None
    unit_ms = next((unit_ms for word, unit_ms in _UNITS if word in column.words), None)
    steps = Steps(unit_ms=_unit(given)[0] if unit_ms is None else unit_ms, since_ms=_SINCE_MS)
    return respelt(column, steps), steps, True


def _is_sorted(column: Column, profile: Profile) -> bool:
    """Whether the file is in the order of a column; many rows of one day or month tie, so none may step back then."""
    given = column.values[column.given]
    steps = np.diff(given)
    never_back = len(given) > 1 and given[0] < given[-1] and bool((steps >= 0.0).all())
    return never_back or spearman(column.values, profile.row) >= _SORTED


def _is_period(column: Column, is_sorted: bool) -> bool:
    """Whether a column counts months, weeks or days by its name alone, rather than to name those of a calendar."""
    words = [word for word in column.words if word not in _COUNTED]
    given = column.values[column.given]
    if len(words) != 1 or words[0] not in _PERIODS or not len(given) or column.n_distinct < _FEWEST_PERIODS:
        return False
    counted = float(np.ptp(given)) + 1.0
    return column.n_distinct == counted and (is_sorted or not _in_calendar(words[0], given))


def _in_calendar(word: str, given: Floats) -> bool:
    first, last = _PERIODS[word]
    return bool(given.min() >= first and given.max() <= last)


def _may_count(column: Column, given: Floats) -> bool:
    """Whether a whole number in no order may be time all the same: named so and by nothing else, at an even pace."""
    if not all(hints((word,), "time", "event") or word in _COUNTED or word in _PERIODS for word in column.words):
        return False
    if any(_in_calendar(word, given) for word in column.words if word in _PERIODS):
        return False
    low, span = float(given.min()), float(np.ptp(given))
    paced = np.sort(given - low) / max(span, 1.0)
    even = np.linspace(0.0, 1.0, len(paced))
    return low <= 0.5 * max(span, 1.0) and float(np.abs(paced - even).max()) <= _EVEN


def _unit(given: Floats) -> tuple[int, str]:
    """How long a step is that no word tells: a day's or a week's rhythm in the rows per step, or else the range."""
    span = int(np.ptp(given)) + 1
    if given.max() >= _MANY_STEPS:
        return 1_000, f"it counts to {given.max():,.0f}"
    counts = np.bincount((given - given.min()).astype(np.int64), minlength=span).astype(np.float64)
    for period, unit_ms in ((24, 3_600_000), (7, 86_400_000)):
        if span >= _CYCLES * period and _echo(counts, period) >= _RHYTHM > _echo(counts, period // 2):
            return unit_ms, f"the rows come in a rhythm of {period} steps"
    return 3_600_000 if given.max() > _FEW_STEPS else 86_400_000, f"it counts to {given.max():,.0f}"


def _echo(counts: Floats, lag: int) -> float:
    """Autocorrelation of a series; 0 where it never changes."""
    about = counts - counts.mean()
    return float((about[lag:] * about[:-lag]).sum() / (about * about).sum()) if about.any() else 0.0


def _epochs() -> Iterator[tuple[str | Steps | None, float, float]]:
    yield Steps(unit_ms=1_000), 6e8, 4.1e9  # seconds of 1989 to 2099
    yield None, 6e11, 4.1e12  # the same in milliseconds
    yield YEAR_FIRST, 19_000_101, 21_001_231


def _as_moments(column: Column) -> Column:
    return msgspec.structs.replace(column, kind="time")


def _is_label_time(column: Column) -> bool:
    return hints(column.words, "label_time", "after")


def _follows(column: Column, other: Column) -> str:
    """The other moment, with in how many rows this one follows it; empty where it mostly does not."""
    both: Floats = (column.values - other.values)[column.given & other.given]
    if not len(both) or float(np.mean(both >= 0.0)) < _LATER or float(np.mean(both > 0.0)) <= 0.1:
        return ""
    n = int((both >= 0.0).sum())
    return other.name if n == len(both) else f"{other.name} in {n:,} of {len(both):,} rows"

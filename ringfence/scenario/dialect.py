# SPDX-License-Identifier: Apache-2.0
"""How the files of a source spell things, and how that becomes the spelling of the door.

The door takes ISO 8601 and plain numbers, and stays strict. Files come from everywhere: semicolons, decimal commas,
31.12.2024, seconds since 1970, "n/a". A source says once what its files mean; nothing is guessed while importing.
A cell that does not fit what the source says stays as it is, so that the rejects file shows what was found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import polars as pl

DAY_FIRST: Final = "day_first"
MONTH_FIRST: Final = "month_first"
YEAR_FIRST: Final = "year_first"
ORDERS: Final = (DAY_FIRST, MONTH_FIRST, YEAR_FIRST)

_HOURS: Final = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"\s*(?P<half>[AaPp][Mm])?"
)
_CLOCK: Final = r"(?:,?[T ]\s*" + _HOURS + r"\s*(?P<offset>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?)?\s*$"
_DAY: Final = {
    DAY_FIRST: r"^\s*(?P<day>[0-9]{1,2})[./-](?P<month>[0-9]{1,2})[./-](?P<year>[0-9]{4}|[0-9]{2})",
    MONTH_FIRST: r"^\s*(?P<month>[0-9]{1,2})[./-](?P<day>[0-9]{1,2})[./-](?P<year>[0-9]{4}|[0-9]{2})",
    YEAR_FIRST: r"^\s*(?P<year>[0-9]{4})[./-]?(?P<month>[0-9]{1,2})[./-]?(?P<day>[0-9]{1,2})",
}
_NOT_A_DIGIT: Final = r"^[A-Z]{3}\s*|\s*[A-Z]{3}$|[€$£¥%]"
_SPACES: Final = r"^[\s\u{a0}\u{202f}]+|[\s\u{a0}\u{202f}]+$"
_BLANK: Final = r"([0-9])[\s\u{a0}\u{202f}'’]([0-9])"  # 1 234 567, 1'234'567
# Digits in groups, of which the last has three: 1.234.567 and, in India, 12,34,567. Anything else is no thousands:
# 12.50 under a decimal comma is a cell spelt otherwise, and read neither as 1250 nor as 12.5.
_POWER: Final = r"(?:[eE][+-]?[0-9]{1,3})?"
_GROUPED: Final = {
    ",": rf"^[+-]?(?:(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[. ][0-9]{{3}})+)(?:,[0-9]*)?|,[0-9]+){_POWER}$",
    ".": rf"^[+-]?(?:(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[, ][0-9]{{2,3}})*[, ][0-9]{{3}})(?:\.[0-9]*)?|\.[0-9]+){_POWER}$",
}
_DAYS: Final = ("%d", "%e", "%j", "%x", "%D", "%F", "%c", "%v", "%s", "%+", "%a", "%A", "%u", "%w")
_ONE, _ONE_DAY = "01 ", "%d "
_CURRENCY: Final = r"(€|\$|£|¥|\b[A-Z]{3}\b)"
_SIGN_OF: Final = {"EUR": ("€",), "GBP": ("£",), "JPY": ("¥",), "CNY": ("¥",)}
_DOLLARS: Final = frozenset(["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "TWD", "ARS", "CLP", "COP", "BRL"])


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """A column that counts time: `since_ms + number * unit_ms`."""

    unit_ms: int
    since_ms: int = 0


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says about its files. The defaults are what needs no saying."""

    separator: str | None = None  # of text files; None: comma, or tab under the name .tsv
    encoding: str = "utf-8"
    header: int = 1  # the line of a text file that names the columns; what stands above it is passed over
    decimal: str | None = None  # "," or "."; then thousands, spaces and currency signs are passed over
    missing: tuple[str, ...] = ()  # texts that mean that nothing is given, beside the empty one
    missing_in: dict[str, tuple[str, ...]] = {}  # column -> texts that mean so there alone, such as -1 among ages
    times: dict[str, str | Steps] = {}  # column -> one of ORDERS, a strptime pattern, or steps
    clocks: dict[str, str] = {}  # column of days -> column of times of day, such as 14:05, that belong to them
    as_text: tuple[str, ...] = ()  # columns of numbers with fractions that are ids


def plainly(
    frame: pl.DataFrame, dialect: Dialect, numbers: Collection[str], currency: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Spell the columns of a frame as the door does.

    Parameters
    ----------
    frame : source columns as they were read; text where the file is text.
    numbers : the columns that are read as numbers.
    currency : of columns of money: a cell that names another one stays as it is.
    """
    if dialect == Dialect():
        return frame
    changed = []
    for column in frame.iter_columns():
        plain = column
        if dialect.missing and plain.dtype == pl.String:
            plain = plain.replace(list(dialect.missing), [None] * len(dialect.missing))
        if column.name in dialect.missing_in:
            plain = _without(plain, dialect.missing_in[column.name])
        if column.name in dialect.as_text and plain.dtype.is_float():
            plain = plain.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
        how = dialect.times.get(column.name)
        if how is not None:
            plain = _stepped(plain, how) if isinstance(how, Steps) else _dated(plain, how)
        elif dialect.decimal is not None and column.name in numbers and plain.dtype == pl.String:
            plain = _number(plain, dialect.decimal, (currency or {}).get(column.name))
        if column.name in dialect.clocks and dialect.clocks[column.name] in frame.columns:
            plain = _at_clock(plain, frame[dialect.clocks[column.name]])
        if plain is not column:
            changed.append(plain.alias(column.name))
    return frame.with_columns(changed)


def names_a_day(pattern: str) -> bool:
    """Whether a pattern says which day it is; one that only names a month stands for its first day."""
    return any(sign in pattern for sign in _DAYS)


def _number(texts: pl.Series, decimal: str, currency: str | None) -> pl.Series:
    bare = texts.str.replace_all(_SPACES, "").str.replace_all(_NOT_A_DIGIT, "").str.replace_all(_SPACES, "")
    bare = bare.str.replace_all(_BLANK, "${1} ${2}").str.replace_all(_BLANK, "${1} ${2}")
    fits = bare.str.contains(_GROUPED[decimal])
    if currency is not None:
        sign = "$" if currency in _DOLLARS else None
        named = texts.str.extract(_CURRENCY)
        own = [currency, *_SIGN_OF.get(currency, ()), *([sign] if sign else [])]
        fits &= named.is_null() | named.is_in(own)
    bare = bare.str.replace_all(" ", "", literal=True)
    bare = bare.str.replace_all("," if decimal == "." else ".", "", literal=True)
    bare = bare.str.replace(",", ".", literal=True)
    # A cell that does not fit and would be read as a number all the same is marked, so that it is refused as found.
    read_anyway = texts.str.strip_chars().cast(pl.Float64, strict=False).is_finite()
    return _where(fits, bare, _where(read_anyway & fits.not_(), "not with decimal " + decimal + ": " + texts, texts))


def _without(values: pl.Series, words: tuple[str, ...]) -> pl.Series:
    """The column with null for some words, however a number among them is written: -1 is -1.0."""
    numbers = [number for word in words if (number := _number_of(word)) is not None]
    found = values.cast(pl.Float64, strict=False).is_in(numbers).fill_null(False)
    if values.dtype == pl.String:
        found |= values.str.strip_chars().is_in(list(words)).fill_null(False)
    return values.set(found, None)


def _number_of(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _at_clock(days: pl.Series, clock: pl.Series) -> pl.Series:
    """Days with their times of day, as ISO 8601; a day stays as it is where the clock is missing or says none."""
    iso = days.cast(pl.String)
    parts = clock.cast(pl.String).str.extract_groups(r"^\s*" + _HOURS + r"\s*$").struct.unnest()
    time = parts.select(_clock_text()).to_series()
    whole = iso.str.slice(0, 10) + time
    fits = whole.is_not_null() & iso.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ]00:00:00[.0]*)?$")
    return _where(fits, whole, iso) if fits.any() else days


def _stepped(values: pl.Series, steps: Steps) -> pl.Series:
    if not (values.dtype.is_numeric() or values.dtype == pl.String):
        return values
    number = values.cast(pl.Float64, strict=False)
    # Beyond +-10^15 ms lie no moments; left as they are, such cells are rejected with what was found.
    time_ms = number * steps.unit_ms + steps.since_ms
    good = (time_ms.abs() < 1e15).fill_null(False)
    whole = time_ms.set(~good, None).round().cast(pl.Int64)
    if values.dtype != pl.String:
        return whole
    return _where(good, whole.cast(pl.Datetime("ms")).dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ"), values)


def _dated(values: pl.Series, how: str) -> pl.Series:
    if values.dtype.is_integer():
        values = values.cast(pl.String)  # such as 20240501
    if values.dtype != pl.String:
        return values
    if how not in ORDERS:
        texts, pattern = (values, how) if names_a_day(how) else (_ONE + values, f"{_ONE_DAY}{how}")
        read = texts.str.strptime(pl.Datetime("ms"), pattern, strict=False)
        # %Y also reads the 24 of 1-Jan-24, as a year of the first century.
        return _where(read.is_not_null() & (read.dt.year() >= 100), read.dt.to_string("%Y-%m-%dT%H:%M:%S%.3f"), values)
    distinct = values.unique()
    return values.replace(distinct, _iso(distinct, how)) if len(distinct) < len(values) // 4 else _iso(values, how)


def _iso(texts: pl.Series, order: str) -> pl.Series:
    part = texts.str.extract_groups(_DAY[order] + _CLOCK).struct.unnest()
    year = pl.when(pl.col("year").str.len_chars() == 4).then(pl.col("year"))
    century = pl.when(pl.col("year") >= "69").then(pl.lit("19")).otherwise(pl.lit("20"))  # as POSIX has it
    offset = pl.when(pl.col("offset").is_in(["UTC", "GMT"])).then(pl.lit("Z")).otherwise(pl.col("offset"))
    clock = pl.concat_str(_clock_text(), offset.fill_null(""))
    day = pl.concat_str(
        year.otherwise(pl.concat_str(century, pl.col("year"))), pl.lit("-"), pl.col("month").str.zfill(2),
        pl.lit("-"), pl.col("day").str.zfill(2),
    )  # fmt: skip
    iso = part.select(pl.concat_str(day, clock.fill_null(""))).to_series()
    return _where(iso.is_not_null(), iso, texts)


def _clock_text() -> pl.Expr:
    """The parts of a time of day as T14:05:00.0; null where there is none."""
    hour = pl.col("hour").cast(pl.Int32)
    afternoon = pl.col("half").str.to_lowercase() == "pm"
    hour = pl.when(pl.col("half").is_null()).then(hour).otherwise(hour % 12 + 12 * afternoon.cast(pl.Int32))
    return pl.concat_str(
        pl.lit("T"), hour.cast(pl.String).str.zfill(2), pl.lit(":"), pl.col("minute"), pl.lit(":"),
        pl.col("second").fill_null("00"), pl.lit("."), pl.col("fraction").fill_null("0"),
    )  # fmt: skip


def _where(good: pl.Series, then: pl.Series, otherwise: pl.Series) -> pl.Series:
    return then.zip_with(good.fill_null(False), otherwise)

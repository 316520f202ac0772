# SPDX-License-Identifier: Apache-2.0
"""Attributes as they arrive -> their canonical form -> the float64 that reaches the engine.

| type     | canonical form       | float64                                            |
|----------|----------------------|----------------------------------------------------|
| number   | float, finite        | itself (-0.0 becomes 0.0)                          |
| boolean  | bool                 | 0 or 1                                             |
| category | text                 | 52 bits of an unkeyed hash of the text             |
| text     | text                 | its length in characters                           |
| time     | float, ms since 1970 | days from it to the event (negative if it is later) |

Missing is None, and NaN as a float. Every function on one value has a twin on a column, held equal by property tests.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.event import AttributeValue
from ringfence.scenario.factor import factorise
from ringfence.scenario.identity import id_text, id_texts
from ringfence.scenario.spec import Attribute, AttributeType
from ringfence.scenario.times import moment_ms, moments_ms

DAY_MS: Final = 86_400_000
LONGEST_CATEGORY: Final = 1_000  # characters
LONGEST_TEXT: Final = 100_000  # characters
HOW_TO_WRITE: Final = {
    AttributeType.NUMBER: "a finite number",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.CATEGORY: f"a text of at most {LONGEST_CATEGORY:,} characters, a whole number, true or false",
    AttributeType.TEXT: f"a text of at most {LONGEST_TEXT:,} characters",
    AttributeType.TIME: "a time: ISO 8601, or whole milliseconds since 1970",
}
CANONICAL_DTYPE: Final[dict[AttributeType, pl.DataType]] = {
    AttributeType.NUMBER: pl.Float64(),
    AttributeType.BOOLEAN: pl.Boolean(),
    AttributeType.CATEGORY: pl.String(),
    AttributeType.TEXT: pl.String(),
    AttributeType.TIME: pl.Int64(),
}
_TRUE: Final = ["true", "yes", "1", "1.0"]
_FALSE: Final = ["false", "no", "0", "0.0"]


def text_hash(text: str) -> int:
    """64 bits that depend on the text alone: unkeyed, the same on every machine and in every version."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def text_hashes(texts: list[str]) -> NDArray[np.uint64]:
    """`text_hash` of each text; shape (n,)."""
    packed = b"".join([blake2b(text.encode(), digest_size=8).digest() for text in texts])
    return np.frombuffer(packed, dtype=">u8").astype(np.uint64)


def category_code(text: str) -> float:
    """The float64 that stands for a category: 52 bits of its hash, so that it is exact."""
    return float(text_hash(text) >> 12)


def canonical_value(attribute: Attribute, value: object, time_zone: str) -> AttributeValue:
    """Bring one value into its canonical form; None stays None.

    Raises
    ------
    ValueError
        If the value is not of the attribute's type.
    """
    if value is None:
        return None
    found: AttributeValue = None
    match attribute.type:
        case AttributeType.NUMBER:
            found = _number(value)
        case AttributeType.BOOLEAN:
            if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
                found = bool(value)
        case AttributeType.CATEGORY:
            if value == "":
                return None
            text = ("true" if value else "false") if isinstance(value, bool) else id_text(value)
            found = _text(value, LONGEST_CATEGORY) if isinstance(value, str) else text
        case AttributeType.TEXT:
            found = _text(value, LONGEST_TEXT)
        case AttributeType.TIME:
            moment = moment_ms(value, time_zone)
            found = None if moment is None else float(moment)
    if found is None:
        raise ValueError(HOW_TO_WRITE[attribute.type])
    return found


def canonical_values(attribute: Attribute, values: pl.Series, time_zone: str) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Bring a column into canonical form: a series of `CANONICAL_DTYPE`, null where missing or bad, and the bad rows.

    Files are read more leniently than messages, since CSV has only text: NaN and (but for text) empty strings are
    missing, numbers may be written out, booleans as true/false, yes/no or 1/0 in any case.
    """
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    match attribute.type:
        case AttributeType.NUMBER:
            return _numbers(values)
        case AttributeType.BOOLEAN:
            return _booleans(values)
        case AttributeType.CATEGORY:
            return _categories(values)
        case AttributeType.TEXT:
            if values.dtype != pl.String:
                return _none(values, pl.String()), values.is_not_null().to_numpy()
            bad = (values.str.len_chars() > LONGEST_TEXT).fill_null(False).to_numpy()
            return _without(values, bad), bad
        case AttributeType.TIME:
            time_ms, missing, bad = moments_ms(values, time_zone)
            return _without(pl.Series(values.name, time_ms), missing | bad), bad


def value_of(attribute: Attribute, value: AttributeValue, event_time_ms: int) -> float:
    """The float64 of one canonical value."""
    if value is None:
        return math.nan
    match attribute.type:
        case AttributeType.CATEGORY:
            return category_code(str(value))
        case AttributeType.TEXT:
            return float(len(str(value)))
        case AttributeType.TIME:
            return (float(event_time_ms) - float(value)) / DAY_MS
    return float(value)


def values_of(attribute: Attribute, values: pl.Series, time_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    """The float64 of a column in canonical form (`canonical_values`); shape (n,)."""
    match attribute.type:
        case AttributeType.CATEGORY:
            factor = factorise(values)
            codes = (text_hashes(factor.uniques.to_list()) >> np.uint64(12)).astype(np.float64)
            return np.append(codes, np.nan)[factor.codes]
        case AttributeType.TEXT:
            return _floats(values.str.len_chars())
        case AttributeType.TIME:
            return (time_ms.astype(np.float64) - _floats(values)) / DAY_MS
    return _floats(values)


def _floats(values: pl.Series) -> NDArray[np.float64]:
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number + 0.0 if math.isfinite(number) else None


def _text(value: object, longest: int) -> str | None:
    if not isinstance(value, str) or len(value) > longest:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _numbers(values: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    dtype = values.dtype
    given = values.is_not_null()
    if dtype == pl.String:
        values = values.str.strip_chars()
        given = given & (values != "").fill_null(False)
        parsed = values.cast(pl.Float64, strict=False)
    elif dtype.is_numeric():
        parsed = values.cast(pl.Float64)
    else:
        return _none(values, pl.Float64()), given.to_numpy()
    number = parsed.fill_null(np.nan).to_numpy() + 0.0
    bad = (given & parsed.is_null()).to_numpy() | np.isinf(number)
    return _without(pl.Series(values.name, number), bad | np.isnan(number)), bad


def _booleans(values: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    dtype = values.dtype
    if dtype == pl.Boolean:
        return values, np.zeros(len(values), np.bool_)
    if dtype == pl.String:
        lower = values.replace("", None).str.to_lowercase()
        truth, lie, given = lower.is_in(_TRUE), lower.is_in(_FALSE), lower.is_not_null()
    elif dtype.is_numeric():
        number = values.cast(pl.Float64).fill_nan(None)
        truth, lie, given = number == 1.0, number == 0.0, number.is_not_null()
    else:
        return _none(values, pl.Boolean()), values.is_not_null().to_numpy()
    known = (truth | lie).fill_null(False)
    flags = truth.fill_null(False)
    return _without(flags, (~known).to_numpy()), (given & ~known).to_numpy()


def _categories(values: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    dtype = values.dtype
    if dtype == pl.Boolean:
        texts = values.cast(pl.String)
        return texts, np.zeros(len(values), np.bool_)
    if dtype == pl.String:
        texts = values.replace("", None)
        bad = (texts.str.len_chars() > LONGEST_CATEGORY).fill_null(False).to_numpy()
        return _without(texts, bad), bad
    if dtype.is_integer() or isinstance(dtype, pl.Decimal):
        return id_texts(values)
    if dtype.is_float():
        factor = factorise(values.cast(pl.Float64).fill_nan(None))
        names = [id_text(number) for number in factor.uniques.to_list()]
        named = pl.Series(values.name, [*names, None], dtype=pl.String)
        texts = named.gather(np.where(factor.codes < 0, len(names), factor.codes))
        return texts, (factor.codes >= 0) & texts.is_null().to_numpy()
    return _none(values, pl.String()), values.is_not_null().to_numpy()


def _without(values: pl.Series, rows: NDArray[np.bool_]) -> pl.Series:
    return values.set(pl.Series(rows), None) if rows.any() else values


def _none(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    return pl.Series(values.name, [None] * len(values), dtype=dtype)

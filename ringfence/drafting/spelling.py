# SPDX-License-Identifier: Apache-2.0
"""How the texts of a column are spelt: numbers with which decimal sign, moments in which order, or plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import polars as pl

from ringfence.scenario.dialect import DAY_FIRST, MONTH_FIRST, ORDERS, YEAR_FIRST, Dialect, plainly
from ringfence.scenario.times import moments_ms

NOTHING: Final = frozenset(
    ["na", "n/a", "nan", "null", "none", "?", "-", "--", "nil", "#n/a", "(null)", "undefined", "\\n", "."]
)
_NO_WORD: Final = NOTHING - {"none", "-", "--", ".", "nil", "undefined"}  # which may be answers among words
UNKNOWN: Final = frozenset(
    ["unknown", "pending", "undecided", "open", "current", "missing", "not available", "in review", "under review"]
)
_MOST_TEXTS: Final = 20_000  # distinct ones looked at
_ENOUGH: Final = 0.99  # share of the cells that must fit; the others are rejected by the import, or told as missing
_MOST: Final = 0.5  # share of the cells from which on a column is nearly of a kind
_FEWEST_NEARLY: Final = 20  # different cells that are of the kind
_FEWEST_GROUPED: Final = 5  # different cells with exactly three digits behind their sign, as thousands have
_ONE_GROUP: Final = r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$"
_SHORT_SIGNS: Final = r"^[^0-9]{0,4}[0-9][^A-Za-z]*[^0-9]{0,4}$"
_INFINITE: Final = ("inf", "infinity", "infinite")
_PATTERNS: Final = (
    "%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M",
    "%b %d, %Y %H:%M", "%b %d, %Y %I:%M %p", "%a %b %d %H:%M:%S %Y", "%d%b%Y", "%d%b%Y:%H:%M:%S",
    "%Y-%m-%d-%H.%M.%S", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %I:%M:%S %p",
    "%b-%Y", "%b-%y", "%b %Y", "%B %Y", "%Y-%m", "%m/%Y", "%m.%Y", "%Y/%m",
)  # fmt: skip
_TRUTHS: Final = frozenset(["true", "false", "yes", "no"])


class Spelling(msgspec.Struct, frozen=True, kw_only=True):
    """What a column of texts says, and how its source has to say so."""

    kind: str  # "number", "time", "boolean" or "text"
    decimal: str | None = None
    how: str | None = None  # of moments: one of ORDERS or a pattern; None where they are ISO 8601 or milliseconds
    is_ambiguous: bool = False  # no day above the 12th says whether the day or the month comes first
    missing: tuple[str, ...] = ()  # texts that stand for nothing
    either: str = ""  # of numbers, a cell such as 1,234: nothing says whether its sign is a decimal one
    any_decimal: bool = False  # no cell has a decimal sign, but others that have to be passed over
    nearly: str = ""  # of text: what most cells are, and a cell that is none, in words


def spelling_of(texts: pl.Series, *, is_named_time: bool) -> Spelling:
    """Look at the texts of a column.

    Parameters
    ----------
    texts : String, null where nothing is given.
    is_named_time : whether the column's name speaks of time: 20240501 is a day then, and a number otherwise.
    """
    counts = texts.drop_nulls().value_counts(sort=True).head(_MOST_TEXTS)
    if counts.is_empty():
        return Spelling(kind="text")
    words, n = counts.to_series(0), counts.to_series(1)
    lower = words.str.strip_chars().str.to_lowercase()
    is_nothing = lower.is_in(list(NOTHING | UNKNOWN)) | (lower == "")
    core, weight = words.filter(~is_nothing), n.filter(~is_nothing)
    missing = tuple(words.filter(is_nothing).to_list())
    if core.is_empty():
        return Spelling(kind="text", missing=tuple(word for word in missing if not word.strip()))
    if is_named_time:
        found = _as_time(core, weight, missing)
        if found is not None:
            return found
    found = _as_number(core, weight, missing) or (None if is_named_time else _as_time(core, weight, missing))
    if found is not None:
        return found
    if set(lower.filter(~is_nothing).to_list()) <= _TRUTHS and len(core) <= 4:
        return Spelling(kind="boolean", missing=missing)
    return Spelling(
        kind="text",
        missing=tuple(word for word in missing if word.strip().lower() in _NO_WORD or not word.strip()),
        nearly=_nearly(core, weight),
    )


def _as_number(core: pl.Series, weight: pl.Series, missing: tuple[str, ...]) -> Spelling | None:
    bare = core.str.strip_chars()
    if _share(bare.str.contains(r"^0[0-9]+$"), weight) > 0.0:
        return None  # 00123 is a name, not a quantity
    plain = bare.cast(pl.Float64, strict=False).is_finite().fill_null(False)
    if _share(plain, weight) >= _ENOUGH:
        grouped = bare.filter(bare.str.contains(".", literal=True))
        either = len(grouped) >= _FEWEST_GROUPED and bool(grouped.str.contains(_ONE_GROUP).all())
        return Spelling(kind="number", missing=missing + _odd(core, plain), either=grouped[0] if either else "")
    fits = {decimal: _are_numbers(bare, decimal) for decimal in (".", ",")}
    shares = {decimal: _share(found, weight) for decimal, found in fits.items()}
    decimal = max(shares, key=lambda sign: shares[sign])  # the dot, where both fit alike
    if shares[decimal] < _ENOUGH:
        return None
    signed = bare.filter(bare.str.contains(r"[0-9][.,][0-9]"))
    both = min(shares.values()) >= _ENOUGH and shares["."] == shares[","]
    return Spelling(
        kind="number",
        decimal=decimal,
        missing=missing + _odd(core, fits[decimal]),
        either=str(signed[0]) if both and len(signed) else "",
        any_decimal=both and not len(signed),
    )


def _are_numbers(bare: pl.Series, decimal: str) -> pl.Series:
    read = plainly(pl.DataFrame({"c": bare}), Dialect(decimal=decimal), {"c"})["c"]
    return read.cast(pl.Float64, strict=False).is_finite().fill_null(False) & bare.str.contains(_SHORT_SIGNS)


def _nearly(core: pl.Series, weight: pl.Series) -> str:
    """What most of the cells are, where too few of them fit for the column to be it."""
    bare = core.str.strip_chars()
    readings = [("numbers", bare.cast(pl.Float64, strict=False).is_finite().fill_null(False))]
    if _share(bare.str.contains("[0-9][.,][0-9]"), weight) > 0.0:
        readings += [("numbers", _are_numbers(bare, decimal)) for decimal in (".", ",")]
    if _share(_like_moments(core), weight) >= _MOST:
        readings += [("moments", _is_moment(core)), *(("moments", _reads(core, order)) for order in ORDERS)]
    what, fits = max(readings, key=lambda reading: _share(reading[1], weight))
    share = _share(fits, weight)
    if share < _MOST or int(fits.sum()) < _FEWEST_NEARLY or _share(bare.str.contains(r"^0[0-9]+$"), weight) > 0.0:
        return ""
    return f"{100 * share:.0f} % of its cells are {what}, others are not, such as {core.filter(~fits)[0][:40]!r}"


def _as_time(core: pl.Series, weight: pl.Series, missing: tuple[str, ...]) -> Spelling | None:
    if _share(_like_moments(core), weight) < _ENOUGH:
        return None
    if _share(_is_moment(core), weight) >= _ENOUGH:
        return Spelling(kind="time", missing=missing + _odd(core, _is_moment(core)))
    fits = {order: _reads(core, order) for order in ORDERS}
    for order in (DAY_FIRST, MONTH_FIRST, YEAR_FIRST):
        if _share(fits[order], weight) >= _ENOUGH:
            both = _share(fits[DAY_FIRST], weight) >= _ENOUGH and _share(fits[MONTH_FIRST], weight) >= _ENOUGH
            dotted = bool(core.str.contains(r"^[0-9]+\.").all())
            return Spelling(
                kind="time", how=order, is_ambiguous=both and not dotted, missing=missing + _odd(core, fits[order])
            )
    for pattern in _PATTERNS:
        good = _reads(core, pattern)
        if _share(good, weight) >= _ENOUGH:
            return Spelling(kind="time", how=pattern, missing=missing + _odd(core, good))
    return None


def _like_moments(texts: pl.Series) -> pl.Series:
    """Where a text is long enough for a moment and has digits enough: the shortest is 1-Jan-24, 1/1/24 or Jan-24."""
    of_a_day = (texts.str.len_chars() >= 6) & (texts.str.count_matches("[0-9]") >= 3)
    return of_a_day | texts.str.contains(r"^\s*[A-Za-z]{3}[- ][0-9]{2}\s*$")


def _reads(core: pl.Series, how: str) -> pl.Series:
    if how in ORDERS and how != YEAR_FIRST and not bool(core.str.contains(r"^\s*[0-9]{1,2}[./-]").any()):
        return pl.Series([False] * len(core))
    if how == YEAR_FIRST and not bool(core.str.contains(r"^\s*(?:1[89]|20|21)[0-9]{2}").any()):
        return pl.Series([False] * len(core))
    return _is_moment(plainly(pl.DataFrame({"c": core}), Dialect(times={"c": how}), ())["c"])


def _is_moment(texts: pl.Series) -> pl.Series:
    # Milliseconds written out count as moments only where they lie within a human life.
    _, _, bad = moments_ms(texts, "UTC")
    return pl.Series(~bad) & ~texts.str.contains(r"^[0-9]+$") | (
        texts.str.contains(r"^[0-9]{12,13}$") & pl.Series(~bad)
    )


def _share(fits: pl.Series, weight: pl.Series) -> float:
    return float(weight.filter(fits.fill_null(False)).sum()) / float(weight.sum())


def _odd(core: pl.Series, fits: pl.Series) -> tuple[str, ...]:
    """The few words among the numbers or moments: they can only mean that nothing is known."""
    odd: Sequence[str] = core.filter(~fits).to_list()
    if any(word.strip().lower().lstrip("+-") in _INFINITE for word in odd):
        return ()
    return tuple(odd) if len(odd) <= 3 and all(not any(sign.isdigit() for sign in word) for word in odd) else ()

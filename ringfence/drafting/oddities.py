# SPDX-License-Identifier: Apache-2.0
"""What is odd about a column that is read all the same: cells that may not mean what they say, each told with one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from ringfence.drafting.names import hints
from ringfence.drafting.profile import Column, Profile
from ringfence.drafting.spelling import NOTHING, UNKNOWN

_SCIENTIFIC: Final = r"^[+-]?[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+$"
_OFFSET: Final = r"[0-9]\s*(?:Z|z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$"
_CURRENCY: Final = (
    r"(€|\$|£|¥|₹|\bEUR\b|\bUSD\b|\bGBP\b|\bCHF\b|\bINR\b|\bBRL\b|\bJPY\b|\bCAD\b|\bAUD\b|\bPLN\b|\bSEK\b|\bMXN\b)"
)
_PARTS: Final = ("year", "month", "day")
_MICROSECONDS: Final = (6e14, 4.1e15)  # of 1989 to 2099


def oddities_of(profile: Profile, ids: Iterable[Column], clock: Column | None) -> list[str]:
    """Say what the reader of a file should look into before anything is learned from it.

    Parameters
    ----------
    ids : the columns taken for ids of events and entities.
    clock : the column taken for the event's time.
    """
    told = [text for column in profile.columns for text in _of_any(column)]
    told += [text for column in ids for text in _of_ids(column)]
    if clock is None:
        told += [text for column in profile.columns for text in _of_no_clock(column)]
        parts = [column.name for word in _PARTS for column in profile.columns if column.words == (word,)]
        if len(parts) >= 2:
            told.append(
                f"{', '.join(parts)} may say together when an event happened: make one column of them, such as "
                "2024-05-01 or 2024-05, before the import"
            )
    elif clock.is_texts:
        texts = _texts(clock)
        n_with = int(texts.str.contains(_OFFSET).sum())
        if 0 < n_with < len(texts):
            told.append(
                f"{clock.name}: {n_with:,} of {len(texts):,} moments carry an offset, the others take `time_zone`; "
                "make sure that both tell the same clock"
            )
    return told


def currencies_of(amount: Column) -> list[str]:
    """The currencies that the cells of an amount name."""
    if not amount.is_texts:
        return []
    return sorted(_texts(amount).str.extract(_CURRENCY).drop_nulls().unique().to_list())


def odd_words(column: Column) -> list[str]:
    """Words among numbers or moments that no list knows: taken to say that nothing is given."""
    if column.kind not in ("number", "time"):
        return []
    return [word for word in column.spelling.missing if word.strip().lower() not in NOTHING | UNKNOWN | {""}]


def _of_any(column: Column) -> list[str]:
    told = []
    if column.spelling.nearly:
        told.append(f"{column.name}: {column.spelling.nearly}; it is read as text: mend those cells and draft again")
    words = odd_words(column)
    if words:
        named = ", ".join(repr(word) for word in words)
        told.append(f"{column.name}: its {column.kind}s stand beside {named}, taken for nothing given")
    return told


def _of_no_clock(column: Column) -> list[str]:
    if not hints(column.words, "time") or column.n_distinct < 10:
        return []
    given = column.values[column.given]
    if column.kind == "number" and len(given) and _MICROSECONDS[0] <= given.min() and given.max() <= _MICROSECONDS[1]:
        return [f"{column.name}: it looks like microseconds since 1970, which are not read: divide it by 1,000"]
    if column.kind == "text" and column.digits >= 0.9 and not column.spelling.nearly:
        example = column.sample.drop_nulls()[0]
        return [f"{column.name}: named like a time, and none is read from cells such as {example!r}; see `times`"]
    return []


def _of_ids(column: Column) -> list[str]:
    if not column.is_texts:
        return []
    texts = _texts(column)
    told = []
    bare = texts.str.strip_chars()
    spaced = texts.filter(bare != texts)
    if len(spaced):
        twins = len(set(spaced.str.strip_chars().to_list()) & set(texts.filter(bare == texts).to_list()))
        also = f", and {twins:,} of them occur without as well" if twins else ""
        told.append(
            f"{column.name}: {len(spaced):,} of the ids looked at have spaces around them, such as {spaced[0]!r}{also}"
            ": with and without are two; take the spaces out"
        )
    scientific = texts.filter(bare.str.contains(_SCIENTIFIC))
    if len(scientific):
        told.append(
            f"{column.name}: {len(scientific):,} of the ids looked at are written like {scientific[0]!r}: a "
            "spreadsheet has cut off digits, and different ids may have become one; export it again as text"
        )
    tails = texts.filter(bare.str.contains(r"^[0-9]+\.0$"))
    if len(tails):
        told.append(
            f"{column.name}: {len(tails):,} of the ids looked at end in .0, such as {tails[0]!r}: live events have to "
            "write them so too; export it again as text"
        )
    zeros = texts.filter(bare.str.contains(r"^0+[1-9]"))
    twins = len(set(zeros.str.strip_chars_start("0").to_list()) & set(texts.to_list()))
    if twins:
        told.append(
            f"{column.name}: {twins:,} of the ids looked at occur with leading zeros and without, such as {zeros[0]!r}"
            ": these are two; a spreadsheet may have cut the zeros off"
        )
    return told


def _texts(column: Column) -> pl.Series:
    return column.sample.drop_nulls().cast(pl.String).unique(maintain_order=True)

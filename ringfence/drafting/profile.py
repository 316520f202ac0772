# SPDX-License-Identifier: Apache-2.0
"""One column at a time: what it holds, how much of it is there, how many different values, and how they are spelt."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.drafting.evidence import Floats
from ringfence.drafting.names import hints, words_of
from ringfence.drafting.spelling import Spelling, spelling_of
from ringfence.drafting.table import ROW, SAMPLE_ROWS, Table
from ringfence.scenario.dialect import Dialect, Steps, plainly
from ringfence.scenario.factor import factorise
from ringfence.scenario.times import moments_ms

FEW: Final = 12  # values that are counted one by one
_EXACT_CELLS: Final = 200_000_000  # up to so many cells distinct values are counted exactly, beyond it about


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a file. Shares and values come from a sample of rows, counts from all rows."""

    name: str
    words: tuple[str, ...]
    kind: str  # "number", "time", "boolean", "text", "list" or "other"
    is_texts: bool  # the file holds text, whatever it says
    n_rows: int
    n_missing: int
    n_distinct: int  # of the given values
    n_most: int  # rows of the sample that share the most frequent value
    values: Floats  # (sample,) numbers, or moments in ms; NaN where missing; codes of texts and booleans
    sample: pl.Series  # (sample,) as the file has it, null where missing
    counts: tuple[tuple[str, int], ...]  # each value with its rows, where there are at most FEW; else empty
    spelling: Spelling
    is_whole: bool  # all numbers are whole
    n_characters: float  # mean length of the texts
    n_words: float  # mean words in a text
    digits: float  # share of the texts with a digit

    @property
    def n_given(self) -> int:
        return self.n_rows - self.n_missing

    @property
    def reuse(self) -> float:
        """Rows per distinct value."""
        return self.n_given / self.n_distinct if self.n_distinct else 0.0

    @property
    def is_unique(self) -> bool:
        return self.n_distinct == self.n_rows

    @property
    def given(self) -> NDArray[np.bool_]:
        """(sample,) where the column says something."""
        return ~np.isnan(self.values)

    @property
    def codes(self) -> NDArray[np.int64]:
        """(sample,) the values numbered; missing is a value of its own."""
        _, codes = np.unique(self.values, return_inverse=True, equal_nan=True)
        return codes.astype(np.int64)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A file, column by column."""

    table: Table
    columns: tuple[Column, ...]
    row: Floats  # (sample,) the rows looked at

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def profile_table(table: Table) -> Profile:
    """Look at every column: a bounded sample of rows for what it says, all rows for how often."""
    sample = table.sample()
    row = sample[ROW].cast(pl.Float64).to_numpy()
    exact = table.n_rows * len(table.names) <= _EXACT_CELLS
    flat = [name for name in table.names if not sample[name].dtype.is_nested()]
    distinct = {name: pl.col(name).n_unique() if exact else pl.col(name).approx_n_unique() for name in flat}
    whole = table.rows.select(
        *[pl.col(name).null_count().alias(f"{name}|null") for name in table.names],
        *[expression.alias(f"{name}|distinct") for name, expression in distinct.items()],
        *[pl.col(name).is_nan().sum().alias(f"{name}|nan") for name in table.names if sample[name].dtype.is_float()],
    ).collect(engine="streaming")
    found = whole.row(0, named=True)
    columns = [_column(table, sample[name], found) for name in table.names]
    return Profile(table=table, columns=tuple(columns), row=row)


def respelt(column: Column, how: str | Steps) -> Column:
    """The same column, its values read as moments in another way."""
    plain = plainly(column.sample.to_frame(), Dialect(times={column.name: how}), ())[column.name]
    spelling = msgspec.structs.replace(column.spelling, kind="time", how=how if isinstance(how, str) else None)
    return msgspec.structs.replace(column, kind="time", values=_moments(plain), spelling=spelling)


def _column(table: Table, sample: pl.Series, found: dict[str, int]) -> Column:
    name, words = sample.name, words_of(sample.name)
    if sample.dtype in (pl.Categorical, pl.Enum):
        sample = sample.cast(pl.String)
    if sample.dtype.is_float():
        sample = sample.fill_nan(None)
    is_texts = sample.dtype == pl.String
    spelling = spelling_of(sample, is_named_time=hints(words, "time")) if is_texts else Spelling(kind=_kind(sample))
    n_missing = found[f"{name}|null"] + found.get(f"{name}|nan", 0)
    n_distinct = found.get(f"{name}|distinct", sample.len())
    n_distinct -= int(found[f"{name}|null"] > 0) + int(found.get(f"{name}|nan", 0) > 0)
    if spelling.missing:
        words_missing = list(spelling.missing)
        n_missing += _count(table, name, words_missing)
        n_distinct -= len(words_missing)
        sample = sample.replace(words_missing, [None] * len(words_missing))
    values = _values(sample, spelling)
    texts = sample.drop_nulls() if is_texts and spelling.kind == "text" else pl.Series([], dtype=pl.String)
    counts: tuple[tuple[str, int], ...] = ()
    if 0 < n_distinct <= FEW and spelling.kind not in ("list", "other"):
        counts = _counts(table, name, spelling.missing)
    given = values[~np.isnan(values)]
    number = spelling.kind == "number"
    return Column(
        name=name,
        words=words,
        kind=spelling.kind,
        is_texts=is_texts,
        n_rows=table.n_rows,
        n_missing=n_missing,
        n_distinct=max(n_distinct, 0),
        n_most=int(np.unique(given, return_counts=True)[1].max(initial=0)),
        values=values,
        sample=sample,
        counts=counts,
        spelling=spelling,
        is_whole=number and bool((given == np.floor(given)).all()),
        n_characters=_mean(texts.str.len_chars()),
        n_words=_mean(texts.str.count_matches(r"\s+")) + 1.0,
        digits=_mean(texts.str.contains(r"[0-9]").cast(pl.Float64)),
    )


def _kind(sample: pl.Series) -> str:
    dtype = sample.dtype
    if isinstance(dtype, pl.List | pl.Array):
        return "list"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return "time"
    return "number" if dtype.is_numeric() else "other"


def _values(sample: pl.Series, spelling: Spelling) -> Floats:
    match spelling.kind:
        case "number":
            plain = plainly(sample.to_frame(), Dialect(decimal=spelling.decimal), {sample.name})[sample.name]
            if plain.dtype == pl.String:
                plain = plain.str.strip_chars()
            number = plain.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
            return np.where(np.isfinite(number), number, np.nan)
        case "time":
            how = {} if spelling.how is None else {sample.name: spelling.how}
            return _moments(plainly(sample.to_frame(), Dialect(times=dict(how)), ())[sample.name])
        case "text" | "boolean":
            codes = factorise(sample).codes.astype(np.float64)
            return np.where(codes < 0, np.nan, codes)
    return np.where(sample.is_null().to_numpy(), np.nan, 0.0)


def _moments(values: pl.Series) -> Floats:
    time_ms, missing, bad = moments_ms(values, "UTC")
    return np.where(missing | bad, np.nan, time_ms.astype(np.float64))


def _counts(table: Table, name: str, missing: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    counted = table.rows.select(pl.col(name)).group_by(name).len().collect(engine="streaming")
    told = []
    for value, n in counted.sort("len", descending=True).iter_rows():
        if value is None or value != value or value in missing:  # NaN is not equal to itself
            continue
        told.append((_text(value), int(n)))
    return tuple(told)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def _count(table: Table, name: str, words: list[str]) -> int:
    return int(table.rows.select(pl.col(name).is_in(words).sum()).collect(engine="streaming").item())


def _mean(values: pl.Series) -> float:
    mean = values.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0


__all__ = ["SAMPLE_ROWS", "Column", "Profile", "profile_table", "respelt"]

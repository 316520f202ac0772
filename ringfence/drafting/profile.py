# SPDX-License-Identifier: Apache-2.0
"""One column at a time: what it holds, how much of it is there, how many different values, and how they are spelt."""

from __future__ import annotations

from typing import Final, NamedTuple

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

CODE: Final = -1.0  # among numbers that are never negative it stands for nothing
FEW: Final = 12  # values that are counted one by one
SHAPED: Final = 5_000  # texts that are asked for their shape
_CLOCK_TIME: Final = r"^\s*(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?(?:\s*[AaPp][Mm])?\s*$"
_COUNTED: Final = ("number", "boolean", "text")
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
    spellings = {name: _spelling(sample[name]) for name in table.names}
    tallies = _tallies(table, sample.schema, spellings)
    few = [name for name in table.names if tallies[name].n_distinct <= FEW and spellings[name].kind in _COUNTED]
    counts = _counts(table, few, spellings)
    columns = [
        _column(table, sample[name], spellings[name], tallies[name], counts.get(name, ())) for name in table.names
    ]
    return Profile(table=table, columns=tuple(columns), row=row)


class _Tally(NamedTuple):
    n_missing: int
    n_distinct: int


def _tallies(table: Table, schema: pl.Schema, spellings: dict[str, Spelling]) -> dict[str, _Tally]:
    """Count missing and distinct values of all columns in one pass over the file."""
    exact = table.n_rows * len(table.names) <= _EXACT_CELLS
    wanted = []
    for at, name in enumerate(table.names):
        column, words = pl.col(name), list(spellings[name].missing)
        if schema[name].is_float():
            column = column.fill_nan(None)
        elif words and schema[name] == pl.String:
            column = pl.when(~column.is_in(words)).then(column)
        if isinstance(schema[name], pl.Struct):
            distinct = pl.lit(table.n_rows)
        else:  # of lists, the different members
            listed = isinstance(schema[name], pl.List | pl.Array)
            given = (column.explode() if listed else column).drop_nulls()
            distinct = given.n_unique() if exact else given.approx_n_unique()
        wanted += [column.null_count().alias(f"{at} missing"), distinct.cast(pl.Int64).alias(f"{at} distinct")]
    found = table.collect(table.rows.select(wanted)).row(0, named=True)
    return {
        name: _Tally(int(found[f"{at} missing"]), int(found[f"{at} distinct"])) for at, name in enumerate(table.names)
    }


def _spelling(sample: pl.Series) -> Spelling:
    if sample.dtype in (pl.Categorical, pl.Enum):
        sample = sample.cast(pl.String)
    if sample.dtype == pl.String:
        return spelling_of(sample, is_named_time=hints(words_of(sample.name), "time"))
    return Spelling(kind=_kind(sample))


def respelt(column: Column, how: str | Steps) -> Column:
    """The same column, its values read as moments in another way."""
    plain = plainly(column.sample.to_frame(), Dialect(times={column.name: how}), ())[column.name]
    spelling = msgspec.structs.replace(column.spelling, kind="time", how=how if isinstance(how, str) else None)
    return msgspec.structs.replace(column, kind="time", values=moments(plain), spelling=spelling)


def respelt_number(column: Column, decimal: str | None) -> Column:
    """The same column, its values read as numbers with another decimal sign."""
    spelling = msgspec.structs.replace(column.spelling, decimal=decimal)
    return msgspec.structs.replace(column, values=_values(column.sample, spelling), spelling=spelling)


def without_code(column: Column) -> Column | None:
    """The same column with nothing where it says -1, its only negative number; None where it holds no such code."""
    given = column.values[column.given]
    n_code = int((given == CODE).sum())
    if column.kind != "number" or column.n_distinct <= FEW or n_code < max(0.001 * len(given), 5.0):
        return None
    if n_code != int((given < 0.0).sum()) or n_code == len(given):
        return None
    is_code = column.values == CODE
    codes = pl.Series(is_code)
    return msgspec.structs.replace(
        column,
        n_missing=column.n_missing + round(column.n_rows * n_code / len(column.values)),
        n_distinct=column.n_distinct - 1,
        values=np.where(is_code, np.nan, column.values),
        sample=pl.select(pl.when(~codes).then(column.sample).alias(column.name)).to_series(),
    )


def _column(
    table: Table, sample: pl.Series, spelling: Spelling, tally: _Tally, counts: tuple[tuple[str, int], ...]
) -> Column:
    name = sample.name
    if sample.dtype in (pl.Categorical, pl.Enum):
        sample = sample.cast(pl.String)
    if sample.dtype.is_float():
        sample = sample.fill_nan(None)
    is_texts = sample.dtype == pl.String
    if is_texts and spelling.missing:
        sample = sample.replace(list(spelling.missing), [None] * len(spelling.missing))
    values = _values(sample, spelling)
    texts = sample.drop_nulls() if is_texts and spelling.kind == "text" else pl.Series([], dtype=pl.String)
    given = values[~np.isnan(values)]
    number = spelling.kind == "number"
    return Column(
        name=name,
        words=words_of(name),
        kind=spelling.kind,
        is_texts=is_texts,
        n_rows=table.n_rows,
        n_missing=tally.n_missing,
        n_distinct=tally.n_distinct,
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
            return moments(plainly(sample.to_frame(), Dialect(times=dict(how)), ())[sample.name])
        case "text" | "boolean":
            codes = factorise(sample).codes.astype(np.float64)
            return np.where(codes < 0, np.nan, codes)
    return np.where(sample.is_null().to_numpy(), np.nan, 0.0)


def moments(values: pl.Series) -> Floats:
    """(n,) moments as the import reads them, in ms of UTC; NaN where there is none."""
    time_ms, missing, bad = moments_ms(values, "UTC")
    return np.where(missing | bad, np.nan, time_ms.astype(np.float64))


def is_clock_time(column: Column) -> bool:
    """Whether a column holds times of a day, such as 14:05, without the day."""
    return column.kind == "text" and share_of(column, _CLOCK_TIME) >= 0.99


def share_of(column: Column, pattern: str) -> float:
    """Share of the first texts that a pattern fits."""
    texts = column.sample.drop_nulls().head(SHAPED).cast(pl.String)
    return float(texts.str.contains(pattern).cast(pl.Float64).sum()) / len(texts) if len(texts) else 0.0


def _counts(table: Table, names: list[str], spellings: dict[str, Spelling]) -> dict[str, tuple[tuple[str, int], ...]]:
    """Count the values of columns with few of them, in one pass over the file; the most frequent first."""
    if not names:
        return {}
    wanted = [pl.col(name).drop_nulls().value_counts(name="n rows").implode().alias(name) for name in names]
    found = table.collect(table.rows.select(wanted))
    counts = {}
    for name in names:
        told = [(entry[name], int(entry["n rows"])) for entry in found[name].item().to_list()]
        kept = [
            (_text(value), n)
            for value, n in told
            if value == value and value not in spellings[name].missing  # NaN is not equal to itself
        ]
        counts[name] = tuple(sorted(kept, key=lambda pair: (-pair[1], pair[0])))
    return counts


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def _mean(values: pl.Series) -> float:
    mean = values.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0


__all__ = [
    "SAMPLE_ROWS", "SHAPED", "Column", "Profile", "is_clock_time", "moments", "profile_table", "respelt",
    "respelt_number", "share_of", "without_code",
]  # fmt: skip

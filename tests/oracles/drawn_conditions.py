# SPDX-License-Identifier: Apache-2.0
"""Conditions drawn at random, and what SQLite makes of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hypothesis import strategies as st

NUMBERS = ("a", "b", "c")
FLAGS = ("f",)
CATEGORIES = ("k", "l")
WORDS = ("vw", "o'neil", "VW", "3")
COLUMNS = (*NUMBERS, *FLAGS, *CATEGORIES)

_number = st.sampled_from(["0", "1", "2", "0.5", "1e3", ".25", *NUMBERS])
_comparison = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"


def _value(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(" ".join),
        inner.map(lambda one: f"- {one}"),
        inner.map(lambda one: f"({one})"),
    )


values = st.recursive(_number, _value, max_leaves=4)
_category = st.sampled_from([*map(_quoted, WORDS), *CATEGORIES])
_plain = st.one_of(
    st.tuples(values, _comparison, values).map(" ".join),
    st.tuples(values, st.sampled_from(["between", "not between"]), values, st.just("and"), values).map(" ".join),
    st.tuples(values, st.sampled_from(["is null", "is not null"])).map(" ".join),
    st.tuples(_category, st.sampled_from(["=", "<>"]), _category).map(" ".join),
    st.tuples(
        st.sampled_from(CATEGORIES),
        st.sampled_from(["in", "not in"]),
        st.lists(st.sampled_from(WORDS).map(_quoted), min_size=1, max_size=3).map(
            lambda found: f"({', '.join(found)})"
        ),
    ).map(" ".join),
    st.tuples(values, st.just("in (0, 1, -0.5)")).map(" ".join),
    st.sampled_from([*FLAGS, "true", "false", "f = true", "f <> false", "k is null"]),
)


def _condition(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "AND", "Or"]), inner).map(" ".join),
        inner.map(lambda one: f"not {one}"),
        inner.map(lambda one: f"({one})"),
        inner.map(lambda one: f"not ({one})"),
    )


conditions = st.recursive(_plain, _condition, max_leaves=5)
rows = st.lists(
    st.tuples(
        *[st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 1000.0, 1e308])) for _ in NUMBERS],
        *[st.one_of(st.none(), st.sampled_from([0.0, 1.0])) for _ in FLAGS],
        *[st.one_of(st.none(), st.sampled_from(WORDS)) for _ in CATEGORIES],
    ),
    min_size=1,
    max_size=6,
)


def by_sqlite(condition: str, given: Sequence[tuple[float | str | None, ...]]) -> list[bool | None]:
    """Return what SQLite says of each row: true, false, or null for what is unknown."""
    with sqlite3.connect(":memory:") as connection:
        types = [*["REAL"] * (len(NUMBERS) + len(FLAGS)), *["TEXT"] * len(CATEGORIES)]
        connection.execute(f"CREATE TABLE events ({', '.join(map(' '.join, zip(COLUMNS, types, strict=True)))})")
        connection.executemany(f"INSERT INTO events VALUES ({', '.join('?' * len(COLUMNS))})", given)
        found = [row[0] for row in connection.execute(f"SELECT ({condition}) FROM events ORDER BY rowid")]
    connection.close()
    return [None if one is None else bool(one) for one in found]

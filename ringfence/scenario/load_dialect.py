# SPDX-License-Identifier: Apache-2.0
"""The part of `sources:` that says how files spell things."""

from __future__ import annotations

import codecs
from typing import Final

from ringfence.scenario.dialect import ORDERS, YEAR_FIRST, Dialect, Steps
from ringfence.scenario.errors import did_you_mean, shown
from ringfence.scenario.node import Node
from ringfence.scenario.times import HOW_TO_WRITE, moment_ms

DIALECT_KEYS: Final = ("separator", "encoding", "header", "decimal", "missing", "times", "clocks", "as_text")
_ANY: Final = "*"  # in `missing` by column: every column
_LAST_HEADER: Final = 100
_SEPARATORS: Final = (",", ";", "\t", "|")
_HOW: Final = "write day_first, month_first, year_first, a pattern such as '%d-%b-%Y', or {unit: 1s, since: 1970-01-01}"


def read_dialect(node: Node, time_zone: str) -> Dialect:
    """Read what one source says about its files; keys that are none of `DIALECT_KEYS` are left to the caller."""
    separator, encoding, decimal = node.get("separator"), node.get("encoding"), node.get("decimal")
    missing, times, as_text = node.get("missing"), node.get("times"), node.get("as_text")
    header, clocks = node.get("header"), node.get("clocks")
    if separator is not None and separator.value not in _SEPARATORS:
        raise separator.error(shown(separator.value), r"write one of ',', ';', '|' and, in double quotes, '\t'")
    return Dialect(
        separator=None if separator is None else str(separator.value),
        encoding="utf-8" if encoding is None else _encoding(encoding),
        header=1 if header is None else header.whole(1, _LAST_HEADER),
        decimal=None if decimal is None else decimal.choice([",", "."]),
        missing=_words_of_all(missing),
        missing_in={} if missing is None or not isinstance(missing.value, dict) else _words_in(missing),
        times={} if times is None else {item.name: _time(item, time_zone) for item in times.mapping("a column: how")},
        clocks={}
        if clocks is None
        else {item.name: item.text() for item in clocks.mapping("a day's column: its clock's")},
        as_text=() if as_text is None else tuple(item.text() for item in as_text.sequence("names of columns")),
    )


def _words(node: Node) -> tuple[str, ...]:
    return tuple(_word(item) for item in node.sequence("texts, such as ['?', NA]"))


def _words_of_all(node: Node | None) -> tuple[str, ...]:
    any_column = node.get(_ANY) if node is not None and isinstance(node.value, dict) else node
    return () if any_column is None else _words(any_column)


def _words_in(node: Node) -> dict[str, tuple[str, ...]]:
    return {
        item.name: _words(item) for item in node.mapping("a column: texts, such as {age: [-1]}") if item.name != _ANY
    }


def _word(node: Node) -> str:
    is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return str(node.value) if is_number else node.text()


def _encoding(node: Node) -> str:
    try:
        return codecs.lookup(node.text()).name
    except LookupError:
        raise node.error(shown(node.value), "name an encoding, such as utf-8, cp1252, latin-1 or utf-16") from None


def _time(node: Node, time_zone: str) -> str | Steps:
    if not isinstance(node.value, dict):
        text = node.text()
        if text not in ORDERS and "%" not in text:
            raise node.error(shown(text), f"{_HOW}; {did_you_mean(text, ORDERS)}")
        return YEAR_FIRST if text == "%Y-%m-%d" else text
    node.keys(("unit", "since"))
    unit_ms = node.required("unit", "name the time that 1 stands for, such as 1s, 1h or 1d").duration()
    if unit_ms <= 0:
        raise node.error("steps without time between them", "name the time that 1 stands for, such as 1s")
    since = node.get("since")
    since_ms = 0 if since is None else moment_ms(since.value, time_zone)
    if since_ms is None:
        raise node.error(shown(since.value if since else None), HOW_TO_WRITE)
    return Steps(unit_ms=unit_ms, since_ms=since_ms)

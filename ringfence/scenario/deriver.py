# SPDX-License-Identifier: Apache-2.0
"""Derived values of one event, and of many: the same functions on single values, once per distinct value in columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.derivations import (
    distance_km,
    email_domain,
    entropy,
    input_text,
    input_texts,
    number_of,
)
from ringfence.scenario.derived import Derived, Distance, EmailDomain, Entropy, Input, IpPrefix, Lookup, Origin
from ringfence.scenario.errors import LookupFileError
from ringfence.scenario.factor import factorise
from ringfence.scenario.ip_address import ip_prefix, ip_prefixes
from ringfence.scenario.lookup_files import Lookups
from ringfence.scenario.lookup_table import LookupTable, Value
from ringfence.scenario.spec import EventType


class Given(NamedTuple):
    """What an event gives for an input."""

    text: str | None
    is_given: bool  # also where what is given is no single value, and `text` therefore None


class GivenColumn(NamedTuple):
    """What n events give for an input."""

    texts: pl.Series  # (n,) String
    is_given: NDArray[np.bool_]  # (n,)


class DerivedValues(NamedTuple):
    values: dict[str, Value]  # by name; without what is missing
    failed: tuple[str, ...]  # names of those whose inputs are given and yield nothing


class DerivedColumns(NamedTuple):
    values: dict[str, pl.Series]  # by name, (n,) String or Float64, null where missing
    given: dict[str, NDArray[np.bool_]]  # by name, (n,) rows that give all that it is made of
    failed: dict[str, NDArray[np.bool_]]  # by name, (n,) those of them that yield nothing
    unlisted: dict[str, NDArray[np.bool_]]  # of a lookup, (n,) those that yield nothing only since no row holds them


Found = TypeVar("Found")

NOTHING = DerivedValues({}, ())


class Deriver:
    """Computes the derived values of one event type. Holds no state: equal events give equal values.

    Parameters
    ----------
    lookups : prepared tables (`lookup_files.prepare_lookups`), by "event type.name".

    Raises
    ------
    LookupFileError
        If the table of a lookup is not among them.
    """

    def __init__(self, event_type: EventType, lookups: Lookups) -> None:
        self._derived = event_type.derived
        self._tables: dict[str, LookupTable] = {}
        for one in self._derived:
            if isinstance(one.how, Lookup):
                where = f"{event_type.name}.{one.name}"
                if where not in lookups:
                    raise LookupFileError(
                        one.how.file, where, "no table at hand", "prepare the scenario's lookups first"
                    )
                self._tables[one.name] = lookups[where]

    def of(self, find: Callable[[Input], Given], time_ms: int) -> DerivedValues:
        """Derive the values of one event.

        Parameters
        ----------
        find : what the event gives for an attribute, a role, or a column.
        time_ms : the event's time, at which tables are read.
        """
        values: dict[str, Value] = {}
        failed: list[str] = []
        for one in self._derived:
            given = [
                _fixed(item) or (_earlier(values.get(item.name)) if item.origin is Origin.DERIVED else find(item))
                for item in one.inputs
            ]
            value = self._value(one, [text for text, _ in given], time_ms)
            if value is not None:
                values[one.name] = value
            elif all(is_given for _, is_given in given):
                failed.append(one.name)
        return DerivedValues(values, tuple(failed))

    def of_columns(self, find: Callable[[Input], GivenColumn], time_ms: NDArray[np.int64]) -> DerivedColumns:
        """`of` for n events; `time_ms` of shape (n,)."""
        values: dict[str, pl.Series] = {}
        all_given: dict[str, NDArray[np.bool_]] = {}
        failed: dict[str, NDArray[np.bool_]] = {}
        unlisted: dict[str, NDArray[np.bool_]] = {}
        for one in self._derived:
            given = [self._column(item, values, find, len(time_ms)) for item in one.inputs]
            found = self._values(one, [texts for texts, _ in given], time_ms)
            values[one.name] = found.alias(one.column)
            all_given[one.name] = np.logical_and.reduce([is_given for _, is_given in given])
            failed[one.name] = all_given[one.name] & found.is_null().to_numpy()
            if isinstance(one.how, Lookup):
                unlisted[one.name] = self._unlisted(one, given[0].texts, failed[one.name])
        return DerivedColumns(values, all_given, failed, unlisted)

    def _unlisted(self, one: Derived, texts: pl.Series, failed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = np.zeros(len(texts), np.bool_)
        at = np.flatnonzero(failed)
        found[at] = _per_distinct(texts.gather(at), self._tables[one.name].reads)
        return found

    def _column(
        self, item: Input, earlier: dict[str, pl.Series], find: Callable[[Input], GivenColumn], n: int
    ) -> GivenColumn:
        fixed = _fixed(item)
        if fixed is not None:
            return GivenColumn(pl.repeat(fixed.text, n, dtype=pl.String(), eager=True), np.ones(n, np.bool_))
        if item.origin is Origin.DERIVED:
            return GivenColumn(*input_texts(earlier[item.name]))
        return find(item)

    def _value(self, one: Derived, texts: list[str | None], time_ms: int) -> Value | None:
        if isinstance(one.how, Distance):
            return _distance([None if text is None else number_of(text) for text in texts])
        text = texts[0]
        if text is None:
            return None
        if isinstance(one.how, Lookup):
            return self._tables[one.name].value_at(text, time_ms)
        return _of_text(one.how, text)

    def _values(self, one: Derived, columns: list[pl.Series], time_ms: NDArray[np.int64]) -> pl.Series:
        found: Sequence[Value | None]
        if isinstance(one.how, Distance):
            places = [_numbers(texts) for texts in columns]
            found = [_distance(list(numbers)) for numbers in zip(*places, strict=True)]
        elif isinstance(one.how, Lookup):
            factor = factorise(columns[0])
            found = self._tables[one.name].values_at(factor.uniques, factor.codes, time_ms)
        elif isinstance(one.how, IpPrefix):
            factor = factorise(columns[0])
            prefixes = [*ip_prefixes(factor.uniques, one.how.bits, one.how.bits_v6), None]
            found = [prefixes[code] for code in factor.codes.tolist()]
        else:
            how = one.how
            found = _per_distinct(columns[0], lambda text: _of_text(how, text))
        return pl.Series(one.name, found, dtype=pl.Float64() if one.is_number else pl.String())


def _per_distinct(texts: pl.Series, derive: Callable[[str], Found | None]) -> list[Found | None]:
    factor = factorise(texts)
    found = [*(derive(text) for text in factor.uniques.to_list()), None]
    return [found[code] for code in factor.codes.tolist()]


def _numbers(texts: pl.Series) -> list[float | None]:
    factor = factorise(texts)
    found = [*(number_of(text) for text in factor.uniques.to_list()), None]
    return [found[code] for code in factor.codes.tolist()]


def _of_text(how: IpPrefix | EmailDomain | Entropy, text: str) -> Value | None:
    match how:
        case IpPrefix():
            return ip_prefix(text, how.bits, how.bits_v6)
        case EmailDomain():
            return email_domain(text)
        case Entropy():
            return entropy(text)


def _distance(numbers: list[float | None]) -> float | None:
    latitude, longitude, to_latitude, to_longitude = numbers
    if latitude is None or longitude is None or to_latitude is None or to_longitude is None:
        return None
    return distance_km(latitude, longitude, to_latitude, to_longitude)


def _fixed(item: Input) -> Given | None:
    return None if item.number is None else Given(input_text(item.number), True)


def _earlier(value: Value | None) -> Given:
    return Given(None if value is None else input_text(value), value is not None)

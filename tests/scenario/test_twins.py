# SPDX-License-Identifier: Apache-2.0
"""Every function on one value agrees with its twin on a column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringfence.scenario.factor import factorise
from ringfence.scenario.identity import IdentityKey, id_text, id_texts
from ringfence.scenario.spec import Attribute, AttributeType
from ringfence.scenario.times import moment_ms, moments_ms
from ringfence.scenario.values import (
    CANONICAL_DTYPE,
    canonical_value,
    canonical_values,
    category_code,
    text_hash,
    value_of,
    values_of,
)

ZONE = "Europe/Berlin"
EVENT_MS = 1_714_559_400_000

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
two = st.integers(0, 70).map(lambda n: f"{n:02}")
nearly_times = st.builds(
    "{}-{}-{}{}{}:{}{}{}".format,
    st.integers(0, 9999).map(lambda n: f"{n:04}"),
    st.integers(0, 13).map(lambda n: f"{n:02}"),
    st.integers(0, 32).map(lambda n: f"{n:02}"),
    st.sampled_from(["T", " ", "t"]),
    st.integers(0, 25).map(lambda n: f"{n:02}"),
    two,
    st.sampled_from(["", ":00", ":59.9", ":59.123456789", ":60", ":1", ":00,5", ":00."]),
    st.sampled_from(["", "Z", "z", "+00:00", "+0530", "-14:00", "+23:59", "+24:00", "+05", " ", "+05:60", "\n"]),
)


@settings(max_examples=60)
@given(st.lists(nearly_times | texts.filter(bool), min_size=1, max_size=8))
@example(["20240501", "1714559400", "1714559400000", "99999999999999", "1714559400000\n"])
@example(["0001-01-01", "9999-12-31T23:59:59-12:00", "2024-02-29", "2100-02-29", "1970-01-01T00:00"])
def test_texts_are_read_as_times_alike(drawn: list[str]) -> None:
    time_ms, missing, bad = moments_ms(pl.Series(drawn, dtype=pl.String), ZONE)
    expected = [moment_ms(text, ZONE) for text in drawn]
    assert bad.tolist() == [moment is None for moment in expected]
    assert time_ms.tolist() == [moment or 0 for moment in expected]
    assert not missing.any()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=10))
def test_whole_numbers_are_read_as_times_alike(drawn: list[int]) -> None:
    time_ms, _, bad = moments_ms(pl.Series(drawn, dtype=pl.Int64), ZONE)
    expected = [moment_ms(number, ZONE) for number in drawn]
    assert bad.tolist() == [moment is None for moment in expected]
    assert time_ms.tolist() == [moment or 0 for moment in expected]


@given(st.lists(st.none() | st.floats(), min_size=1, max_size=10))
@example([2.0**53, 2.0**53 - 1, -0.0, 1.5, math.inf])
def test_floats_are_read_as_ids_alike(drawn: list[float | None]) -> None:
    found, bad = id_texts(pl.Series(drawn, dtype=pl.Float64))
    given_ = [number is not None and not math.isnan(number) for number in drawn]
    expected = [id_text(number) for number in drawn]
    assert found.to_list() == expected
    assert bad.tolist() == [known and text is None for known, text in zip(given_, expected, strict=True)]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=10))
def test_whole_numbers_are_read_as_ids_alike(drawn: list[int]) -> None:
    found, bad = id_texts(pl.Series(drawn, dtype=pl.UInt64))
    assert found.to_list() == [id_text(number) for number in drawn]
    assert not bad.any()


@given(st.lists(texts.filter(bool), min_size=1, max_size=10))
def test_entities_are_digested_alike(drawn: list[str]) -> None:
    key = IdentityKey(b"0123456789abcdef")
    hi, lo = key.entities("person", pl.Series(drawn, dtype=pl.String))
    assert list(zip(hi.tolist(), lo.tolist(), strict=True)) == [key.entity("person", text) for text in drawn]


CASES: dict[AttributeType, tuple[Any, Any]] = {
    AttributeType.NUMBER: (pl.Float64, st.floats(allow_nan=False)),
    AttributeType.BOOLEAN: (pl.Int64, st.integers(-1, 2)),
    AttributeType.CATEGORY: (pl.String, texts),
    AttributeType.TEXT: (pl.String, texts),
    AttributeType.TIME: (pl.String, nearly_times),
}
columns = st.sampled_from(sorted(CASES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.none() | CASES[kind][1], min_size=1, max_size=10))
)


@settings(max_examples=120)
@given(columns)
def test_attributes_are_read_alike(drawn: tuple[AttributeType, list[Any]]) -> None:
    kind, given_ = drawn
    attribute = Attribute(name="x", column="x", type=kind)
    found, bad = canonical_values(attribute, pl.Series(given_, dtype=CASES[kind][0]), ZONE)
    assert found.dtype == CANONICAL_DTYPE[kind]
    values = values_of(attribute, found, np.full(len(given_), EVENT_MS))
    for i, value in enumerate(given_):
        try:
            expected = canonical_value(attribute, value, ZONE)
        except ValueError:
            assert bad[i], value
            continue
        assert not bad[i], value
        assert found[i] == expected
        assert values[i].tobytes() == np.float64(value_of(attribute, expected, EVENT_MS)).tobytes()


@given(st.lists(st.booleans() | st.none(), min_size=1, max_size=6), st.lists(st.integers(), min_size=1, max_size=6))
def test_categories_that_are_no_texts_are_read_alike(flags: list[bool | None], numbers: list[int]) -> None:
    attribute = Attribute(name="x", column="x", type=AttributeType.CATEGORY)
    small = [number % 1_000 - 500 for number in numbers]
    for column in (pl.Series(flags, dtype=pl.Boolean), pl.Series(small), pl.Series(small, dtype=pl.Float64)):
        found, bad = canonical_values(attribute, column, ZONE)
        assert not bad.any()
        assert found.to_list() == [canonical_value(attribute, value, ZONE) for value in column.to_list()]


def test_hash_of_a_text_is_the_same_in_every_version() -> None:
    assert text_hash("VW") == 6398728079543161143
    assert category_code("VW") == float(text_hash("VW") >> 12)
    assert category_code("VW") < 2**52


@given(st.lists(st.none() | texts, max_size=20))
def test_factor_numbers_distinct_values_by_first_appearance(drawn: list[str | None]) -> None:
    codes, uniques = factorise(pl.Series(drawn, dtype=pl.String))
    assert uniques.to_list() == list(dict.fromkeys(text for text in drawn if text is not None))
    assert [None if code < 0 else uniques[int(code)] for code in codes] == drawn

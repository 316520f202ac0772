# SPDX-License-Identifier: Apache-2.0
"""Conditions mean what SQL says they mean, for rows at once and for one row, null included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from ringfence.models.conditions import FALSE, TRUE, UNKNOWN, truth_of_row, truth_of_rows
from ringfence.scenario.condition import read_condition
from ringfence.scenario.condition_names import Kind, Known, bind
from ringfence.scenario.errors import ConditionError
from ringfence.scenario.values import category_code
from tests.oracles.drawn_conditions import CATEGORIES, COLUMNS, FLAGS, by_sqlite, conditions, rows

FEATURES = {
    name: Known(column, Kind.CATEGORY if name in CATEGORIES else Kind.FLAG if name in FLAGS else Kind.NUMBER)
    for column, name in enumerate(COLUMNS)
}
AS_SQL = {FALSE: False, UNKNOWN: None, TRUE: True}


def as_row(values: tuple[float | str | None, ...]) -> list[float]:
    return [
        float("nan") if value is None else category_code(value) if isinstance(value, str) else value for value in values
    ]


@settings(max_examples=400)
@given(conditions, rows)
def test_rows_at_once_one_row_and_sqlite_agree(text: str, given_rows: list[tuple[float | str | None, ...]]) -> None:
    condition = bind(text, read_condition(text), FEATURES)
    together = np.array([as_row(row) for row in given_rows])
    found = truth_of_rows(condition, together).tolist()
    alone = truth_of_row(condition)
    assert [alone(row) for row in together.tolist()] == found
    assert [AS_SQL[truth] for truth in found] == by_sqlite(text, given_rows)


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("a < 1", UNKNOWN),
        ("not a < 1", UNKNOWN),
        ("a < 1 and b = 0", FALSE),
        ("a < 1 or b = 1", TRUE),
        ("a is null and not b is null", TRUE),
        ("b / (b - 1) > 0", UNKNOWN),  # a quotient by zero
        ("a = a", UNKNOWN),
        ("k <> 'vw'", UNKNOWN),
    ],
)
def test_what_depends_on_something_missing_is_unknown(text: str, truth: int) -> None:
    row = [float("nan"), 1.0, 0.0, 0.0, float("nan"), 0.0]
    condition = bind(text, read_condition(text), FEATURES)
    assert truth_of_row(condition)(row) == truth
    assert truth_of_rows(condition, np.array([row, row])).tolist() == [truth, truth]


@pytest.mark.parametrize(
    ("text", "at", "part"),
    [
        ("", 1, "found nothing; write a condition"),
        ("a < ", 4, "found the end"),
        ("a < 1 adn b > 2", 7, "`adn`; write `and` or `or`"),
        ("1 < a < 2", 7, "compare two values at a time"),
        ("a == 1", 3, "`==`; write `=`"),
        ("a = null", 5, "nothing equals null"),
        ("a is 3", 6, "after `is` comes"),
        ("a in (b)", 7, "list numbers"),
        ("a in (1 2)", 9, "write `,` between values"),
        ("(a < 1", 7, "close the bracket"),
        ("k = 'vw", 5, "a quote that is never closed"),
        ("a < 1; drop", 6, "found ';'"),
        ("a not 3", 7, "`in` or `between`"),
        ("a between 1 or 2", 13, "between low and high"),
        ("a + 1", 3, "found a value as a condition"),
        ("a and b > 1", 1, "`a`, which is a number, as a condition"),
        ("k > 'vw'", 3, "which have no order"),
        ("k = 3", 3, "a category beside a number"),
        ("k in (3)", 7, "a category beside a number"),
        ("a > 'vw'", 3, "a number beside a category"),
        ("k + 1 > 2", 1, "where a number is needed"),
        ("k = ''", 5, "an empty text, which is a missing value"),
        ("(a < 1) = true", 4, "a condition where a value is needed"),
        ("aa < 1", 1, "`aa`, no feature of this scenario"),
        ("not " * 60 + "f", 201, "more than 50 levels"),
        ("a > " + "1 + " * 60 + "1", 207, "more than 50 levels"),
        ("a < 1e999", 5, "a float64 can hold"),
        ("a" * 2001, 2001, "2,001 characters"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_to_write(text: str, at: int, part: str) -> None:
    with pytest.raises(ConditionError) as caught:
        bind(text, read_condition(text), FEATURES)
    assert caught.value.at + 1 == at
    assert part in str(caught.value)


def test_short_names_stand_for_attributes_first_and_for_the_event_then() -> None:
    features = {
        "event.amount": Known(0, Kind.NUMBER),
        "attribute.amount": Known(1, Kind.NUMBER),
        "event.night": Known(2, Kind.FLAG),
        "claimant~shop.is_new": Known(3, Kind.FLAG),
    }
    text = 'amount > 1 and night and claimant~shop.is_new and "event.amount" = 0'
    assert truth_of_row(bind(text, read_condition(text), features))([0.0, 2.0, 1.0, 1.0]) == TRUE
    assert truth_of_row(bind(text, read_condition(text), features))([2.0, 0.0, 1.0, 1.0]) == FALSE

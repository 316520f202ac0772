# SPDX-License-Identifier: Apache-2.0
"""Which events wait: the closure over one row and the columns at once, against arithmetic by hand and each other."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine.catalogue import Catalogue
from ringfence.policy import PolicyFileError, Route, default_policy_text, policy_from_text
from ringfence.scenario.document import document_from_text
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scoring.route import FEW_ROWS, Router

SCENARIO = """\
decide: payment
events:
  payment:
    event_id: id
    event_time: at
    amount: {field: amount, currency: EUR}
    entities: {card: card}
    attributes: {age_days: number, kind: category}
"""
CATALOGUE = Catalogue.build(
    scenario_from_mapping("payments", document_from_text(SCENARIO, where="ringfence.yaml"), where="ringfence.yaml")
)
POLICY = policy_from_text(default_policy_text("motor-claims"), where="policy.yaml")
WIDTH = len(CATALOGUE.features)
AMOUNT, AGE = CATALOGUE.names.index("event.amount"), CATALOGUE.names.index("attribute.age_days")


def router(realtime: str) -> Router:
    policy = msgspec.structs.replace(POLICY, route=Route(realtime=realtime, otherwise="batch"))
    return Router(policy, CATALOGUE, where="policies/payments.yaml")


def rows_of(pairs: list[tuple[float, float]]) -> np.ndarray:
    rows = np.zeros((len(pairs), WIDTH))
    rows[:, AMOUNT], rows[:, AGE] = zip(*pairs, strict=True)
    return rows


values = st.sampled_from([math.nan, 0.0, 29.0, 30.0, 25_000.0, 25_000.01, 1e9])


@given(pairs=st.lists(st.tuples(values, values), min_size=1, max_size=3 * FEW_ROWS))
def test_who_waits_is_whoever_is_not_known_to_fulfil_the_condition(pairs: list[tuple[float, float]]) -> None:
    """The slow twin is Python's own comparison, in which NaN is greater than nothing."""
    found = router("amount > 25000 or age_days < 30").waits(rows_of(pairs))
    assert found.tolist() == [not (amount > 25_000 or age < 30) for amount, age in pairs]


@given(pairs=st.lists(st.tuples(values, values), min_size=FEW_ROWS + 1, max_size=2 * FEW_ROWS))
def test_many_rows_at_once_wait_as_each_alone(pairs: list[tuple[float, float]]) -> None:
    one = router("not (amount between 30 and 25000) and age_days is not null")
    rows = rows_of(pairs)
    assert one.waits(rows).tolist() == [bool(one.waits(row[None, :])[0]) for row in rows]


def test_unknown_is_not_true_however_the_condition_is_turned() -> None:
    missing = rows_of([(math.nan, 0.0)])
    for condition, waits in (
        ("amount > 25000", True),
        ("not (amount <= 25000)", True),
        ("amount is null", False),
        ("amount > 25000 or amount is null", False),
    ):
        assert router(condition).waits(missing).tolist() == [waits]


def test_without_a_route_nobody_waits() -> None:
    plain = Router(POLICY, CATALOGUE)
    assert not plain.has_batch
    assert plain.waits(rows_of([(1.0, 1.0)])).tolist() == [False]


@pytest.mark.parametrize(
    ("condition", "found"), [("amunt > 25000", "amunt"), ("kind > 3", "category"), ("amount", "as a condition")]
)
def test_a_condition_that_fits_no_feature_is_refused_with_file_and_path(condition: str, found: str) -> None:
    with pytest.raises(PolicyFileError, match=r"policies/payments\.yaml: route\.realtime") as caught:
        router(condition)
    assert found in str(caught.value)

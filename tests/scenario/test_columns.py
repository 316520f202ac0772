# SPDX-License-Identifier: Apache-2.0
"""Files say things less clearly than messages: what is understood, and what is rejected with its row and reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.scenario.batch import FRAUD, LEGIT, MISSING_AMOUNT, NO_LABEL
from ringfence.scenario.columns import ColumnarAdmission, Columns
from ringfence.scenario.errors import InvalidEventError
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from tests.scenario.claims import claim_scenario

DAY_MS = 86_400_000


def frame(n_rows: int = 4, **changes: Any) -> pl.DataFrame:
    """Rows that are let in; `changes` replace columns, None removes one."""
    columns: dict[str, Any] = {
        "claim_id": [f"c-{i}" for i in range(n_rows)],
        "claim_time": ["2024-05-01T12:30:00Z"] * n_rows,
        "claim_amount": [10.0 * i for i in range(n_rows)],
        "claimant_id": [f"p-{i}" for i in range(n_rows)],
        "witness_ids": [[f"w-{i}", "p-0"] for i in range(n_rows)],
        "shop_id": ["s"] * n_rows,
        "is_fraud": [0] * n_rows,
        "label_time": ["2024-06-01"] * n_rows,
    }
    return pl.DataFrame({name: column for name, column in (columns | changes).items() if column is not None})


def admit(scenario: Scenario, identity: IdentityKey, rows: pl.DataFrame, first_row: int = 10) -> ColumnarAdmission:
    return Columns(scenario, identity).admit(scenario.decided, rows, first_row)


def links_of(found: ColumnarAdmission) -> list[list[tuple[int, str]]]:
    """The links of each row as (role, id)."""
    names = {(hi, lo): entity_id for hi, lo, _, entity_id in found.directory.iter_rows()}
    return [
        [(int(found.link_role[j]), names[int(found.link_hi[j]), int(found.link_lo[j])]) for j in range(start, stop)]
        for start, stop in zip(found.link_start[:-1], found.link_start[1:], strict=True)
    ]


def test_links_are_ordered_by_role_then_as_given(scenario: Scenario, identity: IdentityKey) -> None:
    found = admit(scenario, identity, frame(2, witness_ids=[["b", "a", "b"], None], shop_id=[None, "s"]))
    assert links_of(found) == [[(0, "p-0"), (1, "b"), (1, "a")], [(0, "p-1"), (2, "s")]]


def test_missing_role_column_names_nobody(scenario: Scenario, identity: IdentityKey) -> None:
    found = admit(scenario, identity, frame(2, witness_ids=None, shop_id=None))
    assert links_of(found) == [[(0, "p-0")], [(0, "p-1")]]


def test_single_role_may_come_as_a_list_of_one(scenario: Scenario, identity: IdentityKey) -> None:
    found = admit(scenario, identity, frame(3, witness_ids=None, shop_id=[["s", "s"], [], ["s", "t"]]))
    assert found.row.tolist() == [10, 11]
    assert links_of(found) == [[(0, "p-0"), (2, "s")], [(0, "p-1")]]
    assert found.rejects.rows() == [(12, "shop_id", "a list of 2", "this role holds one entity")]


def test_text_with_a_separator_names_several(identity: IdentityKey) -> None:
    witness = {"column": "witness_ids", "type": "person", "many": True, "separator": ";"}
    scenario = scenario_from_mapping(
        "motor-claims", claim_scenario(entities={"witness": witness}), where="ringfence.yaml"
    )
    found = admit(scenario, identity, frame(4, witness_ids=["a; b;a", "a", "", None]))
    assert links_of(found) == [[(0, "a"), (0, "b")], [(0, "a")], [], []]


def test_empty_text_and_nan_mean_that_nothing_is_given(scenario: Scenario, identity: IdentityKey) -> None:
    rows = frame(
        2,
        claimant_id=["", "p"],
        shop_id=[np.nan, 7.0],
        claim_amount=["", "12.5"],
        vehicle_make=["", "VW"],
        policy_age_days=[np.nan, 3.0],
        is_towed=["", "YES"],
        insured_since=["", "2024-01-01"],
        witness_ids=None,
    )
    found = admit(scenario, identity, rows)
    assert found.rejects.is_empty()
    assert links_of(found) == [[], [(0, "p"), (2, "7")]]
    assert found.amount_minor.tolist() == [MISSING_AMOUNT, 1250]
    assert np.isnan(found.values[0]).all()
    assert found.values[1, [0, 2]].tolist() == [3.0, 1.0]


def test_labels_are_mapped_as_text(scenario: Scenario, identity: IdentityKey) -> None:
    found = admit(scenario, identity, frame(4, is_fraud=[1.0, 0.0, None, np.nan]))
    assert found.label_value.tolist() == [FRAUD, LEGIT, NO_LABEL, NO_LABEL]
    assert found.label_known_at_ms.tolist()[2:] == [0, 0]
    assert found.label_known_at_ms[0] > found.time_ms[0]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (["1", "0"], {"fraud": [1], "legit": [0]}),
        (["1.0", "0.0"], {"fraud": [1], "legit": [0]}),
        ([True, False], {"fraud": [1], "legit": [0]}),
        (["True", "False"], {"fraud": [True], "legit": [False]}),
        ([1, 0], {"fraud": [True], "legit": [False]}),
        (["Y", "?"], {"fraud": ["Y"], "unlabelled": ["?"]}),
    ],
)
def test_labels_are_recognised_however_the_file_spells_them(
    identity: IdentityKey, column: list[Any], values: dict[str, Any]
) -> None:
    described = claim_scenario(label={"field": "is_fraud", "delay": "7d", "values": values})
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    found = admit(scenario, identity, frame(2, is_fraud=column))
    assert found.label_value.tolist() == [FRAUD, LEGIT if "legit" in values else NO_LABEL]


def test_label_with_a_delay_is_known_that_much_later(identity: IdentityKey) -> None:
    described = claim_scenario(
        label={"field": "is_fraud", "delay": "7d", "values": {"fraud": ["yes"], "legit": ["no"]}}
    )
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    found = admit(scenario, identity, frame(2, is_fraud=["yes", "no"]))
    assert (found.label_known_at_ms - found.time_ms).tolist() == [7 * DAY_MS, 7 * DAY_MS]


def test_row_is_the_id_and_the_order_is_the_time(identity: IdentityKey) -> None:
    described = {"decide": "loan", "events": {"loan": {"event_id": "row", "attributes": {"age": "number"}}}}
    scenario = scenario_from_mapping("loans", described, where="ringfence.yaml")
    found = admit(scenario, identity, pl.DataFrame({"age": [30, 40]}), first_row=5)
    assert found.event_id.to_list() == ["5", "6"]
    assert found.time_ms.tolist() == [5_000, 6_000]
    assert found.link_start.tolist() == [0, 0, 0]
    assert found.values.tolist() == [[30.0], [40.0]]


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("no id", {"claim_id": ["a", None, "c"]}, "null", "every event needs an id"),
    ("an empty id", {"claim_id": ["a", "", "c"]}, "''", "every event needs an id"),
    ("a fractional id", {"claim_id": [1.0, 1.5, 2.0]}, "1.5", "whole number"),
    ("no time", {"claim_time": ["2024-01-01", None, "2024-01-01"]}, "null", "needs a time"),
    ("a time in words", {"claim_time": ["2024-01-01", "soon", "2024-01-01"]}, "'soon'", "ISO 8601"),
    ("1900", {"claim_time": ["2024-01-01", "1900-01-01", "2024-01-01"]}, "'1900-01-01'", "1970 to 2199"),
    ("2200", {"claim_time": ["2024-01-01", "2200-01-02", "2024-01-01"]}, "'2200-01-02'", "1970 to 2199"),
    ("an infinite amount", {"claim_amount": [1.0, float("inf"), 2.0]}, "inf", "finite number of EUR"),
    ("a huge amount", {"claim_amount": [1.0, 1e300, 2.0]}, "1e+300", "2^53"),
    ("an amount in words", {"claim_amount": ["1", "1,5", "2"]}, "'1,5'", "finite number of EUR"),
    ("an amount that is a flag", {"claim_amount": [None, True, None]}, "True", "finite number of EUR"),
    ("an endless entity", {"shop_id": ["a", "x" * 600, "b"]}, "'xxx", "1 to 512"),
    ("a boolean entity", {"shop_id": [None, True, None]}, "True", "1 to 512"),
    ("an endless id in a list", {"witness_ids": [["a"], ["b", "x" * 600], None]}, "a list of 2", "1 to 512"),
    ("an attribute in words", {"policy_age_days": ["1", "old", "2"]}, "'old'", "policy_age_days is a finite number"),
    ("a flag in words", {"is_towed": ["no", "perhaps", "1"]}, "'perhaps'", "is_towed is true or false"),
    ("a flag of two", {"is_towed": [0, 2, 1]}, "2", "is_towed is true or false"),
    ("a fractional category", {"vehicle_make": [1.0, 1.5, None]}, "1.5", "vehicle_make is a text"),
    ("a list as category", {"vehicle_make": [None, ["VW"], None]}, "a list of 1", "vehicle_make is a text"),
    ("a number as text", {"narrative": [None, 3, None]}, "3", "narrative is a text"),
    ("a flag as time", {"insured_since": [None, True, None]}, "True", "insured_since is a time"),
    ("a personal time in words", {"birth_date": [None, "in 1980", None]}, "a text (personal, not shown)", "a time"),
    ("an unknown label", {"is_fraud": [0, 2, 1]}, "2", "fraud, legit or unlabelled"),
    ("a label of unknown age", {"label_time": ["2024-06-01", None, "2024-06-01"]}, "null", "became known"),
    (
        "a label before its event",
        {"label_time": ["2024-06-01", "2024-01-01", "2024-06-01"]},
        "'2024",
        "before its event",
    ),
    ("a label time in words", {"label_time": ["2024-06-01", "late", "2024-06-01"]}, "'late'", "ISO 8601"),
]


@pytest.mark.parametrize(("change", "found", "reason"), [pytest.param(*rest, id=what) for what, *rest in BAD])
def test_bad_row_is_rejected_and_the_others_are_let_in(
    scenario: Scenario, identity: IdentityKey, change: dict[str, Any], found: str, reason: str
) -> None:
    admission = admit(scenario, identity, frame(3, **change))
    assert admission.row.tolist() == [10, 12]
    assert len(admission.event_id) == len(admission.payload_digests()) == 2
    assert admission.attributes.height == 2
    [(row, column, shown, why)] = admission.rejects.rows()
    assert (row, column) == (11, next(iter(change)))
    assert shown.startswith(found)
    assert reason in why


def test_rejected_rows_leave_no_name_in_the_directory(scenario: Scenario, identity: IdentityKey) -> None:
    rows = frame(2, claim_amount=["1", "x"], witness_ids=None, shop_id=None)
    assert admit(scenario, identity, rows).directory["entity_id"].to_list() == ["p-0"]


def test_good_rows_are_encoded_alike_with_and_without_bad_ones(scenario: Scenario, identity: IdentityKey) -> None:
    good = frame(3)
    mixed = good.with_columns(claim_amount=pl.Series([0.0, float("inf"), 20.0]))
    alone, among = (admit(scenario, identity, rows) for rows in (good[[0, 2]], mixed))
    assert alone.payload_digests().to_list() == among.payload_digests().to_list()
    assert links_of(alone) == links_of(among)
    assert alone.values.tobytes() == among.values.tobytes()


@pytest.mark.parametrize("column", ["claim_id", "claim_time", "is_fraud", "label_time"])
def test_missing_column_is_named(scenario: Scenario, identity: IdentityKey, column: str) -> None:
    with pytest.raises(InvalidEventError, match="no such column") as refusal:
        admit(scenario, identity, frame(**{column: None}))
    assert refusal.value.path == column


def test_empty_file_is_let_in_as_nothing(scenario: Scenario, identity: IdentityKey) -> None:
    found = admit(scenario, identity, frame(3).clear())
    assert len(found) == 0
    assert found.link_start.tolist() == [0]
    assert found.rejects.is_empty()

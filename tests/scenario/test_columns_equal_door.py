# SPDX-License-Identifier: Apache-2.0
"""A file's row and the same event at the door get the same encoding, bit for bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.scenario.columns import ColumnarAdmission, Columns
from ringfence.scenario.door import Door
from ringfence.scenario.errors import InvalidEventError
from ringfence.scenario.event import Admission
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from tests.scenario.claims import claim_scenario

ALWAYS_MS = 7_258_118_400_000  # nothing is in the future

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = texts.filter(bool)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1))  # noqa: DTZ001 - naive on purpose
iso_texts = st.one_of(
    moments.map(lambda t: t.isoformat()),
    moments.map(lambda t: t.replace(tzinfo=UTC).isoformat()),
    moments.map(lambda t: t.strftime("%Y-%m-%d %H:%M")),
    moments.map(lambda t: t.strftime("%Y-%m-%d")),
    st.tuples(moments, st.integers(-14 * 60, 14 * 60)).map(
        lambda p: p[0].isoformat() + f"{'-' if p[1] < 0 else '+'}{abs(p[1]) // 60:02}:{abs(p[1]) % 60:02}"
    ),
)
amounts = st.floats(-1e12, 1e12, allow_nan=False) | st.integers(-(10**9), 10**9).map(lambda c: c / 200)
rows = st.fixed_dictionaries(
    {
        "claim_id": ids,
        "claim_time": iso_texts,
        "claim_amount": st.none() | amounts,
        "claimant_id": st.none() | ids,
        "witness_ids": st.none() | st.lists(ids, max_size=4),
        "shop_id": st.none() | st.integers(-(2**63), 2**63 - 1),
        "policy_age_days": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "vehicle_make": st.none() | texts,
        "is_towed": st.none() | st.booleans(),
        "narrative": st.none() | texts,
        "insured_since": st.none() | iso_texts,
        "sex": st.none() | st.sampled_from(["f", "m", "x"]),
        "phone": st.none() | texts,
        "birth_date": st.none() | moments.map(lambda t: t.strftime("%Y-%m-%d")),
    }
)
SCHEMA: dict[str, Any] = {
    "claim_id": pl.String,
    "claim_time": pl.String,
    "claim_amount": pl.Float64,
    "claimant_id": pl.String,
    "witness_ids": pl.List(pl.String),
    "shop_id": pl.Int64,
    "policy_age_days": pl.Float64,
    "vehicle_make": pl.String,
    "is_towed": pl.Boolean,
    "narrative": pl.String,
    "insured_since": pl.String,
    "sex": pl.String,
    "phone": pl.String,
    "birth_date": pl.String,
}
KEY = IdentityKey(bytes(range(32)))


def unlabelled() -> Scenario:
    described = claim_scenario(amount={"field": "claim_amount", "currency": "EUR", "negative": "allow"})
    del described["events"]["claim"]["label"]
    return scenario_from_mapping("motor-claims", described, where="ringfence.yaml")


SCENARIO = unlabelled()


def as_message(row: dict[str, Any]) -> dict[str, Any]:
    """The API form of a source row."""
    return {
        "event_id": row["claim_id"],
        "event_time": row["claim_time"],
        "amount": row["claim_amount"],
        "entities": {
            "claimant": row["claimant_id"],
            "witness": row["witness_ids"],
            "repair_shop": row["shop_id"],
        },
        "attributes": {a.name: row[a.column] for a in SCENARIO.decided.attributes},
    }


def assert_equal(found: ColumnarAdmission, i: int, expected: Admission) -> None:
    """Row i of an import equals one admission."""
    event = expected.event
    assert found.event_id[i] == event.event_id
    assert found.time_ms[i] == event.event_time_ms
    assert found.offset_ms[i] == expected.offset_ms
    assert found.amount_minor[i] == (MISSING_AMOUNT if event.amount_minor is None else event.amount_minor)
    assert found.values[i].tobytes() == np.array(expected.values).tobytes()
    own = slice(found.link_start[i], found.link_start[i + 1])
    links = list(zip(found.link_role[own], found.link_lo[own], found.link_hi[own], strict=True))
    assert links == [(link.role, link.lo, link.hi) for link in event.links]
    assert found.payload_digests()[i] == event.payload_digest
    assert given_in(found.attributes, i) == event.attributes
    assert given_in(found.personal, i) == expected.personal


def given_in(frame: pl.DataFrame, i: int) -> dict[str, Any]:
    """What is given in row i; a frame without columns gives nothing."""
    return {name: value for name in frame.columns if (value := frame[name][i]) is not None}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows, min_size=1, max_size=4))
def test_rows_are_encoded_as_at_the_door(drawn: list[dict[str, Any]]) -> None:
    found = Columns(SCENARIO, KEY).admit(SCENARIO.decided, pl.DataFrame(drawn, schema=SCHEMA), first_row=1)
    door = Door(SCENARIO, KEY)
    assert found.rejects.is_empty()
    entities: dict[bytes, tuple[str, str]] = {}
    for i, row in enumerate(drawn):
        expected = door.admit(as_message(row), now_ms=ALWAYS_MS)
        assert_equal(found, i, expected)
        entities |= expected.entity_ids
    named = {
        hi.to_bytes(8, "big") + lo.to_bytes(8, "big"): (kind, entity_id)
        for hi, lo, kind, entity_id in found.directory.iter_rows()
    }
    assert named == entities


@settings(max_examples=40, deadline=None)
@given(st.lists(moments, min_size=1, max_size=8), st.sampled_from(["ms", "us", "ns"]))
def test_typed_times_are_read_as_their_texts(drawn: list[datetime], unit: Any) -> None:
    described = {
        "decide": "tick",
        "time_zone": "Europe/Berlin",
        "events": {"tick": {"event_id": "id", "event_time": "t"}},
    }
    scenario = scenario_from_mapping("ticks", described, where="ringfence.yaml")
    frame = pl.DataFrame({"id": range(len(drawn)), "t": pl.Series(drawn, dtype=pl.Datetime(unit))})
    found = Columns(scenario, KEY).admit(scenario.decided, frame, first_row=0)
    door = Door(scenario, KEY)
    expected = [door.admit({"event_id": 0, "event_time": t.isoformat()}, now_ms=ALWAYS_MS) for t in drawn]
    assert found.time_ms.tolist() == [admission.event.event_time_ms for admission in expected]
    assert found.offset_ms.tolist() == [admission.offset_ms for admission in expected]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(10**10), 10**11) | st.integers(0, 10**14), min_size=1, max_size=6),
    st.sampled_from([pl.Int64, pl.Float64]),
)
def test_whole_numbers_are_times_in_files_where_they_are_at_the_door(drawn: list[int], dtype: Any) -> None:
    described = {"decide": "tick", "events": {"tick": {"event_id": "id", "event_time": "t"}}}
    scenario = scenario_from_mapping("ticks", described, where="ringfence.yaml")
    frame = pl.DataFrame({"id": range(len(drawn)), "t": pl.Series(drawn, dtype=dtype)})
    found = Columns(scenario, KEY).admit(scenario.decided, frame, first_row=0)
    door, admitted, reasons = Door(scenario, KEY), [], {}
    for i, time_ms in enumerate(drawn):
        try:
            admitted.append(door.admit({"event_id": i, "event_time": time_ms}, now_ms=10**14).event.event_time_ms)
        except InvalidEventError as error:
            reasons[i] = error.do
    assert found.time_ms.tolist() == admitted
    assert dict(found.rejects.select("row", "reason").unique("row", keep="first").iter_rows()) == reasons
    assert all(10**10 <= time_ms < 7_258_118_400_000 for time_ms in admitted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | amounts | st.floats(-0.02, 0.02), min_size=1, max_size=6), st.booleans())
def test_amounts_below_zero_are_refused_in_files_where_they_are_at_the_door(
    drawn: list[float | None], allowed: bool
) -> None:
    amount = {"field": "sum", "currency": "EUR", **({"negative": "allow"} if allowed else {})}
    described = {"event_id": "id", "event_time": "t", "amount": amount}
    scenario = scenario_from_mapping("sums", {"decide": "sum", "events": {"sum": described}}, where="ringfence.yaml")
    frame = pl.DataFrame({"id": range(len(drawn)), "t": "2024-05-01", "sum": pl.Series(drawn, dtype=pl.Float64)})
    found = Columns(scenario, KEY).admit(scenario.decided, frame, first_row=0)
    door, admitted, reasons = Door(scenario, KEY), [], {}
    for i, value in enumerate(drawn):
        try:
            event = door.admit({"event_id": i, "event_time": "2024-05-01", "amount": value}, now_ms=ALWAYS_MS).event
            admitted.append(MISSING_AMOUNT if event.amount_minor is None else event.amount_minor)
        except InvalidEventError as error:
            reasons[i] = f"{error.path}: {error.do}"
    assert found.amount_minor.tolist() == admitted
    assert {row: f"$.amount: {reason}" for row, reason in found.rejects.select("row", "reason").iter_rows()} == reasons
    assert allowed or all(minor >= 0 or minor == MISSING_AMOUNT for minor in admitted)


@pytest.mark.data
def test_card_payments_are_encoded_as_at_the_door(data_dir: Path) -> None:
    described = {
        "decide": "payment",
        "events": {
            "payment": {
                "event_id": "TRANSACTION_ID",
                "event_time": "TX_DATETIME",
                "amount": {"field": "TX_AMOUNT", "currency": "EUR"},
                "entities": {"customer": "CUSTOMER_ID", "terminal": "TERMINAL_ID"},
                "label": {"field": "TX_FRAUD", "delay": "7d"},
            }
        },
    }
    scenario = scenario_from_mapping("card-payments", described, where="ringfence.yaml")
    frame = pl.read_parquet(data_dir / "card_payments_handbook" / "transactions.parquet", n_rows=20_000)
    found = Columns(scenario, KEY).admit(scenario.decided, frame, first_row=0)
    door = Door(scenario, KEY)
    for i in range(0, frame.height, 401):
        row = frame.row(i, named=True)
        message = {
            "event_id": row["TRANSACTION_ID"],
            "event_time": row["TX_DATETIME"].isoformat(),
            "amount": row["TX_AMOUNT"],
            "entities": {"customer": row["CUSTOMER_ID"], "terminal": row["TERMINAL_ID"]},
        }
        assert_equal(found, i, door.admit(message, now_ms=ALWAYS_MS))
        assert found.label_value[i] == row["TX_FRAUD"]
        assert found.label_known_at_ms[i] == found.time_ms[i] + timedelta(days=7) // timedelta(milliseconds=1)


@pytest.mark.data
def test_claims_with_joined_parties_are_encoded_as_at_the_door(data_dir: Path) -> None:
    described = {
        "decide": "claim",
        "time_zone": "Europe/Brussels",
        "events": {
            "claim": {
                "event_id": "ClaimID",
                "event_time": "claim_time_derived",
                "amount": {"field": "ClaimAmount", "currency": "EUR"},
                "entities": {
                    "policyholder": {"column": "Policyholder", "type": "person"},
                    "garage": "Garage",
                    "broker": "Broker",
                    "person": {"column": "Person", "type": "person", "many": True},
                },
                "attributes": {
                    "police": {"type": "category", "column": "Police"},
                    "age": {"type": "number", "column": "AgePH"},
                    "rule": {"type": "boolean", "column": "Rule1"},
                    "contract_start": {"type": "time", "column": "contract_start_derived"},
                },
                "label": {"field": "Fraud", "delay": "90d"},
            }
        },
    }
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    folder = data_dir / "motor_claims_network"
    claims = pl.read_parquet(folder / "claims.parquet").drop("Garage", "Broker")
    parties = pl.read_parquet(folder / "claim_parties.parquet").group_by("ClaimID", "role", maintain_order=True)
    wide = parties.agg("party_id").pivot("role", index="ClaimID", values="party_id")
    rows = claims.join(wide, on="ClaimID", how="left", maintain_order="left")
    found = Columns(scenario, KEY).admit(scenario.decided, rows, first_row=0)
    assert found.rejects.is_empty()
    door = Door(scenario, KEY)
    n_without_broker = 0
    for i in range(0, rows.height, 61):
        row = rows.row(i, named=True)
        single = {role: row[role.title()] and row[role.title()][0] for role in ("policyholder", "garage", "broker")}
        n_without_broker += single["broker"] is None
        attributes = {a.name: row[a.column] for a in scenario.decided.attributes}
        message = {
            "event_id": row["ClaimID"],
            "event_time": row["claim_time_derived"].isoformat(),
            "amount": row["ClaimAmount"],
            "entities": single | {"person": row["Person"]},
            "attributes": attributes | {"contract_start": row["contract_start_derived"].isoformat()},
        }
        assert_equal(found, i, door.admit(message, now_ms=ALWAYS_MS))
    assert n_without_broker > 10

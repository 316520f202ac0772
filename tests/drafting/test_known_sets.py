# SPDX-License-Identifier: Apache-2.0
"""Drafts of the data sets that the benchmarks know, held against what the benchmarks use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ringfence.drafting import draft_scenario, outlook_of, workspace_files
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.spec import Attribute, AttributeType, Scenario

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MOST_EDITS = 3
pytestmark = pytest.mark.data


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario of a data set has to say; each difference of a draft is a line to edit."""

    files: tuple[str, ...]
    event_id: tuple[str | None, ...]  # any of them will do
    event_time: str | None
    amount: str | None
    roles: tuple[str, ...]  # columns that must be entities; more of them are no mistake
    label: str
    fraud: tuple[str, ...] = ("1",)
    delay_ms: int | None = None  # None: nobody knows it, so none is wrong
    never: tuple[str, ...] = ()  # columns that no feature may be made of


def of_example(name: str, files: tuple[str, ...], never: tuple[str, ...]) -> Wanted:
    """What the benchmark's own workspace says."""
    decided = next(iter(load_scenarios(EXAMPLES / name / "ringfence.yaml").values())).decided
    assert decided.label is not None
    assert decided.amount is not None
    return Wanted(
        files=files,
        event_id=(decided.event_id_column,),
        event_time=decided.event_time_column,
        amount=decided.amount.column,
        roles=tuple(role.column for role in decided.roles),
        label=decided.label.column,
        fraud=decided.label.fraud,
        delay_ms=decided.label.delay_ms,
        never=never,
    )


def tabular(name: str, label: str, amount: str | None) -> Wanted:
    """One of the sets without time, ids and entities."""
    files = (f"tabular_small/{name}.parquet",)
    return Wanted(files=files, event_id=(None,), event_time=None, amount=amount, roles=(), label=label, delay_ms=0)


def wanted(name: str) -> Wanted:
    match name:
        case "card payments":
            files: tuple[str, ...] = ("card_payments_handbook/transactions.parquet",)
            return of_example("card-payments-handbook", files, ("TX_FRAUD_SCENARIO",))
        case "motor claims":
            files = ("motor_claims_network/claims.parquet", "motor_claims_network/claim_parties.parquet")
            return of_example("motor-claims-network", files, ("Investigated", "ExpertJudgement", "TimeSinceClaim"))
        case "vehicle claims":
            return Wanted(
                files=("vehicle_claims_real/claims.parquet",), event_id=("PolicyNumber", None),
                event_time="claim_date_derived", amount=None, roles=(), label="FraudFound_P", never=("PolicyNumber",),
            )  # fmt: skip
        case "sign-ups":
            return Wanted(
                files=("signups_ecommerce/purchases.parquet", "signups_ecommerce/ip_to_country.parquet"),
                event_id=("user_id",), event_time="purchase_time", amount="purchase_value",
                roles=("device_id", "ip_address"), label="is_fraud",
            )  # fmt: skip
        case "german credit":
            return tabular("german_credit", "bad", "Amount")
        case "credit data":
            return tabular("modeldata_credit_data", "bad", "Amount")
        case "lending club":
            return tabular("modeldata_lending_club", "bad", "funded_amnt")
    return tabular("modeldata_mlc_churn", "churn", None)


def edits(draft: Scenario, want: Wanted) -> list[str]:
    """The lines of a draft that somebody who knows the data would change."""
    decided, found = draft.decided, []
    label, amount = decided.label, decided.amount
    pairs: list[tuple[str, Any, Any]] = [
        ("event_id", decided.event_id_column in want.event_id, True),
        ("event_time", decided.event_time_column, want.event_time),
        ("amount", None if amount is None else amount.column, want.amount),
        ("label", label and (label.column, label.fraud), (want.label, want.fraud)),
        ("delay", label and label.delay_ms, label and (label.delay_ms if want.delay_ms is None else want.delay_ms)),
    ]
    found += [f"{what}: {is_so!r}, wanted {should!r}" for what, is_so, should in pairs if is_so != should]
    roles = {role.column for role in decided.roles}
    found += [f"role of {column}" for column in want.roles if column not in roles]
    read = roles | {attribute.column for attribute in decided.attributes if attribute.is_feature}
    return found + [f"leak: {column}" for column in want.never if column in read]


@pytest.mark.parametrize(
    "name",
    [
        "card payments", "motor claims", "vehicle claims", "sign-ups", "german credit", "credit data", "lending club",
        "churn",
    ],
)  # fmt: skip
def test_known_set_is_drafted_with_hardly_a_line_to_edit(name: str, data_sets: Path, tmp_path: Path) -> None:
    want = wanted(name)
    draft = draft_scenario("drafted", [data_sets / file for file in want.files])
    for path, text in workspace_files(draft, tmp_path).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    scenario = load_scenarios(tmp_path / "ringfence.yaml")["drafted"]
    needed = edits(scenario, want)
    currency = ["currency"] if scenario.decided.amount is not None else []  # no data set names it, so it has to be read
    assert len(needed + currency) <= MOST_EDITS, needed
    assert not [edit for edit in needed if edit.startswith(("leak", "label", "event_time"))]
    outlook = outlook_of(scenario, tmp_path)
    assert (outlook.n_rejected, outlook.n_tried > 0) == (0, True)
    assert not [found for found in outlook.suspicions if found.is_leak]
    assert outlook.n_fraud > 0


@pytest.mark.parametrize(
    ("name", "leak", "why"),
    [
        ("card payments", "TX_FRAUD_SCENARIO", "it almost determines the label"),
        ("vehicle claims", "PolicyNumber", "it numbers the rows (11,337 different in 11,337), and follows the time"),
        ("motor claims", "ExpertJudgement", "where it is filled (820 of 7,101 rows)"),
    ],
)
def test_leak_that_is_put_back_is_named(name: str, leak: str, why: str, data_sets: Path, tmp_path: Path) -> None:
    want = wanted(name)
    draft = draft_scenario("drafted", [data_sets / file for file in want.files])
    (tmp_path / "ringfence.yaml").write_text(workspace_files(draft, tmp_path)["ringfence.yaml"], encoding="utf-8")
    scenario = load_scenarios(tmp_path / "ringfence.yaml")["drafted"]
    put_back = Attribute(name=leak, column=leak, type=AttributeType.NUMBER)
    decided = msgspec.structs.replace(scenario.decided, attributes=(put_back,))
    scenario = msgspec.structs.replace(scenario, event_types=(decided, *scenario.event_types[1:]))
    [found] = outlook_of(scenario, tmp_path).suspicions
    assert found.column == leak
    assert found.why.startswith(why)

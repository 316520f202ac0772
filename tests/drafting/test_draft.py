# SPDX-License-Identifier: Apache-2.0
"""A table that nobody described becomes a scenario that loads, imports, and says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.drafting import DraftError, draft_scenario, workspace_files, yaml_of
from ringfence.scenario.dialect import Steps
from tests.drafting.tables import N, draft_of, imported, let_in, payments


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_ids_time_entities_amount_and_label_are_found(name: str, tmp_path: Path) -> None:
    draft = draft_of(tmp_path, payments(), name)
    assert draft.event_id is not None
    assert draft.clock is not None
    assert draft.amount is not None
    assert draft.label is not None
    assert (draft.event_id.name, draft.clock.column.name, draft.amount.name) == ("payment_id", "paid_at", "amount")
    assert {(guess.role, guess.column.name, guess.strong) for guess in draft.roles} == {
        ("card", "card_no", True), ("merchant", "merchant", False),
    }  # fmt: skip
    assert {a.name: a.type for a in draft.attributes} == {"channel": "category"}
    assert (draft.label.column.name, draft.label.fraud, draft.label.legit, draft.label.n_fraud) == (
        "is_fraud", ("1",), ("0",), 60,
    )  # fmt: skip
    report = imported(draft, tmp_path)
    assert (report.n_events, report.n_labels, report.n_rejected) == (N, N, 0)


def test_nothing_hangs_on_a_name_of_the_table_above(tmp_path: Path) -> None:
    renamed = {
        "payment_id": "order number", "paid_at": "Timestamp", "card_no": "CustomerID", "merchant": "shop_code",
        "amount": "TotalAmt", "channel": "kind", "is_fraud": "Chargeback",
    }  # fmt: skip
    columns = {renamed[name]: values for name, values in payments().items()}
    draft = draft_of(tmp_path, columns)
    assert draft.event_id is not None
    assert draft.event_id.name == "order number"
    assert [guess.column.name for guess in draft.roles] == ["CustomerID", "shop_code"]
    assert draft.amount is not None
    assert draft.label is not None
    assert (draft.amount.name, draft.label.column.name) == ("TotalAmt", "Chargeback")
    assert let_in(draft, tmp_path).n_events == N


def test_table_spelt_in_another_way_is_drafted_with_its_dialect(tmp_path: Path) -> None:
    columns = payments()
    columns["amount"] = [f"{value:.2f}".replace(".", ",") for value in columns["amount"]]
    columns["amount"][5] = "n/a"
    columns["paid_at"] = [f"{at[8:10]}.{at[5:7]}.{at[:4]} {at[11:16]}" for at in columns["paid_at"]]
    columns["merchant"] = [f"Café {name}" for name in columns["merchant"]]
    text = pl.DataFrame(columns).write_csv(separator=";")
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    draft = draft_scenario("drafted", [tmp_path / "t.csv"])
    assert draft.dialect.separator == ";"
    assert draft.dialect.encoding == "cp1252"
    assert draft.dialect.decimal == ","
    assert draft.dialect.missing == ("n/a",)
    assert draft.dialect.times == {"paid_at": "day_first"}
    report = let_in(draft, tmp_path)
    assert (report.n_events, report.n_rejected) == (N, 0)
    assert report.n_without_amount == 1


def test_byte_order_mark_and_a_name_with_a_dot_are_no_matter(tmp_path: Path) -> None:
    columns = payments(**{"a.b: c": np.arange(N) % 7})
    (tmp_path / "t.csv").write_bytes(pl.DataFrame(columns).write_csv().encode("utf-8-sig"))
    draft = draft_scenario("drafted", [tmp_path / "t.csv"])
    assert draft.event_id is not None
    assert draft.event_id.name == "payment_id"
    assert [(a.name, a.column.name) for a in draft.attributes][-1] == ("a_b_c", "a.b: c")
    assert let_in(draft, tmp_path).n_rejected == 0


@pytest.mark.parametrize(
    ("written", "how"),
    [
        (lambda i: f"{1 + i % 28}/{1 + i // 60}/2023", "day_first"),
        (lambda i: f"{1 + i // 60}/{1 + i % 28}/2023", "month_first"),
        (lambda i: f"2023{1 + i // 60:02d}{1 + i % 28:02d}", "year_first"),
        (lambda i: f"{1 + i % 28:02d}-{['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun'][i // 100]}-2023", "%d-%b-%Y"),
        (lambda i: str(1_700_000_000 + 60 * i), Steps(unit_ms=1_000)),
        (lambda i: str(i // 3), Steps(unit_ms=86_400_000, since_ms=946_684_800_000)),
        (lambda i: str(1_700_000_000_000 + 60_000 * i), None),
    ],
)  # fmt: skip
def test_moments_in_any_spelling_are_the_time(written: object, how: str | Steps | None, tmp_path: Path) -> None:
    assert callable(written)
    columns = payments()
    columns["paid_at"] = [written(i) for i in range(N)]
    draft = draft_of(tmp_path, columns)
    assert draft.clock is not None
    assert (draft.clock.column.name, draft.clock.how) == ("paid_at", how)
    assert let_in(draft, tmp_path).n_events == N


def test_dates_that_could_be_either_are_told_to_be_a_guess(tmp_path: Path) -> None:
    columns = payments(paid_at=[f"{1 + i % 12}/{1 + i // 60}/2023" for i in range(N)])
    draft = draft_of(tmp_path, columns)
    assert any("paid_at is read day first, which is a guess" in warning for warning in draft.warnings)


def test_order_of_the_file_tells_days_from_months(tmp_path: Path) -> None:
    columns = payments(paid_at=[f"{1 + i // 50}/{1 + i // 5 % 10}/2023" for i in range(N)])
    draft = draft_of(tmp_path, columns)
    assert draft.clock is not None
    assert (draft.clock.how, draft.warnings) == ("month_first", ())


def test_other_dates_that_could_be_either_are_still_read(tmp_path: Path) -> None:
    columns = payments(opened_on=[f"{1 + i % 12}/{1 + i * 7 % 11}/2019" for i in range(N)])
    draft = draft_of(tmp_path, columns)
    assert draft.dialect.times == {"opened_on": "day_first"}
    assert let_in(draft, tmp_path).n_rejected == 0


def test_without_time_ids_and_amounts_the_rows_are_the_history(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    columns = {"age": rng.integers(18, 80, N), "rate": np.round(rng.random(N), 3), "default": rng.random(N) < 0.3}
    draft = draft_of(tmp_path, columns)
    assert draft.clock is None
    assert draft.event_id is None
    assert draft.amount is None
    assert not draft.roles
    assert draft.delay_ms == 0
    report = let_in(draft, tmp_path)
    assert (report.n_events, report.n_labels) == (N, N)


def test_file_sorted_by_its_label_is_told(tmp_path: Path) -> None:
    columns = {"age": np.arange(N) % 60, "bad": (np.arange(N) >= 500).astype(np.int64)}
    draft = draft_of(tmp_path, columns)
    assert any("ordered by its label" in warning for warning in draft.warnings)


def test_two_files_with_the_same_columns_are_one_source(tmp_path: Path) -> None:
    frame = pl.DataFrame(payments())
    frame.head(300).write_csv(tmp_path / "a.csv")
    frame.tail(300).write_csv(tmp_path / "b.csv")
    draft = draft_scenario("drafted", [tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [path.name for path in draft.files] == ["a.csv", "b.csv"]
    assert let_in(draft, tmp_path).n_events == N


def test_long_table_of_parties_is_joined(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    columns = payments()
    pl.DataFrame(columns).write_csv(tmp_path / "claims.csv")
    people = {
        "payment_id": np.repeat(columns["payment_id"], 3),
        "part": ["witness", "witness", "driver"] * N,
        "who": [f"w{number}" for number in rng.integers(0, 400, 3 * N)],
    }
    pl.DataFrame(people).write_csv(tmp_path / "people.csv")
    draft = draft_scenario("drafted", [tmp_path / "people.csv", tmp_path / "claims.csv"])
    assert draft.main.table.path.name == "claims.csv"
    assert draft.joined is not None
    assert [(party.role, party.many) for party in draft.joined.parties] == [("driver", False), ("witness", True)]
    assert imported(draft, tmp_path).n_events == N


@pytest.mark.parametrize("flag", ["is_proxy", "status", "is_fraud"])
@pytest.mark.parametrize("label", ["is_fraud", "outcome"])
def test_longer_lookup_is_not_taken_for_the_events(flag: str, label: str, tmp_path: Path) -> None:
    columns = payments()
    columns[label] = columns.pop("is_fraud")
    pl.DataFrame(columns).write_csv(tmp_path / "payments.csv")
    rng = np.random.default_rng(3)
    marks = (rng.random(5 * N) < 0.1).astype(int)
    blocks = {"lower": np.arange(5 * N) * 256, "upper": np.arange(5 * N) * 256 + 255, flag: marks}
    pl.DataFrame(blocks).write_csv(tmp_path / "blocks.csv")
    draft = draft_scenario("drafted", [tmp_path / "blocks.csv", tmp_path / "payments.csv"])
    assert draft.main.table.path.name == "payments.csv"
    assert draft.label is not None
    assert draft.label.column.name == label


def test_without_a_label_the_file_with_a_time_holds_the_events(tmp_path: Path) -> None:
    columns = {name: values for name, values in payments().items() if name != "is_fraud"}
    pl.DataFrame(columns).write_csv(tmp_path / "payments.csv")
    pl.DataFrame({"code": np.arange(5 * N), "text": [f"t{at % 7}" for at in range(5 * N)]}).write_csv(
        tmp_path / "codes.csv"
    )
    draft = draft_scenario("drafted", [tmp_path / "codes.csv", tmp_path / "payments.csv"])
    assert draft.main.table.path.name == "payments.csv"


def test_other_events_that_share_an_entity_only_teach(tmp_path: Path) -> None:
    columns = payments()
    pl.DataFrame(columns).write_csv(tmp_path / "payments.csv")
    calls = {"called_at": columns["paid_at"], "card_no": columns["card_no"], "topic": ["limit", "pin"] * (N // 2)}
    pl.DataFrame(calls).write_csv(tmp_path / "calls.csv")
    draft = draft_scenario("drafted", [tmp_path / "payments.csv", tmp_path / "calls.csv"])
    assert [(context.name, [role for role, _ in context.roles]) for context in draft.contexts] == [("calls", ["card"])]
    assert imported(draft, tmp_path).n_events == 2 * N


def test_file_that_fits_nowhere_is_told_and_left_alone(tmp_path: Path) -> None:
    pl.DataFrame(payments()).write_csv(tmp_path / "payments.csv")
    pl.DataFrame({"country": ["A", "B"], "risk": [1, 2]}).write_csv(tmp_path / "countries.csv")
    draft = draft_scenario("drafted", [tmp_path / "payments.csv", tmp_path / "countries.csv"])
    assert [path.name for path, _ in draft.unused_files] == ["countries.csv"]
    assert "not used: countries.csv" in yaml_of(draft, directory=tmp_path)


def test_columns_of_money_that_are_alike_are_no_amount(tmp_path: Path) -> None:
    columns = payments(total_day_charge=np.arange(N) * 0.25, total_night_charge=np.arange(N)[::-1] * 0.25)
    del columns["amount"]
    assert draft_of(tmp_path, columns).amount is None


def test_refunds_allow_negative_amounts_and_signs_tell_the_currency(tmp_path: Path) -> None:
    columns = payments()
    columns["amount"] = [f"${value - 5:,.2f}" for value in columns["amount"]]
    draft = draft_of(tmp_path, columns)
    text = yaml_of(draft, directory=tmp_path)
    assert "amount: {field: amount, currency: USD, negative: allow}" in text
    assert "CHECK the currency" not in text
    assert "currency: USD" in workspace_files(draft, tmp_path)["policies/drafted.yaml"]


def test_who_sends_and_who_receives_are_of_one_type(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    columns = payments(
        from_account=[f"A{number:04d}" for number in rng.integers(0, 90, N)],
        to_account=[f"A{number:04d}" for number in rng.integers(0, 90, N)],
    )
    types = {guess.role: guess.entity_type for guess in draft_of(tmp_path, columns).roles}
    assert types["from_account"] == types["to_account"] == "account"
    assert types["card"] is None


def test_personal_and_protected_columns_never_become_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    columns = payments(
        surname=[f"Name{number}" for number in rng.permutation(N)], sex=rng.choice(["f", "m"], N),
        birth_date=[f"19{50 + number}-01-01" for number in rng.integers(0, 49, N)],
    )  # fmt: skip
    guesses = {a.name: a for a in draft_of(tmp_path, columns).attributes}
    assert guesses["surname"].personal
    assert guesses["birth_date"].personal
    assert guesses["sex"].audit_only


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("t.csv", None, "no such file"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b,c\n", "no row"),
        ("t.csv", b"1,2,3\n4,5,6\n", "in place of names"),
        ("t.csv", b"a,a\n1,2\n", "names a column twice"),
        ("t.xlsx", b"PK\x03\x04\x14\x00\x06\x00", "a spreadsheet"),
        ("t.parquet", b"PAR1 and nothing", "cannot be read as Parquet"),
    ],
)
def test_file_that_is_no_table_is_refused_with_what_to_do(
    name: str, content: bytes | None, hint: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DraftError, match=hint) as refusal:
        draft_scenario("drafted", [tmp_path / name])
    assert str(tmp_path / name) in str(refusal.value)


def test_tiny_empty_and_odd_columns_stop_nothing(tmp_path: Path) -> None:
    columns = {
        "id": [1, 2, 3], "nothing": [None, None, None], "same": ["x", "x", "x"], "when": ["a", "b", None],
        "fraud": ["yes", "no", "unknown"],
    }  # fmt: skip
    draft = draft_of(tmp_path, columns)
    assert {out.column for out in draft.left_out} >= {"nothing", "same"}
    assert draft.label is not None
    assert draft.label.unlabelled == ("unknown",)
    assert let_in(draft, tmp_path).n_labels == 2


def test_columns_of_every_parquet_type_are_used_or_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    frame = pl.DataFrame(payments()).with_columns(
        pl.col("paid_at").str.to_datetime(time_zone="UTC"),
        pl.col("is_fraud").cast(pl.Boolean),
        pl.col("amount").cast(pl.Decimal(12, 2)),
        pl.col("channel").cast(pl.Categorical),
        pl.Series("nothing", [None] * N, dtype=pl.Null),
        pl.Series("grade", rng.choice(["a", "b"], N), dtype=pl.Enum(["a", "b"])),
        pl.Series("pair", [{"x": 1}] * N),
        pl.Series("took", [1_000] * N, dtype=pl.Duration("ms")),
        pl.Series("raw", [b"x"] * N),
        pl.Series("people", [[f"w{i % 50}", f"w{i % 31}"] for i in range(N)]),
        pl.Series("rate", [None if i % 3 else float("nan") if i % 2 else 0.25 * (i % 40) for i in range(N)]),
        pl.Series("old", [None if i % 3 else i % 2 == 0 for i in range(N)]),
    )
    frame.write_parquet(tmp_path / "t.parquet")
    draft = draft_scenario("drafted", [tmp_path / "t.parquet"])
    types = {a.name: a.type for a in draft.attributes}
    assert types == {"channel": "category", "grade": "category", "rate": "number", "old": "boolean"}
    assert {out.column for out in draft.left_out} == {"nothing", "pair", "took", "raw"}
    assert [guess.role for guess in draft.roles if guess.many] == ["people"]
    assert draft.label is not None
    assert draft.label.fraud == ("true",)
    found = let_in(draft, tmp_path)
    assert (found.n_events, found.n_labels, found.n_rejected, found.n_without_amount) == (N, N, 0, 0)

# SPDX-License-Identifier: Apache-2.0
"""Shapes that tables in public have: both sides of a transfer, kinds named after people, titles, wide tables beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.drafting import draft_scenario, outlook_of, yaml_of
from ringfence.drafting.names import comes_after, words_of
from ringfence.ledger.errors import SourceUnreadableError
from ringfence.ledger.sources import read_plain_frames, resolve
from ringfence.workspace import Workspace
from tests.drafting.tables import N, draft_of, imported, payments

RNG = np.random.default_rng(4)


def test_the_side_that_never_comes_back_is_of_one_type_with_the_other(tmp_path: Path) -> None:
    sender, receiver = RNG.permutation(10_000)[:N], RNG.integers(20_000, 20_090, N)
    draft = draft_of(
        tmp_path,
        payments(nameOrig=[f"C{number}" for number in sender], nameDest=[f"C{number}" for number in receiver]),
    )
    types = {guess.column.name: guess.entity_type for guess in draft.roles}
    assert types["nameOrig"] == types["nameDest"] == "name"
    assert imported(draft, tmp_path).n_events == N


def test_an_id_that_never_comes_back_stays_out_without_another_side(tmp_path: Path) -> None:
    draft = draft_of(tmp_path, payments(customer=[f"C{number}" for number in RNG.permutation(10_000)[:N]]))
    assert "customer" in [out.column for out in draft.left_out]


def test_a_hobby_and_a_message_and_a_postcode_are_nobody(tmp_path: Path) -> None:
    hobbies = [
        f"{a} {b}" for a in ("board", "base", "cross") for b in ("games", "jumping", "fit", "art", "run", "sun", "golf")
    ]
    draft = draft_of(
        tmp_path,
        payments(
            insured_hobbies=RNG.choice(hobbies, N),
            reference_text=[f"rent for flat {number}" for number in RNG.integers(0, 200, N)],
            zip_code=[f"{number}xx" for number in RNG.integers(100, 300, N)],
        ),
    )
    assert {guess.column.name for guess in draft.roles} == {"card_no", "merchant"}


def test_what_is_mostly_negative_is_no_amount(tmp_path: Path) -> None:
    columns = payments(intended_amount=RNG.normal(-10.0, 20.0, N))
    del columns["amount"]
    assert draft_of(tmp_path, columns).amount is None


def test_columns_that_follow_the_outcome_are_told_by_their_names() -> None:
    after = [
        "total_pymnt",
        "total_rec_prncp",
        "out_prncp",
        "recoveries",
        "isFlaggedFraud",
        "fraud_score",
        "last_pymnt_d",
    ]
    before = ["credit_risk_score", "pub_rec", "total_acc", "fico_range_low", "name_email_similarity", "loan_amnt"]
    assert [name for name in after if not comes_after(words_of(name))] == []
    assert [name for name in before if comes_after(words_of(name))] == []


def test_a_column_that_speaks_only_where_the_label_is_open_is_a_leak(tmp_path: Path) -> None:
    state = RNG.choice(["Fully Paid", "Charged Off", "Current"], N, p=[0.6, 0.15, 0.25])
    left = np.where(state == "Current", RNG.integers(1, 900, N), 0)
    columns = payments(loan_status=state, still_owed=left)
    del columns["is_fraud"]
    draft = draft_of(tmp_path, columns)
    assert draft.label is not None
    assert [leak.column for leak in draft.leaks] == ["still_owed"]


def test_german_names_are_read(tmp_path: Path) -> None:
    columns = {
        "Rechnungsnr": range(N),
        "Währung": ["CHF"] * N,
        "Empfänger IBAN": [f"DE{n}" for n in RNG.integers(10, 60, N)],
    }
    given = payments()
    fraud = ["ja" if value else "nein" for value in given["is_fraud"]]
    draft = draft_of(tmp_path, {**columns, "Datum": given["paid_at"], "Betrag": given["amount"], "Betrug": fraud})
    assert draft.currency == "CHF"
    assert [guess.role for guess in draft.roles] == ["empfaenger_iban"]
    assert draft.label is not None
    assert (draft.label.fraud, draft.label.legit, draft.label.is_sure) == (("ja",), ("nein",), True)
    assert draft.event_id is not None
    assert words_of("Empfänger IBAN") == ("empfaenger", "iban")


def test_titles_above_the_names_are_passed_over_and_a_total_is_rejected(tmp_path: Path) -> None:
    frame = pl.DataFrame(payments())
    lines = frame.write_csv().splitlines()
    titles = "Payments;;;Parties;;;Result".replace(";", ",")
    (tmp_path / "t.csv").write_text("\n".join([titles, *lines, f"Total,,,,{frame['amount'].sum()},,"]) + "\n")
    draft = draft_scenario("drafted", [tmp_path / "t.csv"])
    assert draft.dialect.header == 2
    assert draft.label is not None
    assert any("names its columns on line 2" in warning for warning in draft.warnings)
    report = imported(draft, tmp_path)
    assert (report.n_events, report.n_labels, report.n_rejected) == (N, N, 1)
    assert report.rejects_path is not None
    rejected = pl.read_csv(report.rejects_path)
    assert rejected["line"].to_list() == [N + 3]


def wide(folder: Path, n: int, twice: bool = False) -> list[Path]:
    known = RNG.permutation(N)[:n]
    more = pl.DataFrame(
        {"payment_id": [f"p{number}" for number in known], "DeviceType": ["mobile", "desktop"] * (n // 2)}
    )
    pl.DataFrame(payments()).write_csv(folder / "t.csv")
    (pl.concat([more, more.head(1)]) if twice else more).write_csv(folder / "more.csv")
    return [folder / "t.csv", folder / "more.csv"]


def test_a_wide_table_gives_its_columns_to_the_events_it_knows(tmp_path: Path) -> None:
    draft = draft_scenario("drafted", wide(tmp_path, 400))
    assert "join: {file: more.csv, on: payment_id}" in yaml_of(draft, directory=tmp_path)
    assert "DeviceType" in [attribute.name for attribute in draft.attributes]
    assert imported(draft, tmp_path).n_events == N
    spec = Workspace(tmp_path).scenario()
    outlook = outlook_of(spec, tmp_path)
    assert (outlook.n_tried, outlook.n_rejected, outlook.unused) == (N, 0, ())


def test_a_wide_table_with_two_rows_for_an_event_is_refused(tmp_path: Path) -> None:
    draft = draft_scenario("drafted", wide(tmp_path, 400))
    wide(tmp_path, 400, twice=True)
    with pytest.raises(SourceUnreadableError, match=r"has two rows for payment_id 'p\d+', the later one on line 402"):
        imported(draft, tmp_path)


@pytest.mark.parametrize("file", ["t.csv", "t.parquet"])
def test_minus_one_among_numbers_that_are_never_negative_is_nothing(file: str, tmp_path: Path) -> None:
    months = np.where(RNG.random(N) < 0.3, -1, RNG.integers(1, 380, N))
    draft = draft_of(
        tmp_path, payments(months=months, change=RNG.integers(-5, 90, N), note=["?", "a"] * (N // 2)), file
    )
    assert draft.dialect.missing_in == {"months": ("-1",)}
    found = next(attribute for attribute in draft.attributes if attribute.name == "months")
    assert found.column.n_missing == (months == -1).sum()
    assert imported(draft, tmp_path).n_rejected == 0
    spec = Workspace(tmp_path).scenario()
    file_of_it = resolve(spec, tmp_path)[0]
    (frame,) = read_plain_frames(file_of_it, ["months", "change"], lambda *_: None)
    assert frame.rows["months"].null_count() == (months == -1).sum()
    assert frame.rows["change"].null_count() == 0

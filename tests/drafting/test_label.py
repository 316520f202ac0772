# SPDX-License-Identifier: Apache-2.0
"""Which column is the truth, and which of its values means fraud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringfence.drafting.label import LabelGuess
from ringfence.drafting.writing import yaml_of
from tests.drafting.tables import N, draft_of, imported, let_in, payments


def label_with(folder: Path, name: str, values: list[Any]) -> LabelGuess | None:
    columns = payments()
    del columns["is_fraud"]
    columns[name] = [values[i % len(values)] for i in range(N)]
    return draft_of(folder, columns).label


@pytest.mark.parametrize(
    ("name", "values", "fraud", "legit", "unlabelled"),
    [
        ("is_fraud", [0, 0, 0, 1], {"1"}, {"0"}, set()),
        ("Class", ["bad", "good", "good"], {"bad"}, {"good"}, set()),
        ("fraud", ["yes", "no", "no", "NaN", "unknown"], {"yes"}, {"no"}, {"NaN", "unknown"}),
        ("churn", [True, False, False], {"true"}, {"false"}, set()),
        ("is_legit", [1, 1, 1, 0], {"0"}, {"1"}, set()),
        ("default", ["Y", "N", "N", None], {"Y"}, {"N"}, set()),
        (
            "loan_status", ["Fully Paid", "Charged Off", "Fully Paid", "Current", "Fully Paid"],
            {"Charged Off"}, {"Fully Paid"}, {"Current"},
        ),
        ("target", [1, 2, 1, 1], {"2"}, {"1"}, set()),
        ("label", ["suspicious", "normal", "normal"], {"suspicious"}, {"normal"}, set()),
        ("fraud_flag", ["FRAUD", "not fraud", "not fraud"], {"FRAUD"}, {"not fraud"}, set()),
    ],
)  # fmt: skip
def test_values_are_sorted_into_fraud_legit_and_unlabelled(
    name: str, values: list[Any], fraud: set[str], legit: set[str], unlabelled: set[str], tmp_path: Path
) -> None:
    label = label_with(tmp_path, name, values)
    assert label is not None
    assert label.column.name == name
    assert (set(label.fraud), set(label.legit), set(label.unlabelled)) == (fraud, legit, unlabelled)


@pytest.mark.parametrize("values", [["yes", "no", "no", "NaN", "unknown"], [1, 0, 0, None], ["2", "1", "1"]])
def test_drafted_label_is_what_the_import_reads(values: list[Any], tmp_path: Path) -> None:
    columns = payments(is_fraud=[values[i % len(values)] for i in range(N)])
    report = imported(draft_of(tmp_path, columns), tmp_path)
    silent = sum(value in (None, "NaN", "unknown") for value in values)
    assert report.n_rejected == 0
    assert report.n_labels == N * (len(values) - silent) // len(values)


def test_value_that_no_word_explains_asks_to_be_checked(tmp_path: Path) -> None:
    columns = payments(is_fraud=[("A", "B")[i % 5 == 0] for i in range(N)])
    draft = draft_of(tmp_path, columns)
    assert draft.label is not None
    assert draft.label.fraud == ("B",)
    asks = 'CHECK which value means fraud: the rarer one is taken, "B", and "A" for legit; its name and values fit'
    assert asks in yaml_of(draft, directory=tmp_path)


def test_label_that_is_only_written_for_frauds_leaves_the_others_to_time(tmp_path: Path) -> None:
    columns = payments(is_fraud=[("fraud", None)[i % 5 > 0] for i in range(N)])
    draft = draft_of(tmp_path, columns)
    assert draft.label is not None
    assert (draft.label.fraud, draft.label.legit) == (("fraud",), ())
    assert "absent: {legit_after: " in yaml_of(draft, directory=tmp_path)
    assert let_in(draft, tmp_path).n_rejected == 0


def test_flag_of_a_system_is_not_taken_for_the_truth(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    draft = draft_of(tmp_path, payments(is_flagged_fraud=rng.integers(0, 2, N)))
    assert draft.label is not None
    assert draft.label.column.name == "is_fraud"


def test_without_a_likely_label_the_draft_asks_for_one(tmp_path: Path) -> None:
    columns = payments(is_fraud=np.arange(N) % 50)
    columns["quantity"] = columns.pop("is_fraud")
    draft = draft_of(tmp_path, columns)
    assert draft.label is None
    assert "CHECK label: no column looks like one" in yaml_of(draft, directory=tmp_path)
    assert let_in(draft, tmp_path).n_labels == 0


def test_column_that_dates_every_label_says_when_it_is_known(tmp_path: Path) -> None:
    columns = payments()
    columns["fraud_confirmed_at"] = [at.replace("2024", "2025") for at in columns["paid_at"]]
    draft = draft_of(tmp_path, columns)
    assert draft.known_at is not None
    assert "known_at: fraud_confirmed_at" in yaml_of(draft, directory=tmp_path)
    assert let_in(draft, tmp_path).n_labels == N


def test_delay_leaves_room_to_train_on_short_histories(tmp_path: Path) -> None:
    short = payments(paid_at=[f"2024-01-01T{i // 60:02d}:{i % 60:02d}:00" for i in range(N)])
    assert draft_of(tmp_path, short).delay_ms == 3_600_000

# SPDX-License-Identifier: Apache-2.0
"""Columns that know too much are left out, each with the numbers that speak against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringfence.drafting.evidence import category_auc, number_auc, roc_auc, spearman
from ringfence.drafting.writing import yaml_of
from tests.drafting.tables import N, draft_of, payments

FRAUD = payments()["is_fraud"] == 1


def noise(seed: int = 4) -> Any:
    return np.random.default_rng(seed).normal(size=N)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("penalty", np.where(FRAUD, 5.0, 0.0) + 0.01 * noise(), "almost determines the label (alone it has ROC-AUC"),
        ("pattern", np.where(FRAUD, 1 + np.arange(N) % 3, 0), "almost determines the label"),
        ("case_number", [f"k{i % 40}" if f else None for i, f in enumerate(FRAUD)], "that it is filled"),
        ("loss", [float(i) if f else None for i, f in enumerate(FRAUD)], "almost determines the label"),
        ("memo_code", ["X" if f and i % 4 else "abc"[i % 3] for i, f in enumerate(FRAUD)], "is almost only fraud"),
        ("sequence", np.arange(N) * 3 + 17, "it orders the time (rank correlation"),
        ("serial", np.random.default_rng(3).permutation(N), "it numbers the rows (600 different in 600)"),
        ("closed_on", [f"2025-{1 + i % 12:02d}-01" for i in range(N)], "it lies after the event in 600 of 600"),
        ("investigated", (noise() > 0).astype(int), "its name suggests that it comes after the outcome"),
    ],
)
def test_leak_is_left_out_with_its_evidence(name: str, values: Any, why: str, tmp_path: Path) -> None:
    draft = draft_of(tmp_path, payments(**{name: values}))
    found = {leak.column: leak.why for leak in draft.leaks}
    assert why in found[name]
    text = yaml_of(draft, directory=tmp_path)
    assert f"leak? {name}: " in text
    assert name not in {a.column.name for a in draft.attributes} | {guess.column.name for guess in draft.roles}


def test_judgement_that_is_filled_for_few_is_judged_where_it_is_filled(tmp_path: Path) -> None:
    looked_at = FRAUD & (np.arange(N) % 2 == 0) | (np.arange(N) % 9 == 0)
    values = [int(f) if looked else None for f, looked in zip(FRAUD, looked_at, strict=True)]
    draft = draft_of(tmp_path, payments(second_opinion=values))
    [leak] = draft.leaks
    assert "where it is filled" in leak.why
    assert f"{looked_at.sum()} of 600 rows" in leak.why


def test_honest_columns_are_kept(tmp_path: Path) -> None:
    columns = payments(
        weak=noise() + 0.8 * FRAUD, half=[None if i % 2 else value for i, value in enumerate(noise(5))],
        opened_on=["2020-01-05"] * 300 + ["2021-03-01"] * 300,
    )  # fmt: skip
    draft = draft_of(tmp_path, columns)
    assert not draft.leaks
    assert {a.name for a in draft.attributes} == {"channel", "weak", "half", "opened_on"}


def test_strong_column_is_kept_and_told(tmp_path: Path) -> None:
    draft = draft_of(tmp_path, payments(odd=noise() + 2.0 * FRAUD))
    assert not draft.leaks
    assert "make sure that it is known at the time of the event" in draft.told["odd"]


def test_ordered_id_is_the_event_and_never_an_attribute(tmp_path: Path) -> None:
    columns = payments()
    del columns["payment_id"]
    draft = draft_of(tmp_path, columns | {"PolicyNumber": np.arange(N) + 100})
    assert draft.event_id is not None
    assert draft.event_id.name == "PolicyNumber"
    assert "it orders the rows (rank correlation 1.00): never an attribute" in draft.event_id_why


def test_second_unique_id_ties_nobody_and_is_left_out(tmp_path: Path) -> None:
    draft = draft_of(tmp_path, payments(receipt_no=[f"r{i}" for i in np.random.default_rng(1).permutation(N)]))
    assert any(out.column == "receipt_no" and "no two events share one" in out.why for out in draft.left_out)


def test_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    score, is_fraud = rng.integers(0, 6, 80).astype(float), rng.random(80) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in score[is_fraud] for b in score[~is_fraud]]
    assert roc_auc(score, is_fraud) == pytest.approx(np.mean(pairs))
    assert number_auc(-score, is_fraud) == pytest.approx(max(np.mean(pairs), 1 - np.mean(pairs)))
    assert np.isnan(roc_auc(score, np.zeros(80, np.bool_)))


def test_a_category_without_meaning_earns_nothing_by_its_number_of_values() -> None:
    rng = np.random.default_rng(0)
    is_fraud = rng.random(4_000) < 0.1
    assert category_auc(rng.integers(0, 2_000, 4_000), is_fraud) == pytest.approx(0.5, abs=0.05)


def test_rank_correlation_needs_rows_and_variety() -> None:
    steps = np.arange(30.0)
    assert spearman(steps, steps**3) == pytest.approx(1.0)
    assert spearman(steps, -steps) == pytest.approx(-1.0)
    assert spearman(steps[:10], steps[:10]) == 0.0
    assert spearman(steps, np.ones(30)) == 0.0

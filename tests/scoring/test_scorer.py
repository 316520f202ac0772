# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ringfence.models.seen import Seen
from ringfence.scoring import Release, Scorer
from tests.scoring.releases import release_in, rows_and_labels


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    directory: Path = tmp_path_factory.mktemp("releases")
    return release_in(directory)


def test_answer_alone_equals_answer_in_a_batch(release: Release) -> None:
    scorer = Scorer(release)
    rows = rows_and_labels()[0][:40]
    amounts = [1_000 * at for at in range(39)] + [None]
    together = scorer.answer(Seen(rows), amounts, reviews_left=None)
    alone = [scorer.answer(Seen(rows[i : i + 1]), amounts[i : i + 1], reviews_left=None)[0] for i in range(40)]
    assert together == alone
    assert len({answer.action for answer in together}) > 1


def test_every_answer_but_approval_has_three_reasons_in_falling_order(release: Release) -> None:
    rows, _ = rows_and_labels()
    answers = Scorer(release).answer(Seen(rows), [500_000] * len(rows), reviews_left=None)
    told = [answer for answer in answers if answer.action != "approve"]
    assert told
    for answer in told:
        assert len(answer.reasons) >= 3
        shares = [reason.contribution for reason in answer.reasons]
        assert shares == sorted(shares, reverse=True)
        assert all(reason.sentence and reason.code.isupper() for reason in answer.reasons)
    assert all(not answer.reasons for answer in answers if answer.action == "approve")


def test_reasons_name_the_features_that_drive_the_score(release: Release) -> None:
    rows, labels = rows_and_labels()
    frauds = rows[labels == 1]
    answers = Scorer(release).answer(Seen(frauds), [500_000] * len(frauds), reviews_left=None)
    first = [answer.reasons[0].code for answer in answers if answer.reasons]
    assert np.mean([code in ("LABEL_RISK_REPAIR_SHOP", "VELOCITY_CLAIMANT") for code in first]) > 0.8


def test_reasons_never_name_audit_only_or_personal_attributes(release: Release) -> None:
    said = " ".join(feature.name + feature.sentence for feature in release.features)
    assert "vehicle_make" in said
    assert "sex" not in said
    assert "phone" not in said


def test_fast_reasons_agree_with_exact_ones_on_the_first_family(release: Release) -> None:
    rows = rows_and_labels()[0][:80]
    scorer = Scorer(release)
    encoded = release.ensemble.encode(rows)
    fast = release.reason_book.by_family(release.ensemble.contributions(Seen(rows), encoded))
    exact = release.reason_book.by_family(scorer.explain(Seen(rows)))
    assert np.mean(fast.argmax(axis=1) == exact.argmax(axis=1)) >= 0.9


def test_live_cap_on_reviews_holds_within_a_batch(release: Release) -> None:
    rows, _ = rows_and_labels()
    scorer = Scorer(release)
    amounts = [300_000] * len(rows)
    free = [answer.action for answer in scorer.answer(Seen(rows), amounts, reviews_left=None)]
    assert free.count("review") > 2
    capped = [answer.action for answer in scorer.answer(Seen(rows), amounts, reviews_left=2)]
    assert capped.count("review") == 2


def test_answer_without_a_model_says_so_and_never_declines(release: Release) -> None:
    answers = Scorer(release).answer_without_model([100, 10_000_000, None], why="deadline", reviews_left=None)
    assert [answer.rung for answer in answers] == ["rules"] * 3
    assert {answer.score for answer in answers} == {Scorer(release).base_rate}
    assert "decline" not in {answer.action for answer in answers}
    large = answers[1]
    assert large.action != "approve"
    assert [reason.code for reason in large.reasons] == ["NO_MODEL", "BASE_RATE", "AMOUNT_AT_STAKE"]
    assert large.circumstances["degraded"] == "deadline"


def test_warm_up_runs_on_rows_without_any_value(release: Release) -> None:
    Scorer(release).warm_up()

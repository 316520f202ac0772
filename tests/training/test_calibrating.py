# SPDX-License-Identifier: Apache-2.0
"""Calibration is believed where the past foretold the block after it, and not where the base rate comes and goes."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.models.calibration import fit_calibrator, sigmoid
from ringfence.training.calibrating import calibrate_in_time, prior_log_odds
from ringfence.training.folds import Fold

N = 6_000
BLOCK = 1_000


def folds() -> list[Fold]:
    return [
        Fold(
            fit=np.arange(start), emit=np.arange(start, start + BLOCK), start_ms=start, end_ms=start + BLOCK - 1,
            label_delay=True,
        )
        for start in range(BLOCK, N, BLOCK)
    ]  # fmt: skip


def world(off: list[float], *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are true log-odds but for a shift per block; the first block is only ever fitted."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-2.0, 1.0, N)
    fraud = (rng.random(N) < sigmoid(truth)).astype(np.int8)
    raw = truth + np.repeat([0.0, *off], BLOCK)
    raw[:BLOCK] = np.nan
    return raw, fraud


def test_a_lasting_bias_is_mended() -> None:
    raw, fraud = world([1.5] * 5)
    calibrator, weight = calibrate_in_time(raw, fraud, folds())
    assert weight > 0.9
    assert calibrator.log_odds(np.array([0.0]))[0] == pytest.approx(-1.5, abs=0.25)


def test_a_bias_that_changes_its_sign_is_not_carried_on() -> None:
    raw, fraud = world([1.5, -1.5, 1.5, -1.5, 1.5])
    calibrator, weight = calibrate_in_time(raw, fraud, folds())
    pooled = fit_calibrator(raw[BLOCK:], fraud[BLOCK:])
    rare = np.array([-4.0])  # where the pooled map, flattened by the swings, is furthest from the truth
    assert weight < 0.7
    assert abs(calibrator.log_odds(rare)[0] + 4.0) < 0.7 * abs(pooled.log_odds(rare)[0] + 4.0)


def test_sampled_legit_events_are_made_up_for_even_without_calibration() -> None:
    raw, fraud = world([1.5, -1.5, 1.5, -1.5, 1.5])
    plain, weight = calibrate_in_time(raw, fraud, folds())
    sampled, same = calibrate_in_time(raw - np.log(0.1), fraud, folds(), legit_share=0.1)
    assert same == pytest.approx(weight, abs=0.02)
    grid = np.linspace(-5.0, 1.0, 20)
    assert sampled.log_odds(grid - np.log(0.1)) == pytest.approx(plain.log_odds(grid), abs=0.2)


def test_where_no_block_can_be_tried_the_fitted_map_stands() -> None:
    raw, fraud = world([1.5] * 5)
    first = folds()[:1]
    raw[2 * BLOCK :] = np.nan
    _, weight = calibrate_in_time(raw, fraud, first)
    assert weight == 1.0


def test_prior_is_in_log_odds() -> None:
    assert prior_log_odds(np.array([1, 0, 0, 0], dtype=np.int8)) == pytest.approx(np.log(1 / 3))

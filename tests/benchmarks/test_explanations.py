# SPDX-License-Identifier: Apache-2.0
"""The deletion test of explanations can fail."""

from __future__ import annotations

import numpy as np

from benchmarks.explanations import HISTORY, LINKS, MASKED, failures, line


def bound(*, named: float, drawn: float) -> float:
    rng = np.random.default_rng(1)
    return line("x", list(zip(rng.normal(named, 0.3, 100), rng.normal(drawn, 0.3, 100), strict=True)), 1)[1]


def test_what_is_named_has_to_lower_the_score_more_than_what_is_drawn() -> None:
    assert bound(named=-0.5, drawn=-0.1) < 0.0
    assert bound(named=-0.2, drawn=-0.2) > 0.0
    assert bound(named=0.0, drawn=-0.3) > 0.0


def test_deletions_that_do_not_lower_it_or_were_not_tried_are_failures() -> None:
    assert failures({LINKS: -0.2, MASKED: -0.01}) == []
    assert failures({LINKS: -0.2, MASKED: 0.0, HISTORY: -1.0}) == [MASKED]
    assert failures({MASKED: -0.1, HISTORY: -1.0}) == [LINKS]
    assert failures({LINKS: float("nan"), MASKED: -0.1}) == [LINKS]


def test_a_row_of_the_table_tells_means_and_how_often() -> None:
    row, high = line("links", [(-2.0, -1.0), (-3.0, -1.0), (-1.0, -2.0), (-2.0, 0.0)], 1)
    assert row.startswith("| links | 4 | -2.000 | -1.000 | -1.000 (")
    assert row.endswith("| 75 % |")
    assert high > -1.0

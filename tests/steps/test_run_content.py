# SPDX-License-Identifier: Apache-2.0
"""What a run says of a release: names that every store takes, and no figure that is none."""

from __future__ import annotations

from typing import Any

from ringfence.rollout.tracking import Measured
from ringfence.steps.run_content import LONGEST_PARAM, figures_of, params_of

METRICS: dict[str, Any] = {
    "scenario": "payments",
    "until_ms": 17,
    "n_examples": 40,
    "headline": {"name": "out_of_fold", "roc_auc": {"value": 0.9, "low": 0.8, "high": 1.0}},
    "evaluations": [
        {
            "name": "out_of_fold",
            "from_ms": 1,
            "roc_auc": {"value": 0.9, "low": 0.8, "high": 1.0},
            "ece": {"value": None, "low": None, "high": None},
            "recall_at_precision": {"0.50": {"value": 0.25, "low": 0.0, "high": 0.5}},
            "capacity": [{"alerts_per_day": 20, "recall": {"value": 0.5, "low": 0.4, "high": 0.6}}],
            "segments": [{"name": "web", "group": "channel", "n": 12}],
            "pr": {"x": [0.1], "y": [0.2]},
        }
    ],
    "branches": [{"name": "my-net", "weight": 0.5, "stays": True}, {"name": "a/../b:é", "weight": 0.25}],
    "branches_left_out": {"variants": [{"name": "without linear", "figures": {"roc_auc": {"value": 0.7}}}]},
    "recalibrated": {"base": "r-1", "rungs": [{"name": "full", "before": {"ece": {"value": 0.1, "low": 0.0}}}]},
    "tree_curve": {"n_trees": [10, 20, 30], "log_loss": [0.5, None, 0.25]},
    "importance": [{"name": "card.count_7d", "share": 0.5}],
    "memory": {"budget_bytes": 4},
}


def test_figures_have_a_name_that_says_where_they_stand() -> None:
    assert figures_of(METRICS) == [
        Measured("n_examples", 40.0),
        Measured("headline/roc_auc", 0.9),
        Measured("headline/roc_auc.low", 0.8),
        Measured("headline/roc_auc.high", 1.0),
        Measured("out_of_fold/roc_auc", 0.9),
        Measured("out_of_fold/roc_auc.low", 0.8),
        Measured("out_of_fold/roc_auc.high", 1.0),
        Measured("out_of_fold/recall_at_precision/0.50", 0.25),
        Measured("out_of_fold/recall_at_precision/0.50.low", 0.0),
        Measured("out_of_fold/recall_at_precision/0.50.high", 0.5),
        Measured("out_of_fold/capacity/20/recall", 0.5),
        Measured("out_of_fold/capacity/20/recall.low", 0.4),
        Measured("out_of_fold/capacity/20/recall.high", 0.6),
        Measured("branches/my-net/weight", 0.5),
        Measured("branches/a_.._b_é/weight", 0.25),
        Measured("branches_left_out/without linear/roc_auc", 0.7),
        Measured("recalibrated/rungs/full/before/ece", 0.1),
        Measured("recalibrated/rungs/full/before/ece.low", 0.0),
        Measured("tree_curve/log_loss", 0.5, 10),
        Measured("tree_curve/log_loss", 0.25, 30),
    ]


def test_a_release_that_was_made_without_labels_has_what_it_has() -> None:
    told = {"assumed_rate": 0.02, "n_events": 900, "evaluations": [], "branches": [], "leaks": None}
    assert figures_of(told) == [Measured("assumed_rate", 0.02), Measured("n_events", 900.0)]


def test_params_leave_out_what_is_missing_or_too_long_for_one() -> None:
    assert params_of(
        {
            "release": "r-1",
            "digest": "d",
            "examples": {"from": None, "n": 3},
            "settings": {"a b": "x" * LONGEST_PARAM, "c": "x" * (LONGEST_PARAM + 1), "d": [1, 2]},
            "ledger": {"until_seq": 9, "segments": [{"first_seq": 1}]},
            "files": {"gbdt.txt": "e"},
        }
    ) == {
        "digest": "d",
        "examples/n": "3",
        "settings/a b": "x" * LONGEST_PARAM,
        "settings/d": "[1, 2]",
        "ledger/until_seq": "9",
    }

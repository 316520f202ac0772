# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import polars as pl
import pytest

from ringfence.training.errors import NoExamplesError, OneClassError
from ringfence.training.examples import collect_examples, require_both_classes


class History:
    """Events at times 10, 20, … and labels, numbered in the order they became known.

    seq     1    2    3    4        5        6
    event   10   20   30            40
    label                  of 1, 35          of 2, 50
    """

    last_seq = 6
    watermark_ms = 50

    def seq_at(self, as_of_ms: int) -> int:
        return sum(as_of_ms >= watermark for watermark in (10, 20, 30, 35, 40, 50))

    def events(self, from_ms: int, to_ms: int | None, until_seq: int) -> pl.DataFrame:
        frame = pl.DataFrame(
            {
                "seq": [1, 2, 3, 5],
                "event_id": ["a", "b", "c", "d"],
                "event_time_ms": [10, 20, 30, 40],
                "amount_minor": [100, None, 300, 400],
            }
        )
        return frame.filter(pl.col("event_time_ms") >= from_ms, pl.col("seq") <= until_seq)

    def labels(self, until_seq: int) -> pl.DataFrame:
        frame = pl.DataFrame(
            {
                "seq": [4, 6],
                "event_seq": [1, 2],
                "value": pl.Series([1, 0], dtype=pl.Int8),
                "known_at_ms": [35, 50],
                "source": ["import", "import"],
            }
        )
        return frame.filter(pl.col("seq") <= until_seq).drop("seq")


def test_a_label_not_known_by_the_cut_makes_no_example() -> None:
    found = collect_examples(History(), from_ms=None, until_ms=40)
    assert found.event_id == ("a",)
    assert found.fraud.tolist() == [1]
    assert found.n_unlabelled == 3


def test_without_a_cut_all_known_labels_count() -> None:
    found = collect_examples(History(), from_ms=None, until_ms=None)
    assert found.event_id == ("a", "b")
    assert found.until_seq == 6


def test_events_before_the_first_wanted_one_are_no_examples() -> None:
    assert collect_examples(History(), from_ms=20, until_ms=None).event_id == ("b",)


def test_no_example_at_all_says_what_to_change() -> None:
    with pytest.raises(NoExamplesError, match="--until"):
        collect_examples(History(), from_ms=None, until_ms=30)


def test_one_class_is_refused_with_its_counts() -> None:
    with pytest.raises(OneClassError, match="1 fraud and 1 legit"):
        require_both_classes(collect_examples(History(), from_ms=None, until_ms=None))


#  events at 10 and 20, labels known at 35 and 50; the ledger ends at 50
def test_an_event_whose_horizon_is_not_over_makes_no_example() -> None:
    with_horizon = partial(collect_examples, History(), from_ms=None, settled_after_ms=20)
    assert with_horizon(until_ms=None).event_id == ("a", "b")
    assert with_horizon(until_ms=None).settled_at_ms.tolist() == [35, 50]
    assert partial(with_horizon, settled_after_ms=31)(until_ms=None).event_id == ("a",)
    assert partial(with_horizon, settled_after_ms=30)(until_ms=None).settled_at_ms.tolist() == [40, 50]
    with pytest.raises(NoExamplesError):
        partial(with_horizon, settled_after_ms=31)(until_ms=40)

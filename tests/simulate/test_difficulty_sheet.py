# SPDX-License-Identifier: Apache-2.0
"""The instrument that measures worlds: it looks back only, it cannot flatter, and its verdicts are arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from benchmarks.worlds.judged import Judged
from benchmarks.worlds.leaks import alike_in
from benchmarks.worlds.oracle import oracle_score
from benchmarks.worlds.page import write_page
from benchmarks.worlds.realism import BENFORD, deviation, first_digits
from benchmarks.worlds.regression import regression_score, simple_counts
from benchmarks.worlds.rules import RULES, catch, catches, fired
from benchmarks.worlds.sheet import Sheet, measure
from benchmarks.worlds.sightings import DAY_MS, Links, Sightings
from benchmarks.worlds.verdicts import Range, verdicts
from ringfence.models.metrics import average_precision
from ringfence.simulate import simulate_motor_claims

N_CLAIMS = 8_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("judged")
    simulate_motor_claims(N_CLAIMS, 5, folder, fraud_rate=0.03)
    return Judged.load(folder)


def test_sightings_count_what_a_loop_counts() -> None:
    rng = np.random.default_rng(1)
    key, time = rng.integers(-1, 6, 300), rng.integers(0, 500, 300)
    asked, at = rng.integers(-1, 8, 200), rng.integers(-50, 600, 200)
    for span in (1, 40, 10_000):
        found = Sightings(key, time).before(asked, at, span)
        brute = [sum(k >= 0 and k == a and t - span <= s < t for k, s in zip(key, time, strict=True))
                 for a, t in zip(asked, at, strict=True)]  # fmt: skip
        assert found.tolist() == brute


def test_nothing_seen_is_counted_as_never() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert Sightings(nothing, nothing).before(np.array([1, -1]), np.array([5, 5]), DAY_MS).tolist() == [0, 0]


def test_links_give_the_first_entity_of_a_claim() -> None:
    links = Links("witness", np.array([0, 0, 2]), np.array([7, 8, 9]))
    assert links.dense(4).tolist() == [7, -1, 9, -1]


def test_later_claims_and_labels_change_no_earlier_rule(world: Judged) -> None:
    kept = world.n // 2
    assert fired(world.head(kept)).equals(fired(world).head(kept))


def test_later_claims_and_labels_change_no_earlier_count(world: Judged) -> None:
    kept = world.n // 2
    short, whole = simple_counts(world.head(kept)), simple_counts(world)
    assert list(short) == list(whole)
    assert [name for name in short if not np.array_equal(short[name], whole[name][:kept])] == []


def test_there_are_fifteen_rules_with_sentences_of_their_own(world: Judged) -> None:
    assert len({rule.name for rule in RULES}) == len({rule.sentence for rule in RULES}) == 15
    table = fired(world)
    assert table.columns == [rule.name for rule in RULES]
    assert sum(table.null_count().row(0)) == 0
    silent = [name for name in table.columns if not table[name].any()]
    assert set(silent) <= {"lawyer and doctor together", "photograph seen before", "shop of many large bills"}


def test_any_rule_catches_at_least_what_the_best_rule_catches(world: Judged) -> None:
    found = catches(world)
    assert found["any rule"].caught >= max(one.caught for name, one in found.items() if name != "any rule")


def test_catch_is_flagged_caught_and_precision() -> None:
    flagged, fraud = np.array([True, True, False, False]), np.array([True, False, True, False])
    found = catch(flagged, fraud)
    assert (found.flagged, found.caught, found.precision) == (0.5, 0.5, 0.5)
    assert found.low <= 0.5 <= found.high
    assert np.isnan(catch(np.zeros(4, dtype=np.bool_), fraud).precision)


def test_oracle_is_ahead_of_the_regression_and_errs(world: Judged) -> None:
    fraud = world.fraud[world.tested_on].astype(np.int8)
    oracle = average_precision(fraud, oracle_score(world))
    regression = average_precision(fraud, regression_score(world)[0])
    assert regression + 0.1 < oracle < 1.0
    assert regression > 2.0 * fraud.mean()


def test_oracle_leaves_the_claims_own_truth_out(world: Judged) -> None:
    """A ring of one claim is nobody's: its own claim scores 0 for it."""
    alone = world.truth.with_row_index().with_columns(
        ring_id=pl.when(pl.col("index") == world.n - 1).then(pl.lit("R0")).otherwise(None)
    )
    lonely = Judged(world.claims, alone.drop("index"), world.members, world.changes)
    assert oracle_score(lonely)[-1] == 0.0


def test_weights_make_honest_categories_mix_as_the_frauds_do() -> None:
    rng = np.random.default_rng(2)
    fraud = rng.random(4_000) < 0.2
    category = np.where(fraud, rng.integers(0, 2, 4_000), rng.integers(0, 3, 4_000))
    weights = alike_in(pl.Series(category.astype(str)), fraud, 3_000)
    for side in (slice(0, 3_000), slice(3_000, None)):
        w, kind, bad = weights[side], category[side], fraud[side]
        for value in range(3):
            honest = w[~bad & (kind == value)].sum() / w[~bad].sum()
            assert honest == pytest.approx((kind[bad] == value).mean(), abs=1e-9)


def test_deviation_is_none_for_benford_and_large_for_equal_digits() -> None:
    amounts = 10.0 ** np.linspace(2.0, 4.0, 20_000, endpoint=False)
    assert deviation(amounts) < 0.0005
    assert first_digits(np.array([1_000.0, 999.99, 20.0, 2.0])).tolist()[:2] == pytest.approx([1 / 3, 1 / 3])
    equal = np.repeat(np.arange(1, 10), 100) * 100.0
    assert deviation(equal) == pytest.approx(np.abs(1 / 9 - BENFORD).mean())


class Figure:
    """A sheet that holds one figure."""

    def __init__(self, value: float) -> None:
        self.value = value


def test_verdicts_are_met_at_the_bounds_and_missed_beyond_them() -> None:
    one = Range("figure", lambda sheet: cast("Any", sheet).value, 0.15, 0.30, True)
    sheets = [cast("Sheet", Figure(value)) for value in (0.15, 0.30, 0.1499, 0.3001, float("nan"))]
    (found,) = verdicts(sheets, [one])
    assert found.met == (True, True, False, False, False)
    assert not found.is_met
    assert verdicts(sheets[:2], [one])[0].is_met
    assert one.bounds == "15.0 % to 30.0 %"


def test_ranges_may_be_open_on_a_side() -> None:
    assert Range("figure", float, high=0.7).met_by(-5.0)
    assert not Range("figure", float, low=0.0).met_by(-1e-9)
    assert Range("figure", float, low=0.0).bounds == "at least 0.000"
    assert Range("figure", float, high=0.7).bounds == "at most 0.700"


def test_page_and_plots_are_written_from_the_sheet_alone(world: Judged, tmp_path: Path) -> None:
    sheet = measure(world, tmp_path, seed=5, ends_ms=0, tell=lambda _: None, quick=True)
    page = write_page([sheet], tmp_path, n_events=N_CLAIMS, fraud_rate=0.03).read_text("utf-8")
    assert all(rule.sentence in page for rule in RULES)
    assert all(verdict.range.name in page for verdict in verdicts([sheet]))
    assert f"{100 * sheet.rules['any rule'].caught:.1f} %" in page
    plots = sorted(tmp_path.glob("*.svg"))
    assert len(plots) == 2
    for plot in plots:
        assert f"({plot.name})" in page
        assert plot.stat().st_size < 60_000
        root = ElementTree.fromstring(plot.read_text("utf-8"))
        assert root.tag.endswith("svg")
        assert "nan" not in plot.read_text("utf-8").lower()


def test_world_files_are_read_where_they_lie(tmp_path: Path) -> None:
    simulate_motor_claims(1_000, 3, tmp_path, fraud_rate=0.05)
    world = Judged.load(tmp_path)
    assert world.n == 1_000
    assert world.cut == 800
    assert not world.trained_on[world.cut :].any()
    assert bool((world.label_ms[world.trained_on] < world.time_ms[world.cut]).all())

# SPDX-License-Identifier: Apache-2.0
"""Control charts on processes whose answer is known by hand."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine
from ringfence.engine import layout as at
from ringfence.engine._kernels_charts import read_chart, update_chart
from tests.oracles.streams import DAY, HOUR, START, Happening, batch_of, cards_scenario, claims_scenario

CATALOGUE = Catalogue.build(cards_scenario())
CHARTS = ("amount_ewma_z", "amount_cusum", "rate_ewma_z", "rate_cusum", "excess_1d", "excess_30d")


def charts_of(steps: list[tuple[int, int | None]]) -> dict[str, NDArray[np.float64]]:
    """Return the customer's charts along events of (time since the start, amount)."""
    records = [Happening(START + after_ms, ((0, 1), (1, i)), amount) for i, (after_ms, amount) in enumerate(steps)]
    rows = Engine(CATALOGUE).observe(batch_of(records, CATALOGUE.scenario))
    return {name: rows[:, CATALOGUE.index(f"customer.{name}")] for name in CHARTS}


def test_a_chart_says_nothing_before_the_sixth_point() -> None:
    charts = charts_of([(i * HOUR, 100 + i) for i in range(8)])
    assert np.isnan(charts["amount_cusum"]).tolist() == [True] * 5 + [False] * 3
    assert np.isnan(charts["rate_ewma_z"]).tolist() == [True] * 6 + [False] * 2


def test_one_large_amount_is_what_the_formulas_say() -> None:
    charts = charts_of([(i * HOUR, 1000) for i in range(6)] + [(6 * HOUR, 2000)])
    # Equal amounts have no spread of their own; the least spread, 0.05, stands in, and a point is cut at 4.
    step = (math.log1p(2000) - math.log1p(1000)) / 0.05
    assert charts["amount_ewma_z"][6] == pytest.approx(0.2 * step / math.sqrt(0.2 / 1.8))
    assert charts["amount_cusum"][6] == 3.5


def test_sums_grow_with_a_shift_stay_below_their_bound_and_come_back() -> None:
    rng = np.random.default_rng(4)
    steady = [(i * DAY, int(a)) for i, a in enumerate(rng.integers(900, 1100, 40))]
    raised = [(40 * DAY + i * HOUR, 5000) for i in range(40)]
    calm = [(42 * DAY + i * DAY, 1000) for i in range(60)]
    charts = charts_of(steady + raised + calm)
    for name in ("amount_cusum", "rate_cusum"):
        assert charts[name][6:40].max() < 5.0
        assert charts[name][40:80].max() == 20.0
        assert charts[name][-1] == 0.0
    assert charts["amount_ewma_z"][41] > 2.0
    assert charts["rate_ewma_z"][45] > 2.0


def test_a_silence_longer_than_the_longest_window_begins_the_sums_anew() -> None:
    steps = [(i * DAY, 1000 + i % 3) for i in range(10)] + [(10 * DAY, 9000), (11 * DAY, 9000)]
    just = charts_of([*steps, (41 * DAY, 9000)])["amount_cusum"]
    longer = charts_of([*steps, (41 * DAY + 1, 9000), (42 * DAY, 1001)])["amount_cusum"]
    assert just[11] == longer[11] > 4.0
    assert just[12] > just[11]
    assert longer[12] < 4.0
    assert longer[13] < longer[12]


def test_late_events_and_equal_times_have_a_gap_of_zero() -> None:
    daily = [(i * DAY, 100) for i in range(12)]
    late, equal = charts_of([*daily, (3 * DAY, 100)]), charts_of([*daily, (11 * DAY, 100)])
    assert late["rate_cusum"][12] == equal["rate_cusum"][12] == 3.5
    assert math.isnan(late["excess_1d"][12])
    assert not math.isnan(equal["excess_1d"][12])


def test_events_without_an_amount_move_the_rate_and_not_the_amounts() -> None:
    charts = charts_of([(i * DAY, None if i % 2 else 100 + i) for i in range(14)])
    assert np.isnan(charts["amount_cusum"][1::2]).all()
    assert not np.isnan(charts["amount_cusum"][10::2]).any()
    assert not np.isnan(charts["rate_cusum"][6:]).any()


def test_expected_against_seen_is_anscombes_distance() -> None:
    charts = charts_of([(i * DAY, 100) for i in range(20)] + [(20 * DAY - 1, 100)] * 8 + [(20 * DAY, 100)])
    # The window is (19 d, 20 d]: eight events; before it 20 events in 19 days.
    expected = 20 / 19
    assert charts["excess_1d"][28] == pytest.approx(2 * (math.sqrt(8.375) - math.sqrt(expected + 0.375)))
    assert math.isnan(charts["excess_30d"][28])


def test_negative_amounts_are_points_below_zero() -> None:
    key, chart = np.zeros(1, at.KEY)[0], np.zeros(1, at.CHART)[0]
    for i in range(6):
        update_chart(chart, key, START + i * DAY, -100, 30 * DAY)
        key["n_events"] += 1
        key["n_amounts"] += 1
        key["newest_ms"] = START + i * DAY
    assert chart["amount_mean"] == pytest.approx(-math.log1p(100))
    out = np.full(at.WINDOWED + at.N_WINDOWED + at.N_CHART_STATS, np.nan)
    before = chart.tobytes(), key.tobytes()
    read_chart(chart, key, START + 6 * DAY, 100, np.zeros(1, np.int64), 30 * DAY, at.NEED_CHARTS, out)
    assert out[at.WINDOWED + at.N_WINDOWED + at.C_AMOUNT_CUSUM] == 3.5
    assert (chart.tobytes(), key.tobytes()) == before


def test_charts_are_kept_only_where_they_are_asked_for() -> None:
    silent = Catalogue.build(msgspec.structs.replace(cards_scenario(), features={}))
    assert "control_charts" not in silent.families
    assert Engine(silent).state.charts.shape == (0,)
    assert "control_charts" in CATALOGUE.families
    without_amount = Catalogue.build(claims_scenario(amount=False))
    names = {f.name for f in without_amount.features if f.family == "control_charts" and f.role == "shop"}
    assert names == {"shop.rate_ewma_z", "shop.rate_cusum", "shop.excess_30m", "shop.excess_7d"}
    other_rows = Engine(silent).observe(batch_of([Happening(START, ((0, 1),), 5)] * 9, silent.scenario))
    rows = Engine(CATALOGUE).observe(batch_of([Happening(START, ((0, 1),), 5)] * 9, CATALOGUE.scenario))
    shared = [CATALOGUE.index(name) for name in silent.names]
    assert rows[:, shared].tobytes() == other_rows.tobytes()

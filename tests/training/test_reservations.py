# SPDX-License-Identifier: Apache-2.0
"""What speaks against a release: skill that is not shown, a base rate that broke, costs that nobody has set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.cli.models import headline
from ringfence.cli.reservations import lopsided
from ringfence.cli.text_report import text_report
from ringfence.drafting import draft_scenario, workspace_files
from ringfence.policy.load import default_policy_text, policy_from_text
from ringfence.policy.placeholders import are_placeholders
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.release import Release
from ringfence.training.evaluation import Evaluation, Scored, evaluate
from ringfence.training.label_delay import DAY_MS
from ringfence.training.money import money_of
from ringfence.training.regimes import base_rate
from ringfence.training.reservations import reservations
from ringfence.training.train import train
from tests.reports.markup import Read

from .conftest import at_ms, ledger_of, payments, scenario_of

CARELESS = """
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0, fixed: 500}
  review: {cost: 50, detects: 0.9}
  challenge: {friction: 0.01, stops: 0.6}
  false_decline: {fixed: 5000, amount_share: 0}
capacity: {reviews_per_day: 1}
"""


def _evaluation(fraud: np.ndarray, score: np.ndarray) -> Evaluation:
    n = fraud.shape[0]
    scored = Scored(
        event_time_ms=np.arange(n) * 3_600_000,
        fraud=fraud.astype(np.int8),
        score=score,
        amount_minor=np.full(n, 1_000),
    )
    return evaluate(scored, name="later_window", title="Later window", explanation="", seed=0, n_replicates=50)


def _kinds(*evaluations: Evaluation) -> list[str]:
    return [one.kind for one in reservations(evaluations, None, None, scenario="x", date=str)]


def test_scores_that_tell_nothing_are_said_to_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    fraud = rng.random(4_000) < 0.05
    kinds = _kinds(_evaluation(fraud, rng.beta(2, 30, 4_000)))
    assert kinds[:2] == ["no_skill", "by_chance"]


def test_honest_scores_that_tell_much_raise_no_reservation() -> None:
    rng = np.random.default_rng(1)
    truth = 1.0 / (1.0 + np.exp(-rng.normal(-3.0, 1.5, 6_000)))
    assert _kinds(_evaluation(rng.random(6_000) < truth, truth)) == []


def test_a_second_window_speaks_only_where_the_first_is_silent() -> None:
    rng = np.random.default_rng(2)
    truth = 1.0 / (1.0 + np.exp(-rng.normal(-3.0, 1.5, 6_000)))
    good = _evaluation(rng.random(6_000) < truth, truth)
    bad = _evaluation(rng.random(4_000) < 0.05, rng.beta(2, 30, 4_000))
    assert _kinds(good, bad)[:2] == _kinds(bad, good)[:2] == ["no_skill", "by_chance"]


def test_a_base_rate_that_breaks_is_dated() -> None:
    #  day        0 ......... 10 ...................................... 100
    #  fraud      60 %         4 %
    rng = np.random.default_rng(3)
    times = np.sort(rng.integers(0, 100 * DAY_MS, 8_000))
    fraud = (rng.random(8_000) < np.where(times < 10 * DAY_MS, 0.6, 0.04)).astype(np.int8)
    found = base_rate(times, times + 30 * DAY_MS, fraud)
    assert found.broke is not None
    assert abs(found.broke.at_ms - 10 * DAY_MS) < 2 * DAY_MS
    assert found.broke.before.low > found.broke.after.high
    assert sum(one.n for one in found.stretches) == found.broke.before.n + found.broke.after.n == 8_000
    assert sum(one.n_fraud for one in found.stretches) == int(fraud.sum())


@pytest.mark.parametrize("seed", range(20))
def test_a_steady_base_rate_breaks_nowhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 100 * DAY_MS, 3_000))
    fraud = (rng.random(3_000) < 0.03).astype(np.int8)
    assert base_rate(times, times, fraud).broke is None


def test_frauds_that_are_confirmed_sooner_than_the_rest_are_no_break() -> None:
    #  legit is known after 60 days, fraud after 5: of the last 55 days only frauds are examples
    rng = np.random.default_rng(4)
    times = np.sort(rng.integers(0, 200 * DAY_MS, 8_000))
    fraud = (rng.random(8_000) < 0.05).astype(np.int8)
    known = times + np.where(fraud == 1, 5, 60) * DAY_MS
    kept = known <= 200 * DAY_MS
    assert base_rate(times[kept], known[kept], fraud[kept]).broke is None


@pytest.mark.parametrize("template", ["card-payments", "signups", "motor-claims"])
def test_costs_of_a_template_are_placeholders_until_one_is_changed(template: str) -> None:
    text = default_policy_text(template)
    assert are_placeholders(policy_from_text(text, where="x").costs)
    assert are_placeholders(policy_from_text(text.replace("EUR", "JPY"), where="x").costs)
    edited = text.replace("challenge: {friction: ", "challenge: {friction: 1")
    assert edited != text
    assert not are_placeholders(policy_from_text(edited, where="x").costs)


@pytest.mark.parametrize("amounts", [True, False])
def test_costs_of_a_draft_are_placeholders(tmp_path: Path, amounts: bool) -> None:
    frame = payments(300).rename({"at": "happened_at"})
    (frame if amounts else frame.drop("amount")).write_csv(tmp_path / "things.csv")
    texts = workspace_files(draft_scenario("things", [tmp_path / "things.csv"]), tmp_path / "w")
    (text,) = [text for path, text in texts.items() if path.startswith("policies/")]
    assert are_placeholders(policy_from_text(text, where="x").costs)


@pytest.fixture(scope="module")
def useless(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Release:
    """A release of noise, after a first week that was half fraud, under costs that make a challenge nearly free."""
    frame = payments(3_000, fraud=False)
    rng = np.random.default_rng(7)
    early = pl.Series(np.arange(3_000) < 350)
    fraud = pl.Series((rng.random(3_000) < np.where(early.to_numpy(), 0.5, 0.04)).astype(int))
    frame = frame.with_columns(fraud=fraud)
    folder = tmp_path_factory.mktemp("useless")
    ledger = ledger_of(folder, frame, scenario_of())
    policy: Policy = policy_from_text(CARELESS, where="x")
    return train(ledger, scenario_of(), policy, releases_dir=folder / "releases", clock=clock, until_ms=at_ms(40))


def test_a_useless_model_is_called_so_wherever_its_figures_are_told(useless: Release) -> None:
    page = Read.of((useless.path / "report.html").read_text()).text
    kinds = {one["kind"] for one in useless.metrics["reservations"]}
    assert {"no_skill", "rate_broke"} <= kinds
    for text in (headline(useless), page, useless.card):
        assert "giving every event the base rate: Brier skill is" in text
        assert "The fraud rate of the examples broke at about 2024-01-0" in text
    assert "Before you believe it" in page
    assert "before you believe it:" in headline(useless)


def test_single_columns_are_measured_on_the_events_of_the_whole(useless: Release) -> None:
    leaks, (_, out_of_fold) = useless.metrics["leaks"], useless.metrics["evaluations"]
    assert out_of_fold["name"] == "out_of_fold"
    assert (leaks["n_alone"], leaks["n_alone_fraud"]) == (out_of_fold["n"], out_of_fold["n_fraud"])
    assert leaks["n_alone"] < leaks["n_fraud"] + leaks["n_legit"]
    assert f"the same {leaks['n_alone']:,} events" in Read.of((useless.path / "report.html").read_text()).text


def test_an_answer_that_most_events_get_is_warned_of_with_its_cost(useless: Release) -> None:
    rows = pl.DataFrame({"action": ["challenge"] * 990 + ["approve"] * 10})
    (warning,) = lopsided(rows, useless)
    assert warning.startswith("99.0 % of 1,000 events get challenge")
    assert "a challenge costs 0.01 and a missed fraud" in warning
    assert "not shown to be better than the base rate" in warning
    assert "costs.challenge" in warning
    least = float(warning.split("from a score of ")[1].split(" %")[0]) / 100
    assert 0.0 < least < 0.01  # .01 / (.6 * (500 + a typical amount)) and the next of a grid of 1 in 10,000
    assert lopsided(pl.DataFrame({"action": ["approve"] * 1_000}), useless) == []


def test_the_report_in_plain_text_holds_what_the_page_says_first(useless: Release) -> None:
    text = text_report(useless)
    for part in ("before you believe it:", "Later window: ", "Out of fold: ", "leak hunt: ", "alert capacity; *: "):
        assert part in text
    assert "fraud rate of what it learnt from: breaks at about 2024-01-0" in text
    assert "family" in text
    assert "velocity" in text
    assert "placeholder" not in text  # these costs are nobody's template
    assert max(len(line) for line in text.splitlines() if str(useless.path) not in line) <= 100
    assert "nan" not in text.lower().split()


def test_the_best_single_answer_is_what_one_answer_to_all_would_cost() -> None:
    #  100 events of 10 EUR, every tenth fraud; all scores are alike, and every event is challenged
    #  approve all    10 * (10 + 500) = 5,100
    #  challenge all  100 * .01 + 10 * .4 * 510 = 2,041
    fraud = (np.arange(100) % 10 == 0).astype(np.int8)
    found = money_of(
        fraud,
        np.full(100, 0.01),
        np.full(100, 1_000.0),
        np.arange(1, 101),
        policy_from_text(CARELESS, where="x"),
        n_days=1.0,
        alerts_per_day=[1],
        seed=0,
    )
    assert (found.best_single, found.cost_best_single) == ("challenge", pytest.approx(2_041))
    assert found.cost == pytest.approx(2_041)
    assert found.cost_approving_all == pytest.approx(5_100)

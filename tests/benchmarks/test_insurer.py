# SPDX-License-Identifier: Apache-2.0
"""The insurer's table counts as one would by hand, keeps what it measured, and refuses a folder of another run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.commands import ROOT
from benchmarks.insurer import page
from benchmarks.insurer.contenders import CONTENDERS, FULL, Answer, Contender, Left, Result, measured
from benchmarks.insurer.figures import (
    AP,
    AT,
    AUC,
    BRIER,
    N_RESAMPLES,
    RECALL,
    RECALL_GRID,
    REVIEW_GRID,
    Figures,
    aligned,
    figures_of,
    mean_of,
    precisions,
    resampled,
    reviewed,
    share_caught,
)
from benchmarks.insurer.hand_rules import LEFT_OUT, SAID
from benchmarks.insurer.runs import Runs
from benchmarks.insurer.topology import ranked
from benchmarks.insurer.unseen import KNOWN, UNSEEN, Flagged, flagged_rings
from benchmarks.insurer.work import OtherSettings, Work
from benchmarks.insurer.worlds import Bench, Split, base_world, without_entities
from benchmarks.worlds.rules import RULES, fired
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.engine.rule_features import rule_features
from ringfence.models.conditions import TRUE, truth_of_rows
from ringfence.models.rules import RulesModel
from ringfence.workspace import Workspace

DAY = 86_400_000
RNG = np.random.default_rng(5)


def scores(n: int = 400, levels: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times over ten days, scores with many ties, and frauds."""
    return np.sort(RNG.integers(0, 10 * DAY, n)), RNG.integers(0, levels, n) / levels, RNG.random(n) < 0.1


@pytest.mark.parametrize("reviews", [1, 7, 50])
def test_reviews_of_a_day_are_the_mean_over_every_order_of_its_ties(reviews: int) -> None:
    time_ms, score, fraud = scores()
    found = reviewed(time_ms, score, reviews)
    caught = 0.0
    for day in np.unique(time_ms // DAY):
        mine = [at for at in range(len(score)) if time_ms[at] // DAY == day]
        left = reviews
        for level in sorted({score[at] for at in mine}, reverse=True):
            tie = [at for at in mine if score[at] == level]
            chance = min(1.0, max(left, 0) / len(tie))
            for at in tie:
                assert found[at] == pytest.approx(chance)
                caught += chance * fraud[at]
            left -= len(tie)
    assert share_caught(fraud, found) == pytest.approx(caught / fraud.sum())


def test_precision_at_a_recall_is_the_best_of_all_thresholds_that_reach_it() -> None:
    _, score, fraud = scores(levels=12)
    order = np.argsort(-score, kind="stable")
    found = precisions(fraud[order].astype(np.int8), score[order])
    for recall, precision in zip(RECALL_GRID, found, strict=True):
        reached = []
        for threshold in np.unique(score):
            flagged = score >= threshold
            if fraud[flagged].sum() >= recall * fraud.sum() - 1e-9:
                reached.append(fraud[flagged].mean())
        assert precision == pytest.approx(max(reached))


def judged(n: int = 400) -> pl.DataFrame:
    time_ms, _, fraud = scores(n)
    group = np.where(fraud, np.arange(n) % 3, 3 + np.arange(n))
    return pl.DataFrame({"event_id": [f"e{at}" for at in range(n)], "time_ms": time_ms, "fraud": fraud, "group": group})


def test_figures_do_not_depend_on_the_order_of_claims() -> None:
    claims = judged()
    score = RNG.random(claims.height)
    mixed = RNG.permutation(claims.height)
    one = figures_of(claims, score, score, seed=1)
    other = figures_of(claims[mixed.tolist()], score[mixed], score[mixed], seed=1)
    for name, value in one.values.items():
        assert other.values[name] == pytest.approx(value)
        drawn = [np.array(found.draws[name], dtype=np.float64) for found in (one, other)]
        np.testing.assert_allclose(drawn[1], drawn[0])
    assert len(one.draws[AP]) == N_RESAMPLES


def test_a_score_without_probability_has_no_calibration() -> None:
    claims = judged()
    assert BRIER not in figures_of(claims, RNG.random(claims.height), None, seed=1).values


def test_claims_of_one_ring_are_drawn_together() -> None:
    group = np.array([0, 1, 0, 2, 0])
    for weights in resampled(group, seed=1, n_resamples=20):
        assert weights[0] == weights[2] == weights[4]
        assert weights[[0, 1, 3]].sum() == 3


def figures(value: float, draws: list[float]) -> Figures:
    return Figures(values={AP: value}, draws={AP: list(draws)}, recall_by_reviews=[], precision_by_recall=[])


def test_a_gain_is_paired_within_worlds_and_averaged_over_them() -> None:
    ours = {1: [figures(0.5, [0.4, 0.6]), figures(0.7, [0.6, 0.8])], 2: [figures(0.2, [0.1, 0.3])]}
    theirs = {1: [figures(0.4, [0.3, 0.5])], 2: [figures(0.2, [0.2, 0.2])]}
    found = mean_of(ours, AP, theirs)
    # world 1: 0.2, resamples 0.2 and 0.2; world 2: 0, resamples -0.1 and 0.1
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.05 + 0.025 * 0.1, 0.15 - 0.025 * 0.1))


def test_a_missing_score_is_no_zero() -> None:
    with pytest.raises(SystemExit, match="1 of 2 judged claims have no score"):
        aligned(pl.DataFrame({"event_id": ["a", "b"]}), pl.DataFrame({"event_id": ["a"], "score": [1.0]}), ("score",))


def test_rings_are_flagged_until_a_day_after_their_third_claim() -> None:
    #  day      0    1    2    3    4    5      cut at 0, history ends at 5
    #  seen     e*   e    e                     flagged before its third claim
    #  late     e    e    e         e*          flagged two days after it: too late
    #  inside   e    e    e    e*               flagged a day after it, just in time
    #  old                e*                    had its third claim before the cut
    #  small    e*   e                          has no third claim
    #  end                     e*   e    e      the day after its third claim is not over
    days = [
        ("seen", 0, True), ("late", 0, False), ("inside", 0, False), ("small", 0, True), (None, 0, True),
        ("seen", 1, False), ("late", 1, False), ("inside", 1, False), ("small", 1, False),
        ("seen", 2, False), ("late", 2, False), ("inside", 2, False), ("old", 2, True),
        ("inside", 3, True), ("end", 3, True), ("late", 4, True), ("end", 4, False), ("end", 5, False),
    ]  # fmt: skip
    ring, day, flag = zip(*days, strict=True)
    found = flagged_rings(list(ring), np.array(day) * DAY, np.array(flag), {"old": 3}, 5 * DAY)
    assert found == Flagged(n_rings=3, n_flagged=2, n_claims=11, n_claims_flagged=3)


def test_pairs_are_ranked_by_every_score() -> None:
    pairs = pl.DataFrame({"ring_claim_id": ["a", "c"], "honest_claim_id": ["b", "d"]})
    said = pl.DataFrame(
        {"event_id": list("abcd"), "full": [2.0, 1.0, 2.0, 3.0], "gbdt": [1.0] * 4, "action": ["x"] * 4}
    )
    assert ranked(pairs, said) == {"full": (0.5, 0.0), "gbdt": (0.0, 1.0)}


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    Work.open(tmp_path, {"events": 1_000}, print)
    Work.open(tmp_path, {"events": 1_000}, print)
    with pytest.raises(OtherSettings, match="events 1000 instead of 2000"):
        Work.open(tmp_path, {"events": 2_000}, print)


def test_no_step_begins_while_others_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    busy = tmp_path / "busy"
    busy.touch()
    work = Work.open(tmp_path / "work", {}, told.append, busy)
    monkeypatch.setattr("benchmarks.insurer.work.time.sleep", lambda seconds: busy.unlink())
    work.step("next")
    assert told == [f"waiting while {busy} exists", "next"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, Bench]:
    work = Work.open(tmp_path_factory.mktemp("insurer"), {"events": 2_000}, lambda what: None)
    return work, base_world(work, 3, n_events=2_000, fraud_rate=0.05)


def test_the_split_is_in_time_and_labels_are_those_known_at_the_cut(small: tuple[Work, Bench]) -> None:
    _, bench = small
    world, split = bench.judge(), bench.split
    claims = bench.judged(world)
    assert claims["time_ms"].min() == split.cut_ms
    assert claims.height == split.n_judged == pytest.approx(0.2 * world.n, abs=2)
    assert int(world.trained_on.sum()) == split.n_labels
    assert (world.label_ms[world.trained_on] < split.cut_ms).all()
    frauds = claims.filter("fraud")
    assert frauds["group"].n_unique() == frauds["ring_id"].n_unique()
    assert claims.filter(~pl.col("fraud"))["group"].n_unique() == split.n_judged - split.n_fraud


def test_what_was_measured_is_not_measured_again_and_a_reason_is_not_kept(small: tuple[Work, Bench]) -> None:
    work, bench = small
    asked: list[int] = []

    def answer(work: Work, bench: Bench, seed: int) -> Answer | Left:
        asked.append(seed)
        if seed == 9:
            return Left(why="nothing to learn from")
        claims = bench.judged()
        return Answer(claims.select("event_id", score=pl.col("fraud").cast(pl.Float64)), 1.5)

    seeded = Contender("seeded", "seeded", True, answer)
    first = measured(work, bench, seeded, 4)
    assert isinstance(first, Result)
    assert first.figures.values[RECALL] == first.figures.values[AP] == 1.0
    assert measured(work, bench, seeded, 4) == first
    assert asked == [4]
    for _ in range(2):
        assert measured(work, bench, seeded, 9) == Left(why="nothing to learn from")
    measured(work, bench, Contender("plain", "plain", False, answer), 4)
    assert asked == [4, 9, 9, 0]


def test_the_attributes_alone_come_from_the_same_ledger(small: tuple[Work, Bench]) -> None:
    _, bench = small
    here = Workspace(without_entities(bench))
    catalogue = Catalogue.build(here.scenario())
    assert {feature.family for feature in catalogue.features} == {"event"}
    assert not here.scenario().rules
    assert here.ledger_dir(here.scenario()).resolve() == bench.workspace.ledger_dir(here.scenario()).resolve()


NEARLY = {"third claim in a year", "witness by habit", "contract changed just before", "car passed on"}


def test_rules_of_the_workspace_fire_where_those_of_the_sheet_do(small: tuple[Work, Bench]) -> None:
    _, bench = small
    world, ledger = bench.judge(), bench.ledger()
    catalogue = Catalogue.build(bench.workspace.scenario())
    events = ledger.events(0).sort("seq")
    rows = feature_rows(ledger, catalogue, events["seq"].to_numpy()).rows
    rules = RulesModel.of(catalogue.scenario.rules, rule_features(catalogue.features), len(catalogue.features))
    place = dict(zip(world.claims["claim_id"], range(world.n), strict=True))
    at = [place[event_id] for event_id in events["event_id"]]
    sheet = fired(world)[at]
    assert {rule.name for rule in RULES} == {*SAID, *LEFT_OUT}
    for name, condition in zip(SAID, rules.conditions, strict=True):
        ours, theirs = truth_of_rows(condition, rows) == TRUE, sheet[name].to_numpy()
        if name in NEARLY:  # what stands in fires more often, and hardly ever misses
            assert (ours & theirs).sum() >= 0.75 * theirs.sum(), name
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert sum(int(sheet[name].sum()) > 0 for name in SAID) >= 10


def result(contender: str, world: int, seed: int, recall: float) -> Result:
    values = dict.fromkeys((RECALL, *AT.values(), AP, AUC), recall)
    return Result(
        contender=contender,
        world=world,
        seed=seed,
        seconds=3.0,
        processor_s=5.0,
        peak_gb=None,
        figures=Figures(
            values=values,
            draws={name: [value - 0.1, value + 0.1] for name, value in values.items()},
            recall_by_reviews=[recall] * len(REVIEW_GRID),
            precision_by_recall=[recall] * len(RECALL_GRID),
        ),
    )


def test_the_page_holds_what_was_measured_and_no_more(tmp_path: Path) -> None:
    runs = Runs(2_000, 0.05, [1, 2], [1, 2])
    runs.results[FULL] = [result(FULL, world, seed, 0.7) for world in (1, 2) for seed in (1, 2)]
    runs.results["logistic"] = [result("logistic", 1, 0, 0.6)]
    found = page.texts(runs)
    assert set(found) == {"conclusions", "contenders", "gains", "by-world"}
    assert "+10.0 (+10.0 to +10.0) points. The floor of 12 is **missed**." in found["conclusions"]
    lines = found["contenders"].splitlines()
    assert len(lines) == 4  # nobody else
    assert "70.0 (60–80)" in lines[-1]
    assert "3 s (5 s)" in lines[-1]
    assert "+10.0 (+10.0 to +10.0)" in found["gains"]  # of world 1 alone
    assert page.floors(runs) == [
        ("recall at 15 % precision above that of the regression by 12 points: +10.0 (+10.0 to +10.0)", False)
    ]
    (tmp_path / page.PAGE).write_text((ROOT / "docs" / page.PAGE).read_text("utf-8"), "utf-8")
    page.write_page(runs, tmp_path)
    assert found["contenders"] in (tmp_path / page.PAGE).read_text("utf-8")
    assert (tmp_path / "insurer-recall.svg").read_text("utf-8").count("<polyline") == 4


def test_the_page_has_a_place_for_every_table() -> None:
    text = (ROOT / "docs" / page.PAGE).read_text("utf-8")
    for name in ("conclusions", "worlds", "contenders", "gains", "by-world", "stack", "rungs", "unseen", "pairs"):
        assert f"<!-- {name}: begin -->" in text
        assert f"<!-- {name}: end -->" in text
    assert {one.key for one in CONTENDERS} >= {"rules", "logistic", "attributes", "trees", "network", "graphsage", FULL}


def flagged(n_rings: int, n_flagged: int) -> Flagged:
    return Flagged(n_rings=n_rings, n_flagged=n_flagged, n_claims=10 * n_rings, n_claims_flagged=n_rings)


def test_rings_that_several_seeds_judge_are_counted_once() -> None:
    split = Split(warm_ms=0, cut_ms=1, ends_ms=2 * DAY, n_claims=9, n_judged=2, n_fraud=1, n_labels=3, n_label_frauds=1)
    runs = Runs(2_000, 0.05, [1], [1, 2], splits={1: split})
    days = ("full, 50 a day", "full, 10 a day")
    by_seed = [{kind: {name: flagged(20, n) for name in days} for kind in (UNSEEN, KNOWN)} for n in (8, 12)]
    runs.unseen.extend(by_seed)
    runs.unseen_without_release.append({kind: {"rules, 50 a day": flagged(20, 5)} for kind in (UNSEEN, KNOWN)})
    _, _, ours, _, rules = page.texts(runs)["unseen"].splitlines()
    assert "50 % (30–70) of 20 | 10 %" in ours  # Wilson, of twenty rings and not of forty
    assert "25 % (11–47) of 20" in rules

# SPDX-License-Identifier: Apache-2.0
"""Something happens to the world on some day: nothing changes before it, and after it what was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.scenario import IdentityKey, load_scenarios
from ringfence.scenario.columns import Columns
from ringfence.simulate import (
    Shock,
    SimulationReport,
    WorldSettingError,
    WorldSettings,
    live_claims,
    parse_shock,
    simulate_motor_claims,
)
from ringfence.simulate.motor.broken_fields import broken
from ringfence.simulate.shocks import BREAKAGES, SHOCKS

N_CLAIMS = 9_000  # more than one block
SEED = 5
FRAUD_RATE = 0.03
SETTINGS: dict[str, Any] = {"fraud_rate": FRAUD_RATE, "days": 365, "ends": date(2025, 1, 1)}
ONSET = date(2024, 8, 1)
ONSET_MS = 1_722_463_200_000  # midnight in Berlin
ONE_OF_EACH = (
    Shock(name="amounts", onset=ONSET, size=0.18),
    Shock(name="new_pattern", onset=ONSET, size=0.02),
    Shock(name="base_rate", onset=ONSET, size=2.5),
    Shock(name="base_rate", onset=ONSET, size=0.3),
    Shock(name="broken_field", onset=ONSET, size=0.5, field="make"),
    Shock(name="holiday", onset=ONSET, size=-0.5),
    Shock(name="holiday", onset=ONSET, size=0.4),
    Shock(name="label_backlog", onset=ONSET, size=60.0),
)
LABEL = ("is_fraud", "label_time", "label", "label_known_at")


class Simulated:
    """The files of one world."""

    def __init__(self, output: Path, *shocks: Shock) -> None:
        self.report: SimulationReport = simulate_motor_claims(N_CLAIMS, SEED, output, shocks=shocks, **SETTINGS)
        self.claims = pl.read_parquet(output / "claims.parquet")
        self.truth = pl.read_parquet(output / "truth.parquet")
        self.changes = pl.read_parquet(output / "policy_changes.parquet")
        self.output = output

    def both(self) -> pl.DataFrame:
        return self.claims.join(self.truth.drop("claim_time"), on="claim_id")


@pytest.fixture(scope="module")
def world_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Simulated]:
    """Make the world of each combination of shocks once."""
    return cache(lambda *shocks: Simulated(tmp_path_factory.mktemp("world"), *shocks))


@pytest.fixture(scope="module")
def quiet(world_with: Callable[..., Simulated]) -> Simulated:
    return world_with()


def before(table: pl.DataFrame, column: str) -> pl.DataFrame:
    return table.filter(pl.col(column).dt.timestamp("ms") < ONSET_MS)


@pytest.mark.parametrize("shock", ONE_OF_EACH, ids=lambda shock: f"{shock.name} {shock.size}")
def test_rows_before_the_onset_are_those_of_the_world_without(
    quiet: Simulated, world_with: Callable[..., Simulated], shock: Shock
) -> None:
    shocked = world_with(shock)
    assert shocked.report.n_events == quiet.report.n_events == N_CLAIMS
    assert shocked.report.digest != quiet.report.digest
    delayed = LABEL if shock.name == "label_backlog" else ()
    own = [column for column in quiet.truth.columns if column != "shock" and column not in delayed]
    assert before(shocked.truth, "claim_time").select(own).equals(before(quiet.truth, "claim_time").select(own))
    own = [column for column in quiet.claims.columns if column not in delayed]
    assert before(shocked.claims, "claim_time").select(own).equals(before(quiet.claims, "claim_time").select(own))
    assert before(shocked.changes, "changed_at").equals(before(quiet.changes, "changed_at"))
    # What was known by then is known by then.
    known = [before(world.claims, "label_time").select("claim_id", *LABEL[:2]) for world in (shocked, quiet)]
    assert before(shocked.claims, "claim_time")["claim_id"].is_in(known[1]["claim_id"].implode()).sum() > 100
    assert known[0].equals(known[1])
    # And something did happen, which the judge can see.
    touched = shocked.truth.filter(pl.col("shock") == shock.name)
    assert touched.height > 10
    assert touched.height == shocked.truth["shock"].count()
    if shock.name != "label_backlog":
        assert before(touched, "claim_time").is_empty()


@pytest.mark.parametrize("shock", [ONE_OF_EACH[i] for i in (0, 1, 2, 4, 7)], ids=lambda shock: shock.name)
def test_claims_that_a_shock_does_not_touch_stay_as_they_were(
    quiet: Simulated, world_with: Callable[..., Simulated], shock: Shock
) -> None:
    shocked = world_with(shock)
    untouched = shocked.truth.filter(pl.col("shock").is_null())["claim_id"].implode()
    same = [world.both().filter(pl.col("claim_id").is_in(untouched)).drop("shock") for world in (shocked, quiet)]
    moved = same[0].height - same[0].join(same[1], on=same[1].columns, how="semi", nulls_equal=True).height
    assert moved <= 0.001 * N_CLAIMS  # claims sent twice follow the claim they repeat


def test_honest_amounts_rise_by_the_size_and_stay_as_round_as_they_were(
    quiet: Simulated, world_with: Callable[..., Simulated]
) -> None:
    shocked = world_with(ONE_OF_EACH[0]).both()
    rows = shocked.join(quiet.claims.select("claim_id", was="claim_amount"), on="claim_id")
    hit = rows.filter(pl.col("shock") == "amounts")
    ratio = (hit["claim_amount"] / hit["was"]).to_numpy()
    assert abs(float(np.median(ratio)) - 1.18) < 0.001
    assert rows.filter(pl.col("shock").is_null()).select((pl.col("claim_amount") == pl.col("was")).all()).item()
    assert not hit["fraud"].any()
    for unit in (50.0, 10.0):
        assert hit.filter(pl.col("was") % unit == 0.0).select((pl.col("claim_amount") % unit == 0.0).all()).item()


def test_new_pattern_never_occurred_before_and_its_witnesses_repeat_while_claimants_do_not(
    quiet: Simulated, world_with: Callable[..., Simulated]
) -> None:
    shocked = world_with(ONE_OF_EACH[1])
    assert "storage_fees" not in quiet.truth["kind"]
    rows = shocked.both().filter(kind="storage_fees")
    after = shocked.claims.filter(pl.col("claim_time").dt.timestamp("ms") >= ONSET_MS).height
    assert 0.01 < rows.height / after < 0.03
    assert rows["fraud"].all()
    assert rows["ring_id"].null_count() == 0
    assert rows.group_by("ring_id").agg(pl.col("repair_shop_id").n_unique())["repair_shop_id"].max() == 1
    largest = rows.filter(pl.col("ring_id") == rows["ring_id"].mode()[0])
    assert largest["claimant_id"].n_unique() > 0.8 * largest.height
    assert largest["witness_ids"].list.first().drop_nulls().n_unique() < 0.7 * largest.height
    members = pl.read_parquet(shocked.output / "truth_rings.parquet")
    assert set(rows["ring_id"]) <= set(members["ring_id"])


@pytest.mark.parametrize(("shock", "low", "high"), [(ONE_OF_EACH[2], 1.8, 3.2), (ONE_OF_EACH[3], 0.15, 0.45)])
def test_fraud_becomes_as_much_more_or_less_as_asked(
    quiet: Simulated, world_with: Callable[..., Simulated], shock: Shock, low: float, high: float
) -> None:
    shocked = world_with(shock)
    fraud = [
        world.truth.filter(pl.col("claim_time").dt.timestamp("ms") >= ONSET_MS)["fraud"].sum()
        for world in (shocked, quiet)
    ]
    assert low < fraud[0] / fraud[1] < high


def test_base_rate_may_go_up_only_as_far_as_a_world_may_go() -> None:
    with pytest.raises(WorldSettingError, match=r"size of shock base_rate is 10\.0; choose at most 6\.67"):
        WorldSettings(n_events=1_000, seed=1, fraud_rate=0.03, shocks=(Shock(name="base_rate", size=10.0),))


@pytest.mark.parametrize("field", BREAKAGES)
def test_a_broken_field_still_imports(quiet: Simulated, field: str) -> None:
    scenario = load_scenarios(quiet.output / "ringfence.yaml")["motor-claims"]
    columns = Columns(scenario, IdentityKey(bytes(range(32))))
    claims = quiet.claims.tail(600)
    hit = np.arange(600) >= 200
    for how in BREAKAGES[field]:
        table = broken(claims, hit, Shock(name="broken_field", field=field, how=how))
        assert columns.admit(scenario.event_type("claim"), table, 0).rejects.is_empty(), how
        assert table.head(200).select(claims.columns).equals(claims.head(200))
        changed = [column for column in claims.columns if not table[column].equals(claims[column])]
        assert len(changed) == 1, how
        assert table.schema[changed[0]] == claims.schema[changed[0]]
        if how == "renamed":
            (new,) = set(table.columns) - set(claims.columns)
            assert table.select(pl.coalesce(changed[0], new)).to_series().equals(claims[changed[0]])
            assert table[changed[0]].tail(400).is_null().all()


def test_a_unit_changes_for_the_share_asked_for(quiet: Simulated, world_with: Callable[..., Simulated]) -> None:
    shocked = world_with(Shock(name="broken_field", onset=ONSET, size=0.25, field="vehicle_age", how="unit"))
    after = shocked.both().join(quiet.claims.select("claim_id", was="vehicle_age_years"), on="claim_id")
    after = after.filter(pl.col("claim_time").dt.timestamp("ms") >= ONSET_MS)
    hit = after["shock"].is_not_null()
    assert 0.2 < float(hit.to_numpy().mean()) < 0.3
    expected = pl.select(pl.when(hit).then(after["was"] * 12).otherwise(after["was"])).to_series()
    assert after["vehicle_age_years"].equals(expected.alias("vehicle_age_years"))


@pytest.mark.parametrize("size", [-0.5, 0.4])
def test_holiday_changes_the_number_and_the_hours_of_claims_and_later_days_make_up_for_it(
    quiet: Simulated, world_with: Callable[..., Simulated], size: float
) -> None:
    shocked = world_with(Shock(name="holiday", onset=ONSET, size=size))
    fortnight = pl.col("claim_time").dt.timestamp("ms").is_between(ONSET_MS, ONSET_MS + 14 * 86_400_000, closed="left")
    claims = [world.claims.filter(fortnight) for world in (shocked, quiet)]
    assert abs(claims[0].height / claims[1].height - 1.0 - size) < 0.15
    assert claims[0].height == shocked.truth["shock"].count()
    hours = [part["claim_time"].dt.convert_time_zone("Europe/Berlin").dt.hour() for part in claims]
    early = [float(hour.is_in([7, 8]).to_numpy().mean()) for hour in hours]
    assert early[0] < 0.6 * early[1]


def test_labels_of_a_backlog_are_known_as_many_days_later(
    quiet: Simulated, world_with: Callable[..., Simulated]
) -> None:
    shocked = world_with(Shock(name="label_backlog", onset=ONSET, size=45.0, days=30))
    rows = shocked.truth.join(quiet.truth.select("claim_id", was="label_known_at"), on="claim_id")
    late = pl.col("was").dt.timestamp("ms").is_between(ONSET_MS, ONSET_MS + 30 * 86_400_000, closed="left")
    expected = pl.when(late).then(pl.col("was") + pl.duration(days=45)).otherwise(pl.col("was"))
    assert rows.select(pl.col("label_known_at").eq_missing(expected).all()).item()
    assert rows.select((pl.col("shock").is_not_null() == late.fill_null(value=False)).all()).item()
    assert rows["shock"].count() > 50
    assert shocked.report.n_labelled <= quiet.report.n_labelled


def test_all_shocks_together_are_told_to_the_judge(world_with: Callable[..., Simulated]) -> None:
    shocks = tuple(Shock(name=name) for name in SHOCKS)
    shocked = world_with(*shocks)
    told = json.loads((shocked.output / "shocks.json").read_text())["shocks"]
    assert [shock["name"] for shock in told] == list(SHOCKS)
    assert told[0]["size"] == 0.18
    assert told[0]["onset_ms"] == shocked.report.starts_ms + 255 * 86_400_000 - 3_600_000  # summer time
    assert {name for names in shocked.truth["shock"].drop_nulls() for name in names.split(",")} == set(SHOCKS)
    assert shocked.report.as_dict()["shocks"][0]["name"] == "amounts"


def test_chunks_do_not_change_the_rows_of_a_shocked_world(tmp_path: Path) -> None:
    shocks = tuple(
        Shock(
            name=name,
            field="make" if name == "broken_field" else None,
            how="renamed" if name == "broken_field" else None,
        )
        for name in SHOCKS
    )
    whole, cut = (
        simulate_motor_claims(
            N_CLAIMS,
            SEED,
            tmp_path / str(rows),
            shocks=shocks,
            planted_pairs=3,
            chunk_rows=rows,
            **SETTINGS,
        )
        for rows in (131_072, 1_000)
    )
    assert whole.digest == cut.digest
    for name in ("claims.parquet", "truth.parquet", "policy_changes.parquet", "planted_pairs.parquet"):
        assert pl.read_parquet(whole.output / name).equals(pl.read_parquet(cut.output / name)), name


def test_a_shock_may_come_after_the_history(quiet: Simulated, world_with: Callable[..., Simulated]) -> None:
    shock = Shock(name="amounts", onset=date(2025, 2, 1), size=0.5)
    assert world_with(shock).claims.equals(quiet.claims)
    live = list(live_claims(SEED, n_events=N_CLAIMS, shocks=(shock,), **SETTINGS))
    usual = list(live_claims(SEED, n_events=N_CLAIMS, **SETTINGS))
    changed = [now.event["amount"] != then.event["amount"] for now, then in zip(live, usual, strict=True)]
    assert changed == [claim.shock == "amounts" for claim in live]
    assert 0.7 < float(np.mean(changed)) < 0.9


def test_live_claims_carry_a_broken_field() -> None:
    shock = Shock(name="broken_field", onset=0.9, field="lawyer")
    live = live_claims(SEED, n_events=N_CLAIMS, shocks=(shock,), **SETTINGS)
    assert not any("lawyer" in claim.event["entities"] for claim in live)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flood", "shock is 'flood'; known shocks: amounts, new_pattern"),
        ("amounts:onset=1.5", "onset of shock amounts is 1.5; give a share"),
        ("amounts:onset=1", "onset of shock amounts is 1.0; give a share"),
        ("amounts:onset=soon", "onset of shock amounts is 'soon'; give a share"),
        ("amounts:onset=2001-01-01", "onset of shock amounts is '2001-01-01'; choose a date from 2024-01-03"),
        ("amounts:size=99", "size of shock amounts is 99.0; it is the relative change of honest amounts: choose"),
        ("amounts:size=much", "size of shock amounts is 'much'; give a number"),
        ("amounts:colour=red", "'colour=red'; write NAME:option=value"),
        ("amounts:size=1,size=2", "'size=2'; write NAME:option=value"),
        ("holiday:days=1.5", "days of shock holiday is '1.5'; give a whole number"),
        ("amounts:days=3", "days of shock amounts is 3; leave it out"),
        ("amounts:field=make", "field of shock amounts is 'make'; leave it out"),
        ("holiday:days=0", "days of shock holiday is 0; choose a value from 1 to 365"),
        ("holiday:onset=0.99", "begin at least 28 days before the period ends"),
        ("broken_field:field=colour", "known fields: vehicle_age"),
        ("broken_field:field=lawyer,how=unit", "lawyer can be broken by: null, renamed"),
    ],
)
def test_a_shock_that_cannot_be_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(WorldSettingError) as refused:
        WorldSettings(n_events=1_000, seed=1, shocks=(parse_shock(text),), days=365)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"onset": "soon"}, "onset of shock holiday is 'soon'; give a share"),
        ({"onset": None}, "onset of shock holiday is None; give a share"),
        ({"size": "much"}, "size of shock holiday is 'much'; give a number"),
        ({"days": 1.5}, "days of shock holiday is 1.5; give a whole number"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(WorldSettingError, match=message):
        Shock(name="holiday", **setting)


def test_dates_and_shocks_may_be_text(quiet: Simulated) -> None:
    assert Shock(name="amounts", onset="2024-08-01") == Shock(name="amounts", onset=ONSET)
    assert Shock(name="amounts", onset=datetime(2024, 8, 1, 12, tzinfo=UTC)) == Shock(name="amounts", onset=ONSET)
    given = {**SETTINGS, "ends": "2025-01-01", "shocks": ["amounts:onset=2025-02-01,size=0.5"]}
    shock = Shock(name="amounts", onset=date(2025, 2, 1), size=0.5)
    as_text = list(live_claims(SEED, n_events=1_000, **given))
    assert as_text == list(live_claims(SEED, n_events=1_000, shocks=[shock], **SETTINGS))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ends": "tomorrow"}, "ends is 'tomorrow'; give a date"),
        ({"shocks": ["flood"]}, "shock is 'flood'; known shocks"),
        ({"shocks": "holiday"}, "shocks is 'holiday'; give a list"),
        ({"shocks": [7]}, "a shock is 7; give a Shock"),
        ({"seed": 2**63}, f"seed is {2**63}; choose a value from 0"),
        ({"n_events": 1e4}, "n_events is 10000.0; choose a whole number"),
        ({"fraud_rate": "1 %"}, "fraud_rate is '1 %'; choose a number"),
    ],
)
def test_a_setting_of_another_type_is_refused_by_name(setting: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(WorldSettingError, match=message):
        simulate_motor_claims(**{"n_events": 1_000, "seed": 2**63 - 1, "output": tmp_path / "new", **setting})
    assert not (tmp_path / "new").exists()


def test_a_renamed_field_is_told_with_both_names(world_with: Callable[..., Simulated]) -> None:
    shock = Shock(name="broken_field", onset=ONSET, field="vehicle_make", how="renamed")
    (told,) = json.loads((world_with(shock).output / "shocks.json").read_text())["shocks"]
    assert (told["field"], told["column"], told["new_column"]) == ("make", "vehicle_make", "make")
    assert {told["column"], told["new_column"]} <= set(world_with(shock).claims.columns)
    assert "new_column" not in Shock(name="broken_field", field="make").as_dict()


def test_a_shock_comes_at_most_once() -> None:
    with pytest.raises(WorldSettingError, match="each shock at most once"):
        WorldSettings(n_events=1_000, seed=1, shocks=(Shock(name="amounts"), Shock(name="amounts", onset=0.5)))


def test_a_shock_reads_as_it_is_written() -> None:
    shock = parse_shock("broken_field:onset=2024-06-01,size=0.5,field=region,how=junk")
    assert shock == Shock(name="broken_field", onset=date(2024, 6, 1), size=0.5, field="region", how="junk")
    assert parse_shock("broken_field:field=vehicle_make") == Shock(name="broken_field", field="make")
    assert parse_shock("holiday") == Shock(name="holiday", onset=0.7, size=-0.45, days=14)

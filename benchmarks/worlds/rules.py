# SPDX-License-Identifier: Apache-2.0
"""Fifteen hand rules as motor insurers keep them: each readable alone, each decided by what was known at the claim.

A rule is a Polars expression over `rule_frame`: the claim's own columns and counts of what came before it. Where a
world has no such column (no photographs, say), its count is 0 and the rule stays silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.worlds.judged import Judged
from benchmarks.worlds.sightings import DAY_MS, Bools, Ints, Links, Sightings, links_before, most, pair
from ringfence.models import bootstrap

c = pl.col

AUTHORITY_LIMITS: Final = (5_000.0, 10_000.0, 25_000.0)  # EUR, up to which a clerk pays without a second signature


@dataclass(frozen=True)
class Rule:
    name: str
    sentence: str
    fires: pl.Expr


def _just_under(limits: tuple[float, ...]) -> pl.Expr:
    return pl.any_horizontal((c("amount") < limit) & (c("amount") >= 0.99 * limit) for limit in limits)


RULES: Final = (
    Rule(
        "young policy, large amount",
        "the contract is under 30 days old and the amount is 10,000 EUR or more",
        (c("policy_age_days") < 30) & (c("amount") >= 10_000),
    ),
    Rule(
        "third claim in a year",
        "the claimant has made two or more claims in the last 365 days, and the contract is under 90 days old",
        (c("claimant_claims_365d") >= 2) & (c("policy_age_days") < 90),
    ),
    Rule(
        "lawyer from the first days",
        "a lawyer is named, the report came within a day, and the contract is under 60 days old",
        c("has_lawyer") & (c("reported_after_days") <= 1) & (c("policy_age_days") < 60),
    ),
    Rule(
        "alone at night",
        "a single-vehicle accident between 22 and 5 o'clock that nobody saw",
        (c("claim_type") == "single_vehicle") & ((c("hour") >= 22) | (c("hour") < 5)) & (c("n_witnesses") == 0),
    ),
    Rule(
        "reported late, large amount",
        "reported 10 days after the accident or later, for 10,000 EUR or more",
        (c("reported_after_days") >= 10) & (c("amount") >= 10_000),
    ),
    Rule(
        "injury nobody saw",
        "a doctor and a lawyer but no witness, for 15,000 EUR or more",
        c("has_doctor") & c("has_lawyer") & (c("n_witnesses") == 0) & (c("amount") >= 15_000),
    ),
    Rule(
        "shop of many large bills",
        "the repair shop has billed 25,000 EUR or more four times in the last 90 days, in 30 % of its claims or more",
        (c("shop_large_90d") >= 4) & (c("shop_large_90d") >= 0.3 * c("shop_claims_90d")),
    ),
    Rule(
        "photograph seen before",
        "a picture of the damage was handed in with an earlier claim",
        c("photo_seen") >= 1,
    ),
    Rule(
        "witness by habit",
        "a witness of this claim has been a witness twice or more in the last 180 days",
        c("witness_witnessed_180d") >= 2,
    ),
    Rule(
        "just under a limit",
        "the amount is within one percent below 5,000, 10,000 or 25,000 EUR",
        _just_under(AUTHORITY_LIMITS),
    ),
    Rule(
        "contract changed just before",
        "the claimant changed the cover or the car of the contract in the 14 days before",
        c("contract_changes_14d") >= 1,
    ),
    Rule(
        "car passed on",
        "the car was in a claim in the last 30 days, made from another telephone number",
        c("vehicle_claims_30d") > c("vehicle_claims_same_phone_30d"),
    ),
    Rule(
        "old car, large amount",
        "the car is 15 years old or more and the amount is 25,000 EUR or more",
        (c("vehicle_age_years") >= 15) & (c("amount") >= 25_000),
    ),
    Rule(
        "claimant known for fraud",
        "an earlier claim of the claimant is known to be fraud",
        c("claimant_known_frauds") >= 1,
    ),
    Rule(
        "lawyer and doctor together",
        "this lawyer and this doctor have been in six or more claims together in the last 90 days",
        c("lawyer_doctor_90d") >= 6,
    ),
)


def rule_frame(world: Judged) -> pl.DataFrame:
    """Build what the rules read, a row per claim; counts look at strictly earlier moments only."""
    claims, time_ms = world.claims, world.time_ms
    claimant, vehicle, phone = _dense(world, "claimant"), _dense(world, "vehicle"), world.telephone()
    shop, lawyer, doctor = _dense(world, "repair_shop"), _dense(world, "lawyer"), _dense(world, "doctor")
    witness, photo = _links(world, "witness"), _links(world, "photo")
    large = claims["claim_amount"].to_numpy() >= 25_000.0
    changed = world.changes.filter(c("change").is_in(["cover", "vehicle"]))
    change_of = Sightings(
        world.codes_of("person", changed["person_id"]), changed["changed_at"].dt.timestamp("ms").to_numpy()
    )
    frauds_of = Sightings(claimant[world.label], world.label_ms[world.label])
    counts = {
        "claimant_claims_365d": _again(claimant, time_ms, 365),
        "claimant_known_frauds": frauds_of.before(claimant, time_ms),
        "contract_changes_14d": change_of.before(claimant, time_ms, 14 * DAY_MS),
        "shop_claims_90d": _again(shop, time_ms, 90),
        "shop_large_90d": Sightings(shop[large], time_ms[large]).before(shop, time_ms, 90 * DAY_MS),
        "photo_seen": most(world.n, photo, links_before(photo, photo, time_ms)),
        "witness_witnessed_180d": most(world.n, witness, links_before(witness, witness, time_ms, 180 * DAY_MS)),
        "vehicle_claims_30d": _again(vehicle, time_ms, 30),
        "vehicle_claims_same_phone_30d": _again(pair(vehicle, phone), time_ms, 30),
        "lawyer_doctor_90d": _again(pair(lawyer, doctor), time_ms, 90),
    }
    own: dict[str, pl.Series | NDArray[np.generic]] = {
        "amount": claims["claim_amount"],
        "hour": world.local.dt.hour(),
        "n_witnesses": np.bincount(witness.row, minlength=world.n),
        "has_lawyer": lawyer >= 0,
        "has_doctor": doctor >= 0,
    }
    named = claims.select("policy_age_days", "vehicle_age_years", "reported_after_days", "claim_type")
    return named.with_columns(**{name: pl.Series(values) for name, values in (own | counts).items()})


def fired(world: Judged) -> pl.DataFrame:
    """Say which rules fire, one boolean column per rule, null-free."""
    return rule_frame(world).select(rule.fires.fill_null(False).alias(rule.name) for rule in RULES)


@dataclass(frozen=True)
class Catch:
    """What a rule does among the claims after the cut."""

    flagged: float  # share of claims
    caught: float  # share of fraud
    precision: float  # share of fraud among the flagged; NaN where nothing is flagged
    low: float  # 95 % interval of `caught`
    high: float


def catches(world: Judged) -> dict[str, Catch]:
    """Judge each rule, and all of them together (`any rule`), by the truth."""
    table = fired(world)[world.tested_on]
    fraud = world.fraud[world.tested_on]
    result = {name: catch(table[name].to_numpy(), fraud) for name in table.columns}
    return result | {"any rule": catch(table.select(pl.any_horizontal(pl.all())).to_series().to_numpy(), fraud)}


def catch(flagged: Bools, fraud: Bools) -> Catch:
    share = bootstrap(
        {"caught": lambda label, flag, weight: float(np.average(flag, weights=weight))},
        np.ones(int(fraud.sum()), dtype=np.int8),
        flagged[fraud].astype(np.float64),
        seed=1,
    )["caught"]
    precision = float(fraud[flagged].mean()) if flagged.any() else float("nan")
    return Catch(float(flagged.mean()), float(flagged[fraud].mean()), precision, share.low, share.high)


def _again(code: Ints, time_ms: Ints, days: int) -> Ints:
    return Sightings(code, time_ms).before(code, time_ms, days * DAY_MS)


def _links(world: Judged, role: str) -> Links:
    nobody = np.empty(0, dtype=np.int64)
    return world.links.get(role, Links(role, nobody, nobody))


def _dense(world: Judged, role: str) -> Ints:
    return _links(world, role).dense(world.n)

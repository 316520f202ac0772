# SPDX-License-Identifier: Apache-2.0
"""The same world after its history ends, claim by claim, in the form that the API takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from ringfence.simulate.motor.settings import WorldSettings, as_date
from ringfence.simulate.motor.shocked import ShockedWorld, shocked_table
from ringfence.simulate.motor.tables import Printer, claim_table, truth_table
from ringfence.simulate.shocks import Shock, as_shocks

_ROLES: Final = {
    "claimant": "claimant_id", "vehicle": "vehicle_id", "repair_shop": "repair_shop_id", "lawyer": "lawyer_id",
    "doctor": "doctor_id", "witness": "witness_ids", "broker": "broker_id", "household": "household_id",
    "place": "place_id", "photo": "photo_hashes",
}  # fmt: skip
_ATTRIBUTES: Final = (
    "policy_age_days", "vehicle_age_years", "reported_after_days", "vehicle_make", "claim_type", "region", "narrative",
    "sex", "phone",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LiveClaim:
    """A claim as the service gets it, and beside it what only the judge knows."""

    event: dict[str, Any]  # the body of POST /v1/decisions
    event_time_ms: int
    fraud: bool
    kind: str  # honest, staged_accident, shop_collusion, ghost_injury, storage_fees
    ring_id: str | None
    label: str | None  # "fraud" or "legit": what the investigators will say, right or wrong; None: never known
    label_known_at_ms: int | None
    shock: str | None = None  # names of the shocks that touched it, with commas between


def live_claims(
    seed: int,
    *,
    n_events: int,
    fraud_rate: float = 0.0056,
    days: int = 730,
    ends: date | str = date(2025, 1, 1),
    investigated: float = 0.30,
    shocks: Sequence[Shock | str] = (),
) -> Iterator[LiveClaim]:
    """Yield the claims of the 180 days after the history, in order of time.

    Takes the settings that made the history (`simulate_motor_claims`): persons, shops, rings and ids go on where it
    stopped, at the same number of claims a day, `n_events * 180 // days` in all. No event id occurs in the history.
    Claims only: which contracts start, change or lapse in these days is not told.

    Raises
    ------
    WorldSettingError
        If a setting is outside its bounds.
    """
    settings = WorldSettings(
        n_events=n_events, seed=seed, fraud_rate=fraud_rate, days=days, ends=as_date(ends), investigated=investigated,
        shocks=as_shocks(shocks),
    )  # fmt: skip
    return _claims(settings)


def _claims(settings: WorldSettings) -> Iterator[LiveClaim]:
    world, printer = ShockedWorld(settings), Printer(settings)
    for block in world.blocks(world.live):
        rows = shocked_table(claim_table(block, printer, world.population, 0), block, settings)
        truth = truth_table(block, printer).with_columns(pl.col("claim_time", "label_known_at").dt.timestamp("ms"))
        for row, known in zip(rows.iter_rows(named=True), truth.iter_rows(named=True), strict=True):
            yield LiveClaim(
                event=_canonical(row),
                event_time_ms=known["claim_time"],
                fraud=known["fraud"],
                kind=known["kind"],
                ring_id=known["ring_id"],
                label=None if known["label"] is None else ("legit", "fraud")[known["label"]],
                label_known_at_ms=known["label_known_at"],
                shock=known["shock"],
            )


def _canonical(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_type": "claim",
        "event_id": row["claim_id"],
        "event_time": row["claim_time"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "amount": row["claim_amount"],
        "entities": {role: row[column] for role, column in _ROLES.items() if row[column]},
        "attributes": {name: row[name] for name in _ATTRIBUTES if row[name] is not None},
    }

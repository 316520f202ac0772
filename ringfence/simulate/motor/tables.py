# SPDX-License-Identifier: Apache-2.0
"""From indices to what an insurer's files show: printed ids, dates, categories, text; and, apart from it, the truth."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from ringfence.simulate.motor.claims import Claims, touched_by
from ringfence.simulate.motor.narratives import CLAIM_TYPES, narratives
from ringfence.simulate.motor.plans import CLAIMANT_ROLES, DECOYS, KINDS
from ringfence.simulate.motor.population import FAMILY, MAKES, REGIONS, Population
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.printed_ids import IdPrinter
from ringfence.simulate.traits import Bools, Ints

_PREFIX: Final = {
    "claim": "CL", "person": "P", "household": "H", "vehicle": "V", "shop": "S", "lawyer": "L", "doctor": "D",
    "broker": "B", "place": "X", "photo": "F", "ring": "R", "change": "PC",
}  # fmt: skip
_TIME: Final = pl.Datetime("ms", "UTC")


class Printer(IdPrinter):
    """Writes indices as the ids that the insurer uses."""

    def __init__(self, settings: WorldSettings) -> None:
        super().__init__(settings.seed, _PREFIX)


def claim_table(claims: Claims, printer: Printer, population: Population, known_until_ms: int) -> pl.DataFrame:
    """The insurer's view, one row per claim. Labels known at or after `known_until_ms` are not in it yet."""
    known = (claims.label >= 0) & (claims.known_ms < known_until_ms)
    return pl.DataFrame(
        {
            "claim_id": printer.ids("claim", claims.number),
            "claim_time": pl.Series(claims.time_ms).cast(_TIME),
            "claim_amount": claims.amount_minor / 100.0,
            "claimant_id": printer.ids("person", claims.claimant),
            "household_id": printer.ids("household", claims.household),
            "vehicle_id": printer.ids("vehicle", claims.vehicle),
            "repair_shop_id": printer.ids("shop", claims.shop),
            "lawyer_id": printer.ids("lawyer", claims.lawyer),
            "doctor_id": printer.ids("doctor", claims.doctor),
            "broker_id": printer.ids("broker", claims.broker),
            "place_id": printer.ids("place", claims.place),
            "witness_ids": _lists(printer, "person", claims.witness),
            "photo_hashes": _lists(printer, "photo", claims.photo),
            "policy_age_days": claims.policy_age_days,
            "vehicle_age_years": claims.vehicle_age_years,
            "reported_after_days": _nullable(claims.reported_after_days, claims.reported_after_days >= 0),
            "vehicle_make": _named(MAKES, population.make_of(claims.vehicle)),
            "claim_type": _named(CLAIM_TYPES, claims.claim_type),
            "region": _named(REGIONS, claims.region),
            "narrative": narratives(claims.claim_type, claims.text),
            "sex": _named(("m", "f"), population.is_female(claims.claimant).astype(np.int64)),
            "phone": "+49 15" + printer.ids("person", claims.claimant // FAMILY + (1 << 34)).str.slice(1),
            "is_fraud": _nullable(claims.label, known).cast(pl.Int8),
            "label_time": _nullable(claims.known_ms, known).cast(_TIME),
        }
    )


def truth_table(claims: Claims, printer: Printer) -> pl.DataFrame:
    """What only the judge sees, one row per claim."""
    return pl.DataFrame(
        {
            "claim_id": printer.ids("claim", claims.number),
            "claim_time": pl.Series(claims.time_ms).cast(_TIME),
            "fraud": claims.kind > 0,
            "kind": _named(KINDS, claims.kind),
            "ring_id": printer.ids("ring", claims.ring),
            "claimant_role": _named(CLAIMANT_ROLES, claims.kind),
            "decoy": _named(DECOYS, claims.decoy),
            "hailstorm": _nullable(claims.storm, claims.storm >= 0),
            "label": _nullable(claims.label, claims.label >= 0).cast(pl.Int8),
            "label_known_at": _nullable(claims.known_ms, claims.label >= 0).cast(_TIME),
            "shock": touched_by(claims),
        }
    ).with_columns(pl.col("claimant_role", "decoy").replace("", None))


def _named(names: tuple[str, ...], index: Ints) -> pl.Series:
    return pl.Series(names).gather(index)


def _nullable(values: Ints, present: Bools) -> pl.Series:
    return pl.select(pl.when(pl.Series(present)).then(pl.Series(values))).to_series()


def _lists(printer: IdPrinter, kind: str, index: Ints) -> pl.Series:
    """The ids of each row's slots, shape (n, slots), as a list without the empty ones."""
    slots = [printer.ids(kind, index[:, slot]).alias(str(slot)) for slot in range(index.shape[1])]
    return pl.DataFrame(slots).select(pl.concat_list(pl.all()).list.drop_nulls()).to_series()

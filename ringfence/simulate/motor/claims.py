# SPDX-License-Identifier: Apache-2.0
"""A block of claims as columns of numbers: what the insurer sees and what only the judge knows, not yet printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import polars as pl

from ringfence.simulate.shocks import SHOCKS
from ringfence.simulate.traits import Floats, Ints


@dataclass(frozen=True)
class Claims:
    """k claims in order of time; entities are indices, -1 where there is none."""

    number: Ints  # (k,) unique in the world; printed scrambled
    time_ms: Ints
    kind: Ints
    ring: Ints
    storm: Ints
    decoy: Ints
    region: Ints
    claim_type: Ints
    amount_minor: Ints
    claimant: Ints
    household: Ints
    vehicle: Ints
    shop: Ints
    lawyer: Ints
    doctor: Ints
    broker: Ints
    place: Ints
    witness: Ints  # (k, MAX_WITNESSES)
    photo: Ints  # (k, MAX_PHOTOS)
    policy_age_days: Ints
    vehicle_age_years: Ints
    reported_after_days: Ints  # -1 where not given
    text: Floats  # (6, k) what the narrative is made of
    label: Ints  # 1 fraud, 0 legit, -1 never known
    known_ms: Ints  # when the label is known; 0 where there is none

    def __len__(self) -> int:
        return int(self.number.shape[0])

    def in_order(self, order: Ints) -> Self:
        return type(self)(
            **{name: column[:, order] if name == "text" else column[order] for name, column in vars(self).items()}
        )


@dataclass(frozen=True)
class ShockedClaims(Claims):
    """Claims of a world with shocks."""

    shock: Ints  # (k,) the bits of the shocks that touched each claim


def touched_by(claims: Claims) -> pl.Series:
    """Name the shocks that touched each claim, with commas between; null for none."""
    if not isinstance(claims, ShockedClaims):
        return pl.Series([None] * len(claims), dtype=pl.String)
    told = [",".join(name for bit, name in enumerate(SHOCKS) if mask >> bit & 1) for mask in range(1 << len(SHOCKS))]
    return pl.Series(told, dtype=pl.String).replace("", None).gather(claims.shock)

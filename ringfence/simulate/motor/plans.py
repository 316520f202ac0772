# SPDX-License-Identifier: Apache-2.0
"""What is decided about some claims before the claims are made.

Rings, circles and hailstorms span months, so they are planned for the whole world at once. They are few; a planned
claim takes about 200 bytes. Everything a plan leaves open is drawn with the ordinary claims of its block, from the same
distributions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from ringfence.simulate.traits import Floats, Ints

KINDS: Final = ("honest", "staged_accident", "shop_collusion", "ghost_injury", "storage_fees", "planted")
HONEST, STAGED, COLLUSION, GHOST, STORAGE, PLANTED = range(6)
CLAIMANT_ROLES: Final = (
    "",
    "driver",
    "customer",
    "patient",
    "customer",
    "driver",
)  # of the claimant in the ring, by kind
DECOYS: Final = ("", "hailstorm", "circle", "camouflage", "fleet", "sent_twice")
STORM, CIRCLE, CAMOUFLAGE, FLEET, RESENT = range(1, 6)
MAX_WITNESSES: Final = 3
# Rings that shocks bring, and planted ones, are numbered from here on: no world plans so many of its own.
FIRST_SHOCK_RING: Final = 1 << 24
FIRST_YARD_RING: Final = 1 << 25
FIRST_PLANTED_RING: Final = 1 << 26


@dataclass(frozen=True)
class Planned:
    """P planned claims. -1 (NaN, inf) leaves the choice to the ordinary draw."""

    day: Ints  # (P,) day of the world
    kind: Ints  # (P,) index into KINDS
    decoy: Ints  # (P,) index into DECOYS; 0 for fraud
    ring: Ints  # (P,) ring, numbered through all kinds, or -1
    storm: Ints  # (P,) hailstorm, or -1
    region: Ints  # (P,)
    claim_type: Ints  # (P,) index into CLAIM_TYPES
    claimant: Ints  # (P,) person
    household: Ints  # (P,) address
    vehicle: Ints  # (P,)
    shop: Ints  # (P,) used only where the claim names a shop at all, and so for lawyer and doctor
    lawyer: Ints  # (P,)
    doctor: Ints  # (P,)
    broker: Ints  # (P,)
    place: Ints  # (P,)
    witness: Ints  # (P, MAX_WITNESSES) persons
    photo: Ints  # (P,) index of a photo shown before
    story: Ints  # (P,) claims with the same story repeat each other's words
    policy_start_day: Floats  # (P,) day on which the claimant's contract began; NaN: as for everybody
    uncovered_day: Floats  # (P,) day on which investigators find the ring; inf: never


def planned(n: int, **columns: Any) -> Planned:
    """Make n plans of the columns given; all else is left open. `day` and `region` must be given."""
    open_choice = np.full(n, -1, dtype=np.int64)
    otherwise: dict[str, Any] = {field.name: open_choice for field in fields(Planned)}
    otherwise |= {
        "kind": np.full(n, HONEST, dtype=np.int64),
        "decoy": np.zeros(n, dtype=np.int64),
        "witness": np.full((n, MAX_WITNESSES), -1, dtype=np.int64),
        "policy_start_day": np.full(n, np.nan),
        "uncovered_day": np.full(n, np.inf),
    }
    return Planned(**(otherwise | columns))


def together(parts: list[Planned]) -> Planned:
    return Planned(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Planned)))


def group_sizes(rng: np.random.Generator, n: int, typical: float, least: int) -> Ints:
    """Cut n claims into groups of long-tailed size; the last takes what is left."""
    draws = np.maximum(least, rng.lognormal(np.log(typical), 0.45, n // least + 1)).astype(np.int64)
    n_groups = int(np.searchsorted(np.cumsum(draws), n)) + 1
    sizes = draws[:n_groups]
    sizes[-1] -= int(sizes.sum()) - n
    return sizes

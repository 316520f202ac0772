# SPDX-License-Identifier: Apache-2.0
"""Is it like an insurer's files? Hours, weekdays, first digits, how often ids return, and where the money lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.worlds.judged import Judged, column_of
from benchmarks.worlds.sightings import Floats, Ints

LARGE: Final = 25_000.0  # EUR
BENFORD: Final = np.log10(1.0 + 1.0 / np.arange(1, 10))
_FIRST_DIGITS_FROM: Final = 10.0  # EUR, the least amount whose first digit is read


@dataclass(frozen=True)
class Realism:
    hours: Floats  # (24,) share of honest claims by local hour
    fraud_hours: Floats
    weekdays: Floats  # (7,) Monday first, share of all claims
    first_digits: Floats  # (9,) of all amounts
    typed_digits: Floats  # (9,) of amounts that a person rounded: whole tens
    typed_share: float
    benford: float  # mean absolute deviation of `first_digits`
    typed_benford: float  # of `typed_digits`
    fraud_benford: float  # of the amounts of fraud alone
    reuse: dict[str, float]  # column -> share of its mentions whose id is in another claim too
    large_share: float  # claims above LARGE
    large_loss: float  # share of the amount of fraud that is in claims above LARGE
    large_fraud: float  # share of frauds above LARGE


def realism(world: Judged) -> Realism:
    fraud, amount = world.fraud, world.claims["claim_amount"].to_numpy()
    hour = world.local.dt.hour().to_numpy()
    typed = np.mod(np.rint(amount * 100.0), 1_000.0) == 0.0
    large = amount > LARGE
    reuse = {}
    for role, links in world.links.items():
        uses = np.bincount(links.code)
        reuse[column_of(world.claims, role)] = float((uses[links.code] > 1).mean())
    return Realism(
        hours=_shares(hour[~fraud], 24),
        fraud_hours=_shares(hour[fraud], 24),
        weekdays=_shares(world.local.dt.weekday().to_numpy() - 1, 7),
        first_digits=first_digits(amount),
        typed_digits=first_digits(amount[typed]),
        typed_share=float(typed.mean()),
        benford=deviation(amount),
        typed_benford=deviation(amount[typed]),
        fraud_benford=deviation(amount[fraud]),
        reuse=reuse,
        large_share=float(large.mean()),
        large_loss=float(amount[fraud & large].sum() / amount[fraud].sum()),
        large_fraud=float(large[fraud].mean()),
    )


def first_digits(amount: Floats) -> Floats:
    """Return the share of each first digit 1..9, shape (9,)."""
    amount = amount[amount >= _FIRST_DIGITS_FROM]
    leading = (amount / 10.0 ** np.floor(np.log10(amount) + 1e-12)).astype(np.int64)
    return _shares(np.clip(leading, 1, 9) - 1, 9)


def deviation(amount: Floats) -> float:
    """Return the mean absolute deviation of first digits from Benford's law."""
    return float(np.abs(first_digits(amount) - BENFORD).mean())


def _shares(code: Ints, n: int) -> Floats:
    return np.bincount(code, minlength=n) / max(len(code), 1)

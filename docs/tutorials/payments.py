# SPDX-License-Identifier: Apache-2.0
"""Write payments.csv and next-week.csv into the current folder: simulated card payments, the same on every machine.

Fraud happens in two ways. A shop leaks card numbers, and for two weeks they are used there; or a card is stolen and
used far from home. Honest people travel, too. What happened is known three days later, as a chargeback.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

N, N_CARDS, N_SHOPS, N_LEAKS = 8_000, 600, 40, 60
DAYS, HISTORY_DAYS, LEAK_DAYS = 127.0, 120.0, 10
START = datetime(2024, 1, 1, tzinfo=UTC)


def payments(seed: int = 7) -> pl.DataFrame:
    """Return the payments of 127 days in order of time."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.uniform(0.0, DAYS, N))
    card, shop = rng.integers(0, N_CARDS, N), rng.integers(0, N_SHOPS, N)
    leaks = np.zeros((N_SHOPS, int(DAYS)), bool)
    for leaking, since in zip(
        rng.integers(0, N_SHOPS, N_LEAKS), rng.integers(-LEAK_DAYS, int(DAYS), N_LEAKS), strict=True
    ):
        leaks[leaking, max(since, 0) : max(since + LEAK_DAYS, 0)] = True
    leaked = leaks[shop, day.astype(int)] & (rng.random(N) < 0.25)
    stolen = rng.random(N) < 0.02
    away = np.where(stolen, rng.random(N) < 0.9, rng.random(N) < 0.01)
    fraud = (leaked | stolen) & (rng.random(N) < 0.95)
    amount = rng.gamma(2.0, 30.0, N) * np.where(fraud, rng.uniform(0.8, 3.0, N), 1.0)
    # Whoever is not away pays within some twenty kilometres of home.
    home = np.column_stack((rng.uniform(47.5, 54.0, N_CARDS), rng.uniform(7.0, 14.0, N_CARDS)))[card]
    near = home + rng.normal(0.0, 0.1, (N, 2))
    far = np.column_stack((rng.uniform(36.0, 60.0, N), rng.uniform(-9.0, 30.0, N)))
    place = np.where(away[:, None], far, near)
    at = [START + timedelta(seconds=int(d * 86_400)) for d in day]
    told = [t + timedelta(days=3) if f else None for t, f in zip(at, fraud, strict=True)]
    return pl.DataFrame(
        {
            "payment_id": [f"p{i:04}" for i in range(N)],
            "paid_at": at,
            "amount_eur": amount.round(2),
            "card": [f"c{c:03}" for c in card],
            "shop": [f"shop-{s}" for s in shop],
            "online": rng.random(N) < 0.4,
            "home_lat": home[:, 0].round(3),
            "home_lon": home[:, 1].round(3),
            "paid_lat": place[:, 0].round(3),
            "paid_lon": place[:, 1].round(3),
            "chargeback_at": pl.Series(told, dtype=pl.Datetime("us", "UTC")),
            "is_fraud": fraud.astype(int),
        }
    )


def main() -> None:
    table = payments()
    ends = START + timedelta(days=HISTORY_DAYS)
    for name, part in (
        ("payments.csv", table.filter(pl.col("paid_at") < ends)),
        ("next-week.csv", table.filter(pl.col("paid_at") >= ends)),
    ):
        part.write_csv(name, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        print(f"{name}: {part.height:,} payments, {part['is_fraud'].sum()} of them fraud")


if __name__ == "__main__":
    main()

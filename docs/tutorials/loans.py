# SPDX-License-Identifier: Apache-2.0
"""Write applications.parquet into the current folder: four years of simulated loans, the same on every machine.

Whether a loan is paid back hangs on income, debt and employment, which the bank's scorecard knows; and on things that
it does not know: some brokers send loans that fail, and some employers lay people off from one day on. Everybody got
the loan, so that every label is there. Columns are those of the template `credit-applications`, and `scorecard`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

N, N_EMPLOYERS, N_BROKERS = 9_000, 80, 60
DAYS = 4 * 365.25
START = datetime(2020, 1, 1, tzinfo=UTC)


def applications(seed: int = 5) -> pl.DataFrame:
    """Return the applications of 2020 to 2023 in order of time, with what became of each within a year."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.uniform(0.0, DAYS, N))
    income = rng.lognormal(10.4, 0.55, N)
    debt = income * rng.gamma(1.2, 0.25, N)
    amount = rng.lognormal(9.0, 0.6, N)
    years = rng.gamma(1.5, 4.0, N)
    term = rng.choice([12, 24, 36, 48, 60, 72], N)
    employer, broker = rng.integers(0, N_EMPLOYERS, N), rng.integers(0, N_BROKERS, N)
    bad_broker = rng.random(N_BROKERS) < 0.2
    lays_off_from = np.where(rng.random(N_EMPLOYERS) < 0.3, rng.uniform(0.0, DAYS, N_EMPLOYERS), np.inf)
    burden = (debt + amount) / income
    known = -4.3 + 2.2 * burden - 0.12 * years + 0.015 * term
    hidden = 2.0 * bad_broker[broker] + 1.5 * (day > lays_off_from[employer])
    defaulted = rng.random(N) < 1.0 / (1.0 + np.exp(-known - hidden))
    return pl.DataFrame(
        {
            "application_id": [f"a{i:05}" for i in range(N)],
            "applied_at": [START + timedelta(minutes=int(d * 1_440)) for d in day],
            "loan_amount": amount.round(2),
            "applicant_id": [f"p{i}" for i in rng.integers(0, 7_000, N)],
            "employer_id": [f"e{i}" for i in employer],
            "broker_id": [f"b{i}" for i in broker],
            "iban": [f"DE{i}" for i in rng.integers(10**9, 10**10, N)],
            "term_months": term,
            "annual_income": income.round(),
            "existing_debt": debt.round(),
            "employment_years": years.round(1),
            "purpose": rng.choice(["car", "furniture", "debts", "travel"], N),
            "housing": rng.choice(["rent", "own", "parents"], N, p=[0.5, 0.4, 0.1]),
            "sex": rng.choice(["f", "m"], N),
            "birth_date": [date(1950, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 19_000, N)],
            "defaulted": defaulted.astype(int),
            "scorecard": (600 - 60 * (known + rng.normal(0.0, 0.5, N))).round().astype(int),
        }
    )


def main() -> None:
    table = applications()
    table.write_parquet("applications.parquet")
    print(f"applications.parquet: {table.height:,} applications, {100 * table['defaulted'].mean():.1f} % not paid back")


if __name__ == "__main__":
    main()

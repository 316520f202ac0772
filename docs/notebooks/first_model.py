# SPDX-License-Identifier: Apache-2.0
# %% [markdown]
# # A first model, from a CSV to a decision
#
# A table of card payments comes in, with what turned out about them. We say what its columns are, import it, train on
# what was known at some day, and look at what the model would have done with the payments after it.
#
# The payments are simulated here, so that the notebook needs nothing else. This page is executed by a test; its source
# is `first_model.py` beside it, and `python scripts/execute_notebook.py` makes the notebook from it.

# %% [markdown]
# ## The table
#
# Fraud happens in two ways: a shop leaks card numbers, and they are used in the two weeks after; some frauds
# stand alone. What happened is known three days later.

# %%
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

import ringfence

rng = np.random.default_rng(7)
n, days, n_shops = 6_000, 120.0, 30
day = np.sort(rng.uniform(0.0, days, n))
card, shop = rng.integers(0, 500, n), rng.integers(0, n_shops, n)
leaks_from = np.where(rng.random(n_shops) < 0.7, rng.uniform(0.0, days, n_shops), np.inf)
after_leak = (day > leaks_from[shop]) & (day < leaks_from[shop] + 14.0)
fraud = rng.random(n) < np.where(after_leak, 0.4, 0.01)
amount = rng.gamma(2.0, 30.0, n) * np.where(fraud, rng.uniform(1.0, 4.0, n), 1.0)

start = datetime(2024, 1, 1, tzinfo=UTC)
payments = pl.DataFrame(
    {
        "payment": [f"p{i:04}" for i in range(n)],
        "paid_at": [start + timedelta(minutes=int(d * 1440)) for d in day],
        "eur": amount.round(2),
        "card": card,
        "shop": [f"shop-{s}" for s in shop],
        "online": rng.random(n) < 0.4,
        "fraud": fraud.astype(int),
    }
)
folder = Path("first-model")
folder.mkdir()
payments.write_csv(folder / "payments.csv")
payments.head(3)

# %% [markdown]
# ## What its columns are
#
# `ringfence init --from payments.csv` drafts this file and says why it guessed what it guessed. Here it is written out.

# %%
(folder / "ringfence.yaml").write_text(
    """
scenarios:
  payments:
    decide: payment
    sources: {payment: payments.csv}
    windows: [1d, 7d]
    events:
      payment:
        event_id: payment
        event_time: paid_at
        amount: {field: eur, currency: EUR}
        entities: {card: card, shop: shop}
        attributes: {online: boolean}
        label: {field: fraud, values: {fraud: [1], legit: [0]}, delay: 3d}
"""
)
(folder / "policies").mkdir()
_ = (folder / "policies" / "payments.yaml").write_text(
    """
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0, fixed: 20}
  review: {cost: 6, detects: 0.9}
  false_decline: {fixed: 40, amount_share: 0}
capacity: {reviews_per_day: 5}
"""
)

# %% [markdown]
# ## Import
#
# Rows enter the ledger in time order, each label at the moment it became known. A row that cannot be read would be
# listed with its line and reason. The same import again adds nothing.

# %%
work = ringfence.open(folder)
work.import_().select("n_events", "n_labels", "n_rejected")

# %%
work.events().group_by("is_fraud").agg(pl.len().alias("payments"), pl.col("amount").mean().round(2)).sort("is_fraud")

# %% [markdown]
# ## Train on what was known on the first of April
#
# Nothing that became known later is fitted. Payments after that day are scored for the report alone.

# %%
work.train(until="2024-04-01").select("n_examples", "n_fraud", "until")

# %%
work.evaluate().select("measured_on", "n", "n_fraud", "figure", pl.col("value", "low", "high").round(3))

# %% [markdown]
# The intervals are wide: there are few frauds in a month. `ringfence evaluate` names the report, which shows more.
#
# ## Decide
#
# Each payment since then, scored from what was known just before it, with the action that costs least.

# %%
scored = work.score("2024-04-01")
known = scored.join(work.events().select("event_id", "amount", "is_fraud"), on="event_id")
known.group_by("action").agg(
    pl.len().alias("payments"),
    pl.col("is_fraud").mean().round(3).alias("share_fraud"),
    pl.col("amount").filter(pl.col("is_fraud")).sum().round(2).alias("fraud_eur"),
).sort("action")

# %%
known.sort("score", descending=True).select("event_id", "event_time", "amount", "score", "action", "is_fraud").head(5)

# %% [markdown]
# ## The same features, for a model of your own
#
# `features` takes who and when, and returns what was known then: nothing of the payment itself, nothing later.

# %%
worst = f"shop-{int(np.argmin(leaks_from))}"  # the first one that leaked
spine = pl.DataFrame({"shop": [worst] * 4, "time": ["2024-01-02", "2024-01-12", "2024-02-01", "2024-04-01"]})
work.features(spine, only=["shop.count_7d", "shop.known_count_7d", "shop.fraud_count", "shop.fraud_rate"])

# %% [markdown]
# ## Decide live
#
# `ringfence serve -w first-model` answers with the release that we just made, from the same ledger and the same
# features; [the quickstart](../quickstart.md) goes on from there.

# SPDX-License-Identifier: Apache-2.0
"""Events: the decided ones of the ledger, with the labels that stand now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from ringfence.ledger.ledger import Ledger


def decided_events(ledger: Ledger, from_ms: int | None = None, to_ms: int | None = None) -> pl.DataFrame:
    """Return the decided events of a ledger; bounds and columns as in `OpenWorkspace.events`."""
    import polars as pl

    from ringfence.scenario.batch import FRAUD

    amount = ledger.scenario.decided.amount
    minor = 10.0 ** (0 if amount is None else amount.digits)
    until = ledger.last_seq
    found = ledger.events(-(2**62) if from_ms is None else from_ms, to_ms, until)
    # Polars divides by a number as it multiplies by its inverse: 94.35 would come back as 94.35000000000001.
    major = found["amount_minor"].cast(pl.Float64).fill_null(float("nan")).to_numpy() / minor
    return (
        found.with_columns(amount=pl.Series(major, nan_to_null=True))
        .join(ledger.labels(until), left_on="seq", right_on="event_seq", how="left")
        .sort("seq")
        .select(
            "seq",
            "event_id",
            pl.col("event_time_ms").cast(pl.Datetime("ms", "UTC")).alias("event_time"),
            "amount",
            is_fraud=pl.col("value") == FRAUD,
            known_at=pl.col("known_at_ms").cast(pl.Datetime("ms", "UTC")),
            source="source",
        )
    )

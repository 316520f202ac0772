# SPDX-License-Identifier: Apache-2.0
"""A field that breaks: from some day on it comes in another unit, spelled otherwise, empty, as junk, or renamed."""

from __future__ import annotations

from typing import Final

import polars as pl

from ringfence.simulate.shocks import FIELD_COLUMNS, RENAMED_COLUMNS, Shock
from ringfence.simulate.traits import Bools

_UNITS: Final = {
    "vehicle_age": pl.col("vehicle_age_years") * 12,  # months
    "policy_age": pl.col("policy_age_days") // 30,  # months
    "reported_after": pl.col("reported_after_days") * 24,  # hours
}
_JUNK_NUMBER: Final = 9_999
_JUNK_TEXT: Final = "n/a"


def broken(table: pl.DataFrame, hit: Bools, shock: Shock) -> pl.DataFrame:
    """Break the field of the claims that are hit.

    Parameters
    ----------
    table : the insurer's claims, as `claim_table` lays them out.
    hit : shape (k,), which rows.
    shock : a `broken_field`.

    Returns
    -------
    The same rows. Columns keep their types; `renamed` adds one column, filled where the old one no longer is.
    """
    field, how = str(shock.field), str(shock.how)
    column = FIELD_COLUMNS[field]
    dtype = table.schema[column]
    where = pl.lit(pl.Series(hit))
    if how == "unit":
        value = _UNITS[field]
    elif how == "spelling":
        value = pl.col(column).str.to_uppercase() if field == "make" else pl.col(column).str.replace("-", "")
    elif how == "junk":
        value = pl.lit(_JUNK_TEXT) if dtype == pl.String else pl.lit(_JUNK_NUMBER)
    else:
        value = pl.lit(None)
    changed = pl.when(where).then(value.cast(dtype)).otherwise(pl.col(column)).alias(column)
    if how != "renamed":
        return table.with_columns(changed)
    return table.with_columns(changed, pl.when(where).then(pl.col(column)).alias(RENAMED_COLUMNS[field]))

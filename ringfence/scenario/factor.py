# SPDX-License-Identifier: Apache-2.0
"""A column as its distinct values and a code per row, so that dear work is done once per distinct value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray


class Factor(NamedTuple):
    codes: NDArray[np.int64]  # (n,) index into `uniques`, -1 where missing
    uniques: pl.Series  # distinct, without null, in order of first appearance


def factorise(values: pl.Series) -> Factor:
    """Number the distinct values of a column in order of first appearance."""
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    array = values.to_arrow()
    if isinstance(array, pa.ChunkedArray):  # pragma: no cover - polars hands back one chunk
        array = array.combine_chunks()
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    encoded = array.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Factor(codes, pl.Series(values.name, encoded.dictionary, dtype=values.dtype))

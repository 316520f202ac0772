# SPDX-License-Identifier: Apache-2.0
"""One number for all rows of a world, whatever the size of the chunks they were written in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ColumnDigest:
    """Digests blocks of columns in order: whole numbers as they are, others in units of 2**-32."""

    def __init__(self, world: str, version: int) -> None:
        self._hash = hashlib.blake2b(f"{world}/{version}".encode(), digest_size=16)

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        for column in columns.values():
            quantised = (column * 2.0**32).astype(np.int64) if column.dtype == np.float64 else column
            self._hash.update(np.ascontiguousarray(quantised, dtype="<i8").tobytes())

    @property
    def value(self) -> str:
        return self._hash.hexdigest()

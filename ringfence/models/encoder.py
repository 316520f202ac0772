# SPDX-License-Identifier: Apache-2.0
"""Category columns into small whole numbers: a vocabulary frozen per release, unseen values a code of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.errors import ModelShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = NDArray[np.float64]

MAX_CODES: Final = 254  # LightGBM bins a category column into at most 255 by default


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one category column, most frequent first: a value's code is its position."""

    column: int
    values: tuple[float, ...]


class Encoder(msgspec.Struct, frozen=True, kw_only=True):
    """Feature rows as the engine gives them -> rows as the models take them.

    Numbers pass through untouched. A category, which the engine gives as a hash of its text, becomes 0..k-1 by
    falling frequency, k where it is unseen or rare, NaN where it is missing.
    """

    n_features: int
    vocabularies: tuple[Vocabulary, ...]

    @classmethod
    def fit(
        cls, rows: FloatArray, is_category: Sequence[bool], *, max_codes: int = MAX_CODES, min_count: int = 2
    ) -> Encoder:
        """Freeze the vocabularies of the training rows.

        Parameters
        ----------
        rows : shape (n, n_features).
        is_category : length n_features.
        max_codes : most values kept per column, >= 1; the rest share the code of the unseen.
        min_count : values seen fewer times share that code too, so that the model learns what a rare one means.
        """
        if rows.ndim != 2 or rows.shape[1] != len(is_category):
            raise ModelShapeError(f"rows of shape {rows.shape} do not fit {len(is_category)} category flags")
        vocabularies = []
        for column in np.flatnonzero(np.asarray(is_category, dtype=np.bool_)):
            present = rows[:, column][~np.isnan(rows[:, column])]
            values, counts = np.unique(present, return_counts=True)
            order = np.lexsort((values, -counts))
            kept = [float(values[at]) for at in order if counts[at] >= min_count][:max_codes]
            vocabularies.append(Vocabulary(column=int(column), values=tuple(kept)))
        return cls(n_features=rows.shape[1], vocabularies=tuple(vocabularies))

    @property
    def category_columns(self) -> tuple[int, ...]:
        return tuple(vocabulary.column for vocabulary in self.vocabularies)

    def apply(self, rows: FloatArray) -> FloatArray:
        """Return encoded rows, shape (n, n_features), C order. The same array where there is nothing to encode."""
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ModelShapeError(
                f"rows for the encoder: found shape {rows.shape}, expected (n, {self.n_features}); "
                f"score with the release that belongs to this feature catalogue"
            )
        if not self.vocabularies:
            return np.ascontiguousarray(rows, dtype=np.float64)
        encoded = np.array(rows, dtype=np.float64, order="C")
        for vocabulary in self.vocabularies:
            encoded[:, vocabulary.column] = _codes(encoded[:, vocabulary.column], vocabulary.values)
        return encoded

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> Encoder:
        return msgspec.json.decode(data, type=cls)


def _codes(column: FloatArray, values: tuple[float, ...]) -> FloatArray:
    unseen = float(len(values))
    if not values:
        return np.where(np.isnan(column), np.nan, unseen)
    known = np.array(values)
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known[order], column), known.shape[0] - 1)  # NaN sorts last, mended below
    codes = np.where(known[order][at] == column, order[at].astype(np.float64), unseen)
    return np.where(np.isnan(column), np.nan, codes)

# SPDX-License-Identifier: Apache-2.0
"""Texts as n-grams in numbered bins: what a linear model of texts is fitted on, and read with.

A text is read as its words, in any case, between single spaces: " the car was stolen ". Its n-grams are runs of 3 to 5
of these characters, spaces included, each word, and each pair of neighbouring words, which is what tells "not stolen"
from "stolen". Each falls into one of 2^18 bins by its hash (Weinberger et al., "Feature hashing for large scale
multitask learning", ICML 2009, without signs), so that there is no vocabulary to keep, and no word of a text stands in
a release.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models._kernels_text import count_bins, fill_bins, raw_texts

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]

LONGEST: Final = 4_000  # characters of a text that are read
_SPREAD: Final = 0x9E3779B97F4A7C15
# Words are what stands between these: all of ASCII but letters and digits, no-break spaces, dashes and quotes.
_WORD: Final = re.compile("[^\\x00-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\xbf\\u2000-\\u207f\\u3000-\\u303f]+")


class Grams(msgspec.Struct, frozen=True, kw_only=True):
    """Which n-grams there are, and into how many bins they fall."""

    bits: int = 18  # of a bin's number
    least: int = 3  # characters
    most: int = 5
    words: int = 2  # of neighbours

    @property
    def n_bins(self) -> int:
        return 1 << self.bits


class Hashed(NamedTuple):
    """n texts in compressed rows: text k falls into `bins[begins[k]:begins[k + 1]]`."""

    begins: NDArray[np.int64]  # (n + 1,)
    bins: NDArray[np.int32]  # (m,)
    values: SingleArray  # (m,) of length 1 for each text


def words_of(text: str) -> list[str]:
    """Return the words of what is read of a text."""
    # Case folding of assigned characters is stable in every version of Unicode, unlike lower case and categories.
    return _WORD.findall(text[:LONGEST].casefold())


class Written:
    """Texts of one attribute, ready to be counted."""

    def __init__(self, texts: Sequence[str | None], grams: Grams, attribute: int) -> None:
        parts = [
            b""
            if text is None or not (words := words_of(text))
            else f" {' '.join(words)} ".encode("utf-32-le", "replace")
            for text in texts
        ]
        sizes = np.fromiter(map(len, parts), np.int64, len(parts)) // 4
        self._symbols = np.frombuffer(b"".join(parts), np.uint32)
        self._starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        self._how = (
            np.uint64(attribute * _SPREAD & 0xFFFFFFFFFFFFFFFF),
            np.uint64(64 - grams.bits),
            grams.least,
            grams.most,
            grams.words,
        )
        per_symbol = grams.most - grams.least + 1 + grams.words
        room = 1 << max(int(2 * per_symbol * sizes.max(initial=1) - 1).bit_length(), 4)
        self._scratch = np.empty(room, np.int32), np.empty(room, np.int32)
        self._n_bins = grams.n_bins

    def __len__(self) -> int:
        return int(self._starts.shape[0]) - 1

    def add_raw(self, rarity: SingleArray, weights: SingleArray, out: FloatArray) -> None:
        """Add each text's sum of weights, shape (n,), to `out`; nothing where there is no word."""
        raw_texts(self._symbols, self._starts, *self._how, rarity, weights, *self._scratch, out)

    def count(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many bins each text falls into, shape (n,), and how many texts fall into each bin, (n_bins,)."""
        sizes, n_texts = np.zeros(len(self), np.int64), np.zeros(self._n_bins, np.int64)
        count_bins(self._symbols, self._starts, *self._how, *self._scratch, sizes, n_texts)
        return sizes, n_texts

    def hashed(self, sizes: NDArray[np.int64], rarity: SingleArray) -> Hashed:
        """Return the texts' bins and values.

        Parameters
        ----------
        sizes : of `count`.
        rarity : shape (n_bins,), > 0.
        """
        begins = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        bins, values = np.empty(int(begins[-1]), np.int32), np.empty(int(begins[-1]), np.float32)
        fill_bins(self._symbols, self._starts, *self._how, rarity, *self._scratch, begins[:-1], bins, values)
        return Hashed(begins, bins, values)


def rarity_of(n_texts: NDArray[np.int64], n: int) -> SingleArray:
    """Return ln((1 + n) / (1 + texts of the bin)) + 1, shape (n_bins,): what is in every text says little."""
    return np.asarray(np.log((1.0 + n) / (1.0 + n_texts)) + 1.0, np.float32)

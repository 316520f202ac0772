# SPDX-License-Identifier: Apache-2.0
"""Texts as 64 bits that change little when the text changes little, so that copies are found without the text.

A word is a run of letters and digits, in any case. Each word of a text and each pair of neighbouring words, as often
as it occurs, votes with the 64 bits of its hash; a bit of the simhash is set where more than half of the votes set it
(Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002). Two texts whose simhashes differ in
at most 3 bits are near duplicates (Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007):
always when they are equal but for case, spaces and punctuation; with one word replaced in 87 % of drawn texts of 120
words, in 58 % of 60 and in 23 % of 30. A story retold in other words is none.

Words alone forgive more (79 % of 60 words), but where people write in set phrases their bits are so alike that copies
drown among the texts that share a band: six times as many as with pairs, on a simulated insurer's narratives.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario._kernels_simhash import simhash_texts
from ringfence.scenario.factor import factorise

LEAST_WORDS: Final = 8  # a shorter text says too little to call another its copy
NO_TEXT: Final = 0


def simhash_of(text: str | None) -> int:
    """The simhash of one text, in [0, 2^64); `NO_TEXT` where there is none or it has fewer than `LEAST_WORDS` words."""
    if text is None:
        return NO_TEXT
    data = _bytes_of(text)
    return int(_simhashes(data, np.array([0, len(data)], np.int64))[0])


def simhashes_of(texts: pl.Series) -> NDArray[np.uint64]:
    """`simhash_of` each text of a String column; shape (n,)."""
    factor = factorise(texts)
    data = [_bytes_of(text) for text in factor.uniques.to_list()]
    starts = np.zeros(len(data) + 1, np.int64)
    np.cumsum([len(text) for text in data], out=starts[1:])
    return np.append(_simhashes(b"".join(data), starts), np.uint64(NO_TEXT))[factor.codes]


def _bytes_of(text: str) -> bytes:
    # Case folding of assigned characters is stable in every version of Unicode, unlike lower case and categories.
    return text.casefold().encode()


def _simhashes(data: bytes, starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    found = np.empty(starts.shape[0] - 1, np.uint64)
    simhash_texts(np.frombuffer(data, np.uint8), starts, LEAST_WORDS, np.empty(64, np.int64), found)
    return found

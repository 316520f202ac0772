# SPDX-License-Identifier: Apache-2.0
"""Ids as a company prints them: a letter and a number that says nothing about the order in which they were made."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from ringfence.simulate.traits import Ints, key_of, scrambled


class IdPrinter:
    """Prints indices of several kinds of things, each kind with its own prefix and its own bijection."""

    def __init__(self, seed: int, prefixes: Mapping[str, str]) -> None:
        self._prefixes = dict(prefixes)
        self._keys = {kind: key_of(seed, f"id/{kind}") for kind in prefixes}

    def order(self, kind: str, index: Ints) -> Ints:
        """Numbers that order things of a kind as their printed ids do."""
        return scrambled(self._keys[kind], index)

    def ids(self, kind: str, index: Ints) -> pl.Series:
        """Print ids, shape (n,); null where the index is negative."""
        number = pl.Series(scrambled(self._keys[kind], np.maximum(index, 0))).cast(pl.String).str.zfill(11)
        printed = self._prefixes[kind] + number
        if bool((index >= 0).all()):
            return printed
        return pl.select(pl.when(pl.Series(index >= 0)).then(printed)).to_series()

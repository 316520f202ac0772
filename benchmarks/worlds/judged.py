# SPDX-License-Identifier: Apache-2.0
"""One world as its judge holds it: the insurer's files, the truth, the moment of the split, and who is named where."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from benchmarks.worlds.sightings import Bools, Ints, Links

TEST_SHARE: Final = 0.2  # of the claims, the latest
WARM_UP_SHARE: Final = 0.1  # the first claims, whose counts are still empty: not trained on
LABEL: Final = ("is_fraud", "label_time")
NOT_SHOWN_TO_MODELS: Final = ("sex", "phone")  # audit only, and personal
TIME_ZONE: Final = "Europe/Berlin"
MOST_CATEGORIES: Final = 200


class Judged:
    """A simulated world, loaded. Rows are the claims in the order of `claims.parquet`, which is that of time."""

    def __init__(self, claims: pl.DataFrame, truth: pl.DataFrame, members: pl.DataFrame, changes: pl.DataFrame) -> None:
        self.claims, self.truth, self.members, self.changes = claims, truth, members, changes
        self.n = claims.height
        self.fraud: Bools = truth["fraud"].to_numpy()
        self.time_ms: Ints = claims["claim_time"].dt.timestamp("ms").to_numpy()
        self.local: pl.Series = claims["claim_time"].dt.convert_time_zone(TIME_ZONE)
        self.cut = int(self.n * (1.0 - TEST_SHARE))
        known_ms = claims["label_time"].dt.timestamp("ms").fill_null(np.iinfo(np.int64).max).to_numpy()
        self.label: Bools = claims["is_fraud"].fill_null(0).to_numpy() == 1
        self.label_ms: Ints = known_ms
        # What a user has in hand at the cut: the labels known by then.
        self.trained_on: Bools = known_ms < self.time_ms[self.cut]
        self.trained_on[: int(self.n * WARM_UP_SHARE)] = False
        self.trained_on[self.cut :] = False
        self._names, self.links = _links(claims)

    @classmethod
    def load(cls, folder: Path) -> Judged:
        """Read the files that `ringfence simulate motor-claims` wrote."""
        names = ("claims", "truth", "truth_rings", "policy_changes")
        claims, truth, members, changes = (pl.read_parquet(folder / f"{name}.parquet") for name in names)
        return cls(claims, truth, members, changes)

    def head(self, n: int) -> Judged:
        """The same world, had its files been written after the first n claims: nothing later is in them."""
        end = self.claims["claim_time"][n - 1]
        later = pl.col("label_time") > end
        claims = self.claims.head(n).with_columns(pl.when(~later).then(pl.col(name)).alias(name) for name in LABEL)
        return Judged(claims, self.truth.head(n), self.members, self.changes.filter(pl.col("changed_at") <= end))

    @property
    def tested_on(self) -> slice:
        return slice(self.cut, self.n)

    def codes_of(self, kind: str, ids: pl.Series) -> Ints:
        """Look up entities of a kind (`person`, or a role) by their printed ids; -1 for who is in no claim."""
        known = self._names.get(kind)
        if known is None:
            return np.full(len(ids), -1, dtype=np.int64)
        asked = pl.DataFrame({"id": ids}).join(known, on="id", how="left", maintain_order="left")
        return asked["code"].fill_null(-1).cast(pl.Int64).to_numpy()

    def telephone(self) -> Ints:
        """Number the claimants' telephones, shape (n,)."""
        return self.claims["phone"].rank("dense").cast(pl.Int64).to_numpy()

    def numbers(self) -> list[str]:
        return [name for name in self._shown() if self.claims.schema[name].is_numeric()]

    def categories(self) -> list[str]:
        """Columns of strings that repeat: fewer than MOST_CATEGORIES different ones."""
        return [name for name in self._texts() if self.claims[name].n_unique() <= MOST_CATEGORIES]

    def texts(self) -> list[str]:
        """Columns of strings that people wrote."""
        return [name for name in self._texts() if name not in self.categories()]

    def _shown(self) -> list[str]:
        return [name for name in self.claims.columns if name not in (*LABEL, "claim_id", "claim_time")]

    def _texts(self) -> list[str]:
        named = {column_of(self.claims, role) for role in self.links}
        return [name for name in self._shown() if self.claims.schema[name] == pl.String and name not in named]


def kind_of(role: str) -> str:
    return "person" if role in ("claimant", "witness") else role


def role_of(column: str) -> str | None:
    """`repair_shop_id` -> repair_shop, `witness_ids` -> witness, `photo_hashes` -> photo; None: no role."""
    for ending in ("_ids", "_id", "_hashes", "_hash"):
        if column.endswith(ending):
            return column.removesuffix(ending)
    return None


def column_of(claims: pl.DataFrame, role: str) -> str:
    return next(name for name in claims.columns if role_of(name) == role)


def _links(claims: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], dict[str, Links]]:
    columns = {role: name for name in claims.columns if (role := role_of(name)) not in (None, "claim")}
    long = {}
    for role, name in columns.items():
        rows = pl.DataFrame({"row": pl.int_range(claims.height, eager=True), "id": claims[name]})
        long[role] = (rows.explode("id") if claims.schema[name] == pl.List else rows).drop_nulls("id")
    names = {}
    for kind in dict.fromkeys(kind_of(role) for role in long):
        ids = pl.concat([rows["id"] for role, rows in long.items() if kind_of(role) == kind]).unique().sort()
        names[kind] = pl.DataFrame({"id": ids}).with_row_index("code")
    links = {}
    for role, rows in long.items():
        coded = rows.join(names[kind_of(role)], on="id", how="left", maintain_order="left")
        links[role] = Links(role, coded["row"].cast(pl.Int64).to_numpy(), coded["code"].cast(pl.Int64).to_numpy())
    return names, links

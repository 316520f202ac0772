# SPDX-License-Identifier: Apache-2.0
"""The leak hunt: trees on everything that a generator might betray itself by and that no insurer would look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from benchmarks.worlds.judged import Judged, column_of, kind_of
from benchmarks.worlds.sightings import Bools, Floats, Ints, Links
from benchmarks.worlds.trees import fitted
from ringfence.models.metrics import roc_auc

N_TREES: Final = 120
N_RESAMPLES: Final = 200
HONEST_SHARE: Final = 0.3  # of the honest claims before the cut, those trained on: the frauds are what is scarce
BLOCKS: Final = (2, 64, 1_000, 1_024, 8_192)  # row numbers are also taken modulo what programs count in


@dataclass(frozen=True)
class Leak:
    """ROC-AUC after the cut, with its 95 % interval over resampled claims."""

    area: float
    low: float
    high: float
    n_columns: int


def leaks(world: Judged) -> dict[str, Leak]:
    """Hunt with each group of columns alone and with all together.

    Trained on the truth before the cut, which is more than any user has, so that what is there is found. Honest
    claims are weighed so that their types mix as the frauds' do, in training and in the test: the form of a text
    follows from what happened, and what happened is no leak.
    """
    groups = leak_columns(world)
    groups["all together"] = np.column_stack(list(groups.values()))
    weights = alike_in(world.claims["claim_type"], world.fraud, world.cut)
    return {name: _hunt(world, rows, weights) for name, rows in groups.items()}


def alike_in(category: pl.Series, fraud: Bools, cut: int) -> Floats:
    """Weigh honest claims, on each side of the cut, so that the category is spread among them as among the frauds."""
    code = category.rank("dense").cast(pl.Int64).to_numpy() - 1
    weights = np.ones(len(code))
    for side in (slice(0, cut), slice(cut, None)):
        frauds = np.bincount(code[side], fraud[side], minlength=int(code.max()) + 1)
        honest = np.bincount(code[side], ~fraud[side], minlength=int(code.max()) + 1)
        share = (frauds / max(frauds.sum(), 1.0)) / np.maximum(honest / max(honest.sum(), 1.0), 1e-12)
        weights[side] = np.where(fraud[side], 1.0, share[code[side]])
    return weights


def _hunt(world: Judged, rows: Floats, weights: Floats) -> Leak:
    rng = np.random.default_rng(1)
    chosen = np.flatnonzero((world.fraud | (rng.random(world.n) < HONEST_SHARE))[: world.cut])
    model = fitted(rows[chosen], world.fraud[chosen], N_TREES, weights[chosen])
    score = np.asarray(model.predict(rows[world.tested_on]), dtype=np.float64)
    fraud, weight = world.fraud[world.tested_on].astype(np.int8), weights[world.tested_on]
    order = np.argsort(-score, kind="stable")
    fraud, score, weight = fraud[order], score[order], weight[order]
    drawn = [
        roc_auc(fraud, score, weight * np.bincount(rng.integers(0, len(fraud), len(fraud)), minlength=len(fraud)))
        for _ in range(N_RESAMPLES)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Leak(roc_auc(fraud, score, weight), float(low), float(high), rows.shape[1])


def leak_columns(world: Judged) -> dict[str, Floats]:
    """Lay out the groups, each shape (n, n_columns)."""
    claims, row = world.claims, np.arange(world.n)
    cents = np.rint(claims["claim_amount"].to_numpy() * 100.0)
    nullable = [name for name in world.claims.columns if name not in ("is_fraud", "label_time")]
    lists = [name for name in nullable if claims.schema[name] == pl.List]
    missing = [claims[name].is_null().to_numpy() for name in nullable if claims[name].null_count()]
    missing += [claims[name].list.len().fill_null(0).to_numpy() == 0 for name in lists]
    return {
        "row order": np.column_stack([row, *(row % block for block in BLOCKS)]).astype(np.float64),
        "numbers in ids": _id_numbers(world),
        "formats": _formats(world),
        "missing values": np.column_stack(missing).astype(np.float64),
        "decimal digits": np.column_stack([np.mod(cents, 10.0**k) for k in (1, 2, 3)] + [np.mod(cents, 5_000.0)]),
        "seconds and milliseconds": np.column_stack(
            [part.to_numpy() for part in (claims["claim_time"].dt.millisecond(), claims["claim_time"].dt.second())]
        ).astype(np.float64),
    }


def _id_numbers(world: Judged) -> Floats:
    """The numbers printed in ids, whole and modulo the same blocks.

    An entity's number counts where its id is new and gives way to that of a random entity where it was seen before:
    to recognise a member again is the task and no leak.
    """
    number = _digits(world.claims["claim_id"])
    columns = [number, *(np.mod(number, block) for block in BLOCKS)]
    rng = np.random.default_rng(7)
    for role, links in world.links.items():
        name = column_of(world.claims, role)
        ids = world.claims[name].list.first() if world.claims.schema[name] == pl.List else world.claims[name]
        number = _digits(ids)
        code = links.dense(world.n)
        named = code >= 0
        # First sightings over all roles of the kind, in order of time.
        everyone = [one for other, one in world.links.items() if kind_of(other) == kind_of(role)]
        first = _first_row(everyone)
        new = named & (first[np.maximum(code, 0)] == np.arange(world.n))
        number[named & ~new] = rng.choice(number[named], int((named & ~new).sum()))
        columns += [number, np.mod(number, BLOCKS[-1])]
    return np.column_stack(columns)


def _first_row(links: list[Links]) -> Ints:
    first = np.full(max(int(one.code.max(initial=-1)) for one in links) + 1, np.iinfo(np.int64).max)
    for one in links:
        np.minimum.at(first, one.code, one.row)
    return first


def _digits(ids: pl.Series) -> Floats:
    """Read the digits of each id as one number; of a hash in hexadecimal digits, the first twelve."""
    text = ids.str.extract(r"^[A-Z]{0,3}(\d+)$")
    if text.null_count() > ids.null_count():
        return (
            ids.str.slice(0, 12)
            .str.to_integer(base=16, strict=False)
            .cast(pl.Float64)
            .fill_null(np.nan)
            .to_numpy()
            .copy()
        )
    return text.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()


def _formats(world: Judged) -> Floats:
    """Lengths of everything that is printed; digits, capitals and end marks in texts; the order of lists."""
    columns = []
    for name, dtype in world.claims.schema.items():
        values = world.claims[name]
        if dtype == pl.String:
            columns.append(values.str.len_bytes())
        if name in world.texts():
            columns += [values.str.count_matches(mark) for mark in (r"\d", r"[A-Z]", r"[.,;!?]", r"\s", r"[^ -~]")]
        if dtype == pl.List:
            ascending = values.list.first() <= values.list.last()
            columns += [values.list.len(), ascending.cast(pl.Int8), values.list.first().str.len_bytes()]
    amount = world.claims["claim_amount"].cast(pl.String)
    columns += [amount.str.len_bytes() - amount.str.find(".", literal=True)]
    return np.column_stack([column.cast(pl.Float64).fill_null(np.nan).to_numpy() for column in columns])

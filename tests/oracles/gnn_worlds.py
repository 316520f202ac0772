# SPDX-License-Identifier: Apache-2.0
"""Small worlds for graph networks: drawn neighbourhoods, a slow twin of their scaling, and a planted two-hop signal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine
from ringfence.engine.sample_features import EVENT_FEATURES, SEAT_FEATURES
from ringfence.models._kernels_gnn import MOST
from ringfence.models.gnn_inputs import GnnInputs, SampledArrays
from ringfence.training.gnn_examples import ArrayExamples
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
    SHOP,
    START,
    WITNESS,
    Happening,
    Record,
    Truth,
    batch_of,
    claims_scenario,
)

SEATS = ("claimant", "witness.1", "witness.2", "shop")
EVENT_COLUMNS = tuple(feature.name for feature in EVENT_FEATURES)
SEAT_COLUMNS = tuple(feature.name for feature in SEAT_FEATURES)
TYPE = EVENT_COLUMNS.index("event_type")
PRESENT = SEAT_COLUMNS.index("present")
N_FEATURES, CATEGORIES = 7, (5,)


def drawn_sampled(seed: int, n: int, *, last: int = 6) -> SampledArrays:
    """Draw neighbourhoods with empty seats, empty slots and late events; zeros where nothing is, as in the engine's."""
    rng = np.random.default_rng(seed)
    nodes = rng.normal(1.0, 1.0, (n, len(SEATS), len(SEAT_COLUMNS))).astype(np.float32)
    nodes[..., PRESENT] = rng.random((n, len(SEATS))) < 0.8
    nodes[nodes[..., PRESENT] == 0.0] = 0.0
    mask = np.arange(last) < rng.integers(0, last + 1, (n, len(SEATS), 1))
    mask &= nodes[..., PRESENT, None] == 1.0
    events = rng.normal(0.5, 2.0, (n, len(SEATS), last, len(EVENT_COLUMNS))).astype(np.float32)
    events[..., TYPE] = rng.integers(0, 3, mask.shape)
    return SampledArrays(np.where(mask[..., None], events, np.float32(0.0)), mask, nodes)


def drawn_rows(seed: int, n: int) -> NDArray[np.float64]:
    """Draw encoded rows: a count, something missing at times, one constant, one always missing, a category, a tail."""
    rng = np.random.default_rng([seed, 1])
    rows = rng.normal(size=(n, N_FEATURES))
    rows[:, 0] = rng.poisson(0.1, n)
    rows[rng.random(n) < 0.3, 1] = np.nan
    rows[:, 2] = 4.0
    rows[:, 3] = np.nan
    rows[:, 5] = np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 4, n))
    rows[:, 6] = np.exp(3.0 * rows[:, 6])
    return rows


def drawn_examples(seed: int, n: int, *, last: int = 6, rows: bool = True) -> ArrayExamples:
    return ArrayExamples(
        drawn_sampled(seed, n, last=last),
        drawn_rows(seed, n) if rows else None,
        seats=SEATS,
        event_columns=EVENT_COLUMNS,
        seat_columns=SEAT_COLUMNS,
        categories=CATEGORIES if rows else (),
    )


def inputs_of(examples: ArrayExamples, **changes: Any) -> GnnInputs:
    return GnnInputs.fit(
        examples.sampled,
        examples.rows,
        seats=examples.seats,
        event_columns=examples.event_columns,
        seat_columns=examples.seat_columns,
        categories=examples.categories,
        **changes,
    )


def prepared_twin(inputs: GnnInputs, sampled: SampledArrays, rows: NDArray[np.float64] | None) -> list[list[float]]:
    """Return, for each event, all its inputs in a row: events, per, nodes, numbers, codes. One value at a time."""

    def scaled(value: float, mean: float, per_spread: float) -> float:
        z = (value - mean) * per_spread
        return 0.0 if math.isnan(z) else min(max(z, -MOST), MOST)

    found = []
    for i in range(sampled.mask.shape[0]):
        events, pers, nodes = [], [], []
        for s in inputs.places:
            is_taken = sampled.nodes[i, s, inputs.present_column] == 1.0
            n_sampled = 0
            for k in range(inputs.last if inputs.hops else 0):
                if not (is_taken and sampled.mask[i, s, k]):
                    events += [0.0] * inputs.event_width
                    continue
                n_sampled += 1
                one = sampled.events[i, s, k].astype(float)
                parts = zip(inputs.events.columns, inputs.events.mean, inputs.events.per_spread, strict=True)
                events += [1.0, *(scaled(one[column], mean, spread) for column, mean, spread in parts)]
                events += [math.exp(-max(one[inputs.gap_column], 0.0) / days) for days in inputs.fading_days]
                events += [float(one[inputs.type_column] == kind) for kind in range(1, inputs.n_types + 1)]
            pers.append(1.0 / max(n_sampled, 1))
            if not is_taken:
                nodes += [0.0] * inputs.node_width
                continue
            node = sampled.nodes[i, s].astype(float)
            parts = zip(inputs.nodes.columns, inputs.nodes.mean, inputs.nodes.per_spread, strict=True)
            nodes += [1.0, *(scaled(node[column], mean, spread) for column, mean, spread in parts)]
        numbers, flags, codes = [], [], []
        first = 0
        for number in inputs.numbers if rows is not None else ():
            value = rows[i, number.column]
            is_missing = math.isnan(value)
            numbers.append(0.0 if is_missing else float(np.interp(value, number.knots, number.scores)))
            flags += [float(is_missing)] if number.has_flag else []
        for category in inputs.categories if rows is not None else ():
            value = rows[i, category.column]
            place = category.n_codes - 1 if math.isnan(value) else min(int(value), category.n_codes - 2)
            codes.append(float(first + place))
            first += category.n_codes
        found.append([*events, *pers, *nodes, *numbers, *flags, *codes])
    return found


def two_hop_world(seed: int, n: int) -> tuple[ArrayExamples, NDArray[np.int8], NDArray[np.int64]]:
    """Plant fraud that shows two hops away alone: was the witness of the claimant's earlier claim in a fraud before?

        stranger -- fraud or legit -- witness -- unlabelled claim -- claimant -- the claim at hand, at a new shop

    Returns
    -------
    n examples without rows, their labels, and their times.
    """
    rng = np.random.default_rng(seed)
    fraud = (rng.random(n) < 0.3).astype(np.int8)
    records: list[Record] = []
    wanted = []
    for i in range(n):
        at, stranger, witness, claimant = START + i * 20 * DAY, 3 * i, 3 * i + 1, 3 * i + 2
        amounts = [int(amount) for amount in rng.integers(100, 9_000, 3)]
        gaps = rng.integers(1, 4, 3)
        records.append(Happening(at, ((CLAIMANT, stranger), (WITNESS, witness), (SHOP, 3 * i)), amounts[0]))
        records.append(Truth(len(records) - 1, at + int(gaps[0]) * DAY, int(fraud[i])))
        second = at + (3 + int(gaps[1])) * DAY
        records.append(Happening(second, ((CLAIMANT, claimant), (WITNESS, witness), (SHOP, 3 * i + 1)), amounts[1]))
        wanted.append(len(records))
        records.append(Happening(second + int(gaps[2]) * DAY, ((CLAIMANT, claimant), (SHOP, 3 * i + 2)), amounts[2]))
    scenario = claims_scenario()
    catalogue = Catalogue.build(scenario, neighbourhoods=4, only=())
    batch = batch_of(records, scenario)
    sampled = np.zeros(len(records), np.bool_)
    sampled[wanted] = True
    _, found = Engine(catalogue).observe_sampled(batch, np.zeros(len(records), np.bool_), sampled)
    examples = ArrayExamples(
        SampledArrays(found.events, found.mask, found.nodes),
        None,
        seats=tuple(seat.name for seat in catalogue.seats),
        event_columns=EVENT_COLUMNS,
        seat_columns=SEAT_COLUMNS,
    )
    return examples, fraud, batch.time_ms[wanted]

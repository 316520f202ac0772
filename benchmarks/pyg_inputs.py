# SPDX-License-Identifier: Apache-2.0
"""What the nodes of a sampled graph say, as numbers: fitted on the events that are learnt from, and on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.pyg_graph import FRAUD, LEGIT, EventGraph, Sampled
from ringfence.steps.graph_files import FEATURES, GraphFiles

ATTRIBUTES, ALL_FEATURES = "attributes", "features"
MOST_VALUES: Final = 24  # of a category, the most frequent ones; the others say nothing
N_KNOTS: Final = 512
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
HalfArray = NDArray[np.float16]


@dataclass(frozen=True)
class Inputs:
    """Columns of every event, shape (n, d), in about [-1, 1]."""

    values: HalfArray
    names: tuple[str, ...]


def event_inputs(folder: Path | str, graph: EventGraph, kind: str) -> Inputs:
    """Read what every event says of itself.

    Parameters
    ----------
    kind : ATTRIBUTES: amount, attributes and the time of day, week and year. ALL_FEATURES: the engine's features as
        of the event, too, but for its hashed categories, which the attributes have.

    Returns
    -------
    Numbers by their rank among the training events, from -1 to 1, constant beyond what those had, 0 where missing with
    a column that says so; categories as one column a value.
    """
    if kind not in (ATTRIBUTES, ALL_FEATURES):
        raise ValueError(f"inputs are {ATTRIBUTES!r} or {ALL_FEATURES!r}, not {kind!r}")
    files = GraphFiles.open(folder)
    decided = next(one for one in files.manifest.events if one.decided)
    columns: dict[str, HalfArray] = {}
    for name, period in (("day", _DAY_MS), ("week", 7 * _DAY_MS), ("year", 365.25 * _DAY_MS)):
        angle = 2.0 * np.pi * (graph.time_ms % period) / period
        columns |= {f"sin {name}": np.sin(angle).astype(np.float16), f"cos {name}": np.cos(angle).astype(np.float16)}
    if "amount" in graph.events.columns:
        columns |= _ranked("amount", _numbers(graph.events["amount"]), graph)
    for name, kind_of in decided.attributes.items():
        given = graph.events[name]
        if kind_of in ("category", "boolean"):
            columns |= _one_hot(name, given.cast(pl.String), graph)
        elif kind_of == "time":
            columns |= _ranked(name, graph.time_ms - _numbers(given.dt.epoch("ms")), graph)
        else:
            columns |= _ranked(name, _numbers(given), graph)
    if kind == ALL_FEATURES:
        if not files.manifest.features:
            raise SystemExit(f"{folder} has no features: export it without --no-features")
        for feature in files.manifest.features:
            if not feature.is_category:
                read = files.scan(FEATURES).select(feature.name).collect()[feature.name]
                columns |= _ranked(feature.name, _numbers(read), graph)
    return Inputs(np.stack(list(columns.values()), axis=1), tuple(columns))


def node_inputs(graph: EventGraph, inputs: Inputs, found: Sampled) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the nodes of a sampled graph say: of events (e, d + 5), of entities (v, types + 2).

    Of events also: whether it is the seed, the label that the seed may know, and the gap between them, as a logarithm
    and as what is left of it after a month. Of entities: their type, and how many links the seed may see.
    """
    n = found.event.shape[0]
    days = np.maximum(found.gap_ms, 0) / _DAY_MS
    said = np.stack(
        [
            np.arange(n) < found.n_seeds, found.label == LEGIT, found.label == FRAUD,
            np.log1p(days) / 5.0, np.exp(-days / 30.0),
        ],
        axis=1,
    )  # fmt: skip
    events = np.concatenate([inputs.values[found.event].astype(np.float32), said.astype(np.float32)], axis=1)
    types = np.eye(graph.n_entity_types, dtype=np.float32)[graph.entity_type[found.entity]]
    counts = np.stack([np.log1p(found.n_events) / 5.0, found.n_events == 0], axis=1).astype(np.float32)
    return events, np.concatenate([types, counts], axis=1)


def _numbers(values: pl.Series) -> NDArray[np.float64]:
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _ranked(name: str, values: NDArray[np.float64], graph: EventGraph) -> dict[str, HalfArray]:
    learnt = values[graph.train]
    learnt = learnt[~np.isnan(learnt)]
    missing = np.isnan(values)
    if learnt.shape[0] == 0:
        return {}
    knots = np.unique(np.quantile(learnt, np.linspace(0.0, 1.0, N_KNOTS), method="nearest"))
    ordered = np.sort(learnt)
    rank = (np.searchsorted(ordered, knots, "left") + np.searchsorted(ordered, knots, "right")) / ordered.shape[0] - 1.0
    found = {name: np.where(missing, 0.0, np.interp(values, knots, rank)).astype(np.float16)}
    if missing[graph.train].any():
        found[f"{name} missing"] = missing.astype(np.float16)
    return found if knots.shape[0] > 1 or len(found) > 1 else {}


def _one_hot(name: str, values: pl.Series, graph: EventGraph) -> dict[str, HalfArray]:
    learnt = (
        values.gather(graph.train).drop_nulls().value_counts().sort(["count", values.name], descending=[True, False])
    )
    found = {}
    for value in learnt[values.name][:MOST_VALUES].to_list():
        found[f"{name}={value}"] = (values == value).fill_null(False).to_numpy().astype(np.float16)
    return found

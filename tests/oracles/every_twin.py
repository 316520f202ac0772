# SPDX-License-Identifier: Apache-2.0
"""Everything the engine says of a stream, rows of all families and neighbourhoods, against all twins at once."""

from __future__ import annotations

import numpy as np

from ringfence.engine import Catalogue, Engine
from ringfence.scenario.spec import Scenario
from tests.oracles.complete_twin import CompleteTwin
from tests.oracles.ring_twin import RingTwin
from tests.oracles.sample_twin import Sample, SampleTwin
from tests.oracles.streams import Record, batch_of, with_room

N_SAMPLED = 16


def assert_equals_every_twin(records: list[Record], scenario: Scenario, **room: int) -> Engine:
    """Observe a stream whose scenario has all families on; return the engine."""
    catalogue = with_room(Catalogue.build(scenario, neighbourhoods=N_SAMPLED), **room)
    engine = Engine(catalogue)
    rows, samples = engine.observe_sampled(batch_of(records, scenario))
    of_features, of_rings = CompleteTwin(catalogue), RingTwin(catalogue)
    bounds = catalogue.plan.room
    of_samples = SampleTwin(scenario, N_SAMPLED, most_stored=bounds.stored, room=bounds.slots)
    n = 0
    for number, record in enumerate(records):
        row, ring_row, sample = of_features.observe(record), of_rings.observe(record), of_samples.observe(record)
        if row is None:
            continue
        assert ring_row is not None
        assert sample is not None
        row |= ring_row
        for column, feature in enumerate(catalogue.features):
            found, wanted = rows[n, column], row[feature.name]
            tolerance = 1e-8 if feature.family == "rings" else 1e-9
            assert np.isclose(found, wanted, rtol=tolerance, atol=tolerance, equal_nan=True), (
                f"record {number}, {feature.name}: {found}, the twin says {wanted}"
            )
        _assert_equals_sample(catalogue, samples.nodes[n], samples.events[n], samples.mask[n], sample)
        n += 1
    assert len(rows) == n
    assert np.isfinite(samples.events).all()
    return engine


def _assert_equals_sample(
    catalogue: Catalogue,
    nodes: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    events: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    sample: Sample,
) -> None:
    for s, seat in enumerate(catalogue.seats):
        named = sample.seats[seat.name]
        wanted = [named[feature.name] for feature in catalogue.seat_features]
        assert np.allclose(nodes[s], wanted, rtol=1e-5, atol=1e-6), seat.name
        expected = sample.events[seat.name]
        assert int(mask[s].sum()) == len(expected)
        for back, event in enumerate(expected):
            wanted = [event[feature.name] for feature in catalogue.sample_features]
            assert np.allclose(events[s, back], wanted, rtol=1e-5, atol=1e-6), f"{seat.name}, event {back}"

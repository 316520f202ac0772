# SPDX-License-Identifier: Apache-2.0
"""Drawn streams, all families and the sampler: equal to their twins, and the same however they are cut."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.engine import Catalogue, Engine
from ringfence.scenario.spec import Scenario
from tests.engine.test_rings_equal_twin import ringed
from tests.oracles.any_stream import any_stream
from tests.oracles.every_twin import assert_equals_every_twin
from tests.oracles.streams import Record, batch_of, cut

pytestmark = pytest.mark.compiled
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def everything(hub_cap: int = 1_000) -> Scenario:
    """All families; entities with more events than `hub_cap` link nobody."""
    scenario = ringed()
    return msgspec.structs.replace(
        scenario, roles=tuple(msgspec.structs.replace(role, hub_cap=hub_cap) for role in scenario.roles)
    )


@settings(max_examples=12, suppress_health_check=SLOW)
@given(any_stream(), st.sampled_from([1_000, 4]), st.sampled_from([1 << 20, 16]), st.sampled_from([1 << 20, 96]))
def test_any_stream_equals_every_twin(records: list[Record], hub_cap: int, stored: int, room: int) -> None:
    assert_equals_every_twin(records, everything(hub_cap), stored=stored, slots=room, pairs=room)


EVERYTHING = Catalogue.build(everything(4))


@settings(max_examples=12, suppress_health_check=SLOW)
@given(any_stream(), st.data())
def test_any_stream_is_the_same_however_it_is_cut(records: list[Record], data: st.DataObject) -> None:
    batch = batch_of(records, EVERYTHING.scenario)
    edges = sorted(data.draw(st.sets(st.integers(1, len(records)), max_size=8)) | {0, len(records)})
    whole, parts = Engine(EVERYTHING), Engine(EVERYTHING)
    rows = whole.observe(batch).tobytes()
    pieces = []
    for begin, end in itertools.pairwise(edges):
        parts.peek(cut(batch, begin, end))  # a look changes nothing
        pieces.append(parts.observe(cut(batch, begin, end)).tobytes())
    assert b"".join(pieces) == rows
    assert parts.state_hash() == whole.state_hash()

# SPDX-License-Identifier: Apache-2.0
"""`segments: {kmeans: …}` as it is read, and what is said where it cannot be followed."""

from __future__ import annotations

from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import KMeans
from tests.scenario.claims import claim_scenario

CASES: list[tuple[str, str, Any, str, str]] = [
    ("k-means in a number", "segments", {"kmeans": 8}, "segments.kmeans", "write names and values"),
    ("k-means on nothing", "segments", {"kmeans": {"k": 3}}, "segments.kmeans.on", "found nothing"),
    ("k-means on no feature", "segments", {"kmeans": {"on": []}}, "segments.kmeans.on", "name 1 to 16"),
    ("k-means on one word", "segments", {"kmeans": {"on": "event.amount"}}, "segments.kmeans.on", "write a list"),
    ("k-means on a feature twice", "segments", {"kmeans": {"on": ["a"] * 2}}, "segments.kmeans.on[1]", "feature once"),
    ("k-means on a number", "segments", {"kmeans": {"on": [3]}}, "segments.kmeans.on[0]", "write a text"),
    ("one segment", "segments", {"kmeans": {"on": ["a"], "k": 1}}, "segments.kmeans.k", "from 2 to 12"),
    ("an unknown key of k-means", "segments", {"kmeans": {"of": ["a"]}}, "segments.kmeans.of", "unknown key"),
]


def test_segments_are_found_by_k_means_beside_named_ones_or_alone() -> None:
    described = claim_scenario()
    described["segments"] = {"kmeans": {"on": ["event.amount", "claimant.n_events"]}}
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert (scenario.segments, scenario.kmeans) == ((), KMeans(features=("event.amount", "claimant.n_events"), k=5))
    described["segments"] = {"by": ["vehicle_make"], "kmeans": {"on": ["event.amount"], "k": 3}}
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert (scenario.segments, scenario.kmeans) == (("vehicle_make",), KMeans(features=("event.amount",), k=3))


@pytest.mark.parametrize(("key", "value", "path", "part"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_k_means_that_cannot_be_followed_is_refused_where_it_stands(key: str, value: Any, path: str, part: str) -> None:
    with pytest.raises(ScenarioFileError) as refusal:
        scenario_from_mapping("motor-claims", claim_scenario() | {key: value}, where="ringfence.yaml")
    assert refusal.value.path == f"motor-claims.{path}"
    assert part in str(refusal.value)

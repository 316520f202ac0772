# SPDX-License-Identifier: Apache-2.0
"""`route` in a policy file: read strictly, and unknown to the version of a policy that has none."""

from __future__ import annotations

import msgspec
import pytest

from ringfence.policy import Policy, PolicyFileError, Route, default_policy_text, differences, policy_from_text

TEXT = default_policy_text("motor-claims")
WRITTEN = TEXT + '\nroute: {realtime: "amount > 25000 or amount is null", otherwise: batch}\n'


def test_a_route_is_read_and_survives_the_release() -> None:
    policy = policy_from_text(WRITTEN, where="p.yaml")
    assert policy.route == Route(realtime="amount > 25000 or amount is null", otherwise="batch")
    assert Policy.from_json(policy.to_json()) == policy


def test_a_policy_without_a_route_has_the_version_that_it_had_before_routes_existed() -> None:
    policy = policy_from_text(TEXT, where="p.yaml")
    assert policy.route is msgspec.UNSET
    assert b"route" not in policy.to_json()
    assert policy.version != policy_from_text(WRITTEN, where="p.yaml").version


def test_an_edited_route_is_a_difference_by_its_keys() -> None:
    found = differences(policy_from_text(WRITTEN, where="p.yaml"), policy_from_text(TEXT, where="p.yaml"))
    assert [one.key for one in found] == ["route.realtime", "route.otherwise"]


@pytest.mark.parametrize(
    ("route", "path", "found"),
    [
        ("batch", "route", "batch"),
        ("{otherwise: batch}", "route.realtime", "nothing"),
        ('{realtime: "amount > 1"}', "route.otherwise", "nothing"),
        ('{realtime: "amount > 1", otherwise: realtime}', "route.otherwise", "realtime"),
        ('{realtime: "amount > 1", otherwise: batch, at: night}', "route", "at"),
        ("{realtime: 25000, otherwise: batch}", "route.realtime", "25000"),
        ('{realtime: "amount >", otherwise: batch}', "route.realtime", "character 9"),
        ('{realtime: "amount = null", otherwise: batch}', "route.realtime", "null"),
    ],
)
def test_a_route_that_cannot_be_followed_is_refused_with_its_path(route: str, path: str, found: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        policy_from_text(f"{TEXT}\nroute: {route}\n", where="p.yaml")
    assert caught.value.path.startswith(path)
    assert found in str(caught.value)

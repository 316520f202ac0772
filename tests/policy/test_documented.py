# SPDX-License-Identifier: Apache-2.0
"""docs/policy.md names every key, and its worked example is what the policy does."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ringfence.policy import ACTIONS, Policy, policy_from_text

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text("utf-8")
EXAMPLE = policy_from_text(PAGE.split("```yaml\n")[1].split("```")[0], where="docs/policy.md")
AMOUNT_MINOR = 200_000.0


def keys_of(struct: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """Every key that a policy file may hold, dotted."""
    for name, hint in typing.get_type_hints(struct).items():
        yield f"{path}{name}"
        for kind in parts_of(hint):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield from keys_of(kind, f"{path}{name}.")
            elif typing.get_origin(kind) is dict:
                yield from (f"{path}{name}.{key}" for key in typing.get_args(typing.get_args(kind)[0]))


def parts_of(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def test_every_key_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `([a-z_.]+)` \| (?!p |friction|cost|\()", PAGE, re.MULTILINE)) - set(ACTIONS)
    assert documented == set(keys_of(Policy))


def test_worked_example_costs_what_the_page_says() -> None:
    rows = re.findall(r"^\| ([0-9.]+) \| (.+?) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert [action for _, _, action in rows] == list(ACTIONS)
    for probability, costs, action in rows:
        decided = EXAMPLE.decide(np.array([float(probability)]), np.array([AMOUNT_MINOR]))
        assert [f"{cost:.2f}" for cost in decided.expected_costs[0]] == costs.split(" | ")
        assert decided.names == [action]


def test_worked_example_without_reviews_and_without_models_acts_as_the_page_says() -> None:
    amount = np.array([AMOUNT_MINOR])
    assert EXAMPLE.decide(np.array([0.1]), amount, reviews_left=0).names == ["challenge"]
    dear = msgspec.structs.replace(EXAMPLE.capacity, review_price=12.66)
    assert msgspec.structs.replace(EXAMPLE, capacity=dear).decide(np.array([0.1]), amount).names == ["challenge"]
    cheap = msgspec.structs.replace(EXAMPLE.capacity, review_price=12.64)
    assert msgspec.structs.replace(EXAMPLE, capacity=cheap).decide(np.array([0.1]), amount).names == ["review"]
    assert EXAMPLE.decide(np.array([0.4]), amount, rung="rules").names == ["review"]

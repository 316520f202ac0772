# SPDX-License-Identifier: Apache-2.0
"""Costs that nobody has set yet: those of a template, or of the policy that a draft writes."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from ringfence.policy.costs import Benefit, ChallengeCost, Costs, ReviewCost, Scaled
from ringfence.policy.load import policy_from_text

# What `ringfence init --from` writes for a table that no template fits: with amounts, and without. A test drafts both.
_DRAFTED: Final = (
    (Scaled(amount_share=1.0), Scaled(fixed=20.0, amount_share=0.05)),
    (Scaled(fixed=100.0), Scaled(fixed=20.0)),
)

_NO_CURRENCY: Final = "XXX"  # so says ISO 4217


def are_placeholders(costs: Costs) -> bool:
    """Tell whether costs are, to the last figure, those that ringfence writes into a new workspace.

    Currency and decimals do not count: a draft fills them in. Whoever finds that the shipped figures are right is told
    that they are placeholders all the same: nothing in the file says that somebody has looked.
    """
    return _bare(costs) in _shipped()


def _bare(costs: Costs) -> Costs:
    return msgspec.structs.replace(costs, currency=_NO_CURRENCY, digits=2)


@cache
def _shipped() -> tuple[Costs, ...]:
    folder = files("ringfence.scenario") / "templates"
    texts = [
        policy.read_text(encoding="utf-8")
        for template in folder.iterdir()
        if (template / "policies").is_dir()
        for policy in (template / "policies").iterdir()
        if policy.name.endswith(".yaml")
    ]
    drafted = [
        Costs(
            currency=_NO_CURRENCY,
            missed_fraud=missed,
            false_decline=decline,
            review=ReviewCost(cost=10.0, detects=0.8),
            challenge=ChallengeCost(friction=2.0, stops=0.5),
            benefit=Benefit(),
        )
        for missed, decline in _DRAFTED
    ]
    return (*drafted, *(_bare(policy_from_text(text, where="a template").costs) for text in texts))

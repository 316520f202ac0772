# SPDX-License-Identifier: Apache-2.0
"""What do we do? Costs and capacity turn a calibrated score and an amount into an action. Knows nothing of models."""

from ringfence.policy.costs import ACTIONS, Costs, expected_costs
from ringfence.policy.differences import Difference, differences
from ringfence.policy.errors import PolicyFileError
from ringfence.policy.load import default_policy_text, load_policy, policy_from_text
from ringfence.policy.placeholders import are_placeholders
from ringfence.policy.policy import Actions, Capacity, Policy, Route

__all__ = [
    "ACTIONS",
    "Actions",
    "Capacity",
    "Costs",
    "Difference",
    "Policy",
    "PolicyFileError",
    "Route",
    "are_placeholders",
    "default_policy_text",
    "differences",
    "expected_costs",
    "load_policy",
    "policy_from_text",
]

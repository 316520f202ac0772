# SPDX-License-Identifier: Apache-2.0
"""Policy files: YAML into a `Policy`, or an error with the path of what is wrong."""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from ringfence.policy.costs import ACTIONS
from ringfence.policy.errors import PolicyFileError
from ringfence.policy.policy import Policy

_RUNGS: Final = ("full", "gbdt", "rules")


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises
    ------
    PolicyFileError
        With file, path, what was found and what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyFileError(
            str(path), "$", f"cannot be read ({error})", "write one, or copy it from `ringfence init`"
        ) from error
    return policy_from_text(text, where=str(path))


def policy_from_text(text: str, *, where: str) -> Policy:
    """Read a policy from YAML text; `where` names it in errors."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PolicyFileError(where, "$", f"not YAML ({error})", "mend the syntax") from error
    _check_finite(data, "$", where)
    try:
        policy = msgspec.convert(data, Policy)
    except msgspec.ValidationError as error:
        found, _, at = str(error).partition(" - at ")
        raise PolicyFileError(
            where, at.strip("`") or "$", found, "see the commented policy that `ringfence init` writes"
        ) from error
    _check_sense(policy, where)
    return policy


def default_policy_text(template: str) -> str:
    """Return the commented policy file that `ringfence init` writes for a template.

    Raises
    ------
    FileNotFoundError
        If there is no such template.
    """
    policies = files("ringfence.scenario") / "templates" / template / "policies"
    return (policies / f"{template}.yaml").read_text(encoding="utf-8")


def _check_finite(value: Any, path: str, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_finite(inner, f"{path}.{key}", where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise PolicyFileError(where, path, f"{value} is not an amount", "give a finite number")


def _check_sense(policy: Policy, where: str) -> None:
    for rung, names in policy.permitted.items():
        for name in names:
            if ACTIONS.index(name) not in policy.costs.actions:
                raise PolicyFileError(
                    where, f"$.permitted.{rung}", f"{name!r} has no row in costs", f"add costs.{name} or take it out"
                )
    for rung in _RUNGS:
        if not policy.permitted_actions(rung, reviews_left=0):
            raise PolicyFileError(
                where,
                f"$.permitted.{rung}",
                "nothing is permitted once the day's reviews are used up",
                "permit approve, challenge or decline too",
            )
    missed = policy.costs.missed_fraud
    if missed.fixed == 0.0 and missed.amount_share == 0.0:
        raise PolicyFileError(
            where, "$.costs.missed_fraud", "a missed fraud costs nothing", "give fixed or amount_share above 0"
        )

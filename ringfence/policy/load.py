# SPDX-License-Identifier: Apache-2.0
"""Policy files: YAML into a `Policy`, or an error with the path of what is wrong. Every key is in docs/policy.md."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Final, cast

import msgspec

from ringfence.policy.costs import ACTIONS, Benefit, ChallengeCost, Costs, ReviewCost, Scaled
from ringfence.policy.errors import PolicyFileError
from ringfence.policy.policy import BATCH, REALTIME, ActionName, Capacity, Policy, Route, Rung
from ringfence.scenario.condition import read_condition
from ringfence.scenario.document import document_from_text
from ringfence.scenario.errors import ConditionError, ScenarioFileError, shown
from ringfence.scenario.node import Node

_RUNGS: Final[tuple[Rung, ...]] = ("full", "gbdt", "rules")
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_MOST_DIGITS: Final = 6


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises
    ------
    PolicyFileError
        With file, path, what was found and what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        do = "every scenario needs one: `ringfence init` writes a commented one to copy, docs/policy.md has every key"
        raise PolicyFileError(str(path), "", "there is no such file", do) from None
    except OSError as error:
        found = f"cannot be read ({error.strerror or error})"
        raise PolicyFileError(str(path), "", found, "check its owner and rights") from error
    except UnicodeDecodeError as error:
        raise PolicyFileError(str(path), "", f"invalid UTF-8 at byte {error.start}", "save it as UTF-8") from error
    return policy_from_text(text, where=str(path))


def policy_from_text(text: str, *, where: str) -> Policy:
    """Read a policy from YAML text; `where` names it in errors.

    Raises
    ------
    PolicyFileError
        At the first thing that cannot be followed.
    """
    try:
        policy = _policy(Node(where, "", document_from_text(text, where=where)))
    except ScenarioFileError as error:
        raise PolicyFileError(error.file, error.path, f"found {error.found}", error.do) from None
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


def _policy(root: Node) -> Policy:
    root.keys(("costs", "capacity", "permitted", "typical_amount", "route"))
    permitted, route = root.get("permitted"), root.get("route")
    return Policy(
        costs=_costs(root.required("costs", "say what each mistake costs")),
        capacity=_capacity(root.get("capacity")),
        permitted={} if permitted is None else _permitted(permitted),
        typical_amount=_optional(root, "typical_amount"),
        route=msgspec.UNSET if route is None else _route(route),
    )


def _costs(node: Node) -> Costs:
    node.keys(("currency", "missed_fraud", "false_decline", "review", "challenge", "benefit", "digits"))
    currency = node.required("currency", "name the scenario's currency, such as EUR")
    if not isinstance(currency.value, str) or _CURRENCY.fullmatch(currency.value) is None:
        raise currency.error(shown(currency.value), "write three capital letters of ISO 4217, such as EUR")
    money = "write {fixed: …, amount_share: …}"
    review, challenge, benefit = node.get("review"), node.get("challenge"), node.get("benefit")
    if benefit is not None:
        benefit.keys(("approve_legit",))
    approve_legit = None if benefit is None else benefit.get("approve_legit")
    return Costs(
        currency=currency.value,
        missed_fraud=_scaled(node.required("missed_fraud", money)),
        false_decline=_scaled(node.required("false_decline", money)),
        review=None if review is None else ReviewCost(**_pair(review, "cost", "detects")),
        challenge=None if challenge is None else ChallengeCost(**_pair(challenge, "friction", "stops")),
        benefit=Benefit() if approve_legit is None else Benefit(approve_legit=_scaled(approve_legit)),
        digits=_digits(node.get("digits")),
    )


def _scaled(node: Node) -> Scaled:
    node.keys(("fixed", "amount_share"))
    return Scaled(fixed=_optional(node, "fixed") or 0.0, amount_share=_optional(node, "amount_share") or 0.0)


def _pair(node: Node, money: str, share: str) -> dict[str, float]:
    node.keys((money, share))
    return {
        money: _number(node.required(money, "write an amount of money, 0 or more")),
        share: _number(node.required(share, "write the share of frauds, 0 to 1"), most=1.0),
    }


def _digits(node: Node | None) -> int:
    if node is None:
        return 2
    if isinstance(node.value, bool) or not isinstance(node.value, int) or not 0 <= node.value <= _MOST_DIGITS:
        raise node.error(shown(node.value), f"write the decimals of the currency, 0 to {_MOST_DIGITS}")
    return node.value


def _capacity(node: Node | None) -> Capacity:
    if node is None:
        return Capacity()
    node.keys(("reviews_per_day", "review_price"))
    return Capacity(
        reviews_per_day=_optional(node, "reviews_per_day"), review_price=_optional(node, "review_price") or 0.0
    )


def _permitted(node: Node) -> dict[Rung, tuple[ActionName, ...]]:
    node.keys(_RUNGS)
    found = {}
    for entry in node.mapping("actions per rung, such as `rules: [approve, review]`"):
        names = [item.choice(ACTIONS) for item in entry.sequence("actions, such as [approve, review]")]
        if len(set(names)) < len(names):
            raise entry.error("an action twice", "name each once")
        found[cast("Rung", entry.name)] = cast("tuple[ActionName, ...]", tuple(names))
    return found


def _route(node: Node) -> Route:
    node.keys((REALTIME, "otherwise"))
    realtime = node.required(REALTIME, "write which events are decided at once, such as `amount > 25000`")
    if not isinstance(realtime.value, str):
        raise realtime.error(shown(realtime.value), 'write a condition in quotes, such as "amount > 25000"')
    try:
        read_condition(realtime.value)
    except ConditionError as error:
        raise realtime.error(f"{shown(error.text)}, character {error.at + 1}: {error.found}", error.do) from None
    node.required("otherwise", f"write `otherwise: {BATCH}`").choice((BATCH,))
    return Route(realtime=realtime.value, otherwise=BATCH)


def _optional(node: Node, key: str) -> float | None:
    child = node.get(key)
    return None if child is None else _number(child)


def _number(node: Node, *, most: float = math.inf) -> float:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0.0 <= value <= most and value < math.inf):
        raise node.error(
            shown(value), "write a number, 0 or more" if most == math.inf else "write a number from 0 to 1"
        )
    return float(value)


def _check_sense(policy: Policy, where: str) -> None:
    for rung, names in policy.permitted.items():
        for name in names:
            if ACTIONS.index(name) not in policy.costs.actions:
                raise PolicyFileError(
                    where, f"permitted.{rung}", f"{name!r} has no row in costs", f"add costs.{name} or take it out"
                )
    for rung in _RUNGS:
        if not policy.permitted_actions(rung, reviews_left=0):
            raise PolicyFileError(
                where,
                f"permitted.{rung}",
                "nothing is permitted once the day's reviews are used up",
                "permit approve, challenge or decline too",
            )
    missed = policy.costs.missed_fraud
    if missed.fixed == 0.0 and missed.amount_share == 0.0:
        raise PolicyFileError(
            where, "costs.missed_fraud", "a missed fraud costs nothing", "give fixed or amount_share above 0"
        )

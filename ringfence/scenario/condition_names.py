# SPDX-License-Identifier: Apache-2.0
"""What the names of a condition mean: features become columns, categories their codes, and kinds have to agree."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, NoReturn

from ringfence.scenario.condition import (
    And,
    Arithmetic,
    Between,
    Column,
    Comparison,
    Expression,
    Flag,
    In,
    IsNull,
    Name,
    Negative,
    Not,
    Number,
    Or,
    Text,
)
from ringfence.scenario.errors import ConditionError, did_you_mean
from ringfence.scenario.values import category_code

SHORT_FOR: Final = ("attribute.", "event.")  # `amount` is event.amount, unless an attribute bears that name
_COMPARE: Final = "compare it with a value, such as `amount > 10000`"


class Kind(StrEnum):
    NUMBER = "a number"
    FLAG = "true or false"  # 1 or 0
    CATEGORY = "a category"  # codes of `values.category_code`


class Known(NamedTuple):
    """A feature that conditions may name."""

    column: int  # of a feature row
    kind: Kind


def full_name(name: str, known: Mapping[str, object]) -> str | None:
    """Return the feature that a name stands for: itself, or an attribute or event feature in short; None: no such."""
    if name in known:
        return name
    return next((prefix + name for prefix in SHORT_FOR if prefix + name in known), None)


def bind(text: str, condition: Expression, features: Mapping[str, Known]) -> Expression:
    """Return the condition over columns: no names and no texts are left in it, flags are 1 and 0.

    Parameters
    ----------
    text : what `condition` was read from, for messages.
    features : that it may name.

    Raises
    ------
    ConditionError
        If a name is none of these, or kinds do not go together, such as a number and a text.
    """
    return _Binder(text, features).condition(condition)


class _Binder:
    def __init__(self, text: str, features: Mapping[str, Known]) -> None:
        self._text = text
        self._features = features

    def condition(self, node: Expression) -> Expression:
        match node:
            case And(at=at, parts=parts):
                return And(at=at, parts=tuple(map(self.condition, parts)))
            case Or(at=at, parts=parts):
                return Or(at=at, parts=tuple(map(self.condition, parts)))
            case Not(at=at, of=of):
                return Not(at=at, of=self.condition(of))
            case Comparison():
                return self._comparison(node)
            case Between(at=at, of=of, low=low, high=high):
                return Between(at=at, of=self._number(of), low=self._number(low), high=self._number(high))
            case In():
                return self._in(node)
            case IsNull(at=at, of=of):
                return IsNull(at=at, of=self._value(of)[0])
            case Flag(at=at, value=flag):
                truth = Number(at=at, value=float(flag))
                return Comparison(at=at, sign="<>", left=truth, right=Number(at=at, value=0.0))
            case Name(at=at, name=name):
                value, kind = self._value(node)
                if kind is not Kind.FLAG:
                    self._refuse(at, f"`{name}`, which is {kind}, as a condition", _COMPARE)
                return Comparison(at=at, sign="<>", left=value, right=Number(at=at, value=0.0))
        self._refuse(node.at, "a value as a condition", _COMPARE)

    def _comparison(self, node: Comparison) -> Expression:
        (left, one), (right, other) = self._value(node.left), self._value(node.right)
        self._agree(node.at, one, other)
        if one is Kind.CATEGORY and node.sign not in ("=", "<>"):
            self._refuse(node.at, f"`{node.sign}` between categories, which have no order", "write `=`, `<>` or `in`")
        return Comparison(at=node.at, sign=node.sign, left=left, right=right)

    def _in(self, node: In) -> Expression:
        of, kind = self._value(node.of)
        values = []
        for one in node.values:
            value, other = self._value(one)
            self._agree(one.at, kind, other)
            assert isinstance(value, Number)  # lists hold values alone
            values.append(value)
        return In(at=node.at, of=of, values=tuple(values))

    def _agree(self, at: int, one: Kind, other: Kind) -> None:
        if (one is Kind.CATEGORY) != (other is Kind.CATEGORY):
            do = "put 'quotes' around values of a category, and none around numbers"
            self._refuse(at, f"{one} beside {other}", do)

    def _number(self, node: Expression) -> Expression:
        value, kind = self._value(node)
        if kind is Kind.CATEGORY:
            self._refuse(node.at, "a category where a number is needed", "compare categories with `=`, `<>` or `in`")
        return value

    def _value(self, node: Expression) -> tuple[Expression, Kind]:
        match node:
            case Number():
                return node, Kind.NUMBER
            case Flag(at=at, value=flag):
                return Number(at=at, value=float(flag)), Kind.FLAG
            case Text(at=at, value=""):
                self._refuse(at, "an empty text, which is a missing value", "write `is null`")
            case Text(at=at, value=text):
                return Number(at=at, value=category_code(text)), Kind.CATEGORY
            case Name(at=at, name=name):
                full = full_name(name, self._features)
                if full is None:
                    self._refuse(at, f"`{name}`, no feature of this scenario", self._nearest(name))
                column, kind = self._features[full]
                return Column(at=at, index=column), kind
            case Negative(at=at, of=of):
                return Negative(at=at, of=self._number(of)), Kind.NUMBER
            case Arithmetic(at=at, sign=sign, left=left, right=right):
                parts = self._number(left), self._number(right)
                return Arithmetic(at=at, sign=sign, left=parts[0], right=parts[1]), Kind.NUMBER
        self._refuse(node.at, "a condition where a value is needed", "join conditions with `and` or `or`")

    def _nearest(self, name: str) -> str:
        short = {known.removeprefix(prefix) for known in self._features for prefix in SHORT_FOR}
        return f"{did_you_mean(name, short)}; `ringfence features --list` shows all"

    def _refuse(self, at: int, found: str, do: str) -> NoReturn:
        raise ConditionError(self._text, at, found, do)

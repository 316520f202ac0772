# SPDX-License-Identifier: Apache-2.0
"""The text of a rule's condition: a part of SQL's boolean expressions, read into a tree.

    policy_age_days < 30 and amount / claimant.mean_amount_90d > 3
    vehicle_make in ('vw', 'audi') and not (repair_shop.fraud_rate_90d between 0 and 0.02)
    claimant.hours_since_last is null or event.night

Comparisons, `between`, `in`, `is null`, `and`, `or`, `not`, `+ - * /`, brackets, numbers, 'texts', true and false.
Names are those of features, dots and ~ included; "double quotes" around one are allowed. Nothing else of SQL is: what
is not listed here is refused with its place in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

import msgspec

from ringfence.scenario.errors import ConditionError

LONGEST: Final = 2_000  # characters
DEEPEST: Final = 50  # brackets, `not`, signs and terms inside each other
COMPARISONS: Final = ("=", "<>", "!=", "<", "<=", ">", ">=")
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "null", "between", "true", "false"})
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<text>'(?:[^']|'')*')
    |(?P<name>[A-Za-z_]\w*(?:[.~]\w+)*|"[^"]+")
    |(?P<sign><=|>=|<>|!=|==|[-+*/=<>(),]))""",
    re.ASCII | re.VERBOSE,
)


class _Node(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    at: int  # 0-based place in the text of what it is named for


class Name(_Node, frozen=True):
    name: str


class Column(_Node, frozen=True):
    """What a name becomes once `condition_names.bind` knows its place in a feature row."""

    index: int


class Number(_Node, frozen=True):
    value: float


class Text(_Node, frozen=True):
    value: str


class Flag(_Node, frozen=True):
    value: bool


class Negative(_Node, frozen=True):
    of: Expression


class Arithmetic(_Node, frozen=True):
    sign: str  # + - * /
    left: Expression
    right: Expression


class Comparison(_Node, frozen=True):
    sign: str  # = <> < <= > >=
    left: Expression
    right: Expression


class Between(_Node, frozen=True):
    of: Expression
    low: Expression
    high: Expression


class In(_Node, frozen=True):
    of: Expression
    values: tuple[Number | Text | Flag, ...]


class IsNull(_Node, frozen=True):
    of: Expression


class Not(_Node, frozen=True):
    of: Expression


class And(_Node, frozen=True):
    parts: tuple[Expression, ...]


class Or(_Node, frozen=True):
    parts: tuple[Expression, ...]


Expression = (
    Name | Column | Number | Text | Flag | Negative | Arithmetic | Comparison | Between | In | IsNull | Not | And | Or
)


def read_condition(text: str) -> Expression:
    """Read a condition; what its names mean is for `condition_names.bind` to say.

    Raises
    ------
    ConditionError
        At the first thing that cannot be followed.
    """
    if len(text) > LONGEST:
        raise ConditionError(text, LONGEST, f"{len(text):,} characters", f"write at most {LONGEST:,}")
    return _Reader(text).whole()


def names_in(node: Expression) -> Iterator[Name]:
    """Yield every name of a condition, from left to right."""
    match node:
        case Name():
            yield node
        case Arithmetic(left=left, right=right) | Comparison(left=left, right=right):
            yield from names_in(left)
            yield from names_in(right)
        case Between(of=of, low=low, high=high):
            for part in (of, low, high):
                yield from names_in(part)
        case Negative(of=of) | In(of=of) | IsNull(of=of) | Not(of=of):
            yield from names_in(of)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from names_in(part)


class _Reader:
    """Recursive descent over the tokens, each (kind, text, place); the last one is ("end", "", length)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._cut())
        self._next = 0
        self._depth = 0

    def _cut(self) -> Iterator[tuple[str, str, int]]:
        place, end = 0, len(self._text.rstrip())
        while place < end:
            found = _TOKEN.match(self._text, place)
            if found is None:
                place += len(self._text[place:]) - len(self._text[place:].lstrip())
                self._refuse_character(place)
            kind = str(found.lastgroup)
            token, start = found[kind], found.start(kind)
            if kind == "name" and token.lower() in _KEYWORDS:
                kind, token = "word", token.lower()
            yield kind, token, start
            place = found.end()
        yield "end", "", end

    def _refuse_character(self, place: int) -> NoReturn:
        character = self._text[place]
        if character in "'\"":
            self._refuse(place, "a quote that is never closed", f"close it with another {character}")
        self._refuse(
            place, repr(character), "conditions are made of names, numbers, 'texts' and + - * / = <> < <= > >="
        )

    def _refuse(self, at: int, found: str, do: str) -> NoReturn:
        raise ConditionError(self._text, at, found, do)

    @property
    def _kind(self) -> str:
        return self._tokens[self._next][0]

    @property
    def _token(self) -> str:
        return self._tokens[self._next][1]

    @property
    def _at(self) -> int:
        return self._tokens[self._next][2]

    @property
    def _found(self) -> str:
        return "the end" if self._kind == "end" else f"`{self._token}`"

    def _takes(self, kind: str, *tokens: str) -> bool:
        if self._kind == kind and self._token in tokens:
            self._next += 1
            return True
        return False

    def _needs(self, kind: str, token: str, do: str) -> None:
        if not self._takes(kind, token):
            self._refuse(self._at, self._found, do)

    def whole(self) -> Expression:
        if self._kind == "end":
            self._refuse(0, "nothing", "write a condition, such as `amount > 10000`")
        found = self._any()
        if self._kind != "end":
            do = "write `and` or `or` between conditions"
            if self._kind == "sign" and self._token in (*COMPARISONS, "=="):
                do = "compare two values at a time, such as `1 < x and x < 5`"
            self._refuse(self._at, self._found, do)
        return found

    def _any(self) -> Expression:
        at, parts = self._at, [self._all()]
        while self._takes("word", "or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(at=at, parts=tuple(parts))

    def _all(self) -> Expression:
        at, parts = self._at, [self._negated()]
        while self._takes("word", "and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else And(at=at, parts=tuple(parts))

    def _negated(self) -> Expression:
        at = self._at
        if not self._takes("word", "not"):
            return self._predicate()
        self._deeper(at)
        found = Not(at=at, of=self._negated())
        self._depth -= 1
        return found

    def _predicate(self) -> Expression:
        left, at = self._sum(), self._at
        if self._kind == "sign" and self._token in (*COMPARISONS, "=="):
            sign = self._token
            if sign == "==":
                self._refuse(at, "`==`", "write `=`")
            self._next += 1
            if self._kind == "word" and self._token == "null":
                self._refuse(self._at, "`null`", "nothing equals null; write `is null` or `is not null`")
            return Comparison(at=at, sign="<>" if sign == "!=" else sign, left=left, right=self._sum())
        if self._takes("word", "is"):
            negated = self._takes("word", "not")
            self._needs("word", "null", "after `is` comes `null` or `not null`")
            return self._maybe_not(negated, IsNull(at=at, of=left))
        negated = self._takes("word", "not")
        if self._takes("word", "between"):
            low = self._sum()
            self._needs("word", "and", "write `between low and high`")
            return self._maybe_not(negated, Between(at=at, of=left, low=low, high=self._sum()))
        if self._takes("word", "in"):
            return self._maybe_not(negated, In(at=at, of=left, values=self._list()))
        if negated:
            self._refuse(self._at, self._found, "after `not` here comes `in` or `between`")
        return left

    @staticmethod
    def _maybe_not(negated: bool, node: IsNull | Between | In) -> Expression:
        return Not(at=node.at, of=node) if negated else node

    def _list(self) -> tuple[Number | Text | Flag, ...]:
        self._needs("sign", "(", "write a list, such as `in ('a', 'b')`")
        values: list[Number | Text | Flag] = []
        while True:
            at = self._at
            value = self._signed()
            if isinstance(value, Negative) and isinstance(value.of, Number):
                value = Number(at=at, value=-value.of.value)
            if not isinstance(value, Number | Text | Flag):
                self._refuse(at, "what is no value", "list numbers, 'texts', true or false")
            values.append(value)
            if self._takes("sign", ")"):
                return tuple(values)
            self._needs("sign", ",", "write `,` between values, and `)` at the end")

    def _sum(self) -> Expression:
        return self._chain("+-", self._product)

    def _product(self) -> Expression:
        return self._chain("*/", self._signed)

    def _chain(self, signs: str, operand: Callable[[], Expression]) -> Expression:
        found, before = operand(), self._depth
        while self._kind == "sign" and self._token in signs:
            sign, at = self._token, self._at
            self._deeper(at)
            self._next += 1
            found = Arithmetic(at=at, sign=sign, left=found, right=operand())
        self._depth = before
        return found

    def _signed(self) -> Expression:
        at = self._at
        if self._takes("sign", "-"):
            self._deeper(at)
            found = Negative(at=at, of=self._signed())
            self._depth -= 1
            return found
        return self._single()

    def _single(self) -> Expression:
        kind, token, at = self._kind, self._token, self._at
        if kind == "number":
            self._next += 1
            value = float(token)
            if math.isinf(value):
                self._refuse(at, f"`{token}`", "write a number that a float64 can hold")
            return Number(at=at, value=value)
        if kind == "text":
            self._next += 1
            return Text(at=at, value=token[1:-1].replace("''", "'"))
        if kind == "name":
            self._next += 1
            return Name(at=at, name=token.strip('"'))
        if kind == "word" and token in ("true", "false"):
            self._next += 1
            return Flag(at=at, value=token == "true")
        if self._takes("sign", "("):
            self._deeper(at)
            found = self._any()
            self._needs("sign", ")", "close the bracket with `)`")
            self._depth -= 1
            return found
        do = "write `is null` or `is not null`" if token == "null" else "here stands a name, a number, a 'text' or ("
        self._refuse(at, self._found, do)

    def _deeper(self, at: int) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(at, f"more than {DEEPEST} levels", "write the condition as several rules")

# SPDX-License-Identifier: Apache-2.0
"""A feature and its value as one plain sentence that a customer-service agent can read out."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

import msgspec

_SPANS: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_COUNTED: Final = ("events of ", "events confirmed", "frauds of ", "confirmed frauds", "different ", "earlier ")


_OVER_SEVERAL: Final = {
    "largest over the entities: ": "the largest of several",
    "mean over the entities: ": "mean of several",
}
_TECHNICAL: Final = (
    ", each shrunk towards that of all entities",
    ", shrunk towards that of all entities",
    ", shrunk towards that of all events",
    ", each shrunk towards that of the event's segment",
    ", shrunk towards that of the event's segment",
    " (negative when this one is late)",
)


class FeatureText(msgspec.Struct, frozen=True, kw_only=True):
    """What a release remembers of one column in order to talk about it."""

    name: str
    group: str
    sentence: str
    unit: str
    roles: tuple[str, ...] = ()


def say(feature: FeatureText, value: float, *, currency: str) -> str:
    """Return the sentence for a value; it names roles and facts, never a person.

    Parameters
    ----------
    value : as in the feature row; NaN where missing.
    currency : written after money, such as EUR.
    """
    text = _in_words(feature)
    for prefix, extent in _OVER_SEVERAL.items():
        if text.startswith(prefix):
            text = text.removeprefix(prefix)
            if feature.unit == "0/1" and 0.0 < value < 1.0:
                return _sentence(f"for {100.0 * value:.3g} % of several: {text}")
            said = _said(text, feature.unit, value, currency)
            return _sentence(said if math.isnan(value) or value == 0.0 else f"{said} ({extent})")
    return _sentence(_said(text, feature.unit, value, currency))


def _said(text: str, unit: str, value: float, currency: str) -> str:
    if math.isnan(value):
        return f"no value here, as it was not given or nothing came before: {text}"
    given = text.removesuffix(" as given")
    if unit == "0/1":
        if given != text:
            return f"{given}: {'yes' if value != 0.0 else 'no'}"
        return text if value != 0.0 else f"not the case: {text}"
    if unit == "category":
        return f"{given} is of a kind that matters here"
    if unit in ("days", "hours") and text.startswith(f"{unit} "):
        since = text.removeprefix(unit)
        return (
            f"{_counted(value / 24.0, 'days') if unit == 'hours' and value >= 48.0 else _counted(value, unit)}{since}"
        )
    if unit in ("events", "entities") and text.startswith(_COUNTED):
        return f"{_whole(value)} {_singular(text) if value == 1.0 else text}"
    if unit in ("events", "entities") and text.startswith("number of "):
        return f"{text}: {_number(value)}"
    if unit == "ratio" and text.startswith("amount against "):
        return f"the amount is {_number(value)} times {text.removeprefix('amount against ')}"
    return f"{given}: {_measured(value, unit, currency)}"


@lru_cache(maxsize=4096)  # features of a few releases
def _in_words(feature: FeatureText) -> str:
    text = feature.sentence
    for technical in _TECHNICAL:
        text = text.removesuffix(technical)
    for role in feature.roles:
        text = re.sub(rf"(?<![\w~.])(?<!the role ){re.escape(role)}(?![\w~])", f"this {role.replace('_', ' ')}", text)
    text = re.sub(r"\b(\d+)([dhms])\b", _span, text)
    return text.replace("_", " ")


def _span(match: re.Match[str]) -> str:
    n, unit = int(match.group(1)), _SPANS[match.group(2)]
    return f"{n} {unit}s" if n != 1 else f"{n} {unit}"


def _sentence(text: str) -> str:
    text = text.replace("in the last 1 day", "in the last day").replace("in the last 1 hour", "in the last hour")
    return text[:1].upper() + text[1:]


def _singular(text: str) -> str:
    return re.sub(r"\b(event|fraud)s\b", r"\1", text, count=1).replace("different entities", "entity", 1)


def _whole(value: float) -> str:
    return "no" if value == 0.0 else _number(value)


def _counted(value: float, unit: str) -> str:
    number = _number(value)
    return f"{number} {unit[:-1] if number == '1' else unit}"


def _measured(value: float, unit: str, currency: str) -> str:
    if unit == "currency":
        return f"{value:,.2f} {currency}".rstrip()
    if unit in ("probability", "share"):
        return f"{100.0 * value:.3g} %"
    if unit in ("as given", "ratio", "0..23", "0..6"):
        return _number(value)
    return f"{_number(value)} {unit[:-1] if value == 1.0 and unit.endswith('s') else unit}"


def _number(value: float) -> str:
    if value == round(value) and abs(value) < 1e15:
        return f"{round(value):,}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2g}"

# SPDX-License-Identifier: Apache-2.0
"""The ranges that a world must keep to, fixed before any graph model was trained on it, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.worlds.sheet import Sheet


@dataclass(frozen=True)
class Range:
    """A figure of the sheet with its bounds, both inclusive; None: unbounded on that side."""

    name: str
    value: Callable[[Sheet], float]
    low: float | None = None
    high: float | None = None
    is_share: bool = False

    def met_by(self, value: float) -> bool:
        """Say whether a value is in the range; one that is not a number never is."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high) and value == value

    def text(self, value: float) -> str:
        if value != value:
            return "–"
        return f"{100.0 * value:.1f} %" if self.is_share else f"{value:.3f}"

    @property
    def bounds(self) -> str:
        if self.low is None:
            return f"at most {self.text(self.high)}" if self.high is not None else "any"
        return (
            f"at least {self.text(self.low)}"
            if self.high is None
            else f"{self.text(self.low)} to {self.text(self.high)}"
        )


def _best_column(sheet: Sheet) -> float:
    return max(sheet.columns.values())


def _leak(sheet: Sheet, group: str) -> float:
    return sheet.leaks[group].area if sheet.leaks else float("nan")


def _worst_leak(sheet: Sheet) -> float:
    return max((leak.area for leak in sheet.leaks.values()), default=float("nan"))


def _oracle_lead(sheet: Sheet) -> float:
    others = (skill.average_precision for name, skill in sheet.models.items() if name != "oracle")
    return sheet.models["oracle"].average_precision - max(others)


RANGES: Final = (
    Range("best single column, ROC-AUC", _best_column, high=0.70),
    Range("fifteen hand rules together, share of fraud caught", lambda s: s.rules["any rule"].caught, 0.15, 0.30, True),
    Range(
        "logistic regression, recall at 15 % precision",
        lambda s: s.models["logistic regression, attributes and simple counts"].recall, 0.50, 0.65, True,
    ),
    Range("oracle ahead of every model, average precision", _oracle_lead, low=0.0),
    Range("leak hunt, all together, ROC-AUC", lambda s: _leak(s, "all together"), high=0.55),
    Range("leak hunt, worst group alone, ROC-AUC", _worst_leak, high=0.55),
    Range("claims above 25,000 EUR", lambda s: s.realism.large_share, 0.07, 0.09, True),
    Range("their share of the amount of fraud", lambda s: s.realism.large_loss, 0.60, 0.73, True),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    range: Range
    values: tuple[float, ...]  # one per world
    met: tuple[bool, ...]

    @property
    def is_met(self) -> bool:
        return all(self.met)


def verdicts(sheets: Sequence[Sheet], ranges: Sequence[Range] = RANGES) -> list[Verdict]:
    """Hold each range against each world."""
    found = []
    for one in ranges:
        values = tuple(one.value(sheet) for sheet in sheets)
        found.append(Verdict(one, values, tuple(one.met_by(value) for value in values)))
    return found

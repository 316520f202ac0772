# SPDX-License-Identifier: Apache-2.0
"""What do the rules say? Points of the conditions that hold, as log-odds: what answers when no model can.

    raw = b + a * (sum of the points of the rules that hold)

a and b are fitted on labels, a around what the points mean before any label is known: `POINTS_TO_DOUBLE` of them double
the odds of fraud, as in a scorecard. A condition that is unknown, because something it names is missing, does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.branch import Need, Said
from ringfence.models.calibration import sigmoid
from ringfence.models.conditions import TRUE, truth_of_row, truth_of_rows
from ringfence.models.errors import ModelShapeError
from ringfence.scenario.condition import Expression, names_in, read_condition
from ringfence.scenario.condition_names import Kind, Known, bind, full_name
from ringfence.scenario.spec import Rule

if TYPE_CHECKING:
    from ringfence.models.seen import Seen

FloatArray = NDArray[np.float64]

POINTS_TO_DOUBLE: Final = 20
SLOPE: Final = float(np.log(2.0)) / POINTS_TO_DOUBLE  # of log-odds by points, before any label
FEW_ROWS: Final = 16  # up to here closures beat columns: a microsecond a rule and row against tens a rule


class RulesModel(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Rules over a release's features, and what their points are worth."""

    rules: tuple[Rule, ...]
    columns: dict[str, tuple[int, Kind]]  # of the features that they name
    width: int  # of a feature row
    slope: float = SLOPE  # >= 0
    intercept: float = 0.0

    @classmethod
    def of(cls, rules: Sequence[Rule], features: Mapping[str, Known], width: int) -> RulesModel:
        """Bind rules to the columns of a catalogue.

        Raises
        ------
        ConditionError
            If a rule names what is no feature, or compares what cannot be compared.
        """
        named: dict[str, tuple[int, Kind]] = {}
        for rule in rules:
            condition = read_condition(rule.when)
            bind(rule.when, condition, features)
            full = (full_name(name.name, features) for name in names_in(condition))
            named |= {name: (features[name].column, features[name].kind) for name in full if name is not None}
        return cls(rules=tuple(rules), columns=named, width=width)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset()

    @property
    def n_features(self) -> int:
        return self.width

    @cached_property
    def conditions(self) -> tuple[Expression, ...]:
        known = {name: Known(column, kind) for name, (column, kind) in self.columns.items()}
        return tuple(bind(rule.when, read_condition(rule.when), known) for rule in self.rules)

    @cached_property
    def _of_row(self) -> tuple[Callable[[Sequence[float]], int], ...]:
        return tuple(map(truth_of_row, self.conditions))

    def hits(self, row: FloatArray) -> tuple[Rule, ...]:
        """Return the rules that hold for one event, whose row has the shape (n_features,), as the engine gives it."""
        values = row.tolist()
        return tuple(rule for rule, truth in zip(self.rules, self._of_row, strict=True) if truth(values) == TRUE)

    def points(self, rows: FloatArray) -> FloatArray:
        """Return the sum of the points of the rules that hold, shape (n,), of rows as the engine gives them.

        Raises
        ------
        ModelShapeError
            If the rows are not as wide as the catalogue that the rules were bound to.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ModelShapeError(f"rows for the rules: found shape {rows.shape}, expected (n, {self.width})")
        if rows.shape[0] <= FEW_ROWS:
            return np.array([float(sum(rule.points for rule in self.hits(row))) for row in rows], np.float64)
        return self.points_by_column(rows)

    def points_by_column(self, rows: FloatArray) -> FloatArray:
        """Return the same, column by column, however few rows there are."""
        total = np.zeros(rows.shape[0])
        for rule, condition in zip(self.rules, self.conditions, strict=True):
            total += np.where(truth_of_rows(condition, rows) == TRUE, float(rule.points), 0.0)
        return total

    def raw(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return log-odds, shape (n,)."""
        return self.log_odds(self.points(seen.rows))

    def log_odds(self, points: FloatArray) -> FloatArray:
        return self.intercept + self.slope * points

    def shares(self, seen: Seen, encoded: FloatArray) -> None:
        """Return None: a rule may name several features."""
        return None

    def said(self, seen: Seen, encoded: FloatArray) -> list[tuple[Said, ...]]:
        """Say which rules hold and raise the score, the most points first, and what each adds."""
        return [self.reasons(row) for row in seen.rows]

    def reasons(self, row: FloatArray) -> tuple[Said, ...]:
        """Say the same of one event, whose row has the shape (n_features,), as the engine gives it."""
        raising = sorted((rule for rule in self.hits(row) if rule.points > 0), key=lambda rule: -rule.points)
        return tuple(
            Said(f"RULE_{rule.name.upper().replace('-', '_')}", self.sentence(rule), self.slope * rule.points)
            for rule in raising
        )

    @staticmethod
    def sentence(rule: Rule) -> str:
        """Return what a rule says for itself, or its condition."""
        return rule.says or f"Rule {rule.name}: {rule.when}"

    def probability(self, raw: FloatArray) -> FloatArray:
        return sigmoid(raw)

    def to_bytes(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_bytes(cls, data: bytes) -> RulesModel:
        return msgspec.json.decode(data, type=cls)

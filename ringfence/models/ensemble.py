# SPDX-License-Identifier: Apache-2.0
"""What scores an event: the trees, the branches beside them, and the stack that makes one number of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.models.branch import Outspoken
from ringfence.models.calibration import sigmoid
from ringfence.models.errors import UnseenError
from ringfence.models.stack import BACKBONE, Stack

if TYPE_CHECKING:
    from ringfence.models.branch import Branch, Need
    from ringfence.models.encoder import Encoder
    from ringfence.models.gbdt import Gbdt
    from ringfence.models.seen import Seen

FloatArray = NDArray[np.float64]


Done = Callable[[str], object]  # told the name of a step as it ends, by whoever wants to time it


def untold(step: str) -> None:
    """Nobody wants to know."""


class Contributions(NamedTuple):
    """What the stacked log-odds of n events are made of."""

    by_feature: FloatArray  # (n, n_features)
    beside: dict[str, FloatArray]  # (n,) of each branch that is not made of features: what it adds above its mean


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Models of the same events.

    Attributes
    ----------
    gbdt : None where nothing was labelled when it was made: what needs no labels scores alone.
    branches : beside the trees, by name.
    stack : names the members that take part in the score; the others are told beside it.
    """

    encoder: Encoder
    gbdt: Gbdt | None
    branches: Mapping[str, Branch]
    stack: Stack

    def encode(self, rows: FloatArray) -> FloatArray:
        """Return what the trees see, shape (n, n_features), of rows as the engine gives them."""
        return self.encoder.apply(rows)

    @property
    def needs(self) -> frozenset[Need]:
        """What its branches read beside feature rows."""
        return frozenset(need for branch in self.branches.values() for need in branch.needs)

    @cached_property
    def outspoken(self) -> dict[str, Outspoken]:
        """Branches that give reasons of their own, by name; asking each once: a protocol's `isinstance` takes 10 µs."""
        return {name: branch for name, branch in self.branches.items() if isinstance(branch, Outspoken)}

    @property
    def n_trees(self) -> int:
        """Boosted trees; 0 where there are none."""
        return 0 if self.gbdt is None else self.gbdt.n_trees

    def alone(self) -> Ensemble:
        """Return the trees as the only ones that score; told beside them is what reads nothing but feature rows."""
        told = {name: branch for name, branch in self.branches.items() if not branch.needs}
        return replace(self, branches=told, stack=Stack())

    def members(self, seen: Seen, encoded: FloatArray, done: Done = untold) -> dict[str, FloatArray]:
        """Return each member's raw score, shape (n,): log-odds of the trees, what each branch says of itself.

        Parameters
        ----------
        seen, encoded : n events, and their rows as `encode` returns them.
        done : told `model NAME` when a member has answered.

        Raises
        ------
        UnseenError
            If a branch that the stack counts on has nothing to look at.
        """
        found = {}
        if self.gbdt is not None:
            found[BACKBONE] = self.gbdt.raw(encoded)
            done(f"model {BACKBONE}")
        for name, branch in self.branches.items():
            unmet = [need for need in branch.needs if not need.is_met_by(seen)]
            if not unmet:
                found[name] = branch.raw(seen, encoded)
                done(f"model {name}")
            elif name in self.stack.members:
                raise UnseenError(name, unmet[0])
        return found

    def raw(self, seen: Seen) -> FloatArray:
        """Return stacked log-odds before calibration, shape (n,)."""
        return self.stack.raw(self.members(seen, self.encode(seen.rows)))

    def contributions(self, seen: Seen, encoded: FloatArray, *, exact: bool = False) -> FloatArray:
        """Return what each feature adds to the stacked log-odds, shape (n, n_features).

        Trees by TreeSHAP, exact or fast enough to serve, and what branches say that they can share out among features.
        """
        return self.explained(seen, encoded, {}, exact=exact).by_feature

    def explained(
        self, seen: Seen, encoded: FloatArray, members: Mapping[str, FloatArray], *, exact: bool = False
    ) -> Contributions:
        """Return `contributions`, and what the other branches add.

        Parameters
        ----------
        members : as `members` returns them for these events; of a branch that is not in there nothing is told.
        """
        total: FloatArray = np.zeros(encoded.shape)
        if self.gbdt is not None:
            shares = self.gbdt.contributions(encoded) if exact else self.gbdt.walker.contributions(encoded)
            total = self.stack.weight_of(BACKBONE) * shares
        beside = {}
        for name, branch in self.branches.items():
            weight = self.stack.weight_of(name)
            if not weight > 0.0:
                continue
            added = branch.shares(seen, encoded)
            if added is not None:
                total = total + weight * added
            elif name in members:
                beside[name] = weight * (members[name] - self.stack.centre_of(name))
        return Contributions(total, beside)

    def as_probability(self, name: str, raw: FloatArray) -> FloatArray:
        """Return a member's raw score as a number in [0, 1] for people, shape (n,)."""
        return sigmoid(raw) if name == BACKBONE else self.branches[name].probability(raw)

# SPDX-License-Identifier: Apache-2.0
"""The branches that a release may hold beside its trees, and how each is read from its file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.anomaly import AnomalyModel
from ringfence.models.branch import Branch, Need
from ringfence.models.brought import BroughtBranch
from ringfence.models.gnn_branch import GNN, GnnBranch
from ringfence.models.linear import LinearModel

if TYPE_CHECKING:
    from ringfence.models.seen import Seen

FloatArray = NDArray[np.float64]

ANOMALY: Final = "anomaly"
LINEAR: Final = "linear"
SEQUENCE: Final = "sequence"  # a network over neighbourhoods too, see `training.sequence`
TEXT: Final = "text"
RULES: Final = "rules"


@dataclass(frozen=True, eq=False)
class AnomalyBranch:
    """How unusual an event's features are."""

    model: AnomalyModel
    needs: frozenset[Need] = frozenset()

    @property
    def n_features(self) -> int:
        return self.model.n_features

    def raw(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return each event's surprise, shape (n,), >= 0."""
        return self.model.raw(encoded)

    def shares(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Share out what is above the mean surprise, in proportion to how far each feature shortens the way."""
        return self.model.surprise_shares(encoded)

    def probability(self, raw: FloatArray) -> FloatArray:
        """Return the share of training events that are more ordinary."""
        return -np.expm1(-raw)

    def to_bytes(self) -> bytes:
        return self.model.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> AnomalyBranch:
        return cls(AnomalyModel.from_bytes(data))


def _text(data: bytes) -> Branch:
    from ringfence.models.text import TextModel

    return TextModel.from_bytes(data)


def _rules(data: bytes) -> Branch:
    from ringfence.models.rules import RulesModel

    return RulesModel.from_bytes(data)


@dataclass(frozen=True)
class Stored:
    """A branch's file in a release."""

    file: str
    title: str  # for people, as in "columns of the anomaly model"
    read: Callable[[bytes], Branch]


STORED: Final[dict[str, Stored]] = {
    LINEAR: Stored("linear.npz", "the linear model", LinearModel.from_bytes),
    ANOMALY: Stored("anomaly.npz", "the anomaly model", AnomalyBranch.from_bytes),
    GNN: Stored("gnn.bin", "the graph network", GnnBranch.from_bytes),
    SEQUENCE: Stored("sequence.bin", "the sequence model", GnnBranch.from_bytes),
    TEXT: Stored("text.npz", "the text model", _text),
    RULES: Stored("rules.json", "the rules", _rules),
}

_BROUGHT: Final = ("brought-", ".bin")  # around the name of a network that was trained elsewhere


def stored_as(name: str) -> Stored:
    """Return where a branch of any name has its file; what is none of `STORED` was trained elsewhere."""
    if name in STORED:
        return STORED[name]
    return Stored(f"{_BROUGHT[0]}{name}{_BROUGHT[1]}", f"the branch {name}", BroughtBranch.from_bytes)


def stored_among(files: Iterable[str]) -> dict[str, Stored]:
    """Return the branches by name that some files of a release are of."""
    names = [name for name, stored in STORED.items() if stored.file in files]
    before, after = _BROUGHT
    names += [file[len(before) : -len(after)] for file in sorted(files) if file.startswith(before)]
    return {name: stored_as(name) for name in names}

# SPDX-License-Identifier: Apache-2.0
"""The graph network as a branch of a release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.branch import Need
from ringfence.models.calibration import sigmoid
from ringfence.models.errors import UnseenError
from ringfence.models.gnn import Gnn

if TYPE_CHECKING:
    from ringfence.models.seen import Seen

FloatArray = NDArray[np.float64]

GNN: Final = "gnn"


@dataclass(frozen=True, eq=False)
class GnnBranch:
    """What the events around an event's entities say of it."""

    gnn: Gnn
    needs: frozenset[Need] = frozenset({Need.NEIGHBOURHOODS})

    @property
    def n_features(self) -> int | None:
        return self.gnn.inputs.n_features or None

    def raw(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return log-odds, shape (n,); a row's value depends on the rows beside it by rounding, less than 1e-6."""
        if seen.neighbourhoods is None:
            raise UnseenError(GNN, Need.NEIGHBOURHOODS)
        return self.gnn.raw(seen.neighbourhoods, encoded if self.gnn.inputs.n_features else None)

    def shares(self, seen: Seen, encoded: FloatArray) -> None:
        """Nothing is told by feature: a neighbourhood is none."""

    def probability(self, raw: FloatArray) -> FloatArray:
        return sigmoid(raw)

    def to_bytes(self) -> bytes:
        return self.gnn.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> GnnBranch:
        return cls(Gnn.from_bytes(data))

# SPDX-License-Identifier: Apache-2.0
"""What a model may look at of some events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.models.gnn_inputs import Sampled, SampledArrays

if TYPE_CHECKING:
    FloatArray = NDArray[np.float64]

Texts = tuple[Sequence[str | None], ...]


class Seen(NamedTuple):
    """n events, each as it was known just before it was decided.

    Attributes
    ----------
    rows : shape (n, n_features), as the engine gives them.
    neighbourhoods : of the n events; None where none were sampled.
    texts : one sequence of n for each text attribute that models may read, in the scenario's order; None where the
        event has none. Empty where texts were not read.
    """

    rows: FloatArray
    neighbourhoods: Sampled | None = None
    texts: Texts = ()

    @property
    def n(self) -> int:
        return int(self.rows.shape[0])

    def part(self, at: slice | NDArray[np.int64]) -> Seen:
        """Return some of the events, in the order of `at`."""
        near = self.neighbourhoods
        if near is not None:
            near = SampledArrays(near.events[at], near.mask[at], near.nodes[at])
        return Seen(self.rows[at], near, tuple(_taken(text, at) for text in self.texts))


def _taken(text: Sequence[str | None], at: slice | NDArray[np.int64]) -> Sequence[Any]:
    return text[at] if isinstance(at, slice) else [text[place] for place in at.tolist()]

# SPDX-License-Identifier: Apache-2.0
"""What the scenario declares and no example has: nothing can be learned from it."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.stats import NO_ENTITY

_BLOCK: Final = 4_096  # rows


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """Names of the decided type's roles and attributes that are missing in every example."""

    roles: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


def absent_from(rows: NDArray[np.float64], catalogue: Catalogue) -> Absent:
    """Find what no example names or gives, among the roles and attributes that features are read from.

    Parameters
    ----------
    rows : shape (n, n features), those of the examples; n > 0.
    """
    first = np.isnan(rows[0])  # a column that is missing everywhere is missing here
    features = catalogue.features
    empty = {at for at in np.flatnonzero(first).tolist() if _is_empty(rows[:, at])}
    by_role = {feature.role: at for at, feature in enumerate(features) if feature.role and feature.missing == NO_ENTITY}
    by_name = {feature.name: at for at, feature in enumerate(features)}
    decided = catalogue.scenario.decided
    return Absent(
        roles=tuple(column.role for column in decided.roles if by_role.get(column.role) in empty),
        attributes=tuple(one.name for one in decided.attributes if by_name.get(f"attribute.{one.name}") in empty),
    )


def _is_empty(column: NDArray[np.float64]) -> bool:
    # Most columns that begin empty have a value soon: no need to walk through a million rows for it.
    return all(bool(np.isnan(column[low : low + _BLOCK]).all()) for low in range(0, column.shape[0], _BLOCK))

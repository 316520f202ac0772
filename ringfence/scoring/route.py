# SPDX-License-Identifier: Apache-2.0
"""When is an event decided? What a policy's `route` says, bound to the features of a release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.rule_features import rule_features
from ringfence.models.conditions import TRUE, truth_of_row, truth_of_rows
from ringfence.policy.errors import PolicyFileError
from ringfence.scenario.condition import read_condition
from ringfence.scenario.condition_names import bind
from ringfence.scenario.errors import ConditionError

if TYPE_CHECKING:
    from ringfence.engine.catalogue import Catalogue
    from ringfence.policy.policy import Policy

FEW_ROWS: Final = 16  # up to here the closure beats columns, as for rules


class Router:
    """Says of feature rows which events wait for the nightly batch. Holds no state that a call changes."""

    def __init__(self, policy: Policy, catalogue: Catalogue, *, where: str = "policy") -> None:
        """Bind a policy's route.

        Parameters
        ----------
        where : names the policy in errors.

        Raises
        ------
        PolicyFileError
            If the condition names what is no feature, or compares what cannot be compared.
        """
        route = policy.route
        self._condition = None
        self._of_row: Callable[[Sequence[float]], int] | None = None
        if isinstance(route, msgspec.UnsetType):
            return
        try:
            bound = bind(route.realtime, read_condition(route.realtime), rule_features(catalogue.features))
        except ConditionError as error:
            raise PolicyFileError(where, "route.realtime", f"found {error.found}", error.do) from None
        self._condition, self._of_row = bound, truth_of_row(bound)

    @property
    def has_batch(self) -> bool:
        """Whether any event may wait; False: all are decided at once."""
        return self._condition is not None

    def waits(self, rows: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which events wait for the batch: those of which the condition is false or unknown.

        Parameters
        ----------
        rows : shape (n, n_features), as the engine gives them.

        Returns
        -------
        shape (n,).
        """
        if self._condition is None or self._of_row is None:
            return np.zeros(rows.shape[0], np.bool_)
        if rows.shape[0] <= FEW_ROWS:
            return np.array([self._of_row(row) != TRUE for row in rows.tolist()], np.bool_)
        return np.asarray(truth_of_rows(self._condition, rows) != TRUE)

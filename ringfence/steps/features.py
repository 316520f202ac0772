# SPDX-License-Identifier: Apache-2.0
"""Features: what each row of a spine would read, for other people's models."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from ringfence.steps.errors import SpineColumnsError

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace

_AT_ONCE: Final = 16  # columns turned from rows: two lines of the processor's cache from each, not one per value


def features_as_of(
    here: Workspace,
    scenario: Scenario,
    spine: pl.DataFrame,
    *,
    only: Collection[str] | None = None,
    doubt: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Return what an event of the decided type would read that names these entities at this time.

    It stands where import would put it: behind all records whose watermark is below its time and the labels that
    became known at that very time, before the events of that time. So an event of the ledger never sees itself, and
    nothing that was reported later, however early it happened. Reads only, in one replay, in time order.

    Parameters
    ----------
    spine : as in `steps.spine.spine_of`; n rows in any order. Other columns are carried along.
    only : names of the features wanted, which is faster; None: all.
    doubt : told of each column that is probably not what was meant: nearly called as a role, or a role of whose ids
        the ledger holds none.

    Returns
    -------
    n rows in the order of the spine: its columns, then a Float64 column a feature (NaN where missing). About 16 bytes
    a value are held for a moment.

    Raises
    ------
    SpineColumnsError, SpineRowsError
        If the spine cannot be read.
    UnknownFeatureError
        If `only` names an unknown feature.
    """
    import numpy as np
    import polars as pl

    from ringfence.engine.catalogue import Catalogue
    from ringfence.engine.spine import spine_rows
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.batches import taken
    from ringfence.steps.spine import spine_of
    from ringfence.steps.spine_doubts import nearly_read, never_seen

    catalogue = Catalogue.build(scenario, only=only)
    if both := sorted(set(spine.columns) & set(catalogue.names)):
        raise SpineColumnsError("names of its own for its columns", both, "rename those that are called as features")
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    read = spine_of(spine, scenario, ledger.identity)
    order = np.argsort(read.batch.time_ms, kind="stable")
    asked = taken(read.batch, order)
    rows = spine_rows(ledger, catalogue, asked, ledger.seen_at(asked.time_ms), progress=progress)
    if doubt is not None:
        for text in (*nearly_read(spine, scenario, read), *never_seen(ledger, asked)):
            doubt(text)
    place = np.empty(order.shape[0], np.int64)
    place[order] = np.arange(order.shape[0])
    columns = []
    for first in range(0, rows.shape[1], _AT_ONCE):
        some = rows[:, first : first + _AT_ONCE][place]
        columns += [pl.Series(catalogue.names[first + at], some[:, at]) for at in range(some.shape[1])]
    return spine.hstack(columns)

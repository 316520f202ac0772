# SPDX-License-Identifier: Apache-2.0
"""What makes one doubt that a spine asks what was meant: nothing is wrong with it, and all it gets is missing."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import numpy as np

from ringfence.steps.spine import AMOUNT

if TYPE_CHECKING:
    import polars as pl

    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.batch import Batch
    from ringfence.scenario.spec import Scenario
    from ringfence.steps.spine import Spine

_CLOSE: Final = 0.75  # of the letters in common: klaimant, Claimant and claimant_id are close to claimant, bank is not


def nearly_read(frame: pl.DataFrame, scenario: Scenario, spine: Spine) -> Iterator[str]:
    """Tell of columns that are carried along and nearly are called as one that the spine could have, and has not."""
    could = [column.role for column in scenario.decided.roles]
    could += [AMOUNT] if scenario.decided.amount is not None else []
    could += [attribute.name for attribute in scenario.value_attributes]
    lacking = {name.casefold(): name for name in could if name not in frame.columns}
    for name in frame.columns:
        if name in spine.read:
            continue
        for close in get_close_matches(name.casefold(), lacking, n=1, cutoff=_CLOSE):
            yield (
                f"column {name!r} is only carried along, and the spine has no {lacking[close]!r}: whatever is read of "
                f"that is missing; did you mean {lacking[close]!r}?"
            )


def never_seen(ledger: Ledger, asked: Batch) -> Iterator[str]:
    """Tell of roles none of whose ids has that role in any event of the ledger, however late.

    Reads records only until each role was met once, which is the first batch where nothing is wrong.
    """
    wanted = {role: np.unique(asked.link_lo[asked.link_role == role]) for role in np.unique(asked.link_role).tolist()}
    unseen = set(wanted)
    for batch in ledger.batches():
        unseen -= {role for role in unseen if np.isin(wanted[role], batch.link_lo[batch.link_role == role]).any()}
        if not unseen:
            return
    for role in sorted(unseen):
        yield (
            f"the ledger holds none of the {wanted[role].shape[0]:,} ids in the role "
            f"{ledger.scenario.roles[role].name!r}, so they are all new; are they written as in the ledger, and in the "
            "right column?"
        )

# SPDX-License-Identifier: Apache-2.0
"""How far the process beside the service is behind the ledger."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from ringfence.engine.snapshot import list_snapshots
from ringfence.serving.explanations import EXPLANATIONS, Explanations


def snapshots_behind(state_dir: Path, last_seq: int) -> int:
    """Return the records that a start now would replay; all of them where there is no snapshot."""
    snapshots = list_snapshots(state_dir)
    return max(last_seq - (int(snapshots[0].stem) if snapshots else 0), 0)


def explanations_behind(state_dir: Path, last_decided_seq: int) -> int | None:
    """Return the records between the last decision that was explained, or needed no explanation, and the last made.

    None where that cannot be read: a full or broken disk is when the other metrics are needed most.
    """
    done_seq = 0
    if (state_dir / EXPLANATIONS).exists():
        try:
            with contextlib.closing(Explanations(state_dir)) as explanations:
                done_seq = explanations.done_seq
        except sqlite3.Error:
            return None
    return max(last_decided_seq - done_seq, 0)

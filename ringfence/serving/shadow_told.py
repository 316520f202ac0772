# SPDX-License-Identifier: Apache-2.0
"""What the shadow found, as it is told: by the API, by the metrics and on the command line."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from ringfence.ledger.ledger import Ledger
from ringfence.rollout.registry import Registry
from ringfence.serving import wire
from ringfence.serving.opinions import OPINIONS, Opinions, Standing


def shadow_of(ledger: Ledger, state_dir: Path) -> wire.ShadowAnswer | None:
    """Tell what the shadow found; None where there is none."""
    shadow = Registry.read(ledger).shadow()
    if shadow is None:
        return None
    standing: Standing | None = None
    if (state_dir / OPINIONS).exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(Opinions(state_dir)) as opinions:
            standing = opinions.standing(shadow)
    found = standing or Standing(shadow.since_seq, 0, 0, "", ())
    return wire.ShadowAnswer(
        release=shadow.release,
        since=wire.iso(shadow.since_ms),
        since_seq=shadow.since_seq,
        note=shadow.note,
        by=shadow.by,
        same=found.n_same,
        different=found.n_different,
        impossible=found.n_impossible,
        waiting=found.n_waiting,
        mean_difference=found.mean_difference,
        records_behind=max(ledger.last_seq - found.through_seq, 0),
        failure=found.failure or None,
        actions=[
            wire.ShadowActions(action=pair.action, shadow_action=pair.shadow_action, decisions=pair.n)
            for pair in found.pairs
        ],
    )

# SPDX-License-Identifier: Apache-2.0
"""A release that was made, written to the ledger; beside a service, it is left to whatever names it next."""

from __future__ import annotations

from ringfence.ledger.errors import LedgerLockedError
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.lock import writer_lock
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import Clock
from ringfence.scoring.release import Release


def require_recordable(ledger: Ledger) -> None:
    """Learn before a training, not after it, that `record_release` would raise `LedgerLockedError`."""
    if Registry.read(ledger).champion() is None:
        with writer_lock(ledger.directory):
            pass


def record_release(ledger: Ledger, release: Release, clock: Clock, *, note: str = "") -> None:
    """Write a release to the ledger; the first one becomes the champion.

    Where there is a champion and something else writes, a service as a rule, nothing is recorded: a promotion or a
    shadow registers the release by its id. `Registry.is_registered` tells.

    Raises
    ------
    LedgerLockedError
        If something else writes to a ledger that has no champion.
    """
    try:
        with ledger.writer(clock) as writer:
            registry = Registry.read(ledger)
            if registry.register(writer, release.id, digest=release.digest, note=note):
                writer.commit()
                registry = Registry.read(ledger)
            if registry.champion() is None:
                registry.promote(writer, release.id, note="the first release")
                writer.commit()
    except LedgerLockedError:
        if Registry.read(ledger).champion() is None:
            raise

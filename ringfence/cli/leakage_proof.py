# SPDX-License-Identifier: Apache-2.0
"""The proof behind `verify leakage`: nothing sampled shows what was not known, and a cheat would have been seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ringfence.cli.terminal import Progress
from ringfence.engine.leakage import LeakageReport

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.spec import Scenario


class LeakageProof(msgspec.Struct, frozen=True, kw_only=True):
    """The same events sampled from the ledger, and from it with every label told right after its event."""

    n_labels: int
    honest: LeakageReport
    look_ahead: LeakageReport

    @property
    def holds(self) -> bool:
        """Whether the ledger shows no violation, and the cheat shows some: a guard that cannot fail proves nothing."""
        return self.honest.holds and (self.n_labels == 0 or self.look_ahead.n_violations > 0)


def leakage_proof(
    ledger: Ledger, scenario: Scenario, *, n_events: int, seed: int, progress: Progress | None = None
) -> LeakageProof:
    """Sample the neighbourhoods of `n_events` drawn events twice, honestly and looking ahead, and guard every link.

    Parameters
    ----------
    n_events : decided events to draw, > 0; all of them where the ledger holds fewer.
    seed : of the draw.
    progress : called with (seq reached, last seq), first for the ledger, then for the cheat.
    """
    from ringfence.engine.catalogue import Catalogue
    from ringfence.engine.leakage import replay_leakage
    from ringfence.engine.look_ahead import LookAhead

    catalogue = Catalogue.build(scenario, only=(), neighbourhoods=16)  # no row is wanted
    ahead = LookAhead(ledger, catalogue)
    history = ahead.honest
    drawn = np.random.default_rng(seed).permutation(history.event_seq)[:n_events]
    seqs = np.sort(drawn)
    return LeakageProof(
        n_labels=int(history.label_of.shape[0]),
        honest=replay_leakage(ledger, catalogue, seqs, history, progress=progress),
        look_ahead=replay_leakage(ahead, catalogue, ahead.seqs(seqs), ahead.history, progress=progress),
    )

# SPDX-License-Identifier: Apache-2.0
"""Two ways to wire the same claims: closed on themselves, or open to strangers. Counts cannot tell them apart.

A gadget has seven persons, shops, lawyers and doctors and twenty-one claims. Claim (i, t) with i in Z7, t in {0, 1, 2}
and x = (1, 2, 4) names

    claimant i,  witness i + x[t],  shop i + 3 x[t],  lawyer i + 4 x[t],  doctor i + 5 x[t]   (mod 7)

1, 2 and 4 are the squares modulo 7, and -1 is none, so x and -x are every number but 0, once; and of c and c - 1 for
c in {3, 4, 5} one is a square and the other is not. So no two entities meet in more than one claim, whichever their
roles, although all of them stay among twenty-eight. The last claim is the probe; nobody in it has met anybody else in
it before.

The closed wiring is the gadget itself. The open one takes m copies of it and lets every entity act, at each of its
claims, in another copy (a cyclic lift of the gadget: Gross and Tucker, Topological Graph Theory, 1987, section 2.1).
Each entity keeps its own claims, their times and amounts, its roles, and the number of its partners; but a partner's
partners are strangers. The copies cover the gadget, so even counting neighbours of neighbours as often as they occur
gives equal numbers; only noticing that they are the same ones tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ringfence.simulate.traits import Ints

SIZE: Final = 7
ROLES: Final = ("claimant", "witness", "shop", "lawyer", "doctor")
KIND_OF_ROLE: Final = np.array([0, 0, 1, 2, 3])  # persons, shops, lawyers, doctors
N_KINDS: Final = 4
N_CLAIMS: Final = 21  # of a copy; the last is the probe
_X: Final = np.array([1, 2, 4])
_STEPS: Final = np.array([0, 1, 3, 4, 5])
_TRIES: Final = 48


@dataclass(frozen=True)
class Wiring:
    """Who is named where. Entities are numbered within their kind, copy by copy: copy * SIZE + slot."""

    entity: Ints  # (n_copies, N_CLAIMS, len(ROLES))
    reach: int  # entities within two hops of a probe, its own not counted


def closed(n_copies: int, order: Ints) -> Wiring:
    """Copies that have nothing to do with each other. `order`, shape (N_CLAIMS,), says which claim comes when."""
    slot = _slots(order)
    entity = np.arange(n_copies)[:, None, None] * SIZE + slot
    return Wiring(entity, _reach(entity, N_CLAIMS))


def opened(n_copies: int, order: Ints, rng: np.random.Generator) -> Wiring:
    """Copies whose entities act in each other's claims; of some random lifts the one whose probes reach furthest."""
    slot = _slots(order)
    copy = np.arange(n_copies)[:, None, None]
    best: Wiring | None = None
    for _ in range(_TRIES):
        away = rng.integers(0, n_copies, (N_CLAIMS, len(ROLES)))
        entity = (copy + away) % n_copies * SIZE + slot
        found = Wiring(entity, _reach(entity, N_CLAIMS))
        if best is None or found.reach > best.reach:
            best = found
    assert best is not None  # _TRIES > 0
    return best


def _slots(order: Ints) -> Ints:
    """Slot of the entity that each claim names in each role, shape (N_CLAIMS, len(ROLES)), in order of time."""
    i, t = order // len(_X), order % len(_X)
    slots: Ints = (i[:, None] + _X[t][:, None] * _STEPS) % SIZE
    return slots


def _reach(entity: Ints, n_claims: int) -> int:
    """Entities within two hops of the first copy's probe, by claims before it; its own entities not counted."""
    node = entity + KIND_OF_ROLE * (entity.shape[0] * SIZE)
    claims = node[:, : n_claims - 1].reshape(-1, len(ROLES))
    own = np.unique(node[0, n_claims - 1])
    seen = own
    for _ in range(2):
        seen = np.union1d(seen, claims[np.isin(claims, seen).any(axis=1)])
    return len(seen) - len(own)

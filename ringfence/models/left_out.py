# SPDX-License-Identifier: Apache-2.0
"""What networks over a neighbourhood would say without some of what was sampled: leave-one-out, one batch, by masking.

Whatever stands behind a mask that is false is not looked at, so that an event is taken out by its mask alone. The same
event may sit in several seats (claimant and lawyer met in it): it is taken out of all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.models.branch import Need
from ringfence.models.gnn_inputs import Sampled, SampledArrays
from ringfence.models.seen import Seen

if TYPE_CHECKING:
    from ringfence.models.ensemble import Ensemble

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_EVENTS: Final = 255  # taken out one by one: with the event as it is, one run of a network (`gnn.MOST_AT_ONCE`)


class LeftOut(NamedTuple):
    """Neighbourhoods of one event, n of them without one sampled event each."""

    keys: IntArray  # (n,) of the sampled events, in the order of seats and slots
    seats: tuple[tuple[int, ...], ...]  # n, the seats in which each was sampled
    first: tuple[tuple[int, int], ...]  # n, the first (seat, slot) of each
    n_sampled: int  # distinct events that were sampled; more than n where that is more than was asked for
    sampled: SampledArrays  # 1 + n neighbourhoods, whole first


def without_each(sampled: Sampled, keys: IntArray, *, most: int = MOST_EVENTS) -> LeftOut:
    """Take each sampled event out of one neighbourhood in turn.

    Parameters
    ----------
    sampled : the neighbourhood of one event, S seats of K events, newest first.
    keys : shape (S, K), what tells sampled events apart, such as their seq; read where the mask is true.
    most : events taken out in turn, the newest slots of every seat before older ones, > 0.
    """
    mask = sampled.mask[0]
    where: dict[int, list[tuple[int, int]]] = {}
    for slot, seat in np.argwhere(mask.T).tolist():  # slot by slot: the newest of every seat first
        where.setdefault(int(keys[seat, slot]), []).append((seat, slot))
    chosen = sorted(list(where)[:most], key=lambda key: min(where[key]))
    groups = [where[key] for key in chosen]
    return LeftOut(
        keys=np.array(chosen, np.int64),
        seats=tuple(tuple(sorted({seat for seat, _ in places})) for places in groups),
        first=tuple(min(places) for places in groups),
        n_sampled=len(where),
        sampled=masked(sampled, [[], *groups]),
    )


def masked(sampled: Sampled, gone: Iterable[Iterable[tuple[int, int]]]) -> SampledArrays:
    """Return one event's neighbourhood once for each group of (seat, slot), without the events of that group."""
    groups = [list(places) for places in gone]
    n = len(groups)
    mask = np.repeat(sampled.mask, n, axis=0)
    for at, places in enumerate(groups):
        for seat, slot in places:
            mask[at, seat, slot] = False
    events = np.where(mask[..., None], sampled.events, np.float32(0.0))
    return SampledArrays(events, mask, np.repeat(sampled.nodes, n, axis=0))


def stacked_without(ensemble: Ensemble, seen: Seen, sampled: SampledArrays) -> FloatArray:
    """Return what the stack says of one event with other neighbourhoods, shape (n,), log-odds before calibration.

    Asked anew is what reads neighbourhoods; whatever else there is says what it said, of the same feature row.

    Parameters
    ----------
    seen : one event, as it is.
    sampled : n neighbourhoods of it.
    """
    encoded = ensemble.encode(seen.rows)
    n = sampled.mask.shape[0]
    asked = readers_of(ensemble)
    members = {name: np.full(n, raw[0]) for name, raw in ensemble.members(seen, encoded).items() if name not in asked}
    rows, texts = np.repeat(seen.rows, n, axis=0), tuple([text[0]] * n for text in seen.texts)
    for name in asked:
        members[name] = ensemble.branches[name].raw(Seen(rows, sampled, texts), np.repeat(encoded, n, axis=0))
    return ensemble.stack.raw(members)


def readers_of(ensemble: Ensemble) -> tuple[str, ...]:
    """Name the branches that count in the score and read neighbourhoods."""
    return tuple(
        name
        for name, branch in ensemble.branches.items()
        if Need.NEIGHBOURHOODS in branch.needs and ensemble.stack.weight_of(name) > 0.0
    )

# SPDX-License-Identifier: Apache-2.0
"""Do links carry anything? Who meets whom is drawn at random, and the features that walk links are read again.

    Monday    claim 1: A at shop X      claim 2: B at shop Y
    shuffled  claim 1: A at shop Y      claim 2: B at shop X

Within one role, one event type and one local day, entities are dealt out anew among the same places. So everybody takes
part as often as before, on the same days; only with whom is random. Features of entities by themselves stay as they
were: those that walk links alone come from the shuffled history. If these do as well, it is not the links.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.scenario.batch import EVENT, Batch
from ringfence.scenario.batches import joined, links_of, taken
from ringfence.training.comparisons.families import LINKED
from ringfence.training.comparisons.remade import Remade
from ringfence.training.comparisons.study import Study, says_more
from ringfence.training.evaluation import DAY_MS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TITLE: Final = "Links against random links"
QUESTION: Final = "Do features that walk links say more than those of a history in which who meets whom is random?"
FLATTERS: Final = (
    "Shuffling also hides what features that walk links repeat of an entity's own past, which flatters true links a "
    "little: without any such features is the harder comparison."
)
_TRIES: Final = 8  # rounds in which an event that was dealt somebody twice is dealt to again


def shuffled_study(remade: Remade) -> Study:
    """Hold true links against shuffled ones, and against none."""
    linked = np.isin(remade.family, LINKED)
    if not linked.any() or linked.all():
        return Study(
            name="shuffled",
            title=TITLE,
            question=QUESTION,
            answer="No feature of this release walks links, so there is nothing to shuffle.",
            is_good=None,
        )
    compared = remade.comparison()
    rows = remade.rows.copy()
    rows[:, linked] = shuffled_rows(remade, linked)
    strangers = compared.add("shuffled links", remade.trees(rows), text="as often, on the same days, with anybody")
    none = compared.add("no links", remade.trees(remade.rows, kept=~linked))
    carry, told = says_more(strangers.against)
    off = ", ".join(f"{name}: false" for name in dict.fromkeys(remade.family[linked].tolist()))
    if carry:
        answer = (
            f"Links say more than random ones of the same degrees: {told}. Against no features that walk links it is "
            f"{says_more(none.against)[1]}."
        )
    else:
        answer = (
            f"Random links do as well ({told}), so links carry nothing here that can be shown: drop the features that "
            f"walk them, features: {{{off}}}."
        )
    return compared.study("shuffled", title=TITLE, question=QUESTION, answer=answer, is_good=carry, notes=[FLATTERS])


def shuffled_rows(remade: Remade, columns: NDArray[np.bool_]) -> FloatArray:
    """Return some columns of the rows of all events, shape (n + m, k), from a history whose links are shuffled.

    Parameters
    ----------
    columns : shape (n_features,), which.
    """
    names = [name for name, kept in zip(remade.catalogue.names, columns.tolist(), strict=True) if kept]
    catalogue = Catalogue.build(remade.release.scenario, only=names)
    return feature_rows(
        InMemory(shuffled_history(remade)),
        catalogue,
        remade.seqs,
        progress=lambda done, total: remade.report("shuffling", done, total),
    ).rows


def shuffled_history(remade: Remade) -> Batch:
    """Return all records up to the last judged event, links shuffled."""
    history = joined(remade.ledger.batches(until_seq=int(remade.seqs[-1])))
    return shuffled(history, np.random.default_rng(remade.seed))


def shuffled(history: Batch, rng: np.random.Generator) -> Batch:
    """Deal the entities of events out anew within event type, role and local day; labels name whom their event names.

    Parameters
    ----------
    history : records from the first on; a label without its event keeps its links.
    """
    n = len(history)
    is_event = history.kind == EVENT
    counts = np.diff(history.link_start)
    of_link = np.repeat(np.arange(n), counts)
    links = np.flatnonzero(is_event[of_link])
    owner = of_link[links]
    day = (history.time_ms[owner] + history.offset_ms[owner]) // DAY_MS
    kind = history.event_type[owner].astype(np.int64) * 256 + history.link_role[links]
    _, pool = np.unique(np.stack([day, kind]), axis=1, return_inverse=True)
    dealt = _dealt(pool.ravel(), owner, history.link_lo[links], rng)
    source = np.arange(history.link_role.shape[0])
    source[links] = links[dealt]
    lo, hi = history.link_lo[source], history.link_hi[source]
    # A label names whom its event names.
    told = np.arange(n)
    labels = np.flatnonzero(~is_event)
    place = np.minimum(np.searchsorted(history.seq, history.label_event_seq[labels]), n - 1)
    known = history.seq[place] == history.label_event_seq[labels]
    told[labels[known]] = place[known]
    start, chosen = links_of(history, told)
    return msgspec.structs.replace(
        history, link_start=start, link_role=history.link_role[chosen], link_lo=lo[chosen], link_hi=hi[chosen]
    )


def _dealt(pool: IntArray, owner: IntArray, entity: NDArray[np.uint64], rng: np.random.Generator) -> IntArray:
    """Return for each place whose entity it gets, shape (m,): a permutation within pools, nobody twice in an event."""
    by_pool = np.argsort(pool, kind="stable")
    dealt = np.empty(pool.shape[0], np.int64)
    dealt[by_pool] = np.lexsort(np.stack([rng.random(pool.shape[0]), pool.astype(np.float64)]))
    first = np.searchsorted(pool[by_pool], np.arange(pool.max(initial=-1) + 2))
    for _ in range(_TRIES):
        twice = _twice(pool, owner, entity[dealt])
        if not twice.shape[0]:
            break
        for at in twice.tolist():  # few: only roles that hold several can have any
            other = by_pool[rng.integers(first[pool[at]], first[pool[at] + 1])]
            dealt[at], dealt[other] = dealt[other], dealt[at]
    return dealt


def _twice(pool: IntArray, owner: IntArray, entity: NDArray[np.uint64]) -> IntArray:
    """Return the places whose event holds their entity in that role already."""
    order = np.lexsort((entity, pool, owner))
    same = (np.diff(owner[order]) == 0) & (np.diff(pool[order]) == 0) & (entity[order][1:] == entity[order][:-1])
    found: IntArray = order[1:][same]
    return found


class InMemory:
    """A history in memory, read as a ledger is."""

    def __init__(self, history: Batch) -> None:
        self._history = history

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        seq = self._history.seq
        low = int(np.searchsorted(seq, after_seq, side="right"))
        high = seq.shape[0] if until_seq is None else int(np.searchsorted(seq, until_seq, side="right"))
        for begin in range(low, high, size):
            yield taken(self._history, np.arange(begin, min(begin + size, high)))

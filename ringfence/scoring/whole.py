# SPDX-License-Identifier: Apache-2.0
"""Why the whole ensemble says what it says of one event: by branch, by link, by earlier event.

What is kept of it holds digests and seqs, no id: names are looked up by whoever tells it, and can be erased meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.ledger.event_texts import event_texts
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.left_out import readers_of, stacked_without, without_each
from ringfence.models.seen import Seen
from ringfence.scoring.errors import NotReproducedError
from ringfence.scoring.scorer import FULL, RULES, Scorer
from ringfence.scoring.without_model import without_model

if TYPE_CHECKING:
    from ringfence.engine.without import Reading
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.records import DecisionBody
    from ringfence.models.stack import Stack

FloatArray = NDArray[np.float64]

SCORE_TOLERANCE: Final = 1e-6
MOST_TOLD: Final = 10  # links, and neighbours, that are kept of one explanation
_DIGITS: Final = 6  # changes that differ by less are equal: a batch may round otherwise than an event alone


class LinkEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What naming an entity did: the event read again without it, and scored by the whole ensemble."""

    entity: bytes  # 16 bytes, hi then lo, big endian
    roles: tuple[str, ...]  # in which the event names it, in link order
    change: float  # of the raw score, log-odds, where the event had not named it; below zero: it raises the score
    score_without: float
    by_branch: dict[str, float]  # what `change` is made of


class NeighbourEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier event says through the networks: it is not sampled, and the feature row stays as it is."""

    event_seq: int
    event_time_ms: int
    gap_ms: int  # from it to the event at hand; below zero where that one came late
    seats: tuple[str, ...]  # whose last events it was among, such as `claimant` or `witness.2`
    label: str | None  # fraud | legit, as known just before the event at hand; None: not known then
    change: float
    score_without: float


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """What one score is made of, and what it would be without.

    `base` and the values of `branches` sum to `raw`.
    """

    rung: str
    score: float
    raw: float  # log-odds before calibration
    base: float  # what the stack says where every member says its mean
    branches: dict[str, float]  # member -> its weight times what it says above its mean, log-odds
    links: tuple[LinkEffect, ...]  # what raises the score most first
    n_links: int  # entities that the event names; those not in `links` matter less, or are beyond what was looked at
    neighbours: tuple[NeighbourEffect, ...]  # likewise; empty where no network counts
    n_neighbours: int  # earlier events that were sampled for the networks that count


def whole_of(
    scorer: Scorer,
    reading: Reading,
    *,
    event_time_ms: int,
    rung: str,
    score: float,
    texts: tuple[str | None, ...] = (),
    most: int = MOST_TOLD,
) -> Whole:
    """Explain a score that was given.

    Parameters
    ----------
    reading : the event read again, just before it was folded.
    rung, score : as recorded.
    texts : what it says in each text attribute that models may read, in the scenario's order.
    most : links, and neighbours, to tell.

    Raises
    ------
    NotReproducedError
        If this release and this reading give another score: nothing that follows would be about the one given.
    ReleaseDamagedError
        If the files that this rung needs are broken.
    """
    near = reading.neighbourhoods
    sampled = None if near is None else SampledArrays(near.events, near.mask, near.nodes)
    n = reading.rows.shape[0]
    seen = Seen(reading.rows, sampled, tuple([text] * n for text in texts))
    links = _Scored.of(scorer, seen, rung)
    if not abs(links.score[0] - score) <= SCORE_TOLERANCE:
        raise NotReproducedError(recorded=score, found=float(links.score[0]))
    neighbours, n_neighbours = _neighbours(scorer, reading, seen, rung, event_time_ms, most)
    change = links.raw - links.raw[0]
    order = _strongest(change[1:])[:most]
    names = scorer.release.scenario.roles
    return Whole(
        rung=rung,
        score=float(links.score[0]),
        raw=float(links.raw[0]),
        base=links.base,
        branches={name: float(parts[0]) for name, parts in links.parts.items()},
        links=tuple(
            LinkEffect(
                entity=_digest(*reading.entities[at]),
                roles=tuple(next(role.name for role in names if role.index == index) for index in reading.roles[at]),
                change=float(change[1 + at]),
                score_without=float(links.score[1 + at]),
                by_branch={name: float(parts[1 + at] - parts[0]) for name, parts in links.parts.items()},
            )
            for at in order
        ),
        n_links=reading.n_entities,
        neighbours=neighbours,
        n_neighbours=n_neighbours,
    )


def whole_of_decision(ledger: Ledger, body: DecisionBody, reading: Reading, scorer: Scorer) -> Whole:
    """Explain a decision on record; parameters and errors as `whole_of` has them.

    Parameters
    ----------
    scorer : of the release that made it.
    """
    texts = event_texts(ledger, np.array([body.event_seq], np.int64))
    _, event_time_ms, _ = ledger.event_links(body.event_seq)
    return whole_of(
        scorer,
        reading,
        event_time_ms=event_time_ms,
        rung=str(body.circumstances.get("rung", FULL)),
        score=body.score,
        texts=tuple(text[0] for text in texts),
    )


class _Scored(msgspec.Struct, frozen=True):
    """Scores, and what they are made of by branch, of the readings of one event."""

    raw: FloatArray
    score: FloatArray
    base: float
    parts: dict[str, FloatArray]

    @classmethod
    def of(cls, scorer: Scorer, seen: Seen, rung: str) -> _Scored:
        if rung == RULES:
            found = without_model(scorer.release, seen.n, seen.rows, base_rate=scorer.base_rate)
            has_rules = scorer.release.rules is not None
            parts = {"rules": found.raw} if has_rules else {}
            return cls(found.raw, found.score, 0.0 if has_rules else float(found.raw[0]), parts)
        scores = scorer.score(seen, rung=rung)
        stack = scorer.stack_of(rung)
        parts = {name: stack.weight_of(name) * (scores.raws[name] - stack.centre_of(name)) for name in stack.members}
        return cls(scores.raw, scores.score, _base(stack), parts)


def _base(stack: Stack) -> float:
    return stack.intercept + sum(stack.weight_of(name) * stack.centre_of(name) for name in stack.members)


def _neighbours(
    scorer: Scorer, reading: Reading, seen: Seen, rung: str, event_time_ms: int, most: int
) -> tuple[tuple[NeighbourEffect, ...], int]:
    near, release = reading.neighbourhoods, scorer.release
    if rung != FULL or near is None or not readers_of(release.ensemble):
        return (), 0
    one = seen.part(slice(0, 1))
    assert one.neighbourhoods is not None
    out = without_each(one.neighbourhoods, near.event_seq[0])
    raw = stacked_without(release.ensemble, one, out.sampled)
    change, score = raw[1:] - raw[0], release.calibrator.apply(raw)[1:]
    catalogue = release.catalogue
    column = {feature.name: feature.column for feature in catalogue.sample_features}
    found = []
    for at in _strongest(change)[:most]:
        seat, slot = out.first[at]
        event, time_ms = near.events[0, seat, slot], int(near.event_time_ms[0, seat, slot])
        told = ("fraud" if event[column["is_fraud"]] else "legit") if event[column["is_known"]] else None
        found.append(
            NeighbourEffect(
                event_seq=int(out.keys[at]),
                event_time_ms=time_ms,
                gap_ms=event_time_ms - time_ms,
                seats=tuple(catalogue.seats[seat].name for seat in out.seats[at]),
                label=told,
                change=float(change[at]),
                score_without=float(score[at]),
            )
        )
    return tuple(found), out.n_sampled


def _strongest(change: FloatArray) -> list[int]:
    # What lowers the score most by being gone comes first; of equals, what came first.
    found: list[int] = np.argsort(np.round(change, _DIGITS), kind="stable").tolist()
    return found


def _digest(hi: int, lo: int) -> bytes:
    return hi.to_bytes(8, "big") + lo.to_bytes(8, "big")

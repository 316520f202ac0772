# SPDX-License-Identifier: Apache-2.0
"""Score past events as serving would have at their moment: a read-only replay, one row per event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine.replay import feature_rows, sampled_batches
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Need
from ringfence.models.seen import Seen
from ringfence.rollout.errors import NoChampionError
from ringfence.rollout.registry import Registry
from ringfence.scoring.release import Release
from ringfence.scoring.scorer import FULL, Scorer, Scores
from ringfence.training.errors import EmptyWindowError

_BLOCK: Final = 16_384  # rows scored at once: bounds the memory of contributions, changes no score


def score(
    ledger: Ledger,
    release: Release,
    from_ms: int,
    to_ms: int | None = None,
    *,
    n_threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Score the decided events of a window from the ledger before each of them.

    Parameters
    ----------
    release : its own scenario defines features; labels enter as they became known.
    from_ms, to_ms : event time, from inclusive, to exclusive; to None: the end of the ledger.
    n_threads : that score what is replayed meanwhile, >= 1; no bit depends on it.
    progress : called with (seq reached, last seq wanted).

    Returns
    -------
    Columns event_id, event_time (UTC, ms), score, action, rung, and one per member score, in ledger order. Actions
    assume an empty queue: no review is refused because the day's capacity is used up. A policy without any gives none.
    Where the release has segments by k-means, one more column, segment, says which it is, 1 to k.

    Raises
    ------
    EmptyWindowError
        If no decided event lies in the window.
    """
    events = _events(ledger, release, from_ms, to_ms)
    return _scored(ledger, release, events, n_threads, progress)


def score_as_live(
    ledger: Ledger,
    load: Callable[[str], Release],
    from_ms: int,
    to_ms: int | None = None,
    *,
    n_threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Score each event with the release that was champion at its seq; one more column names it.

    Parameters
    ----------
    load : release id -> release.
    n_threads : as `score` has it.

    Raises
    ------
    NoChampionError
        If some event of the window came before there was a champion.
    EmptyWindowError
        If no decided event lies in the window.
    """
    registry = Registry.read(ledger)
    changes = registry.champions()
    if not changes:
        raise NoChampionError(ledger.scenario.name)
    events = _events(ledger, load(changes[-1][1]), from_ms, to_ms)
    since = np.array([seq for seq, _ in changes], dtype=np.int64)
    at = np.searchsorted(since, events["seq"].to_numpy(), side="left") - 1
    if (at < 0).any():
        raise NoChampionError(ledger.scenario.name)
    parts = []
    for change in np.unique(at):
        release = load(changes[int(change)][1])
        mine = events.filter(pl.Series(at == change))
        parts.append(_scored(ledger, release, mine, n_threads, progress).with_columns(release=pl.lit(release.id)))
    return pl.concat(parts, how="diagonal")


def in_training_span(scored: pl.DataFrame, release: Release) -> NDArray[np.bool_]:
    """Tell which scored events lie before the cut of the release, and not before its examples begin; shape (n,).

    Their labels, or those of events beside them, may have been fitted: figures computed from them are too good.

    Parameters
    ----------
    scored : as `score` returns it.
    """
    made = release.manifest.made
    time_ms = scored["event_time"].dt.epoch("ms").to_numpy()
    inside = time_ms < made.until_ms  # at the cut itself nothing is known yet but labels of that very millisecond
    if made.examples_from_ms is not None:
        inside &= time_ms >= made.examples_from_ms
    return np.asarray(inside, np.bool_)


def _events(ledger: Ledger, release: Release, from_ms: int, to_ms: int | None) -> pl.DataFrame:
    events = ledger.events(from_ms, to_ms, ledger.last_seq).sort("seq")
    if not events.height:
        raise EmptyWindowError(release.scenario.decide, from_ms, to_ms)
    return events


def shown(
    ledger: Ledger, release: Release, seqs: NDArray[np.int64], progress: Callable[[int, int], None] | None = None
) -> Iterator[Seen]:
    """Yield what a release looks at of events, a block at a time; neighbourhoods are never all there.

    Parameters
    ----------
    seqs : shape (n,), strictly ascending seqs of decided events.
    """
    # Read as the release knows the scenario: ringfence.yaml may have gained or lost attributes since.
    known = Ledger.open(ledger.directory, release.scenario)
    if release.catalogue.neighbourhoods is not None:
        for found in sampled_batches(known, release.catalogue, seqs, progress=progress):
            yield Seen(*found)
        return
    rows = feature_rows(known, release.catalogue, seqs, progress=progress).rows
    for low in range(0, rows.shape[0], _BLOCK):
        yield Seen(rows[low : low + _BLOCK])


def _scored(
    ledger: Ledger,
    release: Release,
    events: pl.DataFrame,
    n_threads: int,
    progress: Callable[[int, int], None] | None,
) -> pl.DataFrame:
    scorer = Scorer(release)
    known, reads_texts = Ledger.open(ledger.directory, release.scenario), Need.TEXTS in release.ensemble.needs
    amounts = events["amount_minor"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    scores, segments = np.empty(events.height), np.empty(events.height, np.int64)
    members: dict[str, np.ndarray] = {}
    waiting: deque[tuple[slice, Future[Scores]]] = deque()

    def take() -> None:
        block, scored = waiting.popleft()
        found = scored.result()
        scores[block] = found.score
        for name, values in found.members.items():
            members.setdefault(name, np.empty(events.height))[block] = values

    done = 0
    with ThreadPoolExecutor(n_threads) as pool:  # scored while the replay goes on: neither holds the interpreter lock
        for seen in shown(ledger, release, events["seq"].to_numpy(), progress):
            block = slice(done, done + seen.n)
            texts = event_texts(known, events["seq"][block].to_numpy()) if reads_texts else ()
            if release.segmentation is not None:
                segments[block] = release.segmentation.of(seen.rows)
            waiting.append((block, pool.submit(scorer.score, seen._replace(texts=texts))))
            done += seen.n
            if len(waiting) > n_threads:  # what is replayed and not scored yet takes memory
                take()
        while waiting:
            take()
    actions = release.policy.decide(scores, amounts, rung=FULL, reviews_left=None).names
    return pl.DataFrame(
        {
            "event_id": events["event_id"],
            "event_time": events["event_time_ms"].cast(pl.Datetime("ms", "UTC")),
            "score": scores,
            "action": actions,
            "rung": [FULL] * events.height,
            **members,
            **({} if release.segmentation is None else {"segment": segments}),
        }
    )

# SPDX-License-Identifier: Apache-2.0
"""The nightly batch: decides what the policy left to it, each event once, from its features as of its own seq.

An event leaves `Ledger.pending` in the transaction of its decision, and decisions are committed in groups. So a run
that is ended at any moment has decided a part, and the next one the rest: no event twice, none lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.replay import RECORDS_AT_ONCE
from ringfence.engine.snapshot import restore_newest
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind
from ringfence.ledger.writer import Writer
from ringfence.models.packed import one_of, pack
from ringfence.policy.costs import ACTIONS, expected_costs
from ringfence.policy.policy import BATCH, Policy
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import Clock
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import Answer, Scorer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.cycle import nothing_of
from ringfence.serving.errors import NoChampionError
from ringfence.serving.kept import KeptRows
from ringfence.serving.recovery import versions_of
from ringfence.serving.reviews import ReviewBudget
from ringfence.serving.waiting import Had, Waiting, event_at, had_then, seen_together, stage_decisions, waiting_in

_ROW_SAMPLE: Final = ServiceConfig().row_sample
GROUP: Final = 256  # decisions that are scored, and committed, together

Progress = Callable[[int, int], None]  # (decided, how many waited)


class RouteCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a route cost."""

    n_decisions: int
    ms_per_decision: float | None  # `batch`: of the run's wall time; `realtime`: see `_realtime`; None without any
    waited_s: float | None  # median of the time from the event's record to the decision's; None without any
    expected_cost: float  # of the actions taken, by the champion's cost table, without the review price; major units
    expected_cost_per_decision: float | None


class PendingRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did."""

    release: str
    currency: str
    n_decided: int
    n_replayed: int  # whose features were computed anew, as what was kept is of another feature spec, or gone
    by_action: dict[str, int]
    seconds: float
    routes: dict[str, RouteCost]  # `batch`: this run; `realtime`: decided at once between its first and last event


def champion_whole(ledger: Ledger, releases_dir: Path) -> Release:
    """Load the release that is live, all of it: nobody waits here, so that no lower rung has to answer.

    Raises
    ------
    NoChampionError
        If no release was ever promoted.
    ReleaseDamagedError
        If a file of it is broken.
    """
    name = Registry.read(ledger).champion()
    if name is None:
        raise NoChampionError(ledger.scenario.name)
    return load_release(releases_dir / name)


def decide_pending(
    ledger: Ledger,
    release: Release,
    state_dir: Path,
    clock: Clock,
    *,
    group: int = GROUP,
    progress: Progress = lambda done, total: None,
) -> PendingRun:
    """Decide every event that waits, in the order of events; returns when all decisions are durable.

    Parameters
    ----------
    ledger : opened with the release's scenario.
    release : the champion, whole.
    group : decisions to a commit, > 0.

    Raises
    ------
    LedgerLockedError
        If somebody else writes to the ledger, such as the service.
    CommitFailedError
        If a group could not be written; the groups before it stand, and the next run goes on there.
    """
    began = time.perf_counter()
    catalogue = release.catalogue
    n_features = len(catalogue.names)
    with (
        ledger.writer(clock) as writer,
        contextlib.closing(KeptRows(state_dir, catalogue.spec_hash, n_features)) as kept,
    ):
        run = _Run(ledger, release, state_dir, clock, writer, kept)
        total, after = ledger.n_pending, 0
        while waiting := waiting_in(ledger, after, group):
            after = run.decide(waiting)
            progress(run.n_decided, total)
    seconds = time.perf_counter() - began
    return PendingRun(
        release=release.id,
        currency=release.policy.costs.currency,
        n_decided=run.n_decided,
        n_replayed=run.n_replayed,
        by_action={name: run.by_action[name] for name in ACTIONS if name in run.by_action},
        seconds=seconds,
        routes={
            BATCH: _cost(1e3 * seconds / max(run.n_decided, 1), run.waited_ms, run.costs),
            "realtime": _realtime(ledger, release.policy, run.first_seq, run.last_seq),
        },
    )


class _Run:
    """One run, and what it has come to."""

    def __init__(
        self, ledger: Ledger, release: Release, state_dir: Path, clock: Clock, writer: Writer, kept: KeptRows
    ) -> None:
        self._ledger, self._release, self._writer, self._kept = ledger, release, writer, kept
        self._clock = clock
        self._scorer = Scorer(release)
        self._reviews = ReviewBudget(release.policy.reviews_per_day, release.scenario.time_zone, clock)
        self._reviews.recover(ledger)
        self._replay = _Replay(ledger, release.catalogue, state_dir)
        self._no_samples = nothing_of(release.catalogue)
        self._versions = versions_of(release)
        self.n_decided = self.n_replayed = self.first_seq = self.last_seq = 0
        self.by_action: dict[str, int] = {}
        self.waited_ms: list[int] = []
        self.costs: list[float] = []

    def decide(self, waiting: list[Waiting]) -> int:
        """Decide a group and commit it; return the seq of its last event."""
        had = self._had(waiting)
        left = self._reviews.left()
        answers = self._scorer.answer(
            seen_together(self._release.scenario, waiting, had),
            [one.event.amount_minor for one in waiting],
            reviews_left=left,
        )
        stage_decisions(
            self._writer,
            waiting,
            had,
            answers,
            left=left,
            reviews=self._reviews,
            versions=self._versions,
            row_sample=_ROW_SAMPLE,
        )
        for one, answer in zip(waiting, answers, strict=True):
            self._count(answer, self._clock.now_ms() - one.recorded_at_ms)
        self._writer.commit()
        self._kept.forget(one.body.event_seq for one in waiting)  # lost to a crash, they cost only room
        self.first_seq = self.first_seq or waiting[0].body.event_seq
        self.last_seq = waiting[-1].body.event_seq
        return self.last_seq

    def _count(self, answer: Answer, waited_ms: int) -> None:
        self.n_decided += 1
        self.by_action[answer.action] = self.by_action.get(answer.action, 0) + 1
        self.costs.append(answer.expected_costs[ACTIONS.index(answer.action)])
        self.waited_ms.append(waited_ms)

    def _had(self, waiting: list[Waiting]) -> list[Had]:
        """Return what each event had at its own seq: as it was kept, and by replay where that does not do."""
        had: dict[int, Had] = {}
        for one in waiting:
            if (kept := had_then(one, self._kept, self._no_samples, self._versions["spec"])) is not None:
                had[one.body.event_seq] = kept
        missing = [one.body.event_seq for one in waiting if one.body.event_seq not in had]
        if missing:
            had |= self._replay.at(missing)
            self.n_replayed += len(missing)
        return [had[one.body.event_seq] for one in waiting]


class _Replay:
    """Folds the ledger forwards, once, and hands out what events had on the way."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue, state_dir: Path) -> None:
        self._ledger, self._catalogue, self._state_dir = ledger, catalogue, state_dir
        self._engine: Engine | None = None

    def at(self, seqs: list[int]) -> dict[int, Had]:
        """Return row and neighbourhood of events; seqs ascend, from call to call as well."""
        if self._engine is None:
            snapshot = restore_newest(self._catalogue, self._state_dir, last_seq=seqs[0] - 1)
            self._engine = snapshot or Engine(self._catalogue)
        engine, wanted = self._engine, np.array(seqs, np.int64)
        found: dict[int, Had] = {}
        for batch in self._ledger.batches(after_seq=engine.seq, until_seq=seqs[-1], size=RECORDS_AT_ONCE):
            want, near = np.isin(batch.seq, wanted), None
            if self._catalogue.neighbourhoods is None:
                rows = engine.observe(batch, want=want)
            else:
                rows, near = engine.observe_sampled(batch, want, want)
            engine.take_effects()  # of ticks, which are on record already
            for at, seq in enumerate(batch.seq[want].tolist()):
                if near is None:
                    found[seq] = Had(rows[at])
                else:
                    found[seq] = Had(rows[at], pack(near, at), one_of(near, at))
        return found


def _realtime(ledger: Ledger, policy: Policy, first_seq: int, last_seq: int) -> RouteCost:
    """What was decided at once of the events from `first_seq` to `last_seq`.

    Its time is the median of what lies between the two records: observing and scoring, together with what came along.
    """
    scores, amounts, actions, waited_ms = [], [], [], []
    for record in ledger.records(first_seq, (Kind.DECISION,)) if first_seq else ():
        body = record.body
        if not isinstance(body, DecisionBody) or not first_seq < body.event_seq < last_seq:
            continue
        if body.circumstances.get("route") != BATCH:
            event, recorded_at_ms = event_at(ledger, body.event_seq)
            scores.append(body.score)
            amounts.append(np.nan if event.amount_minor is None else float(event.amount_minor))
            actions.append(ACTIONS.index(body.action))
            waited_ms.append(record.recorded_at_ms - recorded_at_ms)
    table = expected_costs(policy.costs, np.array(scores), policy.amounts_of(np.array(amounts)))
    costs = table[np.arange(len(actions)), np.array(actions, np.int64)].tolist()
    return _cost(float(np.median(waited_ms)) if waited_ms else 0.0, waited_ms, costs)


def _cost(ms_per_decision: float, waited_ms: list[int], costs: list[float]) -> RouteCost:
    n, total = len(costs), float(sum(costs))
    return RouteCost(
        n_decisions=n,
        ms_per_decision=ms_per_decision if n else None,
        waited_s=float(np.median(waited_ms)) / 1e3 if n else None,
        expected_cost=total,
        expected_cost_per_decision=total / n if n else None,
    )

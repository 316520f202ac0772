# SPDX-License-Identifier: Apache-2.0
"""The shadow: a release that scores every event along after the answer, however long it takes, and acts never.

    ledger ──> an engine of its own, under the shadow's feature spec ──> score ──> beside the decision ──> shadow.db

It runs in the process beside the service, in a thread of its own. Live features equal replayed ones, so what it comes
to is what the release would have answered. Whatever goes wrong here is told and counted, and hurts nobody.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from ringfence.engine.engine import Engine
from ringfence.engine.replay import in_bulk
from ringfence.engine.snapshot import clear_unfinished, restore_newest, write_snapshot
from ringfence.errors import RingfenceError
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, DisagreementBody, Record
from ringfence.models.seen import Seen
from ringfence.rollout.registry import Registry, Shadow
from ringfence.scenario.batch import EVENT, MISSING_AMOUNT, Batch
from ringfence.scoring.release import load_release
from ringfence.scoring.scorer import Scorer
from ringfence.serving.opinions import Comparison, Opinion, Opinions
from ringfence.serving.telemetry import cause_of

_log: Final = structlog.get_logger("ringfence.serving")

SNAPSHOTS: Final = "shadow"  # the folder of the state that is the shadow's own
_POLL_S: Final = 0.5
_AGAIN_S: Final = 30.0  # after what kept it from going on
_REST: Final = 3.0  # times as long as a portion took
_PORTION: Final = 128  # records
_AT_ONCE: Final = 65_536  # while nothing is to be scored
_WAITING: Final = 512  # events of the nightly run that are asked after at once
_SNAPSHOT_S: Final = 1_800.0


def shadow_all(ledger: Ledger, releases_dir: Path, state_dir: Path, ended: Callable[[], bool]) -> None:
    """Follow whichever release is the shadow, until `ended`."""
    pause = threading.Event()
    while not ended():
        wait_s = _POLL_S
        try:
            shadow = Registry.read(ledger).shadow()
            if shadow is not None:
                _follow(shadow, ledger, releases_dir, state_dir, ended, pause)
        except Exception as error:  # a release that is broken or gone, a full disk: the next try may find it mended
            expected = isinstance(error, RingfenceError | sqlite3.Error | OSError)
            _log.warning("the shadow waits", cause=str(error), exc_info=None if expected else error)
            wait_s = _AGAIN_S
        until_s = time.monotonic() + wait_s
        while not ended() and time.monotonic() < until_s:
            pause.wait(_POLL_S)


def _follow(
    shadow: Shadow,
    ledger: Ledger,
    releases_dir: Path,
    state_dir: Path,
    ended: Callable[[], bool],
    pause: threading.Event,
) -> None:
    """Score until this release is the shadow no more."""
    with contextlib.closing(Opinions(state_dir)) as opinions:
        through_seq = opinions.begin(shadow)
        try:
            along = Along(shadow, ledger, releases_dir, state_dir, opinions, through_seq)
            opinions.tell_failure("")
            while not ended() and Registry.read(ledger).shadow() == shadow:
                along.catch_up(ended, pause)
                along.ask_after_waiting()
                along.keep_snapshot()
                pause.wait(_POLL_S)
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                opinions.tell_failure(cause_of(error))
            raise


class Along:
    """A release that scores along: its engine, its models, and how far it is. One thread uses it.

    Raises
    ------
    ReleaseError
        If the release is not there, or any file of it is broken: half of it is not what is to be compared.
    """

    def __init__(
        self,
        shadow: Shadow,
        ledger: Ledger,
        releases_dir: Path,
        state_dir: Path,
        opinions: Opinions,
        through_seq: int,
    ) -> None:
        release = load_release(releases_dir / shadow.release)
        self._shadow, self._opinions, self._through_seq = shadow, opinions, through_seq
        self._ledger = Ledger.open(ledger.directory, release.scenario)
        self._scorer = Scorer(release)
        self._catalogue, self._decided = release.catalogue, release.scenario.decided.index
        self._folder = state_dir / SNAPSHOTS
        self._folder.mkdir(parents=True, exist_ok=True)
        clear_unfinished(self._folder)
        # Never a state from beyond: what came between would not be scored.
        own = restore_newest(self._catalogue, self._folder, last_seq=through_seq)
        champions = None if own is not None else restore_newest(self._catalogue, state_dir, last_seq=through_seq)
        self.engine = own or champions or Engine(self._catalogue)
        self._keeps = champions is None  # of another feature spec than the champion's there are no other snapshots
        self._kept_at_s, self._kept_seq = time.monotonic(), self.engine.seq
        self._asked_after = 0  # event seq

    def catch_up(self, ended: Callable[[], bool], pause: threading.Event) -> None:
        """Fold to the ledger's end: at once up to where scoring begins, from there in portions with rests."""
        before = self._ledger.batches(after_seq=self.engine.seq, until_seq=self._through_seq, size=_AT_ONCE)
        if self.engine.seq < self._through_seq:
            for batch in in_bulk(self.engine, before):
                self.engine.observe(batch, want=np.zeros(len(batch), np.bool_))
                self.engine.take_effects()  # what ticks came to is on record for the champion's features alone
                if ended():
                    return
        last_seq = self._ledger.last_seq
        began_s = time.monotonic()
        for batch in self._ledger.batches(after_seq=self.engine.seq, size=_PORTION):
            self.score(batch)
            if ended():
                return
            pause.wait(_REST * (time.monotonic() - began_s))
            began_s = time.monotonic()
        if last_seq > self._through_seq:  # what came after the last event is nothing to score: none is behind
            self._opinions.put(last_seq)
            self._through_seq = last_seq

    def score(self, batch: Batch) -> None:
        """Fold a batch, and hold each event in it that was decided against what the shadow would have done.

        Imported history is decided by nobody, and not scored.
        """
        last_seq = int(batch.seq[-1])
        want = (batch.kind == EVENT) & (batch.event_type == self._decided) & (batch.seq > self._through_seq)
        want &= not any(segment.first_seq <= last_seq <= segment.last_seq for segment in self._ledger.segments())
        if self._catalogue.neighbourhoods is None:
            seen = Seen(self.engine.observe(batch, want))
        else:
            seen = Seen(*self.engine.observe_sampled(batch, want, want))
        self.engine.take_effects()
        if not seen.n:
            self._opinions.put(last_seq)
            return
        seqs = batch.seq[want]
        seen = seen._replace(texts=event_texts(self._ledger, seqs))
        amounts = [None if minor == MISSING_AMOUNT else int(minor) for minor in batch.amount_minor[want].tolist()]
        opinions = [
            Opinion(seq, score, minor)
            for seq, score, minor in zip(seqs.tolist(), self._scores(seen), amounts, strict=True)
        ]
        decided = self._ledger.decisions_of(int(seqs[0]), int(seqs[-1]))
        decisions = {body.event_seq: record for record in decided if isinstance(body := record.body, DecisionBody)}
        waits: list[Opinion] = []
        compared: list[Comparison] = []
        n_impossible = 0
        for opinion in opinions:
            record = decisions.get(opinion.event_seq)
            if np.isnan(opinion.score):
                n_impossible += 1
            elif record is not None:
                compared.append(self._compared(opinion, record))
            else:  # left to the nightly run, or learned first: a decision may come
                waits.append(opinion)
        self._opinions.put(last_seq, waits=waits, compared=compared, n_impossible=n_impossible)
        self._through_seq = last_seq

    def ask_after_waiting(self) -> None:
        """Look whether some events were decided meanwhile that were not when they were scored; in turns."""
        waiting = self._opinions.waiting(self._asked_after, _WAITING)
        self._asked_after = waiting[-1].event_seq if len(waiting) == _WAITING else 0
        found = [(opinion, self._ledger.decision_of(opinion.event_seq)) for opinion in waiting]
        compared = [self._compared(opinion, record) for opinion, record in found if record is not None]
        if compared:
            self._opinions.put(self._through_seq, compared=compared)

    def keep_snapshot(self) -> None:
        """Write a snapshot after a long replay, and now and then, unless the champion's do."""
        is_due = self.engine.seq > self._kept_seq and time.monotonic() - self._kept_at_s >= _SNAPSHOT_S
        if self._keeps and (is_due or (self._kept_seq == 0 and self.engine.seq >= _AT_ONCE)):
            write_snapshot(self.engine, self._folder, keep=1, rest=_REST)
            self._kept_at_s, self._kept_seq = time.monotonic(), self.engine.seq

    def _scores(self, seen: Seen) -> list[float]:
        """Score events; NaN where the models raise on one."""
        try:
            return [float(score) for score in self._scorer.score(seen).score]
        except Exception as error:
            if seen.n == 1:
                _log.warning("the shadow cannot score an event", release=self._shadow.release, cause=cause_of(error))
                return [float("nan")]
        return [self._scores(seen.part(slice(at, at + 1)))[0] for at in range(seen.n)]

    def _compared(self, opinion: Opinion, record: Record) -> Comparison:
        body = record.body
        assert isinstance(body, DecisionBody)
        left = body.circumstances.get("reviews_left")
        action = self._scorer.act(opinion.score, opinion.amount_minor, reviews_left=left)
        disagreement = None
        if action != body.action:
            disagreement = DisagreementBody(
                decision_seq=record.seq,
                event_seq=body.event_seq,
                event_id=body.event_id,
                event_type=body.event_type,
                release=body.versions["release"],
                rung=str(body.circumstances["rung"]),
                action=body.action,
                score=body.score,
                shadow=self._shadow.release,
                shadow_action=action,
                shadow_score=opinion.score,
            )
        return Comparison(body.event_seq, body.action, action, opinion.score - body.score, disagreement)

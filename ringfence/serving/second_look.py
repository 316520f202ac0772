# SPDX-License-Identifier: Apache-2.0
"""Decisions of a lower rung, scored in full after the answer; where the action differs, a record asks for a review.

The ledger is the queue: a cursor says up to which seq every such decision was looked at. So nothing is lost by a crash,
nothing is handed over by the engine's thread, and what waits takes no memory. What cannot be scored now, since the
model is broken or hangs, is put off, a bounded number of decisions; then the cursor waits.

One thread does it, one decision at a time. It rests longer than it works and lets requests that wait go first.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from ringfence.engine.catalogue import Catalogue
from ringfence.errors import RingfenceError
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, EventBody, Kind, Record, ReviewRequestedBody
from ringfence.ledger.write_ahead import connect_write_ahead
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.packed import unpack
from ringfence.models.seen import Seen
from ringfence.scenario.event import Event
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.release import load_release
from ringfence.scoring.scorer import FULL, Answer, Scorer
from ringfence.serving.cycle import nothing_of
from ringfence.serving.errors import OutcomeUnknownError
from ringfence.serving.kept import KeptRows
from ringfence.serving.model_thread import CallTimedOutError, ModelThread
from ringfence.serving.telemetry import Telemetry, cause_of

_log: Final = structlog.get_logger("ringfence.serving")

SECOND_LOOKS: Final = "second_looks.db"
MOST_PUT_OFF: Final = 1_024
SAME: Final = "same"
DIFFERENT: Final = "different"
IMPOSSIBLE: Final = "impossible"
_CHUNK: Final = 64  # decisions read at once
_POLL_S: Final = 0.5
_REST: Final = 3.0  # times as long as a look took
_LONGEST_LOOK_S: Final = 10.0
_FIRST_RETRY_S: Final = 1.0  # doubles up to the last
_LAST_RETRY_S: Final = 60.0
_MOST_UNSAVED: Final = 10_000  # records that the cursor may lag behind where there was nothing to do

Recorder = Callable[[ReviewRequestedBody], object]


class Cursor:
    """The seq up to which every decision was looked at, or needed no look. State, not truth: losing it costs time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._connection = connect_write_ahead(directory / SECOND_LOOKS)
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL)"
        )
        found = self._connection.execute("SELECT seq FROM cursor").fetchone()
        self.seq = int(found[0]) if found else 0

    def put(self, seq: int) -> None:
        if seq != self.seq:
            self._connection.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (seq,))
            self.seq = seq

    def close(self) -> None:
        self._connection.close()


class SecondLooks:
    """Looks at decisions of a lower rung again. One thread uses it.

    Parameters
    ----------
    live : the scorer of the release that is live; others are loaded from the folder that holds it.
    record : makes a record durable and returns; it raises a `RingfenceError` where it cannot.
    last_degraded_seq : the newest decision of a lower rung in this process, durable or not; 0 before the first.
    looked_at : told the seq of each event that is done with.
    """

    def __init__(
        self,
        ledger: Ledger,
        live: Scorer,
        no_samples: SampledArrays | None,
        state_dir: Path,
        telemetry: Telemetry,
        record: Recorder,
        *,
        last_degraded_seq: Callable[[], int],
        looked_at: Callable[[int], None] = lambda seq: None,
    ) -> None:
        self._ledger, self._live, self._record = ledger, live, record
        self._last_degraded_seq, self._looked_at = last_degraded_seq, looked_at
        self._name = ledger.scenario.name
        self._results = {
            result: telemetry.second_looks.labels(self._name, result) for result in (SAME, DIFFERENT, IMPOSSIBLE)
        }
        self._n_put_off = telemetry.second_looks_put_off.labels(self._name)
        self._scorers = {live.release.id: live}
        self._cursor = Cursor(state_dir)
        self._state_dir = state_dir
        self._kept: dict[str, tuple[KeptRows, SampledArrays | None]] = {}  # by feature spec
        catalogue = live.release.catalogue
        self._kept[catalogue.spec_hash] = KeptRows(state_dir, catalogue.spec_hash, len(catalogue.names)), no_samples
        self._model = ModelThread(f"second-look-{self._name}")
        self._read_seq = self._cursor.seq
        self._start_seq = ledger.last_seq  # an earlier process may have left something up to here
        self._read: deque[Record] = deque()
        self._put_off: list[int] = []  # decision seqs
        self._unknown: int | None = None  # a decision whose record may yet become durable
        self._requested = self._on_record()

    def look_next(self) -> bool:
        """Read on, or look at the next decision; False where there is none, or no room to put one off."""
        if self._unknown is not None and not self._is_known():
            return False
        if self._read:
            self._look(self._read.popleft())
        elif not self._read_on():
            return False
        self._save()
        return True

    @property
    def n_put_off(self) -> int:
        """Decisions that could not be scored in full yet."""
        return len(self._put_off)

    def retry(self) -> bool:
        """Look once more at a decision that was put off; False where it still cannot be done.

        It comes last then: a single event that no model can score holds up no other.
        """
        if self._unknown is not None and not self._is_known():
            return False
        n, seq = len(self._put_off), self._put_off.pop(0)
        record = self._ledger.decision(f"d-{seq}")
        if record is not None:
            self._look(record)
        self._save()
        return len(self._put_off) < n

    def close(self) -> None:
        self._model.close()
        for kept, _ in self._kept.values():
            kept.close()
        self._cursor.close()

    def _read_on(self) -> bool:
        """Read some decisions on; False where there are none, or nothing to do among them."""
        last = self._ledger.last_seq  # asked before the other: what is durable by now was noted before
        noted = max(self._start_seq, self._last_degraded_seq())
        if self._read_seq >= noted or len(self._put_off) >= MOST_PUT_OFF:
            if last - self._read_seq > _MOST_UNSAVED and self._read_seq >= noted:
                self._read_seq = last
                self._save()
            return False
        until = min(noted, last)
        if until <= self._read_seq:
            return False  # not durable yet
        found = list(self._ledger.records(self._read_seq, (Kind.DECISION,), _CHUNK, until_seq=until))
        self._read_seq = found[-1].seq if len(found) == _CHUNK else until
        self._read += [record for record in found if _is_degraded(record)]
        return True

    def _save(self) -> None:
        left = [*self._put_off, *(record.seq for record in self._read)]
        if self._unknown is not None:
            left.append(self._unknown)
        done = min((seq - 1 for seq in left), default=self._read_seq)
        self._cursor.put(done)
        self._requested = {seq for seq in self._requested if seq > done}
        self._n_put_off.set(len(self._put_off))

    def _look(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, DecisionBody)
        if record.seq in self._requested:
            self._looked_at(body.event_seq)
            return
        try:
            scorer, seen, event = self._scorer_of(body), *self._seen(body)
        except RingfenceError as error:
            _log.warning("a decision cannot be looked at again", decision=f"d-{record.seq}", cause=str(error))
            self._done(body, IMPOSSIBLE)
            return
        try:
            answer = self._answer(scorer, seen, event, body)
        except Exception as error:  # whatever a model raises: it may be well again later
            _log.warning("a second look is put off", decision=f"d-{record.seq}", cause=cause_of(error))
            self._put_off.append(record.seq)
            return
        if answer.action == body.action:
            self._done(body, SAME)
            return
        self._request(record.seq, body, answer)

    def _request(self, decision_seq: int, body: DecisionBody, answer: Answer) -> None:
        request = ReviewRequestedBody(
            decision_seq=decision_seq,
            event_seq=body.event_seq,
            event_id=body.event_id,
            event_type=body.event_type,
            release=body.versions["release"],
            rung=str(body.circumstances["rung"]),
            why=str(body.circumstances["degraded"]),
            action=body.action,
            score=body.score,
            full_action=answer.action,
            full_score=answer.score,
        )
        try:
            self._record(request)
        except OutcomeUnknownError:
            self._unknown = decision_seq
            self._done(body, DIFFERENT)
        except RingfenceError:  # the queue is full, or the ledger cannot be written: nothing was recorded
            self._put_off.append(decision_seq)
        else:
            self._requested.add(decision_seq)
            self._done(body, DIFFERENT)

    def _done(self, body: DecisionBody, result: str) -> None:
        self._results[result].inc()
        self._looked_at(body.event_seq)

    def _answer(self, scorer: Scorer, seen: Seen, event: Event, body: DecisionBody) -> Answer:
        if scorer.rung != FULL:
            raise next(iter(scorer.release.broken.values()))
        circumstances = {"rung": FULL, "reviews_left": body.circumstances.get("reviews_left")}
        if self._model.is_busy:
            raise CallTimedOutError("an earlier look", _LONGEST_LOOK_S * 1e3)
        return self._model.call(lambda: scorer.again(seen, event.amount_minor, circumstances), _LONGEST_LOOK_S)

    def _scorer_of(self, body: DecisionBody) -> Scorer:
        name = body.versions["release"]
        if name not in self._scorers:
            self._scorers[name] = Scorer(load_release(self._live.release.path.parent / name, without=_ignored))
        return self._scorers[name]

    def _seen(self, body: DecisionBody) -> tuple[Seen, Event]:
        """Return what the event had when it was decided.

        Raises
        ------
        ReleaseNotFoundError, NothingKeptError
            If release or neighbourhood are not there any more.
        """
        release = self._scorer_of(body).release
        found = next(self._ledger.records(body.event_seq - 1, (Kind.EVENT,), 1, until_seq=body.event_seq), None)
        assert found is not None
        assert isinstance(found.body, EventBody)
        assert body.row is not None
        event, near = found.body.event, None
        if release.catalogue.neighbourhoods is not None:
            rows, no_samples = self._kept_under(release.catalogue)
            kept = rows.get(body.event_seq, event.payload_digest)
            near = None if kept is None or no_samples is None else unpack(kept.near, no_samples)
            if near is None:
                raise NothingKeptError(body.event_id)
        texts = tuple(
            [None if (text := event.attributes.get(attribute.name)) is None else str(text)]
            for attribute in release.scenario.read_texts
        )
        return Seen(np.frombuffer(body.row, np.float64)[None, :], near, texts), event

    def _kept_under(self, catalogue: Catalogue) -> tuple[KeptRows, SampledArrays | None]:
        """What is kept under a feature spec: after a switch, decisions of the release from before are looked at too."""
        spec = catalogue.spec_hash
        if spec not in self._kept:
            self._kept[spec] = KeptRows(self._state_dir, spec, len(catalogue.names)), nothing_of(catalogue)
        return self._kept[spec]

    def _is_known(self) -> bool:
        """Whether the record whose fate was unknown is durable: a batch that did not commit is retried unchanged."""
        if self._unknown in self._on_record():
            self._unknown = None
            self._requested = self._on_record()
        return self._unknown is None

    def _on_record(self) -> set[int]:
        bodies = [record.body for record in self._ledger.records(self._cursor.seq, (Kind.REVIEW_REQUESTED,))]
        return {body.decision_seq for body in bodies if isinstance(body, ReviewRequestedBody)}


class NothingKeptError(RingfenceError):
    """The neighbourhood of an event was not kept, as in state that was restored without its `kept_rows.db`."""

    def __init__(self, event_id: str) -> None:
        super().__init__(f"what was around event {event_id!r} is not in kept_rows.db; decide it again by replay")
        self.event_id = event_id


def look_again(
    make: Callable[[], SecondLooks], is_idle: Callable[[], bool], ended: threading.Event, scenario: str
) -> None:
    """Look at decisions of a lower rung until `ended`. `make` is called in this thread.

    Parameters
    ----------
    is_idle : whether no request waits; looks are put off for those, at most as long as `_POLL_S` each.
    """
    try:
        with contextlib.closing(make()) as looks:
            pause_s, retry_at_s = _FIRST_RETRY_S, 0.0
            while not ended.is_set():
                until_s = time.monotonic() + _POLL_S
                while not is_idle() and time.monotonic() < until_s:
                    ended.wait(0.005)
                began_s = time.monotonic()
                try:
                    if looks.n_put_off and began_s >= retry_at_s:
                        has_looked = looks.retry()
                        pause_s = _FIRST_RETRY_S if has_looked else min(2 * pause_s, _LAST_RETRY_S)
                        retry_at_s = 0.0 if has_looked else time.monotonic() + pause_s
                    else:
                        has_looked = looks.look_next()
                except sqlite3.Error as error:  # a full disk, as a rule: what was not done is done when it has room
                    has_looked = False
                    _log.warning("second looks wait for the disk", scenario=scenario, cause=str(error))
                ended.wait(_REST * (time.monotonic() - began_s) if has_looked else _POLL_S)
    except Exception:
        _log.exception("no second looks until the next start", scenario=scenario)


def _is_degraded(record: Record) -> bool:
    body = record.body
    return isinstance(body, DecisionBody) and bool(body.circumstances.get("degraded")) and body.row is not None


def _ignored(error: ReleaseDamagedError) -> None:
    """Where `full` is not left of it, the look is put off."""

# SPDX-License-Identifier: Apache-2.0
"""One scenario's service: the engine thread, its queue, and what the HTTP face asks of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog

from ringfence.errors import RingfenceError
from ringfence.ledger.errors import CommitFailedError
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import ReviewRequestedBody
from ringfence.scenario.clock import Clock
from ringfence.scenario.door import Door
from ringfence.scenario.errors import InvalidEventError
from ringfence.scenario.event import Admission, LabelNotice
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release
from ringfence.serving import wire
from ringfence.serving.config import ServiceConfig
from ringfence.serving.cycle import Cycle, Live, answer_of
from ringfence.serving.decision_log import DecisionLog
from ringfence.serving.errors import (
    LedgerUnavailableError,
    NotFoundError,
    NotReadyError,
    OutcomeUnknownError,
    ServiceFaultError,
)
from ringfence.serving.explanations import EXPLANATIONS, Explanations
from ringfence.serving.kept import KeptRows
from ringfence.serving.lags import explanations_behind, snapshots_behind
from ringfence.serving.queue import NO_DEADLINE, Ask, Ticket, WorkQueue
from ringfence.serving.recovery import recover, warm_up
from ringfence.serving.retold import explained_in_full
from ringfence.serving.reviews import ReviewBudget
from ringfence.serving.rungs import Rungs
from ringfence.serving.second_look import SecondLooks, look_again
from ringfence.serving.tally import Tally
from ringfence.serving.telemetry import Telemetry

_log: Final = structlog.get_logger("ringfence.serving")
_FORGOTTEN: Final = "_forgotten"  # how counters of the engine end that count evictions
_IDLE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 1.0
_LOOKER_ENDS_S: Final = 2.0  # then it is left alone: the ledger knows what it has not done
_RECENT_EVENTS: Final = 20
_LARGEST_HASHED: Final = 256 << 20  # bytes of state; beyond it, `ringfence verify state` hashes, and not every start


class State(StrEnum):
    STARTING = "starting"
    REPLAYING = "replaying the ledger"
    WARMING = "warming up"
    READY = "ready"
    LEDGER_UNAVAILABLE = "waiting for the ledger"
    FAILED = "failed"
    STOPPED = "stopped"


class ScenarioService:
    """Decides, learns and is told; every answer that leaves is durable.

    `start` returns at once and recovery runs in the engine thread; `state` says how far it is. All other methods are
    for the event loop's thread, except `stored_decision` and `decision_on`, which read and may run anywhere.
    """

    def __init__(
        self,
        ledger: Ledger,
        release: Release,
        state_dir: Path,
        clock: Clock,
        config: ServiceConfig,
        telemetry: Telemetry,
        *,
        on_ready: Callable[[], None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger, self._release, self._state_dir = ledger, release, state_dir
        self._clock, self._config, self._telemetry = clock, config, telemetry
        self._on_ready, self._on_failure = on_ready, on_failure
        self._door = Door(release.scenario, ledger.identity, release.lookups())
        self._queue = WorkQueue(config.queue_bound)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live: Live | None = None
        self._stopping = False
        self._ended = threading.Event()
        self._looker: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name=f"engine-{self.scenario.name}", daemon=True)
        self._latencies: dict[tuple[str, str], Tally] = {}
        self._cycle: Cycle | None = None
        self._unsaved_since_ns = 0  # 0: nothing waits for its commit
        self._queue_seconds = telemetry.queue_seconds.labels(self.scenario.name)
        self._decision_log = DecisionLog(self.scenario.name, release.id, config.log_one_in, time.perf_counter_ns)
        # There before the first failure: a series that begins above zero has not risen, and its alert would not fire.
        self._commit_failures = telemetry.commit_failures.labels(self.scenario.name)
        self._late_answers = telemetry.late_answers.labels(self.scenario.name)
        self._rungs: Rungs | None = None
        self.state = State.STARTING
        self.failure: Exception | None = None  # why the state is FAILED

    @property
    def scenario(self) -> Scenario:
        """The champion's scenario: an edited ringfence.yaml waits for the next release."""
        return self._release.scenario

    @property
    def entity_types(self) -> tuple[str, ...]:
        return tuple(sorted({role.entity_type for role in self.scenario.roles}))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin recovery in the engine thread; results come back to `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Answer what is queued, then end the engine thread."""
        self._ended.set()
        if self._looker is not None:
            self._looker.join(_LOOKER_ENDS_S)
        self._stopping = True
        self._queue.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def require_ready(self) -> None:
        """Raise `NotReadyError` or `LedgerUnavailableError` unless work is taken right now."""
        if self.state is State.LEDGER_UNAVAILABLE:
            raise LedgerUnavailableError
        if self.state is not State.READY or self._stopping:
            raise NotReadyError("stopping" if self._stopping else str(self.state))

    def admit(self, raw: dict[str, Any]) -> Admission:
        admission = self._door.admit(raw, now_ms=self._clock.now_ms())
        for name in admission.underived:
            self._telemetry.underived.labels(self.scenario.name, name).inc()
        return admission

    def admit_decided(self, raw: dict[str, Any]) -> Admission:
        """Admit an event of the decided type only.

        Raises
        ------
        InvalidEventError
            Also for an event type that teaches and is not decided.
        """
        admission = self.admit(raw)
        if admission.event.event_type != self.scenario.decide:
            do = f"decisions are made on {self.scenario.decide!r}; send other events to /v1/events"
            raise InvalidEventError("$.event_type", repr(admission.event.event_type), do)
        return admission

    def label_notice(self, raw: dict[str, Any]) -> LabelNotice:
        return self._door.label(raw)

    def submit(
        self,
        ask: Ask,
        *,
        admission: Admission | None = None,
        notice: LabelNotice | None = None,
        read: Callable[[], object] | None = None,
        request: ReviewRequestedBody | None = None,
        deadline_ns: int = NO_DEADLINE,
    ) -> Ticket:
        """Queue a request for the engine thread; await `ticket.future` for its result, which may be an error.

        Parameters
        ----------
        deadline_ns : of a decision, by `time.perf_counter_ns`.

        Raises
        ------
        QueueFullError, NotReadyError, LedgerUnavailableError
            Nothing was recorded.
        """
        self.require_ready()
        assert self._loop is not None
        ticket = Ticket(
            ask,
            self._loop.create_future(),
            admission=admission,
            notice=notice,
            read=read,
            request=request,
            deadline_ns=deadline_ns,
        )
        self._queue.put(ticket)
        return ticket

    def stored_decision(self, decision_id: str, *, full: bool = False) -> wire.StoredDecision | None:
        """Read a decision back, with its exact reasons where they have been computed.

        Parameters
        ----------
        full : with what was kept of the explanation of the whole score. Nothing is computed here.
        """
        record = self._ledger.decision(decision_id)
        if record is None:
            return None
        exact = None
        if (self._state_dir / EXPLANATIONS).exists():
            with contextlib.closing(Explanations(self._state_dir)) as explanations:
                exact = explanations.get(record.seq)
        recorded_at = wire.iso(record.recorded_at_ms)
        stored = wire.StoredDecision(decision=answer_of(record), recorded_at=recorded_at, exact_reasons=exact)
        return explained_in_full(stored, self._ledger, self._state_dir) if full else stored

    def decision_on(self, event_id: str, *, full: bool = False) -> wire.StoredDecision:
        """Read the decision on an event of the decided type back.

        Raises
        ------
        NotFoundError
            If there is no such event, or no decision on it yet.
        """
        decides = self.scenario.decide
        event = self._ledger.find_event(decides, event_id)
        if event is None:
            raise NotFoundError(
                f"{decides} {event_id[:100]!r}", "check the event_id; imported events are known by it too"
            )
        record = self._ledger.decision_of(event.seq)
        stored = None if record is None else self.stored_decision(f"d-{record.seq}", full=full)
        if stored is None:
            do = f"it is known (seq {event.seq}) and undecided; live events are decided by POST /v1/decisions"
            raise NotFoundError(f"decision on {decides} {event_id[:100]!r}", do)
        return stored

    def entity(self, entity_type: str, entity_id: str) -> wire.EntityAnswer | None:
        """Describe an entity by the state between two turns; only the engine thread may call this."""
        assert self._live is not None
        engine, now_ms = self._live.engine, self._clock.now_ms()
        hi, lo = self._ledger.identity.entity(entity_type, entity_id)
        decided = self.scenario.decided
        digits = decided.amount.digits if decided.amount is not None else 0
        roles: dict[str, wire.EntityRole] = {}
        for column in decided.roles:
            role = self.scenario.role(column.role)
            if role.entity_type != entity_type:
                continue
            recent = engine.recent_at(role.name, lo, now_ms, _RECENT_EVENTS)
            roles[role.name] = wire.EntityRole(
                features={
                    name: None if math.isnan(value) else value
                    for name, value in engine.entity_at(role.name, lo, hi, now_ms).items()
                },
                recent_events=[
                    wire.RecentEvent(
                        event_time=wire.iso(event.event_time_ms),
                        amount=None if event.amount_minor is None else event.amount_minor / 10**digits,
                    )
                    for event in recent
                ],
            )
        digest = hi.to_bytes(8, "big") + lo.to_bytes(8, "big")
        known = bool(self._ledger.entity_names([digest])) or any(role.recent_events for role in roles.values())
        if not known:
            return None
        return wire.EntityAnswer(
            entity_type=entity_type, entity_id=entity_id, as_of=wire.iso(now_ms), as_of_seq=engine.seq, roles=roles
        )

    def record_latency(self, answer: wire.DecisionAnswer, seconds: float, *, is_late: bool) -> None:
        key = (answer.action, answer.rung)
        child = self._latencies.get(key)
        if child is None:
            child = self._telemetry.decision_seconds.labels(self.scenario.name, *key, self._release.id)
            self._latencies[key] = child
        child.observe(seconds)
        if is_late:
            self._late_answers.inc()

    def measure(self) -> None:
        """Bring the gauges up to date."""
        name = self.scenario.name
        self._telemetry.queue_depth.labels(name).set(self._queue.depth)
        self._telemetry.ready.labels(name).set(self.state is State.READY)
        if self._rungs is not None:
            self._rungs.measure()
        if self._live is not None:
            self._telemetry.ledger_seq.labels(name).set(self._live.engine.seq)
            for counter, value in self._live.engine.counters.items():
                self._telemetry.engine_counts.labels(name, counter).set(value)
                if counter.endswith(_FORGOTTEN):
                    self._telemetry.forgotten.reach((name, counter.removesuffix(_FORGOTTEN)), value)
        since_ns = self._unsaved_since_ns
        lag_s = (time.perf_counter_ns() - since_ns) / 1e9 if since_ns else 0.0
        self._telemetry.commit_lag.labels(name).set(lag_s)
        if self._config.follower and self._live is not None:
            lag, decided_seq = self._telemetry.ledger_lag, 0 if self._cycle is None else self._cycle.last_decided_seq
            lag.labels(name, "snapshots").set(snapshots_behind(self._state_dir, self._live.engine.seq))
            if (behind := explanations_behind(self._state_dir, decided_seq)) is not None:
                lag.labels(name, "explanations").set(behind)
        if (p95 := self._telemetry.neighbours.labels(name).quantile(0.95)) is not None:
            self._telemetry.neighbours_p95.labels(name).set(p95)
        price, n = self._config.machine_price_per_hour, self._telemetry.decisions.sum(name)
        if price is not None and n:
            busy_h = self._telemetry.busy_seconds.value(name) / 3600
            self._telemetry.cost.labels(name).set(price * busy_h / n * 1000)

    def _run(self) -> None:
        try:
            with self._ledger.writer(self._clock) as writer:
                self.state = State.REPLAYING
                live = recover(self._ledger, self._release, self._state_dir)
                self._telemetry.wrong_ticks.labels(self.scenario.name).inc(live.n_wrong_ticks)
                self.state = State.WARMING
                warm_up(self._ledger, live)
                self._live = live
                rungs = self._rungs = Rungs(self.scenario.name, live.scorer, self._config, self._telemetry)
                rungs.rehearse()
                reviews = ReviewBudget(self._release.policy.reviews_per_day, self.scenario.time_zone, self._clock)
                reviews.recover(self._ledger)
                catalogue = live.engine.catalogue
                kept = KeptRows(self._state_dir, catalogue.spec_hash, len(catalogue.names))
                cycle = Cycle(
                    self.scenario.name,
                    self.scenario.decide,
                    writer,
                    live,
                    rungs,
                    kept,
                    reviews,
                    self._telemetry,
                    row_sample=self._config.row_sample,
                )
                self._cycle = cycle
                if self._config.second_looks:
                    self._look_again(cycle, live)
                self._on_ready()
                self._tell("ready", live)
                self.state = State.READY
                with contextlib.closing(kept), contextlib.closing(rungs):
                    self._turns(cycle)
                self._tell("stopped", live)
            self.state = State.STOPPED
        except Exception as error:
            self.failure = error
            self.state = State.FAILED
            _log.exception("engine thread failed", scenario=self.scenario.name, cause=type(error).__name__)
            self._ended.set()
            self._refuse_waiting(NotReadyError(str(State.FAILED)))
            self._on_failure()

    def _look_again(self, cycle: Cycle, live: Live) -> None:
        """Start the thread that scores decisions of a lower rung in full, after the answer."""

        def make() -> SecondLooks:
            return SecondLooks(
                self._ledger,
                live.scorer,
                cycle.no_samples,
                self._state_dir,
                self._telemetry,
                self._request_review,
                last_degraded_seq=lambda: cycle.last_degraded_seq,
                looked_at=cycle.looked_at.append if cycle.no_samples is not None else lambda seq: None,
            )

        self._looker = threading.Thread(
            target=look_again,
            args=(make, lambda: self._queue.depth == 0, self._ended, self.scenario.name),
            name=f"second-looks-{self.scenario.name}",
            daemon=True,
        )
        self._looker.start()

    def _request_review(self, request: ReviewRequestedBody) -> None:
        """Put a request for a review on record; returns when it is durable. For a thread that is not the loop's."""
        told: Future[object] = Future()

        def submit() -> None:
            try:
                ticket = self.submit(Ask.REQUEST_REVIEW, request=request)
            except RingfenceError as error:
                told.set_result(error)
            else:
                ticket.future.add_done_callback(lambda future: told.set_result(future.result()))

        if self._loop is None or self._ended.is_set():
            raise NotReadyError("stopping")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody will answer, and `_ended` says so soon
            self._loop.call_soon_threadsafe(submit)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                result = told.result(_IDLE_S)
                if isinstance(result, RingfenceError):
                    raise result
                return
        raise OutcomeUnknownError

    def _tell(self, event: str, live: Live) -> None:
        engine = live.engine
        state_hash = engine.state_hash() if engine.nbytes <= _LARGEST_HASHED else None
        _log.info(event, scenario=self.scenario.name, release=self._release.id, seq=engine.seq, state_hash=state_hash)

    def _turns(self, cycle: Cycle) -> None:
        batch_size = self._telemetry.batch_size.labels(self.scenario.name)
        left = self._telemetry.queue_left.labels(self.scenario.name)
        while True:
            tickets = self._queue.take(self._config.max_batch, _IDLE_S)
            if not tickets:
                if self._stopping:
                    return
                continue
            batch_size.observe(len(tickets))
            left.observe(self._queue.depth)
            groups = cycle.in_turns(tickets)
            for at, group in enumerate(groups):
                waiting = [ticket for later in groups[at + 1 :] for ticket in later]
                if not self._turn(cycle, group, waiting):
                    break
            if self._stopping and self.state is State.LEDGER_UNAVAILABLE:
                return

    def _turn(self, cycle: Cycle, tickets: list[Ticket], waiting: list[Ticket]) -> bool:
        """Work a group up to its answers; False: the commit failed, and those that wait behind it were refused."""
        turn_began_ns = time.perf_counter_ns()
        try:
            cycle.take(tickets)
        except Exception:
            # State no longer follows the ledger: nothing staged may be committed; restart recovers by replay.
            self._hand_back(tickets + waiting, ServiceFaultError())
            raise
        began_ns = self._unsaved_since_ns = time.perf_counter_ns()
        try:
            cycle.commit()
        except CommitFailedError as error:
            self.state = State.LEDGER_UNAVAILABLE
            _log.error("commit failed; the batch is kept and retried", scenario=self.scenario.name, cause=str(error))
            self._hand_back(tickets, OutcomeUnknownError())
            self._hand_back(waiting, LedgerUnavailableError())
            self._retry(cycle)
            return False
        commit_ns = time.perf_counter_ns() - began_ns
        self._unsaved_since_ns = 0
        for ticket in tickets:
            ticket.commit_ns = commit_ns
        self._hand_back(tickets)
        cycle.tidy()
        for ticket in tickets:
            self._queue_seconds.observe(ticket.queue_ns / 1e9)
        self._decision_log.tell(tickets)
        self._telemetry.busy_seconds.inc((self.scenario.name,), (time.perf_counter_ns() - turn_began_ns) / 1e9)
        return True

    def _retry(self, cycle: Cycle) -> None:
        """Retry the kept batch, unchanged and before anything else, until it is durable or the service stops."""
        pause_s = self._config.commit_retry_s
        while not self._stopping:
            self._commit_failures.inc()
            self._refuse_waiting(LedgerUnavailableError())
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                cycle.commit()
            except CommitFailedError:
                continue
            self._unsaved_since_ns = 0
            self.state = State.READY
            _log.info("the ledger takes records again", scenario=self.scenario.name)
            return

    def _refuse_waiting(self, error: RingfenceError) -> None:
        self._hand_back(self._queue.take(self._config.queue_bound, 0), error)

    def _hand_back(self, tickets: list[Ticket], error: RingfenceError | None = None) -> None:
        """Give a whole group back to the event loop in one call; `error` replaces what would have been recorded."""
        if error is not None:
            for ticket in tickets:
                ticket.result = error
        if tickets and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, tickets)


def _settle(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        if not ticket.future.done():
            ticket.future.set_result(ticket.result)

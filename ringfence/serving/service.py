# SPDX-License-Identifier: Apache-2.0
"""One scenario's service: the engine thread, its queue, and what the HTTP face asks of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from ringfence.errors import RingfenceError
from ringfence.ledger.errors import CommitFailedError
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import Kind, Told
from ringfence.ledger.writer import Writer
from ringfence.scenario.clock import Clock
from ringfence.scenario.door import Door
from ringfence.scenario.event import Admission, LabelNotice
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release
from ringfence.serving import gauges, wire
from ringfence.serving.after_answer import AfterAnswer
from ringfence.serving.by_loop import by_loop, submitted
from ringfence.serving.commit_watch import CommitWatch
from ringfence.serving.config import ServiceConfig
from ringfence.serving.cycle import Cycle, Live
from ringfence.serving.decision_log import DecisionLog
from ringfence.serving.doorman import Doorman
from ringfence.serving.entity import entity_at
from ringfence.serving.errors import (
    LedgerUnavailableError,
    NotReadyError,
    OutcomeUnknownError,
    ServiceFaultError,
)
from ringfence.serving.late_commits import LateCommits, late_commits
from ringfence.serving.late_kept import put_beside
from ringfence.serving.latencies import Latencies
from ringfence.serving.queue import NO_DEADLINE, Ask, Ticket, WorkQueue, settle
from ringfence.serving.ready import Ready, made_ready
from ringfence.serving.recovery import recover, warm_up
from ringfence.serving.retold import decision_on, stored_decision
from ringfence.serving.rungs import Rungs
from ringfence.serving.state import State as State
from ringfence.serving.swap import MOST_WAITING, Swap, parted
from ringfence.serving.telemetry import Telemetry
from ringfence.serving.trace import Trace
from ringfence.serving.waiting import Waiting, waiting_in

_log: Final = structlog.get_logger("ringfence.serving")
_IDLE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 1.0
_LOCKED_MS: Final = 25  # nobody else of ours writes: a ledger that is held longer is told of, and tried again
_THREADS_END_S: Final = 2.0  # then they are left alone: the ledger knows what they have not done
_LARGEST_HASHED: Final = 256 << 20  # bytes of state; beyond it, `ringfence verify state` hashes, and not every start


class ScenarioService:
    """Decides, learns and is told; every answer that leaves is durable, or says that it is not.

    `start` returns at once and recovery runs in the engine thread; `state` says how far it is. All other methods are
    for the event loop's thread, except those that only read the ledger and may run anywhere: `stored_decision`,
    `decision_on`, `waiting` and `count_waiting`.
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
        self._ledger, self._state_dir = ledger, state_dir
        self._clock, self._config, self._telemetry = clock, config, telemetry
        self._on_ready, self._on_failure = on_ready, on_failure
        self._doorman = Doorman(Door(release.scenario, ledger.identity, release.lookups()), release, clock, telemetry)
        self._queue = WorkQueue(config.queue_bound, linger_ns=round(config.linger_ms * 1e6))
        self._commits = CommitWatch(self._commit_is_stuck, self._deadlines_press, config.stuck_commit_ms / 1e3)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live: Live | None = None
        self._stopping = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"engine-{self.scenario.name}", daemon=True)
        self._latencies = Latencies(self.scenario.name, telemetry)
        self._cycle: Cycle | None = None
        self._unsaved_since_ns = 0  # 0: nothing waits for its commit
        self._queue_seconds = telemetry.queue_seconds.labels(self.scenario.name)
        self._decision_log = DecisionLog(self.scenario.name, config.log_one_in, time.perf_counter_ns)
        # There before the first failure: a series that begins above zero has not risen, and its alert would not fire.
        self._commit_failures = telemetry.commit_failures.labels(self.scenario.name)
        self._rungs: Rungs | None = None
        self._late: LateCommits | None = None  # only under `best_effort`
        self._due: list[Ticket] = []  # a switch of release that a failing commit has put off
        self.swap = Swap(
            self.scenario.name, state_dir, clock, config, telemetry, enter=self._enter, in_force=self._put_in_force
        )
        self._after_answer = AfterAnswer(
            self.scenario.name,
            state_dir,
            config,
            telemetry,
            record=self.record,
            is_idle=lambda: self._queue.depth == 0,
            ended=self._ended,
        )
        self._state = State.STARTING
        self.failure: Exception | None = None  # why the state is FAILED

    @property
    def state(self) -> State:
        """What it is doing; waiting for the ledger also while a commit does not return, or too many records wait."""
        is_full = self._late is not None and self._late.is_full
        if self._state is State.READY and (self._commits.is_stuck or is_full):
            return State.LEDGER_UNAVAILABLE
        return self._state

    @property
    def is_late(self) -> bool:
        """Whether answers leave before they are durable, as `best_effort` has it."""
        return self._late is not None and self._late.is_late

    @property
    def scenario(self) -> Scenario:
        """The champion's scenario: an edited ringfence.yaml waits for the next release."""
        return self._doorman.release.scenario

    @property
    def doorman(self) -> Doorman:
        """Lets in what is submitted next; to be asked again whenever the event loop did something in between."""
        return self._doorman

    @property
    def entity_types(self) -> tuple[str, ...]:
        return tuple(sorted({role.entity_type for role in self.scenario.roles}))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin recovery in the engine thread; results come back to `loop`."""
        self._loop = loop
        loop.call_soon_threadsafe(self._commits.keep_looking, loop, lambda: self._stopping)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Answer what is queued, then end the engine thread."""
        self._ended.set()
        self._after_answer.join(_THREADS_END_S)
        self._stopping = True
        self._queue.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def require_ready(self) -> None:
        """Raise `NotReadyError`, `LedgerUnavailableError` or `SpoolFullError` unless work is taken right now."""
        if self._state is State.READY and self._late is not None:
            self._late.require_room()
        state = self.state
        if state is State.LEDGER_UNAVAILABLE:
            raise LedgerUnavailableError
        if state is not State.READY or self._stopping:
            raise NotReadyError("stopping" if self._stopping else str(state))

    def require_room(self, deadline_ns: int) -> None:
        """Raise `QueueFullError` where a decision cannot be queued and answered by then (`perf_counter_ns`)."""
        self._queue.require_room(deadline_ns)

    def submit(
        self,
        ask: Ask,
        *,
        admission: Admission | None = None,
        notice: LabelNotice | None = None,
        read: Callable[[], object] | None = None,
        records: Sequence[tuple[Kind, Told]] = (),
        waiting: Sequence[Waiting] = (),
        deadline_ns: int = NO_DEADLINE,
        trace: Trace | None = None,
    ) -> Ticket:
        """Queue a request for the engine thread; await `ticket.future` for its result, which may be an error.

        Parameters
        ----------
        deadline_ns : of a decision, by `time.perf_counter_ns`.

        Raises
        ------
        QueueFullError, NotReadyError, LedgerUnavailableError, SpoolFullError
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
            records=records,
            waiting=waiting,
            deadline_ns=deadline_ns,
            trace=trace,
        )
        self._queue.put(ticket)
        self._commits.asked(ticket)
        return ticket

    def stored_decision(self, decision_id: str, *, full: bool = False) -> wire.StoredDecision | None:
        """See `retold.stored_decision`."""
        return stored_decision(self._ledger, self._state_dir, decision_id, full=full)

    def decision_on(self, event_id: str, *, full: bool = False) -> wire.StoredDecision | wire.StoredPending:
        """See `retold.decision_on`."""
        return decision_on(self._ledger, self._state_dir, self.scenario.decide, event_id, full=full)

    def waiting(self, after_event_seq: int, limit: int) -> list[Waiting]:
        """See `waiting.waiting_in`."""
        return waiting_in(self._ledger, after_event_seq, limit)

    def count_waiting(self) -> int:
        """Return how many events wait for the nightly run."""
        return self._ledger.n_pending

    def entity(self, entity_type: str, entity_id: str) -> wire.EntityAnswer | None:
        """Describe an entity by the state between two turns; only the engine thread may call this."""
        assert self._live is not None
        return entity_at(self._live.engine, self._ledger, entity_type, entity_id, self._clock.now_ms())

    def record_latency(self, answer: wire.DecisionAnswer, seconds: float, *, is_late: bool) -> None:
        self._latencies.record(answer, seconds, is_late=is_late)

    def measure(self) -> None:
        """Bring the gauges up to date."""
        name = self.scenario.name
        self._telemetry.queue_depth.labels(name).set(self._queue.depth)
        self._telemetry.ready.labels(name).set(self.state is State.READY)
        if self._rungs is not None:
            self._rungs.measure()
        gauges.measure_commits(self._telemetry, name, self._unsaved_since_ns, self._late)
        if self._live is not None:
            gauges.measure_engine(self._telemetry, name, self._live.engine)
            decided_seq = 0 if self._cycle is None else self._cycle.last_decided_seq
            if self._config.follower:
                gauges.measure_follower(self._telemetry, name, self._state_dir, self._live.engine.seq, decided_seq)
                gauges.measure_shadow(self._telemetry, name, self._ledger, self._state_dir)
        gauges.measure_decisions(self._telemetry, name, self._config)

    def _run(self) -> None:
        try:
            with (
                self._ledger.writer(self._clock, partial(put_beside, self._state_dir), busy_ms=_LOCKED_MS) as writer,
                late_commits(self._ledger, writer, self._state_dir, self._config, self._telemetry) as self._late,
            ):
                cycle = self._recovered(writer)
                try:
                    self._turns(cycle)
                finally:
                    self._ended.set()
                    self.swap.close()
                self._tell("stopped", cycle.live)
            self._state = State.STOPPED
        except Exception as error:
            self.failure = error
            self._state = State.FAILED
            _log.exception("engine thread failed", scenario=self.scenario.name, cause=type(error).__name__)
            self._ended.set()
            self._refuse_waiting(NotReadyError(str(State.FAILED)))
            self._on_failure()

    def _recovered(self, writer: Writer) -> Cycle:
        """Get ready to decide. What begins here is not held on to: another release may take its place."""
        self._state = State.REPLAYING
        door, release = self._doorman.door, self._doorman.release
        live = recover(self._ledger, release, self._state_dir)
        self._telemetry.wrong_ticks.labels(self.scenario.name).inc(live.n_wrong_ticks)
        self._state = State.WARMING
        warm_up(self._ledger, live)
        ready = made_ready(
            live, release, self._ledger, door, self._state_dir, self._clock, self._config, self._telemetry
        )
        cycle = Cycle(
            self.scenario.name,
            self.scenario.decide,
            writer,
            live,
            ready.rungs,
            ready.kept,
            ready.reviews,
            self._telemetry,
            row_sample=self._config.row_sample,
            late=self._late,
        )
        self._cycle = cycle
        self._put_in_force(ready)
        self.swap.begin(ready, cycle, writer)
        self._after_answer.begin(self._ledger, cycle, live.scorer)
        self._on_ready()
        self._tell("ready", live)
        self._state = State.READY
        return cycle

    def record(self, records: Sequence[tuple[Kind, Told]]) -> int:
        """Put records into the ledger, all or none; return the last seq when it is durable. Not for the loop's thread.

        Raises
        ------
        OutcomeUnknownError
            They may yet become durable.
        QueueFullError, NotReadyError, LedgerUnavailableError, SpoolFullError
            Nothing was recorded.
        """
        put = submitted(lambda: self.submit(Ask.RECORD, records=records))
        if isinstance(result := by_loop(self._loop, self._ended, put), RingfenceError):
            raise result
        assert isinstance(result, int)
        return result

    def _enter(self, ready: Ready, switch: Callable[[], object]) -> object:
        """As the parameter of `Swap` has it. Door and place in the queue change together: both are the loop's."""

        def put(told: Future[object]) -> None:
            assert self._loop is not None
            most = min(MOST_WAITING, self._config.queue_bound)
            if self.state is not State.READY or self.is_late or self._stopping or self._queue.depth >= most:
                told.set_result(None)
                return
            ticket = Ticket(Ask.SWITCH, self._loop.create_future(), read=switch)
            self._queue.put(ticket)
            self._doorman = Doorman(ready.door, ready.release, self._clock, self._telemetry)
            ticket.future.add_done_callback(lambda future: told.set_result(future.result()))

        return by_loop(self._loop, self._ended, put)

    def _put_in_force(self, ready: Ready) -> None:
        self._ledger, self._live, self._rungs = ready.ledger, ready.live, ready.rungs

    def _tell(self, event: str, live: Live) -> None:
        engine = live.engine
        state_hash = engine.state_hash() if engine.nbytes <= _LARGEST_HASHED else None
        release = live.versions["release"]
        _log.info(event, scenario=self.scenario.name, release=release, seq=engine.seq, state_hash=state_hash)

    def _turns(self, cycle: Cycle) -> None:
        batch_size = self._telemetry.batch_size.labels(self.scenario.name)
        left = self._telemetry.queue_left.labels(self.scenario.name)
        while True:
            if self._late is not None:
                self._late.settle()
            tickets, self._due = self._due or self._queue.take(self._config.max_batch, _IDLE_S), []
            tickets = [ticket for ticket in tickets if not ticket.future.done()]  # told already, and gone
            if not tickets:
                if self._stopping:
                    return
                continue
            began_ns = time.perf_counter_ns()
            batch_size.observe(len(tickets))
            left.observe(self._queue.depth)
            groups = [group for part in parted(tickets) for group in cycle.in_turns(part)]
            for at, group in enumerate(groups):
                waiting = [ticket for later in groups[at + 1 :] for ticket in later]
                if not self._turn(cycle, group, waiting):
                    break
            else:
                if groups[-1][0].ask is not Ask.DECIDE_WAITING:  # those are no request that others wait behind
                    self._queue.took(len(tickets), time.perf_counter_ns() - began_ns)
            if self._stopping and self._state is State.LEDGER_UNAVAILABLE:
                return

    def _turn(self, cycle: Cycle, tickets: list[Ticket], waiting: list[Ticket]) -> bool:
        """Work a group up to its answers; False: the commit failed, and those that wait behind it were refused."""
        turn_began_ns, late = time.perf_counter_ns(), self._late
        if late is not None and late.is_late and tickets[0].ask is Ask.SWITCH:  # it reads the ledger
            self._refuse(tickets + waiting, LedgerUnavailableError())
            return self._wait_for_ledger(late)
        try:
            cycle.take(tickets)
        except Exception:
            # State no longer follows the ledger: nothing staged may be committed; restart recovers by replay.
            self._hand_back(tickets + waiting, ServiceFaultError())
            raise
        began_ns = time.perf_counter_ns()
        saved = self._save(cycle, tickets, waiting) if late is None else self._save_late(late, cycle, tickets, waiting)
        if not saved:
            return False
        commit_ns = time.perf_counter_ns() - began_ns
        for ticket in tickets:
            ticket.commit_ns = commit_ns
        self._hand_back(tickets)
        self._commits.began([])  # nobody waits for the disk here, but whoever comes waits behind it
        cycle.forget()
        self._commits.ended()
        cycle.tidy()
        for ticket in tickets:
            self._queue_seconds.observe(ticket.queue_ns / 1e9)
        self._decision_log.tell(tickets)
        self._telemetry.busy_seconds.inc((self.scenario.name,), (time.perf_counter_ns() - turn_began_ns) / 1e9)
        return True

    def _save(self, cycle: Cycle, tickets: list[Ticket], waiting: list[Ticket]) -> bool:
        """Make a turn durable. False: the commit failed, and is durable by now or the service stops."""
        self._unsaved_since_ns = time.perf_counter_ns()
        self._commits.began(tickets)
        try:
            cycle.commit()
        except CommitFailedError as error:
            self._commits.ended()
            self._state = State.LEDGER_UNAVAILABLE
            _log.error("commit failed; the batch is kept and retried", scenario=self.scenario.name, cause=str(error))
            self._hand_back(tickets, OutcomeUnknownError())
            self._refuse(waiting, LedgerUnavailableError())
            self._retry(cycle)
            return False
        self._commits.ended()
        self._unsaved_since_ns = 0
        return True

    def _save_late(self, late: LateCommits, cycle: Cycle, tickets: list[Ticket], waiting: list[Ticket]) -> bool:
        """Have a turn made durable, or marked as not durable yet. False: it was a switch, which is not answered so."""
        try:
            cycle.commit_late(late, tickets)
        except Exception:
            self._hand_back(tickets + waiting, OutcomeUnknownError())
            raise
        if tickets[0].ask is not Ask.SWITCH or not late.is_late:
            return True
        self._hand_back(tickets, OutcomeUnknownError())
        self._refuse(waiting, LedgerUnavailableError())
        return self._wait_for_ledger(late)

    def _wait_for_ledger(self, late: LateCommits) -> bool:
        """Refuse who comes until nothing is left behind, or the service stops; nothing of the turn is left to do."""
        self._state = State.LEDGER_UNAVAILABLE
        while not self._stopping:
            self._refuse_waiting(LedgerUnavailableError())
            if late.wait(self._config.commit_retry_s):
                self._state = State.READY
                break
        return False

    def _commit_is_stuck(self, tickets: list[Ticket]) -> None:
        """Answer those who wait for a commit that does not return, and those behind them; in the loop's thread."""
        _log.error("a commit takes too long; who waits is told so", scenario=self.scenario.name, n=len(tickets))
        settle(tickets, OutcomeUnknownError())
        waiting = self._queue.take(self._config.queue_bound, 0)
        settle([ticket for ticket in waiting if ticket.ask is not Ask.SWITCH], LedgerUnavailableError())
        for ticket in waiting:
            if ticket.ask is Ask.SWITCH:  # what comes after it was let in for that
                self._queue.put(ticket)

    def _deadlines_press(self, tickets: list[Ticket], is_first: bool) -> None:
        """Answer those who cannot wait for a commit that takes long; who has time does, and who comes is let in."""
        if is_first:
            _log.warning("a commit takes long; who cannot wait is told so", scenario=self.scenario.name)
        settle(tickets, OutcomeUnknownError())

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
            self._state = State.READY
            _log.info("the ledger takes records again", scenario=self.scenario.name)
            return

    def _refuse_waiting(self, error: RingfenceError) -> None:
        self._refuse(self._queue.take(self._config.queue_bound, 0), error)

    def _refuse(self, tickets: list[Ticket], error: RingfenceError) -> None:
        """Refuse what was not begun; a switch of release is put off, as what comes after it was let in for that."""
        self._due += [ticket for ticket in tickets if ticket.ask is Ask.SWITCH]
        self._hand_back([ticket for ticket in tickets if ticket.ask is not Ask.SWITCH], error)

    def _hand_back(self, tickets: list[Ticket], error: RingfenceError | None = None) -> None:
        """Give a whole group back to the event loop in one call; `error` replaces what would have been recorded."""
        if error is not None:
            for ticket in tickets:
                ticket.result = error
        if tickets and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(settle, tickets)

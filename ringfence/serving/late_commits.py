# SPDX-License-Identifier: Apache-2.0
"""Commits in a thread of their own, for `durability: best_effort`: answers wait for them a while, and then leave.

    the engine's thread   turn ─ hand over ─ wait ─ answer     turn ─ hand over ─ answer, `durable: false` ─ turn ...
                                   │          ▲                        │     └─ spool
    the commit thread              └─ commit ─┘                        └─ commit, fails ─ pause ─ commit of all ─ ...

As long as the ledger takes records, each turn waits for its commit as under `required`. A turn whose commit fails, or
takes too long, is answered as not durable; from then on nobody waits, until nothing is left behind. What waits is kept
in memory and in the spool, and is written in its order, unchanged, many turns in one transaction.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog

from ringfence.errors import RingfenceError
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.groups import AbandonedError, Group, roll_back, write_groups
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.schema import connect
from ringfence.ledger.writer import Writer
from ringfence.scenario.spec import Durability
from ringfence.serving import wire
from ringfence.serving.config import ServiceConfig
from ringfence.serving.errors import OutcomeUnknownError, SpoolFullError
from ringfence.serving.kept import Kept
from ringfence.serving.late_kept import BesideFile, LateKept
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.spooler import Spooler
from ringfence.serving.telemetry import Telemetry

_log: Final = structlog.get_logger("ringfence.serving")
_BUSY_MS: Final = 1_000  # that a commit waits for somebody else's lock
_LOG_PAGES: Final = 4_000  # as the checkpoints of the ledger have it
_AT_ONCE: Final = 8_192  # records in one transaction
_LONGEST_PAUSE_S: Final = 1.0
_ENDS_S: Final = 5.0  # that a service which stops waits for the ledger
_SHARE: Final = 0.5  # of the time that the most urgent request has left, which is waited for a commit
_NS: Final = 1e9
_PATIENT: Final = (Ask.RECORD, Ask.DECIDE_WAITING)  # their answers are never told as not durable


class _Handed:
    """A turn on its way into the ledger."""

    __slots__ = ("beside", "group", "handed_ns", "is_durable", "is_spooled", "n_records", "rows")

    def __init__(self, group: Group, beside: bytes, rows: list[tuple[int, bytes, Kept]]) -> None:
        self.group, self.beside, self.rows = group, beside, rows
        self.n_records = len(group.records)
        self.handed_ns = time.perf_counter_ns()
        self.is_durable = self.is_spooled = False


@contextlib.contextmanager
def late_commits(
    ledger: Ledger, writer: Writer, state_dir: Path, config: ServiceConfig, telemetry: Telemetry
) -> Iterator[LateCommits | None]:
    """Have a writer's groups committed by a thread, where the scenario is `best_effort`; otherwise there is None."""
    if ledger.scenario.durability is Durability.REQUIRED:
        yield None
        return
    name = ledger.scenario.name
    late = LateCommits(
        name,
        writer,
        ledger.directory,
        state_dir,
        config,
        on_failure=telemetry.commit_failures.labels(name).inc,
        took=telemetry.commit_seconds.labels(name).observe,
    )
    with contextlib.closing(late):
        yield late


class LateCommits:
    """For the engine's thread; `n_waiting`, `oldest_ns`, `is_late` and `require_room` may be asked by any.

    Parameters
    ----------
    writer : with nothing staged.
    on_failure : told of each commit that failed, by the commit thread.
    took : told how long each commit took, in seconds, by the engine's thread.
    """

    def __init__(
        self,
        scenario: str,
        writer: Writer,
        ledger_dir: Path,
        state_dir: Path,
        config: ServiceConfig,
        *,
        on_failure: Callable[[], None],
        took: Callable[[float], None],
    ) -> None:
        self._scenario, self._writer, self._config = scenario, writer, config
        self._ledger_dir, self._state_dir = ledger_dir, state_dir
        self._on_failure, self._took = on_failure, took
        self.kept = LateKept()
        self._spooler = Spooler(ledger_dir, scenario)
        self._state = threading.Condition()
        self._waiting: deque[_Handed] = deque()
        self._done: deque[_Handed] = deque()  # durable, and the engine's thread was not told yet
        self._seconds: deque[float] = deque()
        self._fails = self._is_over = self._is_abandoned = False
        self._failure: Exception | None = None
        self.n_waiting = 0  # records
        self.is_late = False  # answers leave before their records are durable
        self._n_late = 0
        self.durable_seq = writer.last_seq
        self._thread = threading.Thread(target=self._run, name=f"commits-{scenario}", daemon=True)
        self._thread.start()

    @property
    def oldest_ns(self) -> int:
        """When the turn that waits longest was handed over (`perf_counter_ns`); 0 where none waits."""
        with self._state:
            return self._waiting[0].handed_ns if self._waiting else 0

    @property
    def is_full(self) -> bool:
        """Whether as many records wait as may."""
        return self.n_waiting >= self._config.most_waiting

    def require_room(self) -> None:
        """Raise `SpoolFullError` where as many records wait as may."""
        if self.is_full:
            raise SpoolFullError(self.n_waiting)

    def commit(self, tickets: Iterable[Ticket]) -> None:
        """Hand over what the turn staged, wait for it as long as its requests allow, and mark what is not durable."""
        if (group := self._writer.seal()) is not None:
            self._hand_over(_Handed(group, *self.kept.take()), self._patience_s(tickets))
        self.settle()
        for ticket in tickets:
            if isinstance(ticket.result, wire.Recorded):
                ticket.result = wire.marked(ticket.result, self.durable_seq)
            elif ticket.ask in _PATIENT and self.is_late and not isinstance(ticket.result, RingfenceError):
                ticket.result = OutcomeUnknownError()  # it waits until the record is there

    def wait(self, timeout_s: float) -> bool:
        """Wait until nothing is left behind; False where that takes longer."""
        with self._state:
            self._state.wait_for(lambda: not self._waiting or self._failure is not None, timeout_s)
        self.settle()
        return not self.is_late

    def settle(self) -> None:
        """Take note of what became durable, between two turns.

        Raises
        ------
        Exception
            What the commit thread ended with, where that is no trouble of the ledger.
        """
        with self._state:
            done, self._done = self._done, deque()
            is_drained = not self._waiting
        if self._failure is not None:
            raise self._failure
        for handed in done:
            self.durable_seq = handed.group.records[-1][0]
            self._writer.settle(handed.group)
            self.kept.settle(handed.rows)
        while self._seconds:
            self._took(self._seconds.popleft())
        if self.is_late and done:
            self._spooler.drop(self.durable_seq)
        if self.is_late and is_drained:
            self.is_late = False
            _log.info("the ledger takes records again", scenario=self._scenario, late_records=self._n_late)

    def close(self) -> None:
        """Wait for what is left, but not for ever: the next start appends what is in the spool."""
        with self._state:
            self._is_over = True
            self._state.notify_all()
        self._thread.join(_ENDS_S)
        with contextlib.suppress(Exception):  # it is told of already
            self.settle()
        with self._state:
            self._is_abandoned = True
            left = list(self._waiting)
        self._spool(left)
        self._spooler.drop(self.durable_seq)
        self._spooler.close()
        if left:
            n = sum(handed.n_records for handed in left)
            _log.error(
                "records that were answered are not in the ledger",
                scenario=self._scenario,
                records=n,
                where="memory only: they are lost" if self._spooler.fails else "the spool: the next start appends them",
            )

    def _hand_over(self, handed: _Handed, patience_s: float) -> None:
        with self._state:
            waits_behind = bool(self._waiting)
            self._waiting.append(handed)
            self.n_waiting += handed.n_records
            self._state.notify_all()
            if not waits_behind:
                self._state.wait_for(lambda: handed.is_durable or self._fails, patience_s)
            left = [] if handed.is_durable else list(self._waiting)
        if not left:
            return
        if not self.is_late:
            self.is_late, self._n_late = True, 0
            _log.error(
                "the ledger does not take records; answers leave before they are durable", scenario=self._scenario
            )
        self._n_late += handed.n_records
        self._spool(left)

    def _spool(self, left: list[_Handed]) -> None:
        fresh = [handed for handed in left if not handed.is_spooled]
        for handed in fresh:
            handed.is_spooled = True
        if fresh:
            self._spooler.put([(handed.group, handed.beside) for handed in fresh])

    def _patience_s(self, tickets: Iterable[Ticket]) -> float:
        """How long a turn waits for its commit: those behind it wait too, and have deadlines of their own."""
        most_s = min(self._config.stuck_commit_ms, _SHARE * self._config.deadline_ms) / 1e3
        deadline_ns = min(ticket.deadline_ns for ticket in tickets)
        return max(0.0, min(most_s, _SHARE * (deadline_ns - time.perf_counter_ns()) / _NS))

    def _run(self) -> None:
        try:
            with (
                contextlib.closing(connect(self._ledger_dir, busy_ms=_BUSY_MS)) as connection,
                contextlib.closing(Erasable(self._ledger_dir, busy_ms=_BUSY_MS)) as erasable,
                contextlib.closing(BesideFile(self._state_dir)) as beside,
            ):
                for opened in (connection, erasable.connection):
                    opened.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
                self._commit_all(connection, erasable, beside)
        except AbandonedError:
            return
        except Exception as error:
            with self._state:
                self._failure = error
                self._state.notify_all()

    def _commit_all(self, connection: sqlite3.Connection, erasable: Erasable, beside: BesideFile) -> None:
        pause_s = self._config.commit_retry_s
        while handed := self._next():
            began_s = time.perf_counter()
            try:
                self._write(handed, connection, erasable, beside)
            except sqlite3.Error as error:
                roll_back(connection)
                self._note_failure(error, pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            self._seconds.append(time.perf_counter() - began_s)
            pause_s = self._config.commit_retry_s
            with self._state:
                self._fails = False
                for one in handed:
                    one.is_durable = True
                    self.n_waiting -= one.n_records
                    self._done.append(self._waiting.popleft())
                self._state.notify_all()

    def _next(self) -> list[_Handed]:
        """Wait for turns, and return those that one transaction takes; none: it is over."""
        with self._state:
            self._state.wait_for(lambda: self._waiting or self._is_over)
            taken, n = list[_Handed](), 0
            for one in self._waiting:
                if self._is_abandoned or n >= _AT_ONCE:
                    break
                taken.append(one)
                n += one.n_records
            return taken

    def _write(
        self, handed: list[_Handed], connection: sqlite3.Connection, erasable: Erasable, beside: BesideFile
    ) -> None:
        payloads = [one.beside for one in handed if one.beside]
        beside.put(payloads)
        groups = [one.group for one in handed]
        write_groups(connection, erasable, groups, is_abandoned=lambda: self._is_abandoned)
        with contextlib.suppress(sqlite3.Error):  # they cost only room
            beside.forget(payloads)

    def _note_failure(self, error: sqlite3.Error, pause_s: float) -> None:
        """Tell of it, and wait before the next try; less where the service stops."""
        self._on_failure()
        if not self._fails:
            _log.error("commit failed; it is kept and retried", scenario=self._scenario, cause=str(error))
        with self._state:
            self._fails = True
            self._state.notify_all()
            self._state.wait_for(lambda: self._is_over, pause_s)
        if self._is_over:
            time.sleep(self._config.commit_retry_s)

# SPDX-License-Identifier: Apache-2.0
"""Puts on record what the shadow would have done otherwise: found in the process beside, recorded by the service.

`shadow.db` is the queue. A disagreement leaves it when it is durable in the ledger, and what the ledger holds already,
after a crash in between, is not recorded again.
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

import structlog

from ringfence.errors import RingfenceError
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DisagreementBody, Kind
from ringfence.serving.errors import OutcomeUnknownError
from ringfence.serving.opinions import OPINIONS, Opinions

_log: Final = structlog.get_logger("ringfence.serving")
_AT_ONCE: Final = 64  # read from the file
_POLL_S: Final = 0.5
_REST: Final = 3.0  # times as long as one took

Recorder = Callable[[DisagreementBody], object]


class Disagreements:
    """Records what waits in `shadow.db`, oldest first. One thread uses it.

    Parameters
    ----------
    record : makes a record durable and returns; it raises a `RingfenceError` where it cannot.
    """

    def __init__(self, ledger: Ledger, state_dir: Path, record: Recorder) -> None:
        self._ledger, self._record = ledger, record
        self._opinions = Opinions(state_dir)
        self._read: deque[DisagreementBody] = deque()
        self._known: set[tuple[int, str]] | None = None  # on record; None: to be read
        self._unknown: DisagreementBody | None = None  # it may yet become durable

    def record_next(self) -> bool:
        """Record one; False where there is none, or none can be recorded now."""
        if not self._read:
            self._read += self._opinions.disagreements(_AT_ONCE)
        if not self._read:
            return False
        body = self._read[0]
        key = (body.decision_seq, body.shadow)
        if self._known is None or self._unknown is not None:
            self._known = self._on_record(body.decision_seq)
        if key not in self._known:
            if self._unknown is not None:
                return False  # a batch that did not commit is tried again unchanged
            try:
                self._record(body)
            except OutcomeUnknownError:
                self._unknown = body
                return False
            except RingfenceError:  # the queue is full, or the ledger cannot be written: nothing was recorded
                return False
        self._unknown = None
        self._known.discard(key)
        self._opinions.recorded(body)
        self._read.popleft()
        return True

    def close(self) -> None:
        self._opinions.close()

    def _on_record(self, after_seq: int) -> set[tuple[int, str]]:
        bodies = [record.body for record in self._ledger.records(after_seq, (Kind.DISAGREEMENT,))]
        return {(body.decision_seq, body.shadow) for body in bodies if isinstance(body, DisagreementBody)}


def record_all(
    ledger: Ledger,
    state_dir: Path,
    record: Recorder,
    is_idle: Callable[[], bool],
    ended: threading.Event,
) -> None:
    """Record disagreements until `ended`; requests that wait go first, at most as long as `_POLL_S` each time."""
    disagreements: Disagreements | None = None
    try:
        while not ended.is_set():
            until_s = time.monotonic() + _POLL_S
            while not is_idle() and time.monotonic() < until_s:
                ended.wait(0.005)
            began_s, has_recorded = time.monotonic(), False
            try:
                if disagreements is None and (state_dir / OPINIONS).exists():  # there is one from the first shadow on
                    disagreements = Disagreements(ledger, state_dir, record)
                has_recorded = disagreements is not None and disagreements.record_next()
            except sqlite3.Error as error:
                _log.warning("disagreements wait for the disk", scenario=ledger.scenario.name, cause=str(error))
            ended.wait(_REST * (time.monotonic() - began_s) if has_recorded else _POLL_S)
    finally:
        with contextlib.suppress(sqlite3.Error):
            if disagreements is not None:
                disagreements.close()

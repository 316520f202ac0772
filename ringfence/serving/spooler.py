# SPDX-License-Identifier: Apache-2.0
"""Writes the spool in a thread of its own: a disk that hangs must not hold the answers that it is there for."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import structlog

from ringfence.ledger.groups import Group
from ringfence.ledger.spool import SpoolFiles

_log: Final = structlog.get_logger("ringfence.serving")
_WAIT_S: Final = 0.005  # that an answer waits for the system to take its records
_ENDS_S: Final = 2.0


class Spooler:
    """`put`, `drop` and `close` are for one thread. It starts with the first group."""

    def __init__(self, ledger_dir: Path, scenario: str) -> None:
        self._ledger_dir, self._scenario = ledger_dir, scenario
        self._asked: SimpleQueue[tuple[Group, bytes] | int | None] = SimpleQueue()
        self._state = threading.Condition()
        self._n_put = self._n_done = 0
        self._thread: threading.Thread | None = None
        self.fails = False  # the last write did: what waits is in memory only

    def put(self, groups: list[tuple[Group, bytes]]) -> None:
        """Append groups with what goes beside them; waits shortly, and not at all for a disk that hangs already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"spool-{self._scenario}", daemon=True)
            self._thread.start()
        was_idle = self._n_done == self._n_put
        self._n_put += len(groups)
        for one in groups:
            self._asked.put(one)
        if was_idle:
            with self._state:
                self._state.wait_for(lambda: self._n_done >= self._n_put, _WAIT_S)

    def drop(self, durable_seq: int) -> None:
        """Remove what the ledger holds by now."""
        self._asked.put(durable_seq)

    def close(self) -> None:
        """Write what is left; a disk that hangs is left alone."""
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join(_ENDS_S)

    def _run(self) -> None:
        left: deque[tuple[Group, bytes]] = deque()  # in order: a later one is of no use without those before it
        with contextlib.closing(SpoolFiles(self._ledger_dir)) as files:
            while (asked := self._asked.get()) is not None:
                try:
                    if isinstance(asked, int):
                        while left and left[0][0].records[-1][0] <= asked:
                            left.popleft()
                        files.drop(asked)
                        continue
                    left.append(asked)
                    while left:
                        files.append(*left[0])
                        left.popleft()
                    self.fails = False
                except OSError as error:
                    if not self.fails:
                        _log.error(
                            "the spool cannot be written, records wait in memory only",
                            scenario=self._scenario,
                            cause=str(error),
                        )
                    self.fails = True
                finally:
                    if not isinstance(asked, int):
                        with self._state:
                            self._n_done += 1
                            self._state.notify_all()

# SPDX-License-Identifier: Apache-2.0
"""A thread that asks a model, so that whoever waits can stop waiting.

A call that runs cannot be ended. It is left to itself: its result is thrown away, and until it returns the thread takes
no other call. So a model that hangs costs one thread, and no more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from ringfence.serving.errors import ServingError

T = TypeVar("T")


class CallTimedOutError(ServingError):
    """The model did not answer in the time that there was."""

    def __init__(self, thread: str, waited_ms: float) -> None:
        self.thread, self.waited_ms = thread, waited_ms
        super().__init__(f"{thread} did not answer within {waited_ms:.1f} ms; its result will be thrown away")


class _Call:
    __slots__ = ("done", "error", "is_over", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: Exception | None = None
        self.is_over = False
        self.done = threading.Lock()
        self.done.acquire()


class ModelThread:
    """Makes one call at a time. Made for a single caller; it starts with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._last: _Call | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a call that nobody waits for any more still runs."""
        return self._last is not None and not self._last.is_over

    def call(self, work: Callable[[], T], timeout_s: float) -> T:
        """Do work in the thread and return its result.

        Parameters
        ----------
        timeout_s : how long to wait, > 0.

        Raises
        ------
        CallTimedOutError
            If it takes longer; it goes on without anybody waiting for it.
        Exception
            What the work raises.
        """
        assert not self.is_busy
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        call = self._last = _Call(work)
        self._calls.put(call)
        if not call.done.acquire(timeout=timeout_s):
            raise CallTimedOutError(self._name, timeout_s * 1e3)
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def close(self) -> None:
        """Let the thread end when it is done; one that hangs ends with the process."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.result = call.work()
            except Exception as error:
                call.error = error
            call.is_over = True
            call.done.release()

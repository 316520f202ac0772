# SPDX-License-Identifier: Apache-2.0
"""How a thread of the service puts something into the engine's queue, which belongs to the event loop, and waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from ringfence.errors import RingfenceError
from ringfence.serving.errors import NotReadyError, OutcomeUnknownError
from ringfence.serving.queue import Ticket

_LOOK_S: Final = 0.5


def by_loop(
    loop: asyncio.AbstractEventLoop | None, ended: threading.Event, put: Callable[[Future[object]], None]
) -> object:
    """Have the event loop put something into the queue, and wait for what it comes to.

    Raises
    ------
    NotReadyError, OutcomeUnknownError
        If the service ended, before it was put or after.
    """
    told: Future[object] = Future()
    if loop is None or ended.is_set():
        raise NotReadyError("stopping")
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody will answer, and `ended` says so soon
        loop.call_soon_threadsafe(put, told)
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            return told.result(_LOOK_S)
    raise OutcomeUnknownError


def submitted(submit: Callable[[], Ticket]) -> Callable[[Future[object]], None]:
    """Return what puts a ticket into the queue, for `by_loop`; a refusal is what it comes to."""

    def put(told: Future[object]) -> None:
        try:
            ticket = submit()
        except RingfenceError as error:
            told.set_result(error)
        else:
            ticket.future.add_done_callback(lambda future: told.set_result(future.result()))

    return put

# SPDX-License-Identifier: Apache-2.0
"""The service's threads that work on decisions after their answers: second looks, and what the shadow found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import Kind, Told
from ringfence.scoring.scorer import Scorer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.cycle import Cycle
from ringfence.serving.disagreements import record_all
from ringfence.serving.second_look import SecondLooks, look_again
from ringfence.serving.telemetry import Telemetry

Recorder = Callable[[Sequence[tuple[Kind, Told]]], object]


class AfterAnswer:
    """Starts the threads and ends them. Each lets requests that wait go first.

    Parameters
    ----------
    record : makes records durable and returns; it raises a `RingfenceError` where it cannot.
    is_idle : whether no request waits.
    ended : tells the threads to end. What they have not done is done after the next start.
    """

    def __init__(
        self,
        name: str,
        state_dir: Path,
        config: ServiceConfig,
        telemetry: Telemetry,
        *,
        record: Recorder,
        is_idle: Callable[[], bool],
        ended: threading.Event,
    ) -> None:
        self._name, self._state_dir, self._config, self._telemetry = name, state_dir, config, telemetry
        self._record, self._is_idle, self._ended = record, is_idle, ended
        self._threads: list[threading.Thread] = []

    def begin(self, ledger: Ledger, cycle: Cycle, live: Scorer) -> None:
        """Start the threads.

        Parameters
        ----------
        live : the scorer of the release that is live.
        """
        if self._config.second_looks:
            self._start("second-looks", lambda: self._look_again(ledger, cycle, live))
        if self._config.follower:  # nobody else has a shadow score
            self._start("disagreements", lambda: self._record_disagreements(ledger))

    def join(self, timeout_s: float) -> None:
        """Wait for the threads, so long in all; who is left then is left alone."""
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _start(self, what: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"{what}-{self._name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _look_again(self, ledger: Ledger, cycle: Cycle, live: Scorer) -> None:
        def make() -> SecondLooks:
            return SecondLooks(
                ledger,
                live,
                cycle.no_samples,
                self._state_dir,
                self._telemetry,
                lambda request: self._record([(Kind.REVIEW_REQUESTED, request)]),
                last_degraded_seq=lambda: cycle.last_degraded_seq,
                looked_at=lambda seq: None if cycle.no_samples is None else cycle.looked_at.append(seq),
            )

        look_again(make, self._is_idle, self._ended, self._name)

    def _record_disagreements(self, ledger: Ledger) -> None:
        record_all(
            ledger,
            self._state_dir,
            lambda body: self._record([(Kind.DISAGREEMENT, body)]),
            self._is_idle,
            self._ended,
        )

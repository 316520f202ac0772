# SPDX-License-Identifier: Apache-2.0
"""The rungs of the release that is live: asks the highest that may answer, and says why the others did not.

full    every branch of the stack    on a thread of its own, waited for as long as the rest still fits
gbdt    the trees alone              likewise, on another one
rules   rules, else the base rate    on the engine's own thread; asks nobody, and so cannot fail
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import structlog
from msgspec.structs import replace

from ringfence.models.seen import Seen
from ringfence.scoring.scorer import FULL, GBDT, RULES, Answer, Scorer
from ringfence.serving.breaker import State
from ringfence.serving.config import ServiceConfig
from ringfence.serving.errors import NotInFullError
from ringfence.serving.ladder import Ladder, Why
from ringfence.serving.model_thread import CallTimedOutError, ModelThread
from ringfence.serving.queue import NO_DEADLINE
from ringfence.serving.telemetry import Telemetry, cause_of
from ringfence.serving.trace import Call, Steps, done_of

_log: Final = structlog.get_logger("ringfence.serving")
_REHEARSED: Final = 3  # calls of each rung before the first event
BROKEN: Final = "broken release"  # in the metrics, whatever file it is


class Rungs:
    """Answers events before their deadline. The engine's thread uses it; only `measure` may be called from elsewhere.

    Parameters
    ----------
    now_ns : a steady clock, the one of `left_until_ns`.
    """

    def __init__(
        self,
        scenario: str,
        scorer: Scorer,
        config: ServiceConfig,
        telemetry: Telemetry,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._name, self._scorer, self._telemetry, self._now_ns = scenario, scorer, telemetry, now_ns
        self.ladder = Ladder(
            _models(scorer),
            replace(config.breaker, slow_ms=max(config.breaker.slow_ms, 0.5 * config.deadline_ms)),
            margin_ms=config.margin_ms,
            longest_ms=max(config.longest_score_ms, config.deadline_ms),
        )
        self._threads = {rung: ModelThread(f"{rung}-{scenario}") for rung in self.ladder.rungs}
        self._troubles: list[tuple[str, str, Exception | None]] = []
        self._states = dict.fromkeys(self.ladder.rungs, State.CLOSED)

    def rehearse(self) -> None:
        """Measure every rung on an event of which nothing is known, so that the first one leaves time for the rest."""
        scorer, ladder = self._scorer, self.ladder
        blank = scorer.blank(np.full((1, scorer.release.encoder.n_features), np.nan))
        for rung in (*ladder.rungs, RULES):
            for _ in range(_REHEARSED):
                began_ns = self._now_ns()
                try:
                    scorer.answer(blank, [None], reviews_left=None, rung=rung)
                except Exception as error:
                    _log.warning("a rung fails in rehearsal", scenario=self._name, rung=rung, cause=cause_of(error))
                    break
                ended_ns = self._now_ns()
                ladder.estimates[rung].add(1, ended_ns - began_ns, ended_ns)

    def answer(
        self,
        seen: Seen,
        amounts_minor: Sequence[int | None],
        *,
        reviews_left: int | None,
        deadline_ns: int,
        calls: list[Call] | None = None,
    ) -> list[Answer]:
        """Answer n events together, on the highest rung that has the time for it and works.

        Parameters
        ----------
        seen, amounts_minor, reviews_left : as `Scorer.answer` has them.
        deadline_ns : moment at which the first of them is to be answered. No model is waited for beyond it; the rules
            answer also where it has passed.
        calls : gets what was asked and how long each step took; None: nobody wants to know.

        Returns
        -------
        n answers of one rung. Below `full` their circumstances say why under `degraded`, and under `skipped` what kept
        each rung that the release would have allowed.
        """
        scorer, n = self._scorer, seen.n
        skipped: dict[str, str] = {}
        for rung in self.ladder.rungs:
            why = scorer.degraded or next(iter(skipped.values()), "")
            steps = None if calls is None else Steps(self._now_ns)
            found = self._asked(rung, seen, amounts_minor, reviews_left, deadline_ns, why, steps)
            if calls is not None and steps is not None:
                calls.append(steps.call(rung, found if isinstance(found, str) else ""))
            if not isinstance(found, str):
                return self._told(found, skipped)
            skipped[rung] = found
            self._telemetry.rungs_skipped.labels(self._name, rung, found).inc(n)
        why = scorer.degraded or next(iter(skipped.values()), "")
        began_ns = self._now_ns()
        steps = None if calls is None else Steps(self._now_ns)
        try:
            answers = scorer.answer_without_model(
                amounts_minor, why=why, reviews_left=reviews_left, rows=seen.rows, done=done_of(steps)
            )
        except Exception as error:
            self._troubles.append((RULES, "the rules failed; the base rate answers", error))
            answers = scorer.answer_without_model(amounts_minor, why=why, reviews_left=reviews_left)
        ended_ns = self._now_ns()
        self.ladder.estimates[RULES].add(n, ended_ns - began_ns, ended_ns)
        if calls is not None and steps is not None:
            calls.append(steps.call(RULES, ""))
        return self._told(answers, skipped)

    def in_full(self, seen: Seen, amounts_minor: Sequence[int | None], *, reviews_left: int | None) -> list[Answer]:
        """Answer n events that have no deadline, with every branch of the release.

        Parameters
        ----------
        seen, amounts_minor, reviews_left : as `Scorer.answer` has them.

        Raises
        ------
        NotInFullError
            If a branch is broken, fails, or takes longer than any model is waited for.
        """
        scorer = self._scorer
        if scorer.rung != FULL:
            raise NotInFullError(scorer.release.id, scorer.degraded)
        never_ns = self._now_ns() + NO_DEADLINE
        found = self._asked(FULL, seen, amounts_minor, reviews_left, never_ns, "", None, "what waits goes on waiting")
        if isinstance(found, str):
            raise NotInFullError(scorer.release.id, found)
        return found

    def needed_ns(self, n_events: int) -> int:
        """Return what is needed to answer n events on the highest rung that works, up to their deadline."""
        busy = [rung for rung, thread in self._threads.items() if thread.is_busy]
        return self.ladder.needed_ns(n_events, self._now_ns(), busy)

    def committed(self, took_ns: int) -> None:
        """Note how long a commit took: every deadline has to leave room for the next one."""
        self.ladder.commit.add(1, took_ns, self._now_ns())

    def tell(self) -> None:
        """Write to the log what went wrong since the last call: a log may be slow, and answers do not wait for it."""
        for rung, what, error in self._troubles:
            traced = None if error is None or isinstance(error, CallTimedOutError) else error
            cause = None if error is None else cause_of(error)
            _log.warning(what, scenario=self._name, rung=rung, cause=cause, exc_info=traced)
        self._troubles.clear()

    def measure(self) -> None:
        """Bring the gauges up to date."""
        now_ns = self._now_ns()
        for rung, breaker in self.ladder.breakers.items():
            self._telemetry.breaker_state.labels(self._name, rung).set(breaker.state_at(now_ns))

    def close(self) -> None:
        for thread in self._threads.values():
            thread.close()

    def _asked(
        self,
        rung: str,
        seen: Seen,
        amounts_minor: Sequence[int | None],
        reviews_left: int | None,
        deadline_ns: int,
        why: str,
        steps: Steps | None,
        instead: str = "a lower rung answers",
    ) -> list[Answer] | str:
        """Ask a model; say why it does not answer where it does not. The log is told what happens `instead`."""
        ladder, thread, began_ns = self.ladder, self._threads[rung], self._now_ns()
        breaker, left_ns = ladder.breakers[rung], deadline_ns - began_ns
        if thread.is_busy:
            return Why.BUSY
        if (why_not := ladder.why_not(rung, seen.n, left_ns, began_ns)) is not None:
            return why_not
        wait_s = ladder.wait_ns(rung, seen.n, left_ns, began_ns) / 1e9
        scorer = self._scorer
        try:
            answers = thread.call(
                lambda: scorer.answer(
                    seen, amounts_minor, reviews_left=reviews_left, rung=rung, why=why, done=done_of(steps)
                ),
                wait_s,
            )
        except CallTimedOutError as error:
            now_ns = self._now_ns()
            breaker.gave_up(seen.n, now_ns - began_ns, now_ns)
            ladder.estimates[rung].add(seen.n, now_ns - began_ns, now_ns)
            self._troubles.append((rung, f"a model is late; {instead}", error))
            self._note(rung, breaker.state_at(now_ns))
            return Why.TIMED_OUT
        except Exception as error:
            now_ns = self._now_ns()
            breaker.failed(now_ns)
            self._troubles.append((rung, f"scoring failed; {instead}", error))
            self._note(rung, breaker.state_at(now_ns))
            return type(error).__name__
        now_ns = self._now_ns()
        breaker.answered(seen.n, now_ns - began_ns, now_ns)
        ladder.estimates[rung].add(seen.n, now_ns - began_ns, now_ns)
        self._note(rung, breaker.state_at(now_ns))
        return answers

    def _note(self, rung: str, state: State) -> None:
        if state is not self._states[rung]:
            self._states[rung] = state
            self._troubles.append((rung, f"its breaker is {state.name.lower().replace('_', '-')}", None))

    def _told(self, answers: list[Answer], skipped: dict[str, str]) -> list[Answer]:
        if cause := BROKEN if self._scorer.degraded else next(iter(skipped.values()), ""):
            self._telemetry.degraded.labels(self._name, cause).inc(len(answers))
        if skipped:
            for answer in answers:
                answer.circumstances["skipped"] = skipped
        return answers


def _models(scorer: Scorer) -> tuple[str, ...]:
    """Return the rungs of a release that ask a model, highest first: trees that are all of the stack are one rung."""
    if scorer.rung == RULES:
        return ()
    release = scorer.release
    has_trees_alone = scorer.rung == FULL and release.has_trees and len(release.stack.members) > 1
    return (FULL, GBDT) if has_trees_alone else (scorer.rung,)

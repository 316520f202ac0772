# SPDX-License-Identifier: Apache-2.0
"""What the answers under a trouble come to, and what of it misses what is asked.

model    every request is answered, within its deadline; where a model sleeps, 99 % within 95 ms
ledger   what is refused is refused within 50 ms
best effort  every request is answered, 99 of 100 within their deadline; what is not durable says so, and is later
switch   every request is answered, by either release
always   nothing acknowledged is lost, nothing is decided twice, the rung is the right one, no human is needed
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.load import percentile
from benchmarks.trouble.troubles import (
    BEST_EFFORT,
    DEADLINE_MS,
    LEDGER,
    MODEL,
    PROCESS,
    REFUSED_MS,
    SLEEPING_P99_MS,
    SWITCH,
    Trouble,
)

_SOUND_S, _SOUND_SHARE = 1.0, 0.99  # of requests that are answered as they should be: then it has recovered


@dataclass(frozen=True)
class Verdict:
    """One row of the table."""

    trouble: Trouble
    n: int
    n_answered: int
    n_refused: int
    n_unanswered: int
    p50_ms: float
    p99_ms: float
    late_share: float  # of answers, beyond the deadline
    slowest_refusal_ms: float
    rungs: dict[str, int]  # while the trouble lasted
    reasons: dict[str, int]  # why a lower rung answered
    recovered_s: float | None  # after the trouble's end; None: not within the load
    n_marked: int  # answers that said `durable: false`
    n_releases: int  # that answered
    never_durable: int  # of those marked, when asked again after the trouble
    wrong: tuple[str, ...]  # lost, twice, contradictory
    still_unanswered: int  # when asked again after the trouble

    @property
    def missed(self) -> list[str]:
        told = [*self.wrong]
        if self.still_unanswered:
            told.append(f"{self.still_unanswered} requests found no answer even afterwards")
        if self.recovered_s is None:
            told.append("it did not recover by itself")
        kind = self.trouble.kind
        if kind in (MODEL, BEST_EFFORT, SWITCH) and self.n_answered < self.n:
            told.append(f"{self.n - self.n_answered} requests were not answered")
        if kind == MODEL and self.p99_ms > SLEEPING_P99_MS:
            told.append(f"p99 {self.p99_ms:.1f} ms, at most {SLEEPING_P99_MS:.0f}")
        if kind == LEDGER and self.slowest_refusal_ms > REFUSED_MS:
            told.append(f"a refusal took {self.slowest_refusal_ms:.0f} ms, at most {REFUSED_MS:.0f}")
        if kind == BEST_EFFORT and self.p99_ms > DEADLINE_MS:
            told.append(f"p99 {self.p99_ms:.1f} ms, at most {DEADLINE_MS:.0f}")
        if kind == BEST_EFFORT and not self.n_marked:
            told.append("no answer was marked: there was no trouble")
        if kind != BEST_EFFORT and self.n_marked:
            told.append(f"{self.n_marked} answers left before they were durable")
        if self.never_durable:
            told.append(f"{self.never_durable} marked answers did not become durable")
        if kind == SWITCH and self.n_releases != 2:
            told.append(f"{self.n_releases} releases answered, 2 should have")
        if kind != PROCESS and self.n_unanswered:
            told.append(f"{self.n_unanswered} connections were dropped")
        rung = self.trouble.rung
        if rung is not None and self.rungs and max(self.rungs, key=self.rungs.__getitem__) != rung:
            told.append(f"rung {', '.join(self.rungs)} answered, {rung} should have")
        return told


def judged(
    trouble: Trouble,
    records: list[dict[str, Any]],
    span_ns: tuple[int, int],
    ready_ns: int,
    wrong: list[str],
    still_unanswered: int,
    never_durable: int,
) -> Verdict:
    """Judge what the generator saw.

    Parameters
    ----------
    records : of all requests, by intended time; `benchmarks.load` says what is in one.
    span_ns : when the trouble began and ended.
    ready_ns : when the service was there again, where it was killed; else the trouble's end.
    """
    answered = [record for record in records if record["status"] == 200]
    refused = [record for record in records if record["status"] not in (0, 200)]
    answers = [json.loads(record["answer"]) for record in answered]
    latency = sorted(_ms(record) for record in answered)
    during = [json.loads(r["answer"]) for r in answered if span_ns[0] <= r["intended_ns"] < span_ns[1]]
    return Verdict(
        trouble=trouble,
        n=len(records),
        n_answered=len(answered),
        n_refused=len(refused),
        n_unanswered=len(records) - len(answered) - len(refused),
        p50_ms=percentile(latency, 0.5),
        p99_ms=percentile(latency, 0.99),
        late_share=sum(one > DEADLINE_MS for one in latency) / len(latency),
        slowest_refusal_ms=max((_ms(record) for record in refused), default=0.0),
        rungs=dict(Counter(answer["rung"] for answer in during)),
        reasons=dict(Counter(answer["circumstances"]["degraded"] for answer in during if answer["degraded"])),
        recovered_s=_recovered_s(records, span_ns[1], ready_ns),
        n_marked=sum(not answer["durable"] for answer in answers),
        n_releases=len({answer["versions"]["release"] for answer in answers}),
        never_durable=never_durable,
        wrong=tuple(wrong),
        still_unanswered=still_unanswered,
    )


def _ms(record: dict[str, Any]) -> float:
    """Latency from the moment at which the request was to be sent."""
    return float(record["done_ns"] - record["intended_ns"]) / 1e6


def _recovered_s(records: list[dict[str, Any]], end_ns: int, ready_ns: int) -> float | None:
    """Seconds after the trouble's end until a second of requests was answered as most requests of the load were."""
    rungs = [_rung(record) for record in records]
    usual = Counter(rung for rung in rungs if rung is not None).most_common(1)[0][0]
    times = np.array([record["intended_ns"] for record in records])
    sound = np.concatenate(([0], np.cumsum([rung == usual for rung in rungs])))
    for at in np.flatnonzero(times >= end_ns).tolist():
        until = int(np.searchsorted(times, times[at] + _SOUND_S * 1e9))
        if until < len(times) and sound[until] - sound[at] >= _SOUND_SHARE * (until - at):
            return float(max(times[at] - end_ns, ready_ns - end_ns, 0)) / 1e9
    return None


def _rung(record: dict[str, Any]) -> str | None:
    """Who answered; None where it was no answer, or one that is not durable."""
    answer = json.loads(record["answer"]) if record["status"] == 200 else {}
    return answer["rung"] if answer.get("durable") else None

# SPDX-License-Identifier: Apache-2.0
"""Single events that show what the figures mean: frauds found and missed, honest people bothered, each with reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.ledger.records import Reason
from ringfence.policy.costs import ACTIONS, APPROVE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_CASES: Final = 3  # of each kind

Why = tuple[tuple[Reason, ...], tuple[Reason, ...]]  # what raised a score, what lowered it; most telling first
Explain = Callable[[IntArray], Sequence[Why]]  # positions in the window -> reasons of each


class Case(msgspec.Struct, frozen=True, kw_only=True):
    kind: str  # hit | miss | false_alarm
    event_id: str
    event_time_ms: int
    amount: float | None  # major units
    score: float
    rank: int  # among all scored events, from 1, the highest score first
    action: str
    reasons: tuple[Reason, ...]  # what raised the score
    against: tuple[Reason, ...]  # what lowered it


def choose_cases(
    event_id: Sequence[str],
    event_time_ms: IntArray,
    fraud: NDArray[np.int8],
    score: FloatArray,
    amounts: FloatArray,
    action_codes: IntArray,
    explain: Explain,
) -> list[Case]:
    """Pick up to three of each kind, by a rule that the report states.

    Parameters
    ----------
    event_id, event_time_ms, fraud, score, action_codes : length or shape (n,).
    amounts : shape (n,), major units, NaN where missing.
    explain : reasons of the chosen events.

    Returns
    -------
    Hits: the frauds with the highest scores among those not approved. Misses: of the frauds that were approved, those
    with the largest amounts, or the lowest scores where no event has an amount. False alarms: the legit events with
    the highest scores among those not approved. Where everything is approved, the hundredth of the events with the
    highest scores counts as not approved.
    """
    rank = np.empty(score.shape[0], np.int64)
    order = np.argsort(-score, kind="stable")
    rank[order] = np.arange(1, score.shape[0] + 1)
    stopped = action_codes != APPROVE
    if not stopped.any():  # a policy that approves all stops nobody: the highest scores stand for what it would stop
        stopped = rank <= max(2 * N_CASES, score.shape[0] // 100)
    weight = -score if np.isnan(amounts).all() else np.where(np.isnan(amounts), 0.0, np.abs(amounts))
    chosen = [
        *(("hit", at) for at in _first(np.flatnonzero(stopped & (fraud == 1)), -score)),
        *(("miss", at) for at in _first(np.flatnonzero(~stopped & (fraud == 1)), -weight)),
        *(("false_alarm", at) for at in _first(np.flatnonzero(stopped & (fraud == 0)), -score)),
    ]
    reasons = explain(np.array([at for _, at in chosen], dtype=np.int64)) if chosen else []
    return [
        Case(
            kind=kind,
            event_id=event_id[at],
            event_time_ms=int(event_time_ms[at]),
            amount=None if np.isnan(amounts[at]) else float(amounts[at]),
            score=float(score[at]),
            rank=int(rank[at]),
            action=ACTIONS[int(action_codes[at])],
            reasons=raised,
            against=lowered,
        )
        for (kind, at), (raised, lowered) in zip(chosen, reasons, strict=True)
    ]


def _first(positions: IntArray, key: FloatArray) -> list[int]:
    picked: list[int] = positions[np.argsort(key[positions], kind="stable")][:N_CASES].tolist()
    return picked

# SPDX-License-Identifier: Apache-2.0
"""ringfence: source and destination as a directed pair of roles of one entity type."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.contender import ROLES, ROLLING, WINDOWS_S, Rows
from benchmarks.engine.stream import CHUNK, DAY_S, Transfers
from ringfence.engine import Catalogue, Engine
from ringfence.engine.stats import EVENT, LABEL_RISK, NEIGHBOUR_RISK
from ringfence.ledger.assembly import slice_batch
from ringfence.scenario.batch import EVENT as EVENT_RECORD
from ringfence.scenario.batch import LABEL as LABEL_RECORD
from ringfence.scenario.batch import NO_LABEL, Batch
from ringfence.scenario.spec import Amount, EventType, Role, RoleColumn, Scenario

LABEL_DELAY_S: Final = 7 * DAY_S
LABELS_EVERY_S: Final = 3_600  # those of an hour come at its end, as one batch
FRAUD_RATE: Final = 0.01
_SPREAD, _OTHER_SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd: no two ids meet


def scenario_of(*, rings: bool) -> Scenario:
    """Describe the transfers: two roles of one entity type, an amount, windows as in the template account-transfers."""
    transfer = EventType(
        name="transfer",
        index=0,
        event_id_column="id",
        event_time_column="time",
        roles=tuple(RoleColumn(role=role, column=role) for role in ROLES),
        amount=Amount(column="amount", currency="EUR"),
    )
    return Scenario(
        name="account-transfers",
        decide="transfer",
        event_types=(transfer,),
        roles=tuple(Role(name=role, entity_type="account", index=i, strong=rings) for i, role in enumerate(ROLES)),
        windows_ms=tuple(span_s * 1_000 for span_s in WINDOWS_S.values()),
        features={"rings": True} if rings else {},
    )


class RingfenceEngine:
    """The engine on one thread.

    Parameters
    ----------
    rolling : only the columns that DuckDB, River and pandas compute as well; else all families that are on by default.
    labels : every transfer's truth arrives seven days later, once an hour, and is timed as well. Without labels the
        values of `label_risk` and `neighbour_risk` say nothing: they are computed, and not counted. What merely repeats
        the event never counts.
    rings : the family `rings` is on, and both roles tie accounts to each other.
    """

    whole = False

    def __init__(self, *, rolling: bool = False, labels: bool = False, rings: bool = False) -> None:
        self.catalogue = Catalogue.build(scenario_of(rings=rings), only=ROLLING if rolling else None)
        silent = {EVENT} if labels or rings else {EVENT, LABEL_RISK, NEIGHBOUR_RISK}
        self.n_values = sum(feature.family not in silent for feature in self.catalogue.features)
        self.tick_s: list[float] = []
        self._labels = labels or rings
        self._engine = Engine(self.catalogue, compute=self._timed_tick)
        self._waiting: list[tuple[Transfers, NDArray[np.int64]]] = []  # transfers whose label is to come, their seqs
        self._seq = 0

    def _timed_tick(self, work: Callable[[], Any]) -> Callable[[], Any]:
        began = time.perf_counter()
        tick = work()
        self.tick_s.append(time.perf_counter() - began)
        return lambda: tick

    def prepare(self, transfers: Transfers, batch_size: int) -> Iterator[Batch]:
        records = self._records(transfers)
        cuts: Iterable[int] = range(0, len(records), batch_size)
        if self._labels and batch_size < CHUNK:
            cuts = _cuts(records.kind == LABEL_RECORD, batch_size)
        return (slice_batch(records, begin, end) for begin, end in pairwise((*cuts, len(records))))

    def learn(self, piece: Batch) -> None:
        self._engine.observe(piece, np.zeros(len(piece), np.bool_))

    def observe(self, piece: Batch) -> Rows:
        return self._engine.observe(piece)

    def as_rows(self, found: Rows) -> Rows:
        return found

    def facts(self) -> dict[str, float]:
        return {
            "state_bytes": float(self._engine.state.nbytes),
            "n_ticks": float(len(self.tick_s)),
            "tick_s": float(sum(self.tick_s)),
        }

    def _records(self, transfers: Transfers) -> Batch:
        # In ledger order: by time, labels before events.
        n, due = len(transfers), self._due(int(transfers.time_s[-1])) if self._labels else None
        about = [transfers] if due is None else [due[0], transfers]
        columns = {
            name: np.concatenate([getattr(part, name) for part in about])
            for name in ("time_s", "source", "destination", "amount_minor")
        }
        k = len(columns["time_s"])
        is_label = np.arange(k) < k - n
        at_s = np.where(is_label, _label_s(columns["time_s"]), columns["time_s"])
        order = np.lexsort((~is_label, at_s))
        seq = self._seq + 1 + np.arange(k)
        self._seq += k
        if self._labels:
            self._waiting.append((transfers, seq[np.argsort(order)[k - n :]]))
        is_label = is_label[order]
        about_seq = np.concatenate([due[1] if due is not None else np.zeros(0, np.int64), np.full(n, -1)])[order]
        number = np.stack([columns[role][order] for role in ROLES], axis=1).reshape(-1).astype(np.uint64)
        return Batch(
            seq=seq,
            kind=np.where(is_label, LABEL_RECORD, EVENT_RECORD).astype(np.uint8),
            event_type=np.zeros(k, np.uint8),
            time_ms=at_s[order] * 1_000,
            offset_ms=np.zeros(k, np.int32),
            amount_minor=np.where(is_label, 0, columns["amount_minor"][order]),
            values=np.empty((k, 0)),
            link_start=np.arange(0, 2 * k + 1, 2),
            link_role=np.tile(np.array([0, 1], np.uint8), k),
            link_lo=(number + np.uint64(1)) * _SPREAD,
            link_hi=(number + np.uint64(1)) * _OTHER_SPREAD,
            label_event_seq=np.where(is_label, about_seq, -1),
            label_event_time_ms=np.where(is_label, columns["time_s"][order] * 1_000, 0),
            label_value=np.where(is_label, _is_fraud(about_seq), NO_LABEL).astype(np.int8),
            label_replaces=np.full(k, NO_LABEL, np.int8),
            simhash=np.empty((k, 0), np.uint64),
        )

    def _due(self, until_s: int) -> tuple[Transfers, NDArray[np.int64]] | None:
        ready: list[tuple[Transfers, NDArray[np.int64]]] = []
        waiting: list[tuple[Transfers, NDArray[np.int64]]] = []
        for transfers, seq in self._waiting:
            n = int(np.searchsorted(_label_s(transfers.time_s), until_s, side="right"))
            if n:
                ready.append((transfers.part(0, n), seq[:n]))
            if n < len(transfers):
                waiting.append((transfers.part(n, len(transfers)), seq[n:]))
        self._waiting = waiting
        if not ready:
            return None
        columns = ("time_s", "source", "destination", "amount_minor")
        joined = Transfers(0, *(np.concatenate([getattr(part, name) for part, _ in ready]) for name in columns))
        return joined, np.concatenate([seq for _, seq in ready])


def _label_s(time_s: NDArray[np.int64]) -> NDArray[np.int64]:
    due: NDArray[np.int64] = -(-(time_s + LABEL_DELAY_S) // LABELS_EVERY_S) * LABELS_EVERY_S
    return due


def _cuts(is_label: NDArray[np.bool_], batch_size: int) -> list[int]:
    """Where batches begin: labels that come together are one, transfers come `batch_size` at a time."""
    begins = np.flatnonzero(np.diff(is_label, prepend=not is_label[0])).tolist()
    cuts: list[int] = []
    for begin, end in pairwise((*begins, len(is_label))):
        cuts += [begin] if is_label[begin] else range(begin, end, batch_size)
    return cuts


def _is_fraud(seq: NDArray[np.int64]) -> NDArray[np.bool_]:
    fraud: NDArray[np.bool_] = (seq.astype(np.uint64) * _SPREAD >> np.uint64(32)) < np.uint64(FRAUD_RATE * 2**32)
    return fraud

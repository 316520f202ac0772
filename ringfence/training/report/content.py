# SPDX-License-Identifier: Apache-2.0
"""Everything that the report shows, as numbers."""

from __future__ import annotations

import msgspec

from ringfence.reports.numerals import date, moment, row
from ringfence.training.absent import Absent
from ringfence.training.cases import Case
from ringfence.training.comparisons.study import Study
from ringfence.training.drift import Drift
from ringfence.training.evaluation import Evaluation
from ringfence.training.label_delay import Bucket, LabelDelay
from ringfence.training.leaks import LeakHunt
from ringfence.training.memory_use import Forgotten
from ringfence.training.money import Money
from ringfence.training.regimes import BaseRate
from ringfence.training.reservations import Reservation


class FeatureImportance(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    sentence: str
    family: str
    share: float  # of the summed absolute contributions, 0..1


class FoldSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One expanding window: fitted on [fit_from_ms, fit_to_ms], scored on [emit_from_ms, emit_to_ms]."""

    fit_from_ms: int
    fit_to_ms: int
    emit_from_ms: int
    emit_to_ms: int
    n_fit: int
    n_fit_fraud: int
    n_emit: int
    n_emit_fraud: int
    label_delay: bool


class ReportInput(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page shows. `evaluations` holds at least one, the most telling first; None: not looked at."""

    scenario: str
    until_ms: int
    n_examples: int
    n_fraud: int
    n_unlabelled: int
    evaluations: list[Evaluation]
    folds: list[FoldSummary]
    importance: list[FeatureImportance]  # most important first
    reviews_per_day: int | None
    not_comparable: list[str]
    facts: list[tuple[str, str]]
    version: str
    decides: str = "event"  # name of the decided event type
    label_rule: str = ""  # when a label is known, in words
    roles: tuple[str, ...] = ()
    audit_only: tuple[str, ...] = ()  # attributes kept out of the model, for fairness reports
    label_delays: list[LabelDelay] = []
    buckets: list[Bucket] = []
    money: Money | None = None
    drift: Drift | None = None
    cases: list[Case] = []
    cases_note: str = ""
    leaks: LeakHunt | None = None
    branches: Study | None = None  # each left out of the stack, or let in
    forgotten: Forgotten = Forgotten()  # by the replay, for want of memory
    absent: Absent = Absent()  # what no example has
    branches_not_tried: dict[str, str] = {}  # beside the trees: name -> why
    rates: BaseRate | None = None  # of the examples, through time
    reservations: list[Reservation] = []  # gravest first
    has_times: bool = True  # False: file order stands in for the time of events

    def date(self, time_ms: int) -> str:
        """Write a day; the number of a row where events have no time."""
        return date(time_ms) if self.has_times else row(time_ms)

    def moment(self, time_ms: int) -> str:
        """Write a day and a time; the number of a row where events have no time."""
        return moment(time_ms) if self.has_times else row(time_ms)

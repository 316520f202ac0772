# SPDX-License-Identifier: Apache-2.0
"""What an import noticed about the rows it read: why rows were left out, and what is odd about those let in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.scenario.columns import ColumnarAdmission
from ringfence.scenario.spec import Attribute, AttributeType

MOST_REASONS = 1_000  # told apart; a file that is bad in more ways than that is bad in general


class RejectReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why cells were refused, and how many were."""

    column: str  # empty where the row as a whole is bad
    reason: str
    n: int


class Oddity(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of an event type that were let in and may not mean what they say."""

    event_type: str
    column: str
    n: int
    n_rows: int  # of the event type that were let in


class Underived(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that give what a derived value is made of, and it yields none."""

    event_type: str
    column: str  # the derived value
    n: int
    n_rows: int  # of the event type that were let in
    n_given: int  # of these, rows that give all that it is made of
    n_unlisted: int  # of `n`, rows that no row of the lookup file holds; the others are malformed

    @property
    def told(self) -> str:
        """How many of which, and why: what is malformed apart from what the lookup file does not have."""
        n_malformed, n_without = self.n - self.n_unlisted, self.n_rows - self.n_given
        parts = [f"{self.n_unlisted:,} not in the lookup file"] if self.n_unlisted else []
        parts += [f"{n_malformed:,} malformed"] if n_malformed else []
        without = f"; {n_without:,} more {'does' if n_without == 1 else 'do'} not give it" if n_without else ""
        return (
            f"{self.n:,} of {self.n_given:,} {self.event_type} rows that give what `{self.column}` is made of yield "
            f"none ({', '.join(parts)}); it is missing there{without}"
        )


class Tally:
    """Counts while files are read."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._without_amount: Counter[tuple[str, str]] = Counter()
        self._after_event: Counter[tuple[str, str]] = Counter()
        self._underived: Counter[tuple[str, str]] = Counter()
        self._derivable: Counter[tuple[str, str]] = Counter()
        self._unlisted: Counter[tuple[str, str]] = Counter()
        self._skipped: Counter[tuple[str, str]] = Counter()
        self._doubled: Counter[tuple[str, str]] = Counter()
        self.empty_files: list[Path] = []

    def count(self, admission: ColumnarAdmission, kept: NDArray[np.bool_], features: tuple[Attribute, ...]) -> None:
        """Count the rows of a frame where `kept`, shape (n,).

        Parameters
        ----------
        features : the scenario's value attributes, in the column order of `admission.values`.
        """
        event_type = admission.event_type
        self._rows[event_type.name] += int(kept.sum())
        if event_type.amount is not None:
            missing = (admission.amount_minor == MISSING_AMOUNT) & kept
            self._without_amount[event_type.name, event_type.amount.column] += int(missing.sum())
        if event_type.event_time_column is not None:
            self._skipped[event_type.name, event_type.event_time_column] += int((admission.skipped & kept).sum())
            self._doubled[event_type.name, event_type.event_time_column] += int((admission.doubled & kept).sum())
        for name, failed in admission.underived.items():
            self._underived[event_type.name, name] += int((failed & kept).sum())
            self._derivable[event_type.name, name] += int((admission.derivable[name] & kept).sum())
            if name in admission.unlisted:
                self._unlisted[event_type.name, name] += int((admission.unlisted[name] & kept).sum())
        for at, attribute in enumerate(features):
            if attribute.type is AttributeType.TIME:  # as a value: days before the event, negative after it
                later = (admission.values[:, at] < 0.0) & kept
                self._after_event[event_type.name, attribute.column] += int(later.sum())

    @property
    def without_amount(self) -> tuple[Oddity, ...]:
        """Rows without an amount, of event types that have one."""
        return self._oddities(self._without_amount)

    @property
    def after_event(self) -> tuple[Oddity, ...]:
        """Rows whose time attribute lies later than their event: known only afterwards, unless it was announced."""
        return self._oddities(self._after_event)

    @property
    def underived(self) -> tuple[Underived, ...]:
        """Rows that give what a derived value is made of, and it yields none."""
        return tuple(
            Underived(
                event_type=event_type,
                column=name,
                n=n,
                n_rows=self._rows[event_type],
                n_given=self._derivable[event_type, name],
                n_unlisted=self._unlisted[event_type, name],
            )
            for (event_type, name), n in self._underived.items()
            if n
        )

    @property
    def skipped(self) -> tuple[Oddity, ...]:
        """Rows whose local time never was: the clocks went forward over it."""
        return self._oddities(self._skipped)

    @property
    def doubled(self) -> tuple[Oddity, ...]:
        """Rows whose local time was twice: the clocks went back over it."""
        return self._oddities(self._doubled)

    def _oddities(self, counts: Counter[tuple[str, str]]) -> tuple[Oddity, ...]:
        return tuple(
            Oddity(event_type=event_type, column=column, n=n, n_rows=self._rows[event_type])
            for (event_type, column), n in counts.items()
            if n
        )

# SPDX-License-Identifier: Apache-2.0
"""Loans, and defaults that tell which of them went bad."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from ringfence.ledger.importer import ImportReport, import_files
from ringfence.ledger.ledger import IDENTITY_KEY, Ledger
from ringfence.ledger.records import Kind
from ringfence.ledger.writer import Writer
from ringfence.scenario.batch import LABEL, Batch
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from tests.ledger.claims import whole
from tests.oracles.outcome_twin import Given, Seen

T0 = 1_600_000_000_000
HOUR = 3_600_000
HORIZON = 5 * HOUR


def loans_scenario(**changes: Any) -> Scenario:
    """Loans by customers (several sign for one), with defaults of customers as outcomes."""
    label = changes.pop("label", {"event": "default", "horizon": "5h", "by": "customer"})
    return scenario_from_mapping(
        "loans",
        {
            "decide": "loan",
            "sources": {"loan": "loans.parquet", "default": "defaults.parquet"},
            "events": {
                "loan": {
                    "event_id": "id",
                    "event_time": "at",
                    "entities": {"customer": {"column": "customers", "many": True}, "branch": "branch"},
                    "label": label,
                },
                "default": {
                    "event_id": "id",
                    "event_time": "at",
                    "entities": {"customer": "customers", "branch": "branch"},
                },
            },
            **changes,
        },
        where="tests",
    )


def loan(event_id: str, time_ms: int, *customers: str) -> Seen:
    return Seen(event_id, False, time_ms, frozenset(customers))


def default(event_id: str, time_ms: int, *customers: str) -> Seen:
    return Seen(event_id, True, time_ms, frozenset(customers))


class Bank:
    """A workspace of loans. The clock goes with the newest event."""

    def __init__(self, path: Path, scenario: Scenario | None = None) -> None:
        self.path, self.scenario = path, scenario or loans_scenario()
        self.directory = path / "ledger" / "loans"
        self.clock = FakeClock(T0)
        path.mkdir(exist_ok=True)

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.directory, self.scenario)

    def take_identity(self, other: Bank) -> None:
        self.directory.mkdir(parents=True)
        shutil.copy(other.directory / IDENTITY_KEY, self.directory / IDENTITY_KEY)

    def write(self, events: Iterable[Seen]) -> None:
        for name, is_outcome in (("loans", False), ("defaults", True)):
            rows = [
                {"id": e.event_id, "at": e.time_ms, "customers": sorted(e.named), "branch": "b"}
                for e in events
                if e.is_outcome is is_outcome
            ]
            schema = {"id": pl.String, "at": pl.Int64, "customers": pl.List(pl.String), "branch": pl.String}
            pl.DataFrame(rows, schema=schema).write_parquet(self.path / f"{name}.parquet")

    def load(self, events: Iterable[Seen] | None = None, **options: Any) -> ImportReport:
        """Import `events`, or what lies in the files."""
        if events is not None:
            events = list(events)
            self.write(events)
            self._reach(max((event.time_ms for event in events), default=0))
        return import_files(self.directory, self.scenario, self.path, self.clock, **options)

    def tell(self, *events: Seen) -> None:
        """Send events one by one, each committed by itself."""
        with self.ledger.writer(self.clock) as writer:
            for event in events:
                self.stage(writer, event)
                writer.mature()
                writer.commit()

    def stage(self, writer: Writer, event: Seen) -> int:
        self._reach(event.time_ms)
        raw = {
            "event_id": event.event_id,
            "event_type": "default" if event.is_outcome else "loan",
            "event_time": event.time_ms,
            "entities": {"customer": sorted(event.named), "branch": "b"},
        }
        door = Door(self.scenario, self.ledger.identity)
        return writer.stage_event(door.admit(raw, now_ms=self.clock.now_ms())).seq

    def given(self, after_seq: int = 0) -> list[Given]:
        """The label records, in ledger order."""
        names = self.names()
        records = whole(self.ledger.batches(after_seq))
        if not records:
            return []
        columns = ("kind", "label_event_seq", "label_value", "time_ms", "label_replaces")
        rows = zip(*(records[name].tolist() for name in columns), strict=True)
        return [Given(names[seq], *rest) for kind, seq, *rest in rows if kind == LABEL]

    def n_live_labels(self) -> int:
        """Label records that no import brought, those without effect among them."""
        return sum(1 for _ in self.ledger.records(kinds=(Kind.LABEL,)))

    def names(self) -> dict[int, str]:
        return dict(self.ledger.events(0).select("seq", "event_id").iter_rows())

    def standing(self) -> dict[str, tuple[int, int, str]]:
        """(value, known_at_ms, source) of the label that stands, by loan."""
        names = self.names()
        return {names[seq]: (value, known, source) for seq, value, known, source in self.ledger.labels().iter_rows()}

    def tables(self) -> set[str]:
        with self.ledger.writer(self.clock) as writer:
            rows = writer._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name for (name,) in rows}

    def batch(self) -> Batch:
        (batch,) = self.ledger.batches()
        return batch

    def _reach(self, time_ms: int) -> None:
        self.clock.advance(max(0, time_ms - self.clock.now_ms()))


def with_label(scenario: Scenario, **changes: Any) -> Scenario:
    """The same scenario under another label."""
    other = loans_scenario(**changes)
    return msgspec.structs.replace(scenario, event_types=other.event_types)

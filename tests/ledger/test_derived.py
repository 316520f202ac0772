# SPDX-License-Identifier: Apache-2.0
"""Records keep what the door computed, so a ledger says when its scenario computes something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from ringfence.ledger.errors import DerivedChangedError
from ringfence.ledger.importer import ImportReport, import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.spec import Scenario, Source
from tests.scenario.derived import lookups_of, signup_scenario

AT_MS = 1_717_200_000_000
NOW = FakeClock(AT_MS + 1_000_000)
DERIVE: dict[str, Any] = {
    "network": {"ip_prefix": {"field": "ip", "bits": 24}, "role": True},
    "risk": {"lookup": {"file": "risk.csv", "key": "domain", "value": "risk"}, "field": "sponsor"},
}
TABLE = "domain,risk\np1,low\n"


class Place:
    """A workspace whose derived values change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = {"id": ["1", "2"], "at": [AT_MS, AT_MS + 1], "sponsor": ["p1", "p2"], "ip": ["10.0.0.1", "x"]}
        given = {name: pl.lit(None, pl.String) for name in ("device", "email", "nickname", "lat")}
        pl.DataFrame(rows).with_columns(**given).write_csv(path / "signups.csv")

    def scenario(self, table: str = TABLE, **derive: Any) -> Scenario:
        """The scenario; `derive` replaces entries, None drops one."""
        entries = {name: entry for name, entry in (DERIVE | derive).items() if entry is not None}
        scenario = signup_scenario(self.path, entries, {"risk.csv": table})
        return msgspec.structs.replace(scenario, sources=(Source(event_type="signup", files=("signups.csv",)),))

    def load(self, scenario: Scenario, **options: Any) -> ImportReport:
        return import_files(self.path / "ledger", scenario, self.path, NOW, **options)

    def check(self, scenario: Scenario) -> None:
        Ledger.open(self.path / "ledger", scenario).check_derived()

    def decide(self, scenario: Scenario) -> None:
        ledger = Ledger.open(self.path / "ledger", scenario)
        door = Door(scenario, ledger.identity, lookups_of(scenario, self.path))
        with ledger.writer(NOW) as writer:
            raw = {"event_id": "live", "event_time": AT_MS + 5, "entities": {"sponsor": "p1"}}
            writer.stage_event(door.admit(raw, now_ms=NOW.now_ms()))
            writer.commit()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_import_counts_what_could_not_be_derived(place: Place) -> None:
    report = place.load(place.scenario())
    assert (report.n_events, report.n_rejected) == (2, 0)
    assert [(odd.column, odd.n, odd.n_rows) for odd in report.underived] == [("network", 1, 2), ("risk", 1, 2)]


def test_the_same_import_again_adds_nothing(place: Place) -> None:
    place.load(place.scenario())
    again = place.load(place.scenario())
    assert (again.n_events, again.n_duplicates, again.n_conflicts) == (0, 2, 0)


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("other bits", {"network": {"ip_prefix": {"field": "ip", "bits": 16}, "role": True}}, "another definition"),
    ("another kind of value", {"risk": {"entropy": "sponsor"}}, "another definition"),
    ("a newer table", {"table": "domain,risk\np1,high\n"}, "an older lookup file"),
    ("a new value", {"oddity": {"entropy": "nickname"}}, "events before there was 'signup.oddity'"),
]


@pytest.mark.parametrize(("change", "told"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_a_change_asks_for_a_new_import(place: Place, change: dict[str, Any], told: str) -> None:
    place.load(place.scenario())
    changed = place.scenario(**change)
    with pytest.raises(DerivedChangedError, match=told) as raised:
        place.check(changed)
    assert "ringfence import --replace" in str(raised.value)
    with pytest.raises(DerivedChangedError):
        place.load(changed)
    assert place.load(changed, replace=True).n_events == 2
    place.check(changed)


def test_a_table_that_moved_is_the_same_table(place: Place) -> None:
    place.load(place.scenario())
    (place.path / "moved.csv").write_text(TABLE)
    moved = {"lookup": DERIVE["risk"]["lookup"] | {"file": "moved.csv"}, "field": "sponsor"}
    place.check(place.scenario(risk=moved))


def test_with_live_records_a_newer_table_counts_from_then_on(place: Place) -> None:
    place.load(place.scenario())
    place.decide(place.scenario())
    newer = place.scenario(table="domain,risk\np1,high\n", oddity={"entropy": "nickname"})
    place.check(newer)
    assert place.load(newer).n_duplicates == 2


def test_with_live_records_another_definition_needs_another_name(place: Place) -> None:
    place.decide(place.scenario())
    with pytest.raises(DerivedChangedError, match="another name"):
        place.check(place.scenario(network={"ip_prefix": {"field": "ip", "bits": 8}, "role": True}))
    place.check(place.scenario(risk=None))


def test_a_writer_does_not_hide_that_history_is_older(place: Place) -> None:
    place.load(place.scenario())
    changed = place.scenario(table="domain,risk\np1,high\n")
    with Ledger.open(place.path / "ledger", changed).writer(NOW) as writer:  # as `release promote` does
        writer.commit()
    with pytest.raises(DerivedChangedError):
        place.check(changed)

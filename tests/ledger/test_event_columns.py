# SPDX-License-Identifier: Apache-2.0
"""Attributes and filled roles read back are those that were given, imported and live alike."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ringfence.ledger.event_columns import event_columns
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.spec import Scenario
from tests.ledger.claims import DAY, T0, claim, claims_frame, row

NOW = FakeClock(T0 + 400 * DAY)


def test_columns_are_what_was_given_imported_and_live(tmp_path: Path, scenario: Scenario) -> None:
    rows = [row("a", make=None, witness=[], bought=T0 - DAY), row("b", T0 + 1, age=None, story=None, night=False)]
    claims_frame(rows).write_parquet(tmp_path / "claims.parquet")
    pl.DataFrame({"id": ["p"], "at": [T0], "person": ["anna"]}).write_parquet(tmp_path / "changes.parquet")
    import_files(tmp_path / "ledger", scenario, tmp_path, NOW)
    ledger = Ledger.open(tmp_path / "ledger", scenario)
    with ledger.writer(NOW) as writer:
        told = claim("c", T0 + 300 * DAY, entities={"claimant": "anna"}, attributes={"make": "Audi"})
        writer.stage_event(Door(scenario, ledger.identity).admit(told, now_ms=T0 + 400 * DAY))
        writer.commit()
    found = event_columns(ledger, ledger.events(0)["seq"].sort(descending=True), scenario.decided.attributes)
    assert found.attributes.columns == ["seq", "make", "age", "night", "story", "bought"]  # nothing personal
    assert found.attributes.drop("seq").rows() == [
        (None, 3.5, True, 10.0, float(T0 - DAY)),
        ("VW", None, False, None, None),
        ("Audi", None, None, None, None),
    ]
    assert found.roles.drop("seq").rows() == [(True, False, True), (True, True, True), (True, False, False)]
    assert found.attributes["seq"].to_list() == found.roles["seq"].to_list() == ledger.events(0)["seq"].to_list()

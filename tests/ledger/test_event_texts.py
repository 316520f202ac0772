# SPDX-License-Identifier: Apache-2.0
"""Texts read back are those that were given, imported and live alike, and never personal ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.spec import AttributeUse, Scenario
from tests.ledger.claims import DAY, T0, claim, claims_frame, row

NOW = FakeClock(T0 + 400 * DAY)


def test_texts_are_what_was_given_in_the_order_asked_for(tmp_path: Path, scenario: Scenario) -> None:
    claims_frame([row("a", story="Hail, all over."), row("b", T0 + 1, story=None)]).write_parquet(
        tmp_path / "claims.parquet"
    )
    pl.DataFrame({"id": ["p"], "at": [T0], "person": ["anna"]}).write_parquet(tmp_path / "changes.parquet")
    import_files(tmp_path / "ledger", scenario, tmp_path, NOW)
    ledger = Ledger.open(tmp_path / "ledger", scenario)
    assert event_texts(ledger, np.empty(0, np.int64)) == ([],)
    with ledger.writer(NOW) as writer:
        told = claim("c", T0 + 300 * DAY, entities={"claimant": "anna"}, attributes={"story": "Not stolen – sold"})
        writer.stage_event(Door(scenario, ledger.identity).admit(told, now_ms=T0 + 400 * DAY))
        writer.commit()
    seqs = ledger.events(0).sort("event_id", descending=True)["seq"].to_numpy()
    assert event_texts(ledger, seqs) == (["Not stolen – sold", None, "Hail, all over."],)
    live = int(ledger.last_seq)
    assert event_texts(ledger, np.array([live])) == (["Not stolen – sold"],), "where nothing was imported in between"
    assert event_texts(ledger, np.array([live + 1, live, live])) == ([None, "Not stolen – sold", "Not stolen – sold"],)


def test_texts_for_audits_and_personal_ones_are_not_for_models(ledger: Ledger, scenario: Scenario) -> None:
    decided = scenario.decided
    for change in ({"use": AttributeUse.AUDIT_ONLY}, {"personal": True}):
        attributes = tuple(
            msgspec.structs.replace(one, **change) if one.name == "story" else one for one in decided.attributes
        )
        hidden = msgspec.structs.replace(
            scenario, event_types=(msgspec.structs.replace(decided, attributes=attributes), *scenario.event_types[1:])
        )
        assert event_texts(Ledger.open(ledger.directory, hidden), np.array([1])) == ()

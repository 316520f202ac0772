# SPDX-License-Identifier: Apache-2.0
"""Events imported from a file and replayed give the feature rows of the same events decided live, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from ringfence.engine import Catalogue, Engine
from ringfence.engine.replay import feature_rows
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import IDENTITY_KEY, Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.spec import Source
from tests.scenario.derived import lookups_of, signup_scenario

T0_MS = 1_703_000_000_000  # twelve days before the table of risks changes
N_EVENTS = 300


def drawn_signups() -> list[dict[str, Any]]:
    draw = np.random.default_rng(5)
    networks = ["10.1.2.", "10.1.3.", "1.0.0.", "192.168.7.", "2001:db8::", "300.1.1."]
    domains = ["Example.com", "example.COM", "MÜLLER.de", "mail.test", "nowhere"]
    rows = []
    for i in range(N_EVENTS):
        row: dict[str, Any] = {
            "id": f"s-{i}",
            "at": T0_MS + i * 7_200_000,
            "device": int(draw.integers(30)),
            "sponsor": f"p{draw.integers(20)}@{domains[draw.integers(len(domains))]}",
            "email": f"u{draw.integers(99)}@{domains[draw.integers(len(domains))]}",
            "nickname": "".join(draw.choice(list("abcÄ"), size=draw.integers(1, 8))),
            "lat": float(draw.uniform(-95, 95)),
            "ip": f"{networks[draw.integers(len(networks))]}{draw.integers(1, 9)}",
            "lon": float(draw.uniform(-180, 180)),
        }
        for name in ("device", "email", "ip", "lat"):
            if draw.random() < 0.1:
                row[name] = None
        rows.append(row)
    return rows


def live_rows(folder: Path, key: Path, signups: list[dict[str, Any]]) -> np.ndarray:
    """Decide the sign-ups one by one and collect their feature rows."""
    scenario = signup_scenario(folder)
    (folder / "ledger").mkdir()
    shutil.copy(key, folder / "ledger" / IDENTITY_KEY)
    ledger = Ledger.open(folder / "ledger", scenario)
    door, engine = Door(scenario, ledger.identity, lookups_of(scenario, folder)), Engine(Catalogue.build(scenario))
    clock, rows = FakeClock(T0_MS), []
    with ledger.writer(clock) as writer:
        for row in signups:
            clock.advance(row["at"] - clock.now_ms())
            raw = {
                "event_id": row["id"],
                "event_time": row["at"],
                "entities": {name: row[name] for name in ("device", "sponsor")},
                "attributes": {name: row[name] for name in ("email", "nickname", "lat", "ip", "lon")},
            }
            writer.stage_event(door.admit(raw, now_ms=clock.now_ms()))
            rows.append(engine.observe(writer.batch()))
        writer.commit()
    return np.concatenate(rows)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_imported_rows_equal_live_rows(tmp_path: Path, suffix: str) -> None:
    signups = drawn_signups()
    imported, live = tmp_path / "imported", tmp_path / "live"
    imported.mkdir()
    live.mkdir()
    source = Source(event_type="signup", files=(f"signups.{suffix}",))
    scenario = msgspec.structs.replace(signup_scenario(imported), sources=(source,))
    frame = pl.DataFrame(signups)
    if suffix == "csv":
        frame.write_csv(imported / "signups.csv")
    else:
        frame.write_parquet(imported / "signups.parquet")
    report = import_files(imported / "ledger", scenario, imported, FakeClock(T0_MS + N_EVENTS * 7_200_000))
    assert (report.n_events, report.n_rejected) == (N_EVENTS, 0)
    assert {odd.column for odd in report.underived} >= {"network", "country", "owner", "mail_domain", "travel_km"}
    ledger, catalogue = Ledger.open(imported / "ledger", scenario), Catalogue.build(scenario)
    replayed = feature_rows(ledger, catalogue, np.arange(1, N_EVENTS + 1)).rows
    decided = live_rows(live, imported / "ledger" / IDENTITY_KEY, signups)
    assert replayed.tobytes() == decided.tobytes()
    shared = decided[:, catalogue.index("network.count_1d")]
    assert np.nanmax(shared) > 1  # networks do come back
    for name in ("country", "domain_risk", "name_entropy", "travel_km"):
        assert len(np.unique(decided[:, catalogue.index(f"attribute.{name}")])) > 2

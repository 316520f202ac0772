# SPDX-License-Identifier: Apache-2.0
"""A spine names derived roles and attributes by their values, and reads what the events with these values read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

import ringfence
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.workspace import Workspace

YAML = """
scenarios:
  signups:
    decide: signup
    windows: [7d]
    sources: {signup: signups.csv}
    events:
      signup:
        event_id: id
        event_time: at
        entities: {device: device}
        derive:
          network: {ip_prefix: ip, role: true}
          country: {lookup: {file: countries.csv, from: low, to: high, value: country}, field: ip}
"""


def test_spine_with_derived_values_equals_the_training_rows(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    events = pl.DataFrame(
        {
            "id": [f"s{i}" for i in range(60)],
            "at": [1_700_000_000_000 + i * 3_600_000 for i in range(60)],
            "device": [f"d{i}" for i in draw.integers(0, 9, 60)],
            "ip": [f"10.0.{i}.7" for i in draw.integers(0, 4, 60)],
        }
    )
    events.write_csv(tmp_path / "signups.csv")
    (tmp_path / "countries.csv").write_text("low,high,country\n10.0.0.0,10.0.1.255,north\n10.0.2.0,10.0.2.255,south\n")
    (tmp_path / "ringfence.yaml").write_text(YAML)
    opened = ringfence.open(tmp_path)
    opened.import_()
    third = events["ip"].str.split(".").list.get(2)
    spine = events.select(
        event_time="at",
        device="device",
        network="10.0." + third + ".0/24",
        country=third.replace_strict({"0": "north", "1": "north", "2": "south", "3": None}),
    )
    found = opened.features(spine)
    here = Workspace(tmp_path)
    ledger = Ledger.open(here.ledger_dir("signups"), here.scenario())
    catalogue = Catalogue.build(ledger.scenario)
    trained = feature_rows(ledger, catalogue, np.arange(1, 61)).rows
    assert found.select(catalogue.names).to_numpy(order="c").tobytes() == trained.tobytes()
    assert found["network.count_7d"].max() > 3

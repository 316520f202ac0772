# SPDX-License-Identifier: Apache-2.0
"""What an event at some time would see, over imported, live and late records, against a walk through all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import FRAUD, LABEL, LEGIT
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.spec import Scenario
from tests.ledger.claims import DAY, T0, claim

HOUR = 3_600_000


def told(ledger: Ledger, clock: FakeClock, event_id: str, value: int, source: str = "investigator") -> None:
    with ledger.writer(clock) as writer:
        writer.stage_label(
            LabelNotice(event_type="claim", event_id=event_id, value=value, source=source, known_at_ms=None)
        )
        writer.commit()


def reported(ledger: Ledger, clock: FakeClock, event_id: str, time_ms: int) -> None:
    with ledger.writer(clock) as writer:
        admission = Door(ledger.scenario, ledger.identity).admit(claim(event_id, time_ms), now_ms=clock.now_ms())
        writer.stage_event(admission)
        writer.commit()


def walked(ledger: Ledger, time_ms: int) -> int:
    """The last seq seen, record by record: each watermark by `seq_at`, whose answers other tests hold."""
    records = [(int(s), int(k)) for b in ledger.batches() for s, k in zip(b.seq, b.kind, strict=True)]
    seen = 0
    for seq, kind in records:
        below = seq <= ledger.seq_at(time_ms - 1)
        if not below and not (kind == LABEL and seq <= ledger.seq_at(time_ms)):
            break
        seen = seq
    return seen


def test_an_event_sees_what_was_reported_before_its_time(tmp_path: Path, scenario: Scenario) -> None:
    times = [T0 + HOUR * h for h in (0, 0, 1, 2, 2, 50)]
    known = [T0 + HOUR * h for h in (2, 50, 50, 3, 2, 60)]
    pl.DataFrame(
        {
            "id": [f"c{i}" for i in range(6)], "at": times, "amount": [10.0] * 6, "claimant": ["a"] * 6,
            "witness": [["w"]] * 6, "shop": ["s"] * 6, "fraud": [1, 0, 1, 0, 0, 1], "known": known,
            **{name: [None] * 6 for name in ("make", "age", "night", "story", "bought", "phone")},
        }
    ).write_parquet(tmp_path / "claims.parquet")  # fmt: skip
    pl.DataFrame({"id": ["x"], "at": [T0 + HOUR], "person": ["a"]}).write_parquet(tmp_path / "changes.parquet")
    clock = FakeClock(T0 + 70 * HOUR)
    directory = tmp_path / "ledger"
    import_files(directory, scenario, tmp_path, clock)
    ledger = Ledger.open(directory, scenario)
    reported(ledger, clock, "live", T0 + 70 * HOUR)
    reported(ledger, clock, "late", T0 + 5 * HOUR)  # seen from 70 h on, not from 5 h on
    told(ledger, clock, "live", FRAUD)
    told(ledger, clock, "live", LEGIT, source="api")  # weaker: changes nothing
    clock.advance(DAY)
    reported(ledger, clock, "next", clock.now_ms())
    moments = sorted({t + by for t in (*times, *known, T0 + 70 * HOUR, clock.now_ms()) for by in (-1, 0, 1)})
    moments += [moments[-1] + DAY]
    found = ledger.seen_at(np.array([T0 - DAY, *moments], np.int64))
    batches = np.concatenate([batch.seq for batch in ledger.batches()])
    visible = np.searchsorted(batches, found, side="right")
    expected = np.searchsorted(batches, [0, *(walked(ledger, moment) for moment in moments)], side="right")
    assert visible.tolist() == expected.tolist()
    assert len(set(visible.tolist())) > 8
    assert visible[-1] == len(batches)


def test_an_empty_ledger_shows_nothing(ledger: Ledger) -> None:
    assert ledger.seen_at(np.array([0, T0], np.int64)).tolist() == [0, 0]
    assert ledger.seen_at(np.zeros(0, np.int64)).shape == (0,)

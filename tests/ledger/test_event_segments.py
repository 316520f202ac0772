# SPDX-License-Identifier: Apache-2.0
"""Labels carry the segment of their event: live, read back, imported, and told later by another import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.engine import Catalogue, Engine
from ringfence.ledger import segment_build
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import EVENT, FRAUD, LABEL, LEGIT
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.spec import Attribute, AttributeType, Scenario
from tests.ledger.claims import DAY, T0, assert_same, claim, claims_scenario, row, whole
from tests.ledger.places import NOW, Place

MAKES = ["VW", "Opel", None, "Fiat"]


def segmented(*names: str, scenario: Scenario | None = None, **label: Any) -> Scenario:
    return msgspec.structs.replace(scenario or claims_scenario(**label), segments=names)


def traits(i: int) -> dict[str, Any]:
    return {"make": MAKES[i % 4], "night": [True, False, None][i % 3], "age": float(i)}


def assert_labels_carry_segments(records: dict[str, np.ndarray], scenario: Scenario) -> None:
    columns = list(scenario.segment_columns)
    others = [c for c in range(len(scenario.value_attributes)) if c not in columns]
    is_event = records["kind"] == EVENT
    of_event = dict(zip(records["seq"][is_event].tolist(), records["values"][is_event], strict=True))
    labels = np.flatnonzero(records["kind"] == LABEL)
    for i in labels.tolist():
        event = of_event[int(records["label_event_seq"][i])]
        np.testing.assert_array_equal(records["values"][i, columns], event[columns])
    assert np.isnan(records["values"][labels][:, others]).all()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """40 imported claims, some labelled, in row groups of 7 records; then live ones; then labels of both by import."""
    monkeypatch.setattr(segment_build, "_BATCH", 7)
    monkeypatch.setattr(segment_build, "ROW_GROUP", 7)
    place = Place(tmp_path / "workspace", segmented("make", "night", absent={"legit_after": "60d"}))
    known = [{"fraud": i % 2, "known": T0 + i * DAY + (i % 5) * 7 * DAY} if i % 3 else {} for i in range(40)]
    place.write([row(f"c{i}", T0 + i * DAY, **traits(i), **known[i]) for i in range(40)])
    place.load()
    return place


def told_live(place: Place) -> list[dict[str, np.ndarray]]:
    """Stage live claims and labels of staged, live and imported claims; return the batches as they were observed."""
    door, parts = Door(place.scenario, place.ledger.identity), []
    with place.ledger.writer(NOW) as writer:
        for i in range(40, 70):
            at_ms = T0 + (40 + i) * DAY
            attributes = {name: value for name, value in traits(i).items() if value is not None}
            writer.stage_event(door.admit(claim(f"c{i}", at_ms, attributes=attributes), now_ms=NOW.now_ms()))
            for of, value in ((i, FRAUD), (max(40, i - 9), i % 2), (i - 40, LEGIT), (i - 33, FRAUD)):
                if i % 3:
                    told = LabelNotice(
                        event_type="claim", event_id=f"c{of}", value=value, source="court", known_at_ms=None
                    )
                    writer.stage_label(told)
            writer.mature()
            parts.append(whole(iter([writer.batch()])))
            if i % 4 == 0:
                writer.commit()
        writer.commit()
    return parts


def test_labels_carry_the_segment_of_their_event_wherever_they_come_from(place: Place) -> None:
    live = told_live(place)
    later = {"known": T0 + 390 * DAY}
    rows = [row(f"c{i}", T0 + i * DAY, fraud=1 - i % 2, **later, **traits(i)) for i in range(40)]
    bare = {"story": None, "phone": None, **later}  # as the live ones were told
    rows += [row(f"c{i}", T0 + (40 + i) * DAY, fraud=1, **bare, **traits(i)) for i in range(42, 70, 3)]
    place.write(rows)
    report = place.load()
    assert (report.n_events, report.n_conflicts) == (0, 0)
    assert report.n_labels > 10
    read = whole(place.ledger.batches())
    assert_labels_carry_segments(read, place.scenario)
    assert (read["kind"] == LABEL).sum() > 100
    staged = {name: np.concatenate([part[name] for part in live]) for name in live[0]}
    begin, end = int(staged["seq"][0]), int(staged["seq"][-1])
    assert_same(staged, whole(place.ledger.batches(begin - 1, end)))
    assert_same(read, whole(place.ledger.batches(size=3)))


def test_rows_observed_live_equal_rows_replayed_as_bytes(place: Place) -> None:
    catalogue = Catalogue.build(place.scenario)
    engine, rows = Engine(catalogue), []
    for batch in place.ledger.batches():
        rows.append(engine.observe(batch))
    door = Door(place.scenario, place.ledger.identity)
    with place.ledger.writer(NOW) as writer:
        for i in range(25):
            attributes = {name: value for name, value in traits(i).items() if value is not None}
            writer.stage_event(
                door.admit(claim(f"d{i}", T0 + (90 + i) * DAY, attributes=attributes), now_ms=NOW.now_ms())
            )
            for of, value in ((f"d{i}", i % 2), (f"c{i}", 1), (f"d{i // 2}", 0)):
                writer.stage_label(
                    LabelNotice(event_type="claim", event_id=of, value=value, source="api", known_at_ms=None)
                )
            rows.append(engine.observe(writer.batch()))
            writer.commit()
    replayed = Engine(catalogue)
    again = [replayed.observe(batch) for batch in place.ledger.batches()]
    assert np.concatenate(rows).tobytes() == np.concatenate(again).tobytes()
    assert replayed.state_hash() == engine.state_hash()
    assert replayed.counters["segments"] > 8
    column = catalogue.index("segment.fraud_rate")
    assert len(np.unique(np.concatenate(rows)[:, column])) > 20


def test_naming_other_segments_needs_no_new_import(place: Place) -> None:
    told_live(place)
    for names in (("night",), ("make",), ("night", "make")):
        scenario = segmented(*names, scenario=place.scenario)
        assert_labels_carry_segments(whole(Ledger.open(place.directory, scenario).batches()), scenario)
    plain = segmented(scenario=place.scenario)
    records = whole(Ledger.open(place.directory, plain).batches())
    assert np.isnan(records["values"][records["kind"] == LABEL]).all()


def test_an_attribute_that_history_does_not_have_is_missing_there(place: Place) -> None:
    claims = place.scenario.decided
    colour = Attribute(name="colour", column="colour", type=AttributeType.CATEGORY)
    claims = msgspec.structs.replace(claims, attributes=(*claims.attributes, colour))
    wider = msgspec.structs.replace(place.scenario, event_types=(claims, *place.scenario.event_types[1:]))
    scenario = segmented("colour", "make", scenario=wider)
    ledger = Ledger.open(place.directory, scenario)
    with ledger.writer(NOW) as writer:
        for event_id, value in (("c1", FRAUD), ("c2", LEGIT)):
            told = LabelNotice(event_type="claim", event_id=event_id, value=value, source="court", known_at_ms=None)
            writer.stage_label(told)
        writer.commit()
    records = whole(ledger.batches())
    assert_labels_carry_segments(records, scenario)
    columns = list(scenario.segment_columns)
    assert np.isnan(records["values"][:, columns[0]]).all()
    assert not np.isnan(records["values"][records["kind"] == LABEL][:, columns[1]]).all()

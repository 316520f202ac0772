# SPDX-License-Identifier: Apache-2.0
"""Near duplicates: who counts, who shares an entity, what is known of them, what is forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ringfence.engine import BatchShapeError, Catalogue, Engine, restore_newest, write_snapshot
from ringfence.engine import layout as at
from ringfence.engine._kernels_text import n_bits
from ringfence.scenario.batch import FRAUD, LEGIT
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
    HOUR,
    MINUTE,
    SHOP,
    START,
    Happening,
    Record,
    Truth,
    batch_of,
    claims_scenario,
    cut,
    with_room,
)
from tests.oracles.text_twin import TextTwin

CATALOGUE = Catalogue.build(claims_scenario())
STORY = 0x0123_4567_89AB_CDEF


def texts_of(records: list[Record], catalogue: Catalogue = CATALOGUE) -> list[dict[str, float]]:
    """Return the text features of each decided event, by name without `attribute.story.`."""
    rows = Engine(catalogue).observe(batch_of(records, catalogue.scenario))
    names = [feature.name for feature in catalogue.features if feature.family == "text"]
    return [
        {name.removeprefix("attribute.story."): float(row[catalogue.index(name)]) for name in names} for row in rows
    ]


def told(after_ms: int, text: int = STORY, claimant: int = 1, shop: int = 1) -> Happening:
    return Happening(START + after_ms, ((CLAIMANT, claimant), (SHOP, shop)), 100, text=text)


def test_copies_are_counted_by_whether_they_share_an_entity() -> None:
    found = texts_of([told(0), told(HOUR, claimant=2), told(2 * HOUR, claimant=3, shop=3), told(3 * HOUR, shop=9)])[3]
    assert found == {
        "near_duplicates_7d": 3.0,
        "near_duplicates_linked_7d": 1.0,
        "near_duplicates_unlinked_7d": 2.0,
        "near_duplicate_frauds_7d": 0.0,
        "near_duplicate_hours_7d": 1.0,
    }


@pytest.mark.parametrize(("bits", "near"), [((), 1), ((0, 16, 32), 1), ((0, 1, 2), 1), ((0, 16, 32, 48), 0), ((3,), 1)])
def test_three_bits_apart_is_near_and_four_is_not(bits: tuple[int, ...], near: int) -> None:
    other = STORY
    for bit in bits:
        other ^= 1 << bit
    assert texts_of([told(0, other), told(1)])[1]["near_duplicates_7d"] == near


def test_every_pair_within_three_bits_shares_a_band() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        other = STORY
        for bit in rng.choice(64, size=3, replace=False):
            other ^= 1 << int(bit)
        assert n_bits(np.uint64(STORY ^ other)) == 3
        assert any((STORY ^ other) >> shift & 0xFFFF == 0 for shift in (0, 16, 32, 48))


def test_a_label_counts_from_when_it_is_known() -> None:
    records: list[Record] = [told(0), told(1), Truth(0, START + 5, FRAUD), told(10), Truth(0, START + 20, LEGIT)]
    found = [row["near_duplicate_frauds_7d"] for row in texts_of([*records, told(30)])]
    assert found == [0.0, 0.0, 1.0, 0.0]


def test_a_window_ends_at_the_event_and_begins_after_its_floor() -> None:
    at_floor, inside, later = told(0), told(HOUR + 1), told(8 * DAY)
    found = texts_of([at_floor, inside, later, told(7 * DAY + HOUR)])[3]
    assert found["near_duplicates_7d"] == 1.0
    assert found["near_duplicate_hours_7d"] == pytest.approx(7 * 24, abs=1e-3)


def test_thirty_days_are_told_apart_where_they_are_a_window() -> None:
    catalogue = Catalogue.build(claims_scenario(windows_ms=(DAY, 30 * DAY, 90 * DAY)))
    found = texts_of([told(0), told(20 * DAY), told(40 * DAY)], catalogue)[2]
    assert found["near_duplicates_30d"] == 1.0
    assert found["near_duplicates_90d"] == 2.0


def test_a_boilerplate_text_costs_no_more_than_its_newest_candidates() -> None:
    found = texts_of([told(i * 1000) for i in range(200)])
    assert [row["near_duplicates_7d"] for row in found] == [float(min(i, at.TEXT_CANDIDATES)) for i in range(200)]


def drawn_stream(seed: int) -> list[Record]:
    """A dense week, then sparse weeks, in which most is forgotten."""
    rng = np.random.default_rng(seed)
    records: list[Record] = []
    events: list[int] = []
    now_ms = 0
    for i in range(2600):
        now_ms += 5 * MINUTE if i < 1800 else 2 * HOUR
        story = int(rng.integers(1, 40)) * 0x0101_0101_0101_0101 ^ 1 << int(rng.integers(64))
        late_ms = int(rng.choice([0, 0, 0, HOUR, 3 * DAY]))
        events.append(len(records))
        text = story if rng.random() < 0.9 else 0
        records.append(told(now_ms - late_ms, text, int(rng.integers(30)), int(rng.integers(5))))
        if i % 7 == 0:
            records.append(Truth(int(rng.choice(events[-900:])), START + now_ms, int(rng.random() < 0.7)))
    return records


@pytest.mark.parametrize("most", [256, 4096])
def test_forgetting_and_restore_equal_the_twin(tmp_path: Path, most: int) -> None:
    records = drawn_stream(8)
    catalogue = with_room(CATALOGUE, texts=most)
    batch = batch_of(records, catalogue.scenario)
    twin = TextTwin(catalogue)
    wanted = [row for row in map(twin.observe, records) if row]
    engine = Engine(catalogue)
    first = engine.observe(cut(batch, 0, 1500))
    write_snapshot(engine, tmp_path)
    restored = restore_newest(catalogue, tmp_path)
    assert restored is not None
    assert restored.state_hash() == engine.state_hash()
    rows = np.concatenate([first, restored.observe(cut(batch, 1500, len(batch)))])
    assert restored.counters["texts_forgotten"] == twin.n_forgotten
    assert (twin.n_forgotten > 1_000) == (most == 256)
    assert restored.counters["texts"] == len(twin.told) < restored.n_texts - 1_000
    whole = Engine(catalogue)
    assert whole.observe(batch).tobytes() == rows.tobytes()
    assert whole.state_hash() == restored.state_hash()
    for feature in CATALOGUE.features:
        if feature.family == "text":
            expected = np.array([row[feature.name] for row in wanted])
            np.testing.assert_array_equal(rows[:, CATALOGUE.index(feature.name)], expected)


def test_without_the_family_no_text_is_kept() -> None:
    off = Catalogue.build(claims_scenario(features={"text": False}))
    assert "text" not in off.families
    assert "attribute.story" in off.names
    state = Engine(off).state
    assert state.text_heads.size == state.text_log.size == state.text_links.size == 0
    with pytest.raises(BatchShapeError, match="simhash"):
        Engine(off).observe(batch_of([told(0)], CATALOGUE.scenario))

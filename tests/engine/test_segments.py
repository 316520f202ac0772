# SPDX-License-Identifier: Apache-2.0
"""Smoothed rates that fall back on the rate of the event's segment: against the twin, as bytes, and at the limits."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ringfence.engine import Catalogue, Engine, restore_newest, write_snapshot
from ringfence.engine import layout as at
from ringfence.engine._kernels_segments import event_prior
from ringfence.engine.batch_arrays import arrays_of
from ringfence.engine.engine import empty_state
from ringfence.engine.leakage import replay_leakage
from ringfence.engine.look_ahead import LookAhead
from ringfence.scenario.spec import AttributeType, Scenario
from ringfence.scoring.sentences import FeatureText, say
from tests.engine.test_features_equal_twin import assert_rows_equal_twin
from tests.engine.test_neighbourhoods import assert_samples_equal_twin
from tests.engine.test_snapshot import ListedLedger
from tests.oracles.complete_twin import CompleteTwin
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
    SHOP,
    START,
    Happening,
    Record,
    Truth,
    batch_of,
    claims_scenario,
    cut,
    drawn_records,
)

MISSING = float("nan")
BY_MAKE, BY_BOTH = claims_scenario(segments=("make",)), claims_scenario(segments=("region", "make"))


def placed(records: list[Record], seed: int = 0, n_regions: int = 3) -> list[Record]:
    """Give each claim a region beside its make, missing in a quarter of cases."""
    rng = np.random.default_rng((seed, 2))
    found: list[Record] = []
    for record in records:
        if isinstance(record, Happening) and record.kind == 0:
            region = MISSING if rng.random() < 0.25 else float(rng.integers(n_regions))
            record = dataclasses.replace(record, values=(*record.values, region))
        found.append(record)
    return found


def claim(make: float, day: int = 0, claimant: int = 1) -> Happening:
    return Happening(START + day * DAY, ((CLAIMANT, claimant), (SHOP, claimant)), 100, values=(1.0, make))


def column(scenario: Scenario, records: list[Record], name: str) -> list[float]:
    catalogue = Catalogue.build(scenario)
    found: list[float] = Engine(catalogue).observe(batch_of(records, scenario))[:, catalogue.index(name)].tolist()
    return found


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("scenario", [BY_MAKE, BY_BOTH], ids=["make", "region and make"])
def test_rows_with_segments_equal_twin(seed: int, scenario: Scenario) -> None:
    assert_rows_equal_twin(placed(drawn_records(seed, 130), seed), scenario)


def test_rows_with_segments_and_many_corrections_equal_twin() -> None:
    assert_rows_equal_twin(placed(drawn_records(9, 150, label_share=0.7)), BY_BOTH)


def test_rows_with_true_or_false_as_segment_equal_twin() -> None:
    make, *others = sorted(BY_MAKE.decided.attributes, key=lambda attribute: attribute.name != "make")
    flags = (msgspec.structs.replace(make, type=AttributeType.BOOLEAN), *others)
    claims = msgspec.structs.replace(
        BY_MAKE.decided, attributes=tuple(sorted(flags, key=lambda a: a.name != "policy_age"))
    )
    scenario = msgspec.structs.replace(BY_MAKE, event_types=(claims, *BY_MAKE.event_types[1:]))
    records = [
        dataclasses.replace(r, values=(r.values[0], r.values[1] % 2)) if isinstance(r, Happening) else r
        for r in drawn_records(10, 100)
    ]
    assert_rows_equal_twin(records, scenario)


def test_samples_with_segments_equal_twin() -> None:
    records = placed(drawn_records(6, 120))
    assert_samples_equal_twin(records, BY_BOTH)


def test_a_rate_falls_back_on_the_segment_and_that_on_all() -> None:
    frauds: list[Record] = []
    for i in range(40):  # 30 known claims of make 1, a third of them fraud; 10 legit ones of make 2
        frauds += [claim(1.0 if i < 30 else 2.0, claimant=i), Truth(2 * i, START + DAY, int(i < 10))]
    strangers = [claim(1.0, 2, 100), claim(2.0, 2, 101), claim(3.0, 2, 102), claim(MISSING, 2, 103)]
    overall = 10.5 / 41
    first, second = (10 + 5) / (30 + 5 / overall), 5 / (10 + 5 / overall)
    expected = [first, second, overall, overall]
    for name in ("segment.fraud_rate", "claimant.fraud_rate", "event.linked_fraud_rate"):
        np.testing.assert_allclose(column(BY_MAKE, [*frauds, *strangers], name)[-4:], expected, rtol=1e-12)
    assert column(BY_MAKE, [*frauds, *strangers], "segment.known_count")[-4:] == [30.0, 10.0, 0.0, 0.0]
    assert column(BY_MAKE, [*frauds, *strangers], "segment.fraud_count")[-4:] == [10.0, 0.0, 0.0, 0.0]
    known = column(BY_MAKE, [*frauds, claim(1.0, 2, claimant=0)], "claimant.fraud_rate")[-1]
    np.testing.assert_allclose(known, (1 + 10 * first) / 11, rtol=1e-12)


def test_a_missing_value_is_a_segment_of_its_own() -> None:
    records = [claim(MISSING), Truth(0, START + DAY, 1), claim(MISSING, 2), claim(0.0, 2)]
    assert column(BY_MAKE, records, "segment.fraud_count") == [0.0, 1.0, 0.0]


def test_the_order_of_two_columns_tells_segments_apart() -> None:
    swapped = claims_scenario(segments=("make", "region"))
    there = Happening(START, ((CLAIMANT, 1),), 1, values=(1.0, 2.0, 3.0))
    back = Happening(START + 2 * DAY, ((CLAIMANT, 1),), 1, values=(1.0, 3.0, 2.0))
    for scenario in (BY_BOTH, swapped):
        assert column(scenario, [there, Truth(0, START + DAY, 1), back], "segment.fraud_count") == [0.0, 0.0]


def test_a_correction_leaves_nothing_behind() -> None:
    told_once = [claim(1.0), claim(1.0, 1, 2), Truth(0, START + DAY, 0), Truth(1, START + DAY, 1), claim(1.0, 2)]
    corrected = [
        *told_once[:2], Truth(0, START + DAY, 1), Truth(1, START + DAY, 0), Truth(1, START + DAY, 1),
        Truth(0, START + DAY, 0), claim(1.0, 2),
    ]  # fmt: skip
    for name in ("segment.known_count", "segment.fraud_count", "segment.fraud_rate"):
        assert column(BY_MAKE, told_once, name)[-1] == column(BY_MAKE, corrected, name)[-1]


def test_without_segments_the_rate_of_all_is_the_prior_to_the_last_bit() -> None:
    rng = np.random.default_rng(4)
    scenario = claims_scenario()
    engine, batch = Engine(Catalogue.build(scenario)), batch_of([claim(1.0)], scenario)
    for n_known in rng.integers(0, 10**7, size=200):
        n_fraud = int(rng.integers(0, n_known + 1))
        engine.state.meta[[at.ALL_KNOWN, at.ALL_FRAUD]] = n_known, n_fraud
        assert event_prior(arrays_of(batch), 0, engine.catalogue.plan, engine.state) == (n_fraud + 0.5) / (
            n_known + 1.0
        )


def test_segments_change_smoothed_rates_and_nothing_else() -> None:
    records = drawn_records(2, 300, n_people=20)
    plain, segmented = Catalogue.build(claims_scenario()), Catalogue.build(BY_MAKE)
    rows = Engine(plain).observe(batch_of(records, plain.scenario))
    others = Engine(segmented).observe(batch_of(records, BY_MAKE))
    assert plain.spec_hash != segmented.spec_hash
    n_changed = 0
    for before in plain.features:
        after = segmented.features[segmented.index(before.name)]
        one, other = rows[:, plain.index(before.name)], others[:, segmented.index(before.name)]
        if "shrunk" in before.sentence:
            assert after.version == before.version + 100
            assert after.sentence.endswith("the event's segment")
            assert one.tobytes() != other.tobytes()
            n_changed += 1
        else:
            assert after == before
            assert one.tobytes() == other.tobytes()
    assert n_changed > 10
    assert set(segmented.names) - set(plain.names) == {
        f"segment.{n}" for n in ("known_count", "fraud_count", "fraud_rate")
    }


def test_features_of_segments_go_with_their_family() -> None:
    scenario = claims_scenario(segments=("make",), features={"label_risk": False})
    assert not [name for name in Catalogue.build(scenario).names if name.startswith("segment.")]
    assert_rows_equal_twin(drawn_records(12, 100), scenario)


def test_spec_hash_tells_segments_and_their_order_apart() -> None:
    hashes = {Catalogue.build(scenario, only=["event.hour"]).spec_hash for scenario in (BY_BOTH, claims_scenario())}
    turned = msgspec.structs.replace(BY_BOTH, segments=BY_BOTH.segments[::-1])
    assert Catalogue.build(turned, only=["event.hour"]).spec_hash not in hashes
    assert len(hashes) == 2


def test_rows_with_segments_are_the_same_bytes_however_batched_and_across_a_restore(tmp_path: Path) -> None:
    catalogue = Catalogue.build(BY_BOTH)
    batch = batch_of(placed(drawn_records(3, 500, n_people=60, n_shops=9), n_regions=20), BY_BOTH)
    bulk = Engine(catalogue)
    expected = bulk.observe(batch).tobytes()
    single = Engine(catalogue)
    assert b"".join(single.observe(cut(batch, i, i + 1)).tobytes() for i in range(len(batch))) == expected
    assert single.state_hash() == bulk.state_hash()
    assert bulk.counters["segments"] > 40
    engine, parts = Engine(catalogue), []
    for begin, end in itertools.pairwise([0, 1, 140, 333, len(batch)]):
        parts.append(engine.observe(cut(batch, begin, end)).tobytes())
        before = engine.state_hash()
        assert engine.peek(cut(batch, 0, 50)).shape[0] > 0
        assert engine.state_hash() == before
        write_snapshot(engine, tmp_path)
        restored = restore_newest(catalogue, tmp_path)
        assert restored is not None
        engine = restored
        assert engine.state_hash() == before
    assert b"".join(parts) == expected
    assert engine.state_hash() == bulk.state_hash()


def test_segments_beyond_the_most_fall_back_on_all_and_are_counted() -> None:
    catalogue = Catalogue.build(BY_BOTH)
    records = placed(drawn_records(5, 260, label_share=0.5), n_regions=6)
    engine = Engine(catalogue, state=empty_state(catalogue, most_segments=8))
    rows = engine.observe(batch_of(records, BY_BOTH))
    twin = CompleteTwin(catalogue)
    twin.features.segments.most = 8
    expected = [row for row in map(twin.observe, records) if row is not None]
    for name in ("segment.known_count", "segment.fraud_count", "segment.fraud_rate", "claimant.fraud_rate"):
        wanted = [row[name] for row in expected]
        np.testing.assert_allclose(rows[:, catalogue.index(name)], wanted, rtol=1e-9, equal_nan=True)
    assert engine.counters["segments"] == 8
    assert engine.counters["labels_beyond_segments"] == twin.features.segments.n_beyond > 0


def test_a_label_told_early_is_counted_under_the_segment_of_its_event() -> None:
    records = [claim(1.0), claim(1.0, 1, 2), Truth(0, START + 9 * DAY, 1)]
    source = ListedLedger(batch_of(records, BY_MAKE))
    catalogue = Catalogue.build(BY_MAKE, neighbourhoods=4)
    ahead = LookAhead(source, catalogue)
    rows = np.concatenate([Engine(catalogue).observe(batch) for batch in ahead.batches()])
    assert rows[:, catalogue.index("segment.fraud_count")].tolist() == [0.0, 1.0]
    seqs = np.array([1, 2], np.int64)
    assert replay_leakage(source, catalogue, seqs, ahead.honest).n_violations == 0


def test_a_reason_about_a_segment_reads_as_a_sentence() -> None:
    catalogue = Catalogue.build(BY_BOTH)

    def told(name: str, value: float) -> str:
        feature = catalogue.features[catalogue.index(name)]
        text = FeatureText(
            name=name, group=feature.group, sentence=feature.sentence, unit=feature.unit, roles=("claimant",)
        )
        return say(text, value, currency="EUR")

    assert told("segment.fraud_rate", 0.1) == (
        "Share of confirmed frauds among the known events of the same region and make: 10 %"
    )
    assert told("segment.fraud_count", 3.0) == "3 earlier events of the same region and make that are known to be fraud"
    assert told("claimant.fraud_rate", 0.25) == (
        "Share of confirmed frauds among the known events of this claimant: 25 %"
    )

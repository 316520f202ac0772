# SPDX-License-Identifier: Apache-2.0
"""The leakage guard passes what is honest, and fails on each kind of cheat, the deliberate look-ahead among them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ringfence.engine import Catalogue, Engine
from ringfence.engine import layout as at
from ringfence.engine.label_history import read_history, seat_keys
from ringfence.engine.leakage import leakage, replay_leakage
from ringfence.engine.look_ahead import LookAhead
from ringfence.engine.replay import NotDecidedError
from ringfence.scenario.batch import LABEL, NO_LABEL
from tests.engine.test_snapshot import ListedLedger
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
    SHOP,
    START,
    WITNESS,
    Happening,
    Record,
    Truth,
    batch_of,
    claims_scenario,
    cut,
    drawn_records,
    with_room,
)

SCENARIO = claims_scenario()
CATALOGUE = Catalogue.build(SCENARIO, only=(), neighbourhoods=16)  # rows are of no concern here
RECORDS = drawn_records(12, 220)
BATCH = batch_of(RECORDS, SCENARIO)
LEDGER = ListedLedger(BATCH)
DECIDED = BATCH.seq[(BATCH.kind == 0) & (BATCH.event_type == 0)]
KINDS = (
    "n_not_earlier",
    "n_not_on_record",
    "n_ahead",
    "n_other_label",
    "n_seats_ahead",
    "n_seats_other",
)
HISTORY = read_history(LEDGER, CATALOGUE)


def test_honest_replay_has_no_violation() -> None:
    report = replay_leakage(LEDGER, CATALOGUE, DECIDED, HISTORY)
    assert (report.n_violations, report.first_seq) == (0, None)
    assert report.holds
    assert report.n_events == len(DECIDED)
    assert report.n_links > report.n_labelled > 100


def test_honest_replay_of_crowds_has_no_violation() -> None:
    # More entities than take part; the first witness is the claimant.
    rng = np.random.default_rng(8)
    records: list[Record] = []
    for i in range(40):
        crowd = [int(who) for who in rng.choice(30, size=int(rng.integers(9, 21)), replace=False)]
        links = ((CLAIMANT, crowd[0]), *((WITNESS, who) for who in crowd), (SHOP, int(rng.integers(3))))
        records += [Happening(START + i * DAY, links, 5), Truth(len(records), START + i * DAY + 1, i % 2)]
    ledger = ListedLedger(batch_of(records, SCENARIO))
    history = read_history(ledger, CATALOGUE)
    report = replay_leakage(ledger, CATALOGUE, history.event_seq, history)
    assert report.holds
    assert report.n_seats > 100


@pytest.mark.parametrize("seed", range(3))
def test_honest_replay_beside_hubs_and_forgotten_events_has_no_violation(seed: int) -> None:
    catalogue = Catalogue.build(claims_scenario(hub_cap=9), only=(), neighbourhoods=8)
    catalogue = with_room(catalogue, stored=16, slots=40)
    ledger = ListedLedger(batch_of(drawn_records(seed, 150, n_people=9), SCENARIO))
    history = read_history(ledger, catalogue)
    assert replay_leakage(ledger, catalogue, history.event_seq, history).holds


def test_honest_replay_of_a_sequence_has_no_violation() -> None:
    scenario = claims_scenario(sequence=True)
    batch = batch_of(drawn_records(44, 200), scenario)
    decided = batch.seq[(batch.kind == 0) & (batch.event_type == 0)]
    ledger, catalogue = ListedLedger(batch), Catalogue.build(scenario, only=(), neighbourhoods=8)
    assert replay_leakage(ledger, catalogue, decided, read_history(ledger, catalogue)).holds
    assert replay_leakage(ledger, catalogue, decided, read_history(ledger, CATALOGUE)).n_not_on_record > 0


def test_look_ahead_is_caught() -> None:
    ahead = LookAhead(LEDGER, CATALOGUE)
    report = replay_leakage(ahead, CATALOGUE, ahead.seqs(DECIDED), ahead.history)
    assert not report.holds
    assert report.n_ahead > 0
    assert report.first_seq in ahead.seqs(DECIDED)
    assert report.n_not_earlier == report.n_not_on_record == 0  # it lies about labels, not about events


def test_a_label_told_late_is_seen_early_by_the_look_ahead_alone() -> None:
    # day   0        1            9
    #       claim    2nd claim    label of the 1st: fraud
    links = ((CLAIMANT, 1), (SHOP, 1))
    records = [Happening(START, links, 5), Happening(START + DAY, links, 5), Truth(0, START + 9 * DAY, 1)]
    ledger = ListedLedger(batch_of(records, SCENARIO))
    history, seqs = read_history(ledger, CATALOGUE), np.array([1, 2], np.int64)
    honest = replay_leakage(ledger, CATALOGUE, seqs, history)
    assert (honest.n_links, honest.n_labelled, honest.n_violations) == (2, 0, 0)  # by claimant and by shop
    ahead = LookAhead(ledger, CATALOGUE)
    cheating = replay_leakage(ahead, CATALOGUE, ahead.seqs(seqs), ahead.history)
    assert (cheating.n_links, cheating.n_labelled, cheating.n_ahead, cheating.first_seq) == (2, 2, 2, 4)
    assert (cheating.n_seats, cheating.n_seats_ahead, cheating.n_violations) == (4, 2, 4)


def test_each_kind_of_violation_is_counted_as_such() -> None:
    found = Engine(CATALOGUE).observe_sampled(BATCH)[1]
    seats = seat_keys(BATCH, CATALOGUE.plan, np.isin(BATCH.seq, DECIDED))
    i = int(np.flatnonzero(found.mask[:, 0, 0])[-1])
    known, fraud = found.events[..., at.SAMPLE_KNOWN], found.events[..., at.SAMPLE_FRAUD]
    unknown = tuple(np.argwhere(found.mask & (known == 0))[0])
    labelled = tuple(np.argwhere(found.mask & (known == 1))[0])

    def violated(name: str, where: tuple[int, ...], value: float) -> dict[str, int]:
        changed = getattr(found, name).copy()
        changed[where] = value
        report = msgspec.structs.asdict(leakage(msgspec.structs.replace(found, **{name: changed}), seats, HISTORY))
        assert report["first_seq"] == found.seq[where[0]]
        return {k: v for k, v in report.items() if v and k in KINDS}

    assert leakage(found, seats, HISTORY).holds
    assert "n_not_earlier" in violated("event_seq", (i, 0, 0), int(found.seq[i]))
    assert "n_not_on_record" in violated("event_seq", (i, 0, 0), int(BATCH.seq[BATCH.kind == LABEL][0]))
    assert violated("event_time_ms", (i, 0, 0), START - DAY) == {"n_not_on_record": 1}
    assert violated("events", (*unknown, at.SAMPLE_KNOWN), 1) == {"n_ahead": 1}
    assert violated("events", (*labelled, at.SAMPLE_FRAUD), 1 - fraud[labelled]) == {"n_other_label": 1}
    assert violated("events", (*labelled, at.SAMPLE_KNOWN), 0) == {"n_other_label": 1}
    assert violated("nodes", (i, 0, at.SEAT_KNOWN), np.log1p(900)) == {"n_seats_ahead": 1}
    assert violated("nodes", (i, 0, at.SEAT_FRAUDS), np.log1p(900)) == {"n_seats_ahead": 1}
    assert violated("nodes", (i, 0, at.SEAT_KNOWN), 0) == {"n_seats_other": 1}
    empty = tuple(np.argwhere(seats == 0)[0])
    assert violated("nodes", (*empty, at.SEAT_PRESENT), 1) == {"n_seats_other": 1}


def test_label_before_equals_a_walk_through_the_records() -> None:
    rng = np.random.default_rng(0)
    of, before = rng.integers(1, 221, 400), rng.integers(1, 300, 400)
    found = HISTORY.label_before(of, before)
    for event, seq, value in zip(of, before, found, strict=True):
        standing = NO_LABEL
        for number, record in enumerate(RECORDS, 1):
            if isinstance(record, Truth) and record.of + 1 == event and number < seq:
                standing = record.value
        assert value == standing


def test_look_ahead_tells_each_label_once_right_after_its_event() -> None:
    ahead = LookAhead(LEDGER, CATALOGUE)
    for size in (17, 65_536):
        batches = list(ahead.batches(size=size))
        seq = np.concatenate([batch.seq for batch in batches])
        labels = np.concatenate([batch.kind for batch in batches]) == LABEL
        of = np.concatenate([batch.label_event_seq for batch in batches])
        assert (np.diff(seq) > 0).all()
        assert (of[labels] + 1 == seq[labels]).all()
        assert set(of[labels]) == set(2 * HISTORY.label_of)
        value = np.concatenate([batch.label_value for batch in batches])[labels]
        final = HISTORY.label_before(of[labels] // 2, np.full(labels.sum(), 10**6))
        assert value.tolist() == final.tolist()
    tail = np.concatenate([batch.seq for batch in ahead.batches(after_seq=int(seq[99]))])
    assert tail[-50:].tolist() == seq[-50:].tolist()


def test_ledger_without_labels_or_events_is_answered() -> None:
    few = ListedLedger(cut(BATCH, 0, 1))
    history = read_history(few, CATALOGUE)
    report = replay_leakage(few, CATALOGUE, history.event_seq, history)
    assert report.n_links == 0
    assert not report.holds  # nothing was looked at, so nothing was shown


def test_seqs_that_are_no_events_are_refused() -> None:
    with pytest.raises(NotDecidedError):
        replay_leakage(LEDGER, CATALOGUE, BATCH.seq[BATCH.kind == LABEL], HISTORY)

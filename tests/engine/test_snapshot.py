# SPDX-License-Identifier: Apache-2.0
"""Snapshots are whole or refused with a reason; the follower writes them from the ledger alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ringfence.engine import Catalogue, Engine, SnapshotError, follower, restore_newest, write_snapshot
from ringfence.engine import layout as at
from ringfence.engine.follower import run_follower
from ringfence.engine.snapshot import clear_unfinished, list_snapshots, read_snapshot
from ringfence.engine.ticks import TickEffect
from ringfence.scenario.batch import Batch
from tests.oracles.streams import batch_of, cards_scenario, claims_scenario, cut, drawn_records

CATALOGUE = Catalogue.build(claims_scenario())
BATCH = batch_of(drawn_records(1, 120), claims_scenario())


class ListedLedger:
    """A ledger that is one batch long."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    @property
    def last_seq(self) -> int:
        return int(self.batch.seq[-1])

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        until = self.last_seq if until_seq is None else until_seq
        for begin in range(after_seq, until, size):
            yield cut(self.batch, begin, min(begin + size, until))

    def ticks(self, spec: str, after_seq: int = 0) -> list[TickEffect]:
        return []


def engine_at(seq: int) -> Engine:
    engine = Engine(CATALOGUE)
    engine.observe(cut(BATCH, 0, seq))
    return engine


def refused_reason(path: Path, *, catalogue: Catalogue = CATALOGUE, last_seq: int | None = None) -> str:
    with pytest.raises(SnapshotError) as caught:
        read_snapshot(catalogue, path, last_seq=last_seq)
    assert path.name in str(caught.value)
    return caught.value.reason


def test_only_the_newest_three_snapshots_are_kept(tmp_path: Path) -> None:
    for seq in (10, 20, 30, 40):
        write_snapshot(engine_at(seq), tmp_path)
    assert [int(path.stem) for path in list_snapshots(tmp_path)] == [40, 30, 20]
    assert sorted(tmp_path.iterdir()) == sorted(list_snapshots(tmp_path))


def test_no_snapshot_means_none(tmp_path: Path) -> None:
    assert restore_newest(CATALOGUE, tmp_path / "nowhere") is None


def test_snapshot_of_an_empty_engine_restores(tmp_path: Path) -> None:
    write_snapshot(Engine(CATALOGUE), tmp_path)
    restored = restore_newest(CATALOGUE, tmp_path)
    assert restored is not None
    assert restored.seq == 0
    assert restored.state_hash() == Engine(CATALOGUE).state_hash()


def test_damaged_snapshot_is_passed_over_for_an_older_one(tmp_path: Path) -> None:
    write_snapshot(engine_at(50), tmp_path)
    newest = write_snapshot(engine_at(90), tmp_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    told: list[SnapshotError] = []
    restored = restore_newest(CATALOGUE, tmp_path, refused=told.append)
    assert restored is not None
    assert restored.seq == 50
    assert [error.reason for error in told] == ["its checksum does not match"]


@pytest.mark.parametrize("size", [0, 7, 40, 1000])
def test_truncated_snapshot_is_refused(tmp_path: Path, size: int) -> None:
    path = write_snapshot(engine_at(90), tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    assert refused_reason(path)


def test_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.snapshot"
    path.write_bytes(b"x" * 200)
    assert refused_reason(path) == "it is no snapshot of ringfence"


def test_unreadable_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.snapshot"
    path.mkdir()
    assert "cannot be read" in refused_reason(path) or "bytes" in refused_reason(path)


def test_snapshot_of_other_features_is_refused(tmp_path: Path) -> None:
    path = write_snapshot(engine_at(90), tmp_path)
    assert "holds features" in refused_reason(path, catalogue=Catalogue.build(cards_scenario()))


def test_snapshot_of_another_state_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_snapshot(engine_at(90), tmp_path)
    monkeypatch.setattr(at, "STATE_FORMAT", at.STATE_FORMAT + 1)
    assert "state format" in refused_reason(path)


def test_snapshot_ahead_of_the_ledger_is_refused(tmp_path: Path) -> None:
    path = write_snapshot(engine_at(90), tmp_path)
    assert refused_reason(path, last_seq=89) == "it is at seq 90, the ledger ends at 89"
    assert read_snapshot(CATALOGUE, path, last_seq=90).seq == 90


def test_follower_writes_what_a_replay_gives_and_starts_from_it(tmp_path: Path) -> None:
    ledger = ListedLedger(cut(BATCH, 0, 80))
    polls = iter([False, False, False, True])
    written = run_follower(
        ledger,
        CATALOGUE,
        tmp_path,
        every_records=50,
        every_seconds=1e9,
        stop=lambda: next(polls, True),
        poll_seconds=0.0,
    )
    assert written == 80
    ledger.batch = BATCH
    polls = iter([False, False, False, False, True])
    run_follower(
        ledger, CATALOGUE, tmp_path, every_records=10**9, every_seconds=0.0, stop=lambda: next(polls, True),
        poll_seconds=0.0,
    )  # fmt: skip
    restored = restore_newest(CATALOGUE, tmp_path)
    assert restored is not None
    assert restored.seq == len(BATCH)
    assert restored.state_hash() == engine_at(len(BATCH)).state_hash()


class NotedLedger(ListedLedger):
    """Notes in what portions it was read."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.sizes: list[int] = []

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        for batch in super().batches(after_seq, until_seq, size):
            self.sizes.append(len(batch))
            yield batch


class SteppedTime:
    """Time that goes by only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_follower_that_rests_folds_in_small_portions_and_comes_to_the_same_state(tmp_path: Path) -> None:
    whole = batch_of(drawn_records(2, 400), claims_scenario())
    ledger, turns = NotedLedger(whole), iter([False] * 5)
    written = run_follower(
        ledger, CATALOGUE, tmp_path, every_records=1, every_seconds=0.0, stop=lambda: next(turns, True),
        poll_seconds=0.0, rest=0.1,
    )  # fmt: skip
    assert ledger.sizes == [128, 128, 128, len(whole) - 3 * 128]
    assert written == len(whole)
    restored, plain = restore_newest(CATALOGUE, tmp_path), Engine(CATALOGUE)
    plain.observe(whole)
    assert restored is not None
    assert restored.state_hash() == plain.state_hash()


def test_a_follower_that_rests_leaves_time_between_two_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time, ledger, spans = SteppedTime(), ListedLedger(cut(BATCH, 0, 1)), []

    def ends() -> bool:
        end = min(ledger.last_seq + 1, len(BATCH))
        ledger.batch = cut(BATCH, 0, end)
        return end == len(BATCH)

    def writes_slowly(engine: Engine, directory: Path, *, rest: float) -> None:
        began_s = time.now_s
        time.sleep(5.0)
        spans.append((began_s, time.now_s))

    monkeypatch.setattr(follower, "time", time)
    monkeypatch.setattr(follower, "write_snapshot", writes_slowly)
    run_follower(
        ledger, CATALOGUE, tmp_path, every_records=1, every_seconds=1e9, stop=ends, poll_seconds=1.0, rest=3.0
    )  # fmt: skip
    assert len(spans) >= 3
    assert {after - before for (_, before), (after, _) in pairwise(spans)} == {15.0}


def test_a_snapshot_damaged_anywhere_is_refused_for_its_checksum(tmp_path: Path) -> None:
    # It is copied while it is verified, so what is copied may be anything.
    engine = Engine(CATALOGUE)
    engine.observe(BATCH)
    path = write_snapshot(engine, tmp_path)
    whole = path.read_bytes()
    for place in [*range(9, 200, 7), *range(200, len(whole), len(whole) // 60)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises(SnapshotError, match="checksum does not match"):
            read_snapshot(CATALOGUE, path)


def test_what_a_killed_writer_left_is_cleared_and_what_another_writes_is_not(tmp_path: Path) -> None:
    of_nobody, of_another, of_mine = 2**22 + 1, os.getppid(), os.getpid()  # the first is beyond the largest process id
    names = {pid: tmp_path / f"{7:020d}.{pid}.unfinished" for pid in (of_nobody, of_another, of_mine)}
    for file in names.values():
        file.write_bytes(b"half")
    engine = Engine(CATALOGUE)
    engine.observe(cut(BATCH, 0, 10))
    kept = write_snapshot(engine, tmp_path)
    clear_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([kept, names[of_another]])


def test_older_snapshots_are_given_back_piece_by_piece_and_leave_nothing(tmp_path: Path) -> None:
    engine = Engine(CATALOGUE)
    for begin in range(0, 50, 10):
        engine.observe(cut(BATCH, begin, begin + 10))
        write_snapshot(engine, tmp_path, keep=2, rest=0.1)
    assert sorted(tmp_path.iterdir(), reverse=True) == list_snapshots(tmp_path)
    assert len(list_snapshots(tmp_path)) == 2

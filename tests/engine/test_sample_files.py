# SPDX-License-Identifier: Apache-2.0
"""Samples on disk: equal to live ones, in chunks, below a cap, whole or absent."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine, NoSamplingError
from ringfence.engine.drawing import drawn_examples
from ringfence.engine.errors import SampleFilesError, TooManySamplesError
from ringfence.engine.replay import NotDecidedError
from ringfence.engine.sample_files import MANIFEST, SampleFiles, bytes_per_event, sampled_rows
from ringfence.scenario.batch import Batch
from tests.engine.test_snapshot import ListedLedger
from tests.oracles.streams import batch_of, claims_scenario, cut, drawn_records

SCENARIO = claims_scenario(features={"one_hop": False, "velocity": False, "label_risk": False})
CATALOGUE = Catalogue.build(SCENARIO, neighbourhoods=4)
BATCH = batch_of(drawn_records(9, 160), SCENARIO)
LEDGER = ListedLedger(BATCH)
DECIDED = BATCH.seq[(BATCH.kind == 0) & (BATCH.event_type == 0)]
SEQS = DECIDED[::2]


class BrokenLedger(ListedLedger):
    """A ledger whose disk fails in the middle."""

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        yield cut(self.batch, 0, 70)
        raise OSError("input/output error")


def together(files: SampleFiles, name: str) -> NDArray[np.generic]:
    parts = [chunk.rows if name == "rows" else getattr(chunk.neighbourhoods, name) for chunk in files]
    return np.concatenate(parts)


@pytest.mark.parametrize("chunk_events", [7, 16, 1_000])
def test_samples_on_disk_equal_live_ones_however_they_are_cut(chunk_events: int, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "samples"
    sampled_rows(LEDGER, CATALOGUE, SEQS, folder, chunk_events=chunk_events, with_references=True)
    files = SampleFiles.open(folder, CATALOGUE)
    assert (len(files), files.n_chunks) == (len(SEQS), -(-len(SEQS) // chunk_events))
    wanted = np.isin(BATCH.seq, SEQS)
    rows, live = Engine(CATALOGUE).observe_sampled(BATCH, wanted, wanted)
    assert together(files, "rows").tobytes() == rows.tobytes()
    for name in live.__struct_fields__:
        assert together(files, name).tobytes() == getattr(live, name).tobytes(), name
    assert isinstance(files.chunk(0).rows, np.memmap)


def test_replay_from_a_restored_engine_gives_the_same_samples(tmp_path: Path) -> None:
    engine = Engine(CATALOGUE)
    engine.observe(cut(BATCH, 0, 60))
    late = SEQS[SEQS > 60]
    files = sampled_rows(LEDGER, CATALOGUE, late, tmp_path / "late", engine=engine)
    every = sampled_rows(LEDGER, CATALOGUE, SEQS, tmp_path / "every")
    assert together(files, "events").tobytes() == together(every, "events")[-len(late) :].tobytes()
    assert together(files, "event_seq").shape == (0,)  # references were not asked for


def test_no_events_make_an_empty_but_complete_directory(tmp_path: Path) -> None:
    files = sampled_rows(LEDGER, CATALOGUE, SEQS[:0], tmp_path / "none")
    assert (len(SampleFiles.open(files.directory)), list(files)) == (0, [])


def test_cap_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    cap = 10 * bytes_per_event(CATALOGUE) + 2_000
    with pytest.raises(TooManySamplesError, match=r"10 events would fit; raise the cap") as caught:
        sampled_rows(LEDGER, CATALOGUE, SEQS, tmp_path / "much", most_bytes=cap)
    assert caught.value.fits == 10
    assert list(tmp_path.iterdir()) == []
    fitting = sampled_rows(LEDGER, CATALOGUE, SEQS[:10], tmp_path / "fits", most_bytes=cap)
    arrays = [path for path in fitting.directory.iterdir() if path.name != MANIFEST]
    assert sum(path.stat().st_size for path in arrays) <= cap


@pytest.mark.compiled
def test_memory_is_bounded_by_chunks_and_not_by_events(tmp_path: Path) -> None:
    catalogue = Catalogue.build(SCENARIO, neighbourhoods=16)
    peaks = {}
    for chunk_events in (4, 1_000):
        engine = Engine(catalogue)
        tracemalloc.start()
        sampled_rows(LEDGER, catalogue, DECIDED, tmp_path / f"{chunk_events}", engine=engine, chunk_events=chunk_events)
        peaks[chunk_events] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    all_at_once = len(DECIDED) * bytes_per_event(catalogue)
    assert peaks[1_000] > all_at_once > 400_000
    assert peaks[4] < 2 * 4 * bytes_per_event(catalogue, with_references=True) + 100_000  # the rest is Python's own


def test_interrupted_run_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="input/output"):
        sampled_rows(BrokenLedger(BATCH), CATALOGUE, SEQS, tmp_path / "broken", chunk_events=5)
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_behind_is_refused_and_then_replaced(tmp_path: Path) -> None:
    left = tmp_path / "samples.unfinished"
    left.mkdir()
    (left / "00000-rows.npy").write_bytes(b"half")
    with pytest.raises(SampleFilesError, match=MANIFEST):
        SampleFiles.open(left)
    files = sampled_rows(LEDGER, CATALOGUE, SEQS, tmp_path / "samples")
    assert len(files) == len(SEQS)
    assert not left.exists()


def test_seqs_that_are_no_decided_events_are_refused(tmp_path: Path) -> None:
    labels = BATCH.seq[BATCH.kind == 1]
    with pytest.raises(NotDecidedError):
        sampled_rows(LEDGER, CATALOGUE, labels[:3], tmp_path / "labels")
    assert list(tmp_path.iterdir()) == []


def test_existing_directory_is_never_overwritten(tmp_path: Path) -> None:
    sampled_rows(LEDGER, CATALOGUE, SEQS, tmp_path / "samples")
    with pytest.raises(SampleFilesError, match="exists already"):
        sampled_rows(LEDGER, CATALOGUE, SEQS, tmp_path / "samples")


def test_damaged_or_foreign_samples_are_refused_with_the_reason(tmp_path: Path) -> None:
    files = sampled_rows(LEDGER, CATALOGUE, SEQS, tmp_path / "samples")
    with pytest.raises(SampleFilesError, match="write the samples again with this catalogue"):
        SampleFiles.open(files.directory, Catalogue.build(SCENARIO, neighbourhoods=5))
    path = files.directory / "00000-mask.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SampleFilesError, match="00000-mask"):
        files.chunk(0)
    np.save(path, np.zeros(3, np.bool_))
    with pytest.raises(SampleFilesError, match="has shape"):
        files.chunk(0)
    manifest = files.directory / MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(SampleFilesError, match="format 99"):
        SampleFiles.open(files.directory)


def test_catalogue_without_sampling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSamplingError):
        sampled_rows(LEDGER, Catalogue.build(SCENARIO), SEQS, tmp_path / "samples")
    assert list(tmp_path.iterdir()) == []


def test_draw_keeps_every_fraud_and_weighs_the_rest() -> None:
    seq = np.arange(10, 1010, dtype=np.int64)
    fraud = (seq % 50 == 0).astype(np.int8)
    drawn = drawn_examples(seq, fraud, negatives_per_fraud=5, generator=np.random.default_rng(1))
    assert drawn.seq[drawn.fraud == 1].tolist() == seq[fraud == 1].tolist()
    assert (drawn.fraud == 0).sum() == 100
    assert drawn.weight.sum() == pytest.approx(1000)
    assert (np.diff(drawn.seq) > 0).all()
    again = drawn_examples(seq, fraud, negatives_per_fraud=5, generator=np.random.default_rng(1))
    assert again.seq.tolist() == drawn.seq.tolist()
    other = drawn_examples(seq, fraud, negatives_per_fraud=5, generator=np.random.default_rng(2))
    assert other.seq.tolist() != drawn.seq.tolist()
    every = drawn_examples(seq, fraud, negatives_per_fraud=1e6, generator=np.random.default_rng(1))
    assert len(every) == 1000
    assert (every.weight == 1).all()
    with pytest.raises(ValueError, match="> 0"):
        drawn_examples(seq, fraud, negatives_per_fraud=0, generator=np.random.default_rng(1))

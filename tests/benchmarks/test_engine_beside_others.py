# SPDX-License-Identifier: Apache-2.0
"""The engine's benchmark beside other libraries: its stream, its comparison of values, its page."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.engine.agree import compare, largest_share
from benchmarks.engine.contender import library
from benchmarks.engine.machine import machine_facts
from benchmarks.engine.page import Report, page_text, write_page
from benchmarks.engine.programme import Programme, Table
from benchmarks.engine.ringfence_engine import LABEL_DELAY_S, LABELS_EVERY_S, RingfenceEngine
from benchmarks.engine.stream import Graph, Stream
from benchmarks.engine.trial import Trial, run, run_apart
from ringfence.scenario.batch import LABEL


@pytest.mark.parametrize("graph", list(Graph))
def test_stream_is_ordered_and_nobody_pays_himself(graph: Graph) -> None:
    transfers = Stream(graph=graph, n_events=3_000).whole()
    assert (np.diff(transfers.time_s) >= 0).all()
    assert (transfers.source != transfers.destination).all()
    assert transfers.source.max() < 150
    assert transfers.destination.min() >= 0


def test_hubs_take_part_in_more_transfers_than_anybody_else() -> None:
    uniform, hubs = (largest_share(Stream(graph=graph, n_events=20_000).whole()) for graph in Graph)
    assert uniform < 0.006 < 0.05 < hubs


def test_labels_follow_their_event_by_seven_days_in_one_batch_an_hour_and_name_the_same_accounts() -> None:
    engine = RingfenceEngine(labels=True)
    stream = Stream(graph=Graph.UNIFORM, n_events=900)
    records = [piece for chunk in stream.chunks(size=128) for piece in engine.prepare(chunk, 64)]
    by_seq = {int(seq): (piece, i) for piece in records for i, seq in enumerate(piece.seq)}
    assert sorted(by_seq) == list(by_seq)
    labels = [(piece, i) for piece, i in by_seq.values() if piece.kind[i] == LABEL]
    assert len(labels) > 700
    for piece, i in labels:
        event, j = by_seq[int(piece.label_event_seq[i])]
        late_ms = piece.time_ms[i] - event.time_ms[j] - LABEL_DELAY_S * 1_000
        assert 0 <= late_ms < LABELS_EVERY_S * 1_000
        assert piece.time_ms[i] % (LABELS_EVERY_S * 1_000) == 0
        assert piece.label_event_time_ms[i] == event.time_ms[j]
        assert (piece.link_lo.reshape(-1, 2)[i] == event.link_lo.reshape(-1, 2)[j]).all()


def test_engine_and_duckdb_agree_on_every_rolling_column() -> None:
    said = compare(["ringfence", "duckdb"], 600, run)
    assert any("ringfence: equal to DuckDB" in sentence for sentence in said)


@pytest.mark.parametrize("name", ["snapml", "pandas", "river"])
def test_rival_agrees_with_duckdb(name: str) -> None:
    pytest.importorskip(name, reason=f"{name} is in the extra bench")
    said = compare([name], 2_000, run)
    assert any(sentence.startswith(name) for sentence in said)


def test_missing_library_says_what_to_install() -> None:
    with pytest.raises(SystemExit, match=r"pip install 'ringfence\[bench\]'"):
        library("no_such_library")


def test_contender_stops_at_its_cap() -> None:
    trial = Trial(contender="ringfence", stream=Stream(graph=Graph.UNIFORM, n_events=500), batch_size=1, cap_s=0.0)
    measured = run(trial)
    assert measured.stopped
    assert measured.n_done == 1


def test_trial_in_a_process_of_its_own_counts_its_last_events_alone() -> None:
    stream = Stream(graph=Graph.HUBS, n_events=600)
    measured = run_apart(Trial(contender="ringfence", stream=stream, batch_size=128, n_timed=300))
    assert (measured.n_done, measured.stopped) == (300, False)
    assert 0 < measured.n_accounts <= stream.n_accounts
    assert measured.facts["state_bytes"] > 0
    assert 0 < measured.call_us["p50"] <= measured.call_us["p99"]


def test_page_and_plots_are_written_from_a_quick_run(tmp_path: Path) -> None:
    libraries = ("ringfence", "duckdb")
    tables = (Table.GROWTH, Table.LIVE)
    programme = Programme(sizes=(300, 600), libraries=libraries, tables=tables, repeats=1, cap_s=10.0)
    told: list[str] = []
    report = Report(
        command="python -m benchmarks.engine",
        programme=programme,
        machine=machine_facts(libraries),
        load_at_end=0.0,
        minutes=0.0,
        hub_share=0.1,
        agreement=("compared",),
        found=tuple(programme.run(run, told.append)),
    )
    assert len(told) == len(report.found)
    text = write_page(report, tmp_path).read_text("utf-8")
    assert "cost an event, 300 to 600 events" in text
    assert "| DuckDB, 24 columns | 24 |" in text
    assert "snapml, default" not in text
    assert page_text(report) != text  # without the links to plots
    for name in ("engine-growth.svg", "engine-live.svg"):
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")

# SPDX-License-Identifier: Apache-2.0
"""`workspace.neighbourhoods`: what is written is what the engine samples, with its labels, for the events chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.engine import Catalogue, Engine, SampleFilesError, TooManySamplesError, UnknownFeatureError
from ringfence.ledger.ledger import Ledger
from ringfence.steps.errors import ChosenEventsError
from ringfence.steps.neighbourhoods import WrittenNeighbourhoods
from ringfence.steps.opened import OpenWorkspace
from ringfence.workspace import Workspace
from tests.steps.conftest import N


@pytest.fixture(scope="module")
def written(opened: OpenWorkspace, tmp_path_factory: pytest.TempPathFactory) -> WrittenNeighbourhoods:
    folder = tmp_path_factory.mktemp("written") / "all"
    return opened.neighbourhoods(folder, last=4, only=["card.count_7d"], with_references=True)


def test_what_is_written_is_what_a_live_engine_samples(opened: OpenWorkspace, written: WrittenNeighbourhoods) -> None:
    here = Workspace(opened.path)
    ledger = Ledger.open(here.ledger_dir("payments"), here.scenario())
    engine = Engine(Catalogue.build(here.scenario(), only=["card.count_7d"], neighbourhoods=4))
    found = [engine.observe_sampled(batch) for batch in ledger.batches(size=50)]
    chunk = written.chunk(0)
    assert (len(written), written.n_chunks, len(chunk)) == (N, 1, N)
    assert chunk.rows.tobytes() == b"".join(rows.tobytes() for rows, _ in found)
    for name in ("seq", "events", "mask", "nodes", "event_seq", "event_time_ms"):
        assert getattr(chunk, name).tobytes() == b"".join(getattr(one, name).tobytes() for _, one in found)


def test_axes_have_names_and_units(written: WrittenNeighbourhoods) -> None:
    chunk = written.chunk(0)
    assert written.seats == ("card", "shop", "helper.1", "helper.2")
    assert chunk.events.shape == (N, 4, written.last, len(written.event_columns))
    assert chunk.nodes.shape == (N, 4, len(written.seat_columns))
    assert chunk.rows.shape == (N, len(written.feature_names))
    columns = written.columns()
    assert columns.height == len(written.event_columns) + len(written.seat_columns)
    assert columns.filter(name="gap")["unit"].to_list() == ["days"]
    assert written.event_column("gap") == columns.filter(array="events", name="gap")["column"][0]
    assert written.seat_column("frauds") == columns.filter(array="nodes", name="frauds")["column"][0]
    with pytest.raises(UnknownFeatureError, match="column of a seat 'gap'"):
        written.seat_column("gap")


def test_gaps_and_labels_known_then_are_those_of_the_table(
    opened: OpenWorkspace, written: WrittenNeighbourhoods
) -> None:
    """Labels are three days late: what is known then differs from what is true now."""
    events, chunk = opened.events(), written.chunk(0)
    assert chunk.event_seq is not None
    assert written.events.equals(events)
    assert chunk.truth_now.tolist() == events["is_fraud"].cast(pl.Float64).to_list()
    flat = written.flat(0).with_columns(sampled=pl.Series(chunk.event_seq[chunk.mask]))
    assert flat.height == int(chunk.mask.sum())
    at_hand = events.select("seq", at="event_time")
    sampled = events.select(sampled="seq", then="event_time", truth="is_fraud", known_at="known_at")
    held = flat.join(at_hand, on="seq").join(sampled, on="sampled")
    days = (held["at"] - held["then"]).dt.total_milliseconds() / 86_400_000
    assert np.allclose(held["gap"], days, rtol=1e-6)
    known = held["known_at"] <= held["at"]
    assert 0 < known.sum() < held.height
    assert (held["is_known"] == known.cast(pl.Float32)).all()
    assert (held["is_fraud"] == (known & held["truth"]).cast(pl.Float32)).all()
    assert (held.filter(back=0).group_by("seq", "seat").len()["len"] == 1).all()


def test_events_are_chosen_by_id_or_seq_in_any_order(opened: OpenWorkspace, tmp_path: Path) -> None:
    some = opened.events()[100:200:7].sample(fraction=1.0, shuffle=True, seed=1)
    by_id = opened.neighbourhoods(tmp_path / "id", events=some["event_id"], last=2, only=())
    by_seq = opened.neighbourhoods(tmp_path / "seq", events=some["seq"].to_list(), last=2, only=())
    assert by_id.events.equals(by_seq.events)
    assert by_id.events["seq"].to_list() == by_id.chunk(0).seq.tolist() == sorted(some["seq"])
    assert by_id.chunk(0).events.tobytes() == by_seq.chunk(0).events.tobytes()
    assert by_id.chunk(0).rows.shape == (some.height, 0)
    assert by_id.chunk(0).event_seq is None


def test_frauds_are_kept_and_the_others_drawn_by_the_seed(opened: OpenWorkspace, tmp_path: Path) -> None:
    def drawn(name: str, seed: int) -> pl.DataFrame:
        ways: dict[str, Any] = {"negatives_per_fraud": 2, "seed": seed, "last": 1, "only": ()}
        return opened.neighbourhoods(tmp_path / name, **ways).events

    one, again, other = drawn("one", 1), drawn("again", 1), drawn("other", 2)
    n_fraud = int(opened.events()["is_fraud"].sum())
    assert one["is_fraud"].sum() == n_fraud
    assert one.height == min(3 * n_fraud, N)
    assert one.equals(again)
    assert not one.equals(other)


def test_folder_is_read_again_and_refused_where_it_does_not_belong(
    opened: OpenWorkspace, written: WrittenNeighbourhoods, tmp_path: Path
) -> None:
    again = opened.read_neighbourhoods(written.directory)
    assert again.events.equals(written.events)
    assert (again.seats, again.last, again.feature_names) == (written.seats, written.last, ("card.count_7d",))
    assert again.chunk(0).events.tobytes() == written.chunk(0).events.tobytes()
    assert again.nbytes == sum(file.stat().st_size for file in written.directory.iterdir())
    with pytest.raises(SampleFilesError, match="exists already"):
        opened.neighbourhoods(written.directory)
    with pytest.raises(SampleFilesError, match="cannot be read"):
        opened.read_neighbourhoods(tmp_path)


CHOSEN = {
    "unknown id": ({"events": ["p1", "nowhere"]}, "1 events that the ledger does not hold.*'nowhere'.*take ids from"),
    "unknown seq": ({"events": [10**9]}, "does not hold.*take seqs from"),
    "twice": ({"events": ["p1", "p1"]}, "named twice: found 'p1'"),
    "none": ({"events": []}, "no event to sample"),
    "null": ({"events": ["p1", None]}, "1 of 2 are null"),
    "neither": ({"events": [1.5]}, "neither ids nor seqs: found Float64"),
    "both ways": ({"events": ["p1"], "negatives_per_fraud": 2}, "leave out `negatives_per_fraud`"),
    "no share": ({"negatives_per_fraud": 0}, "write a number above 0"),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_events_that_cannot_be_sampled_are_told(opened: OpenWorkspace, tmp_path: Path, case: str) -> None:
    ways, message = CHOSEN[case]
    with pytest.raises(ChosenEventsError, match=message):
        opened.neighbourhoods(tmp_path / "out", **ways)
    assert not (tmp_path / "out").exists()


def test_cap_is_held_before_anything_is_written(opened: OpenWorkspace, tmp_path: Path) -> None:
    with pytest.raises(TooManySamplesError, match="events would fit"):
        opened.neighbourhoods(tmp_path / "out", most_bytes=10_000)
    assert list(tmp_path.iterdir()) == []

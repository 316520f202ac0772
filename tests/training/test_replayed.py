# SPDX-License-Identifier: Apache-2.0
"""Two replays side by side fill what one would, byte for byte, and remember what one would."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.replay import NotDecidedError, feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.training.memory_use import Forgotten, Usage
from ringfence.training.replayed import replayed_rows

from .conftest import ledger_of, payments, scenario_of


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("history"), payments(300), scenario_of())


def seqs_of(ledger: Ledger) -> np.ndarray:
    return ledger.events(0)["seq"].to_numpy()


def side_by_side(
    ledger: Ledger, seqs: np.ndarray, columns: list[int] | None = None, **options: int
) -> tuple[np.ndarray, Usage]:
    catalogue = Catalogue.build(ledger.scenario)
    rows = np.full((seqs.shape[0], len(catalogue.features)), -7.0)
    wanted = list(range(len(catalogue.features))) if columns is None else columns
    usage = replayed_rows(
        ledger, catalogue, wanted, seqs, rows, n_threads=2, side_by_side_from=1, progress=lambda done, total: None,
        **options,
    )  # fmt: skip
    return rows, usage


@pytest.mark.parametrize("most_state", [1 << 40, 0])
def test_two_replays_fill_what_one_does(ledger: Ledger, most_state: int) -> None:
    seqs, catalogue = seqs_of(ledger)[3::2], Catalogue.build(ledger.scenario)
    engine = Engine(catalogue)
    expected = feature_rows(ledger, catalogue, seqs, engine=engine).rows
    rows, usage = side_by_side(ledger, seqs, most_state=most_state)
    assert rows.tobytes() == expected.tobytes()
    assert usage == Usage.of(engine)


def test_only_the_named_columns_are_written(ledger: Ledger) -> None:
    seqs, catalogue = seqs_of(ledger), Catalogue.build(ledger.scenario)
    some = [column for column in range(len(catalogue.features)) if column % 3 == 1]
    rows, _ = side_by_side(ledger, seqs, some)
    expected = feature_rows(ledger, catalogue, seqs).rows
    assert rows[:, some].tobytes() == expected[:, some].tobytes()
    assert (np.delete(rows, some, axis=1) == -7.0).all()


def test_whoever_is_forgotten_is_forgotten_in_both(tmp_path: Path) -> None:
    scenario = msgspec.structs.replace(scenario_of(), memory_bytes=60_000)
    small = ledger_of(tmp_path, payments(400), scenario)
    seqs, catalogue = seqs_of(small), Catalogue.build(scenario)
    engine = Engine(catalogue)
    expected = feature_rows(small, catalogue, seqs, engine=engine).rows
    rows, usage = side_by_side(small, seqs)
    assert rows.tobytes() == expected.tobytes()
    assert usage == Usage.of(engine)
    assert usage.forgotten.entities > 20
    assert usage.forgotten.pairs > 20


def test_a_record_without_a_row_is_refused(ledger: Ledger) -> None:
    labels_and_all = np.arange(1, int(seqs_of(ledger)[-1]) + 1)
    with pytest.raises(NotDecidedError):
        side_by_side(ledger, labels_and_all)


def test_what_two_replays_remember_is_joined() -> None:
    walk = Usage(room=(9, 9, 8, 0), used=(5, 0, 7, 0), forgotten=Forgotten(entities=2, events=3))
    rest = Usage(room=(9, 9, 8, 0), used=(5, 6, 0, 0), forgotten=Forgotten(entities=2, pairs=1))
    joined = Usage(room=(9, 9, 8, 0), used=(5, 6, 7, 0), forgotten=Forgotten(entities=2, pairs=1, events=3))
    assert walk.joined(rest) == rest.joined(walk) == joined

# SPDX-License-Identifier: Apache-2.0
"""Rows recalled are those a replay would give, byte for byte, or they are not recalled."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.memory import Room
from ringfence.engine.replay import NotDecidedError, feature_rows
from ringfence.engine.stats import FAMILIES, OFF_UNLESS_ASKED
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Scenario
from ringfence.training.memory_use import Forgotten, Usage
from ringfence.training.recalled import recalled_rows
from ringfence.training.row_cache import Anchor, RowCache, code_digest
from ringfence.training.train import train

from .conftest import NOW_MS, at_ms, ledger_of, payments, scenario_of

HISTORY = payments(400)


def spec(features: dict[str, bool] | None = None, **changes: object) -> Scenario:
    scenario = scenario_of(**({"features": features} if features else {}), **changes)
    strong = tuple(msgspec.structs.replace(role, strong=role.name == "card") for role in scenario.roles)
    return msgspec.structs.replace(scenario, roles=strong)


def decided(ledger: Ledger) -> np.ndarray:
    return ledger.events(0)["seq"].to_numpy()


def recall(
    directory: Path, scenario: Scenario, cache: RowCache, seqs: np.ndarray | None = None, n_threads: int = 1
) -> tuple[int, int]:
    """Recall rows, hold them against a fresh replay, and return how many columns were reused and replayed."""
    ledger, catalogue = Ledger.open(directory, scenario), Catalogue.build(scenario)
    wanted = decided(ledger) if seqs is None else seqs
    rows = recalled_rows(ledger, catalogue, wanted, cache, n_threads=n_threads, report=lambda *what: None).rows
    assert rows.tobytes() == feature_rows(ledger, catalogue, wanted).rows.tobytes()
    assert cache.n_reused + cache.n_replayed == len(catalogue.features)
    return cache.n_reused, cache.n_replayed


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledger_of(tmp_path_factory.mktemp("history"), HISTORY, spec()).directory


@pytest.fixture
def cache(tmp_path: Path) -> RowCache:
    return RowCache(tmp_path / "rows")


def test_same_features_are_not_replayed(directory: Path, cache: RowCache) -> None:
    n = len(Catalogue.build(spec()).features)
    assert recall(directory, spec(), cache) == (0, n)
    assert recall(directory, spec(), cache) == (n, 0)
    assert recall(directory, spec(), cache, decided(Ledger.open(directory, spec()))[7:90:3]) == (n, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_family_switched_is_dropped_or_alone_replayed(directory: Path, cache: RowCache, family: str) -> None:
    usual, on, off = spec(), spec({family: True}), spec({family: False})
    recall(directory, off, cache)
    more = {feature.name for feature in Catalogue.build(on).features}
    n_added = len(more - set(Catalogue.build(off).names))
    assert recall(directory, on, cache) == (len(more) - n_added, n_added)
    assert recall(directory, off, cache)[1] == 0
    assert recall(directory, usual, cache)[1] == 0
    assert n_added or family == "text"  # the scenario has no text


def test_other_windows_are_replayed(directory: Path, cache: RowCache) -> None:
    recall(directory, spec(), cache)
    assert recall(directory, spec(windows=["1d", "14d"]), cache)[0] == 0
    assert recall(directory, spec(), cache)[1] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"time_zone": "Asia/Tokyo"},
        {"segments": {"by": ["channel"]}},
        {"max_lateness": "2d"},
        {"label_precedence": ["court"]},
    ],
)
def test_other_settings_that_values_depend_on_are_replayed(
    directory: Path, cache: RowCache, change: dict[str, object]
) -> None:
    recall(directory, spec(), cache)
    assert recall(directory, spec(**change), cache)[0] == 0


def test_other_costs_of_memory_do_not_matter_while_nobody_is_forgotten(directory: Path, cache: RowCache) -> None:
    recall(directory, spec(), cache)
    assert recall(directory, spec(memory="1 GiB"), cache)[1] == 0


def test_rows_from_a_memory_that_forgot_serve_the_same_memory_only() -> None:
    room, larger = (10, 20, 64), (20, 20, 64)
    assert Usage(room=room, used=(10, 5, 9), forgotten=Forgotten(entities=1)).holds_in(room)
    assert not Usage(room=room, used=(10, 5, 9), forgotten=Forgotten(entities=1)).holds_in(larger)
    assert Usage(room=room, used=(10, 5, 9)).holds_in(larger)
    assert not Usage(room=larger, used=(11, 5, 9)).holds_in(room)


def test_rows_imported_later_are_replayed_and_earlier_ones_stay(tmp_path: Path, cache: RowCache) -> None:
    scenario = spec()
    ledger = ledger_of(tmp_path, HISTORY[:300], scenario)
    early = decided(ledger)
    recall(ledger.directory, scenario, cache)
    HISTORY[300:].write_csv(tmp_path / "payments.csv")
    import_files(ledger.directory, scenario, tmp_path, FakeClock(NOW_MS))
    n = len(Catalogue.build(scenario).features)
    assert recall(ledger.directory, scenario, cache, early) == (n, 0)
    assert recall(ledger.directory, scenario, cache) == (0, n)
    assert recall(ledger.directory, scenario, cache) == (n, 0)


def test_a_replaced_ledger_with_the_same_seqs_is_replayed(tmp_path: Path, cache: RowCache) -> None:
    scenario = spec()
    ledger = ledger_of(tmp_path, HISTORY, scenario)
    recall(ledger.directory, scenario, cache)
    HISTORY.with_columns(pl.col("shop").reverse()).write_csv(tmp_path / "payments.csv")
    import_files(ledger.directory, scenario, tmp_path, FakeClock(NOW_MS), replace=True)
    assert recall(ledger.directory, scenario, cache)[0] == 0
    assert len(list(cache.directory.glob("*.json"))) == 1  # that of the old ledger is gone


def test_rows_of_other_code_are_deleted(directory: Path, cache: RowCache) -> None:
    recall(directory, spec(), cache)
    later = RowCache(cache.directory, code="of the next version")
    assert recall(directory, spec(), later)[0] == 0
    assert recall(directory, spec(), later)[1] == 0
    assert len(list(cache.directory.glob("*.arrow"))) == 1


def test_code_digest_changes_with_any_source_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest()
    package = tmp_path / "ringfence"
    for room in ("training", "engine"):
        (package / room).mkdir(parents=True)
    (package / "engine" / "stats.py").write_text("A = 1\n")
    monkeypatch.setattr("ringfence.training.row_cache.__file__", str(package / "training" / "row_cache.py"))
    digests = {before}
    for text in ("A = 1\n", "A = 2\n"):
        (package / "engine" / "stats.py").write_text(text)
        code_digest.cache_clear()
        digests.add(code_digest())
    code_digest.cache_clear()
    assert len(digests) == 3


@pytest.mark.parametrize("suffix", [".arrow", ".json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_files_are_replayed_and_deleted(directory: Path, cache: RowCache, suffix: str, damage: str) -> None:
    recall(directory, spec(), cache)
    (path,) = cache.directory.glob(f"*{suffix}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(data) if damage == "flipped" else bytes(data[: len(data) // 2]))
    assert recall(directory, spec(), cache)[0] == 0
    assert recall(directory, spec(), cache)[1] == 0
    assert len(list(cache.directory.iterdir())) == 2


@pytest.mark.parametrize("damaged", [False, True])
def test_what_is_missing_is_replayed_beside_what_is_recalled(directory: Path, cache: RowCache, damaged: bool) -> None:
    fewer, usual = spec({"velocity": False}), spec()
    n_fewer, n = len(Catalogue.build(fewer).features), len(Catalogue.build(usual).features)
    recall(directory, fewer, cache, n_threads=2)
    if damaged:
        (path,) = cache.directory.glob("*.arrow")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x55
        path.write_bytes(bytes(data))
    assert recall(directory, usual, cache, n_threads=2) == ((0, n) if damaged else (n_fewer, n - n_fewer))
    assert recall(directory, usual, cache, n_threads=2) == (n, 0)


def test_cache_stays_within_its_bound_and_drops_what_was_used_longest_ago(directory: Path, tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows")
    scenarios = [spec(windows=[window]) for window in ("1d", "2d", "3d")]
    recall(directory, scenarios[0], cache)
    size = sum(path.stat().st_size for path in cache.directory.glob("*.arrow"))
    bound = RowCache(cache.directory, limit_bytes=int(2.5 * size))
    recall(directory, scenarios[1], bound)
    recall(directory, scenarios[0], bound)
    recall(directory, scenarios[2], bound)
    assert sum(path.stat().st_size for path in cache.directory.glob("*.arrow")) <= bound.limit_bytes
    assert [recall(directory, scenario, bound)[1] == 0 for scenario in (scenarios[2], scenarios[0])] == [True, True]
    assert recall(directory, scenarios[1], bound)[0] == 0


def test_rows_larger_than_the_bound_are_not_kept(directory: Path, tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows", limit_bytes=1_000)
    assert recall(directory, spec(), cache)[0] == recall(directory, spec(), cache)[0] == 0
    assert list(cache.directory.iterdir()) == []


def test_a_disk_that_refuses_costs_the_cache_alone(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("in the way")
    assert recall(directory, spec(), RowCache(tmp_path / "rows"))[0] == 0


def test_what_a_killed_process_left_is_cleared_away(directory: Path, cache: RowCache) -> None:
    cache.directory.mkdir()
    left = cache.directory / f"0123.{2**22 + 1}.unfinished"  # beyond the largest process id
    left.write_bytes(b"half")
    recall(directory, spec(), cache)
    assert not left.exists()
    cache.clear()
    assert list(cache.directory.iterdir()) == []


def test_missing_values_come_back_with_every_bit(tmp_path: Path) -> None:
    class Always:
        def chain_at(self, seq: int) -> bytes:
            return b"c"

    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x8000000000000000, 1], np.uint64).view(np.float64)
    cache, seqs = RowCache(tmp_path / "rows"), np.arange(1, 5)
    cache.keep(odd.reshape(4, 1), seqs, ["k"], Anchor(9, b"c"), Usage(room=(1, 1, 1, 1), used=(0, 0, 0, 0)))
    rows = np.empty((4, 1))
    assert cache.fill(rows, seqs, ["k"], Room(1, 1, 1, 1), Always()) == []
    assert rows.tobytes() == odd.tobytes()


def test_what_is_no_decided_event_is_refused_with_a_cache_too(directory: Path, cache: RowCache) -> None:
    scenario = spec()
    ledger = Ledger.open(directory, scenario)
    recall(directory, scenario, cache)
    with pytest.raises(NotDecidedError):
        recalled_rows(ledger, Catalogue.build(scenario), np.array([ledger.last_seq]), cache, report=lambda *what: None)


def test_release_does_not_depend_on_the_cache(tmp_path: Path, policy: Policy, clock: FakeClock) -> None:
    scenario = spec({family: True for family in OFF_UNLESS_ASKED if family == "control_charts"})
    ledger = ledger_of(tmp_path, payments(1500), scenario)
    cache = RowCache(tmp_path / "rows")
    recall(ledger.directory, scenario, cache)
    names = set()
    for kept in (None, cache):
        folder = tmp_path / "releases"
        release = train(ledger, scenario, policy, releases_dir=folder, clock=clock, until_ms=at_ms(45), cache=kept)
        names.add(release.id)
    assert cache.n_replayed == 0
    assert len(names) == 1


def test_what_a_full_memory_forgot_is_told_alike_from_replay_and_cache(tmp_path: Path) -> None:
    scenario = msgspec.structs.replace(spec(), memory_bytes=1 << 16)
    ledger = ledger_of(tmp_path, HISTORY, scenario)
    catalogue, seqs, cache = Catalogue.build(scenario), decided(ledger), RowCache(tmp_path / "rows")
    told = [
        recalled_rows(ledger, catalogue, some, kept, report=lambda *what: None).forgotten
        for kept, some in ((None, seqs), (cache, seqs), (cache, seqs), (cache, seqs[:350]), (None, seqs[:350]))
    ]
    assert cache.n_replayed == len(catalogue.features)  # of the 350: more were forgotten until the last one
    assert told[0] == told[1] == told[2]
    assert told[0].entities > told[3].entities > 0
    assert told[3] == told[4]
    assert "entities" in told[0].text
    ample = recalled_rows(ledger, Catalogue.build(spec()), seqs, cache, report=lambda *what: None)
    assert not ample.forgotten
    assert ample.forgotten.text == ""

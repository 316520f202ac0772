# SPDX-License-Identifier: Apache-2.0
"""The engine's rows against DuckDB's: the same ledger, every feature of every family but rings, once more in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine, Feature
from ringfence.engine.link_stats import LINK_STATS, TOGETHER_STATS
from ringfence.engine.stats import (
    CONTROL_CHARTS,
    ENTITY_STATS,
    EVENT,
    EVENT_STATS,
    FAMILIES,
    LABEL_RISK,
    NEIGHBOUR_RISK,
    NOVELTY_GAPS,
    ONE_HOP,
    PAIR_STATS,
    RINGS,
    TEXT,
    VELOCITY,
)
from ringfence.engine.stats_charts import CHART_STATS
from ringfence.engine.stats_text import TEXT_GAP, TEXT_STATS
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import LABEL, NO_LABEL, Batch
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios, scenario_from_mapping
from ringfence.scenario.spec import Scenario
from ringfence.simulate import simulate_motor_claims
from tests.oracles.sql_twin import features_by_sql

DAY_MS = 86_400_000
# All at once a catalogue of ten roles would drop detail. Few enough families at a time, and it keeps every statistic.
CUTS: Final = ((ONE_HOP, NEIGHBOUR_RISK), (NOVELTY_GAPS, EVENT), (VELOCITY, CONTROL_CHARTS), (LABEL_RISK,), (TEXT,))

# Everything is compared exactly but this. A sum in another order differs by n x 2^-53 of the size of its terms: at most
# 128 rates or 32 entities here, but up to 10,000 amounts or gaps there, whose distance from their mean is then divided
# by a spread that may be as small as 0.05.
FEW_TERMS, MANY_TERMS = 1e-13, 1e-9
RUNNING: Final = {  # mean and spread: kept up to date by the engine (Welford), summed anew by SQL
    "mean_amount", "amount_to_mean", "amount_z", "amount_ewma_z", "amount_cusum", "rate_ewma_z", "rate_cusum",
}  # fmt: skip
RATES: Final = {  # of nothing known: the engine takes the prior, SQL computes (0 + 10 prior) / (0 + 10)
    "fraud_rate", "others_fraud_rate", "others_fraud_rate_max",
}  # fmt: skip


def stat_of(name: str) -> str:
    """The name of a feature's statistic, without whose, which window, and how entities became one number."""
    parts = name.split(".")
    stat = parts[-2] if parts[-1] in ("max", "mean") else parts[-1]
    head, _, tail = stat.rpartition("_")
    return head if tail[:1].isdigit() and tail[-1] in "dhms" else stat


def tolerance_of(name: str) -> float:
    """How far the two may differ, absolutely below 1 and relatively above; 0: not at all."""
    if stat_of(name) in RUNNING:
        return MANY_TERMS
    return FEW_TERMS if stat_of(name) in RATES or name.endswith(".mean") else 0.0


def assert_equal_sql(
    names: tuple[str, ...], rows: NDArray[np.float64], expected: NDArray[np.float64], batches: list[Batch]
) -> None:
    assert rows.shape == expected.shape
    allowed = np.array([tolerance_of(name) for name in names]) * np.maximum(1.0, np.abs(expected))
    with np.errstate(invalid="ignore"):
        differs = ~((rows == expected) | (np.abs(rows - expected) <= allowed))
    differs &= ~(np.isnan(rows) & np.isnan(expected))
    if differs.any():
        row, column = np.argwhere(differs)[0]
        seq = np.concatenate([batch.seq[batch.kind != LABEL] for batch in batches])
        raise AssertionError(
            f"{int(differs.sum())} of {differs.size} values differ in {int(differs.any(axis=0).sum())} features; first "
            f"{names[column]} in row {row} of {seq.shape[0]} events: {rows[row, column]}, SQL {expected[row, column]}"
        )


@dataclass
class Compared:
    features: tuple[Feature, ...]
    rows: NDArray[np.float64]
    expected: NDArray[np.float64]
    batches: list[Batch]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)


def compared(scenario: Scenario, batches: list[Batch]) -> Compared:
    """Rows of the engine, cut by cut at full detail, and of SQL, all at once."""
    features: list[Feature] = []
    rows = []
    for families in CUTS:
        # Texts stay on throughout: batches carry them.
        wanted = {family: family in families or family == TEXT for family in FAMILIES}
        cut = Catalogue.build(msgspec.structs.replace(scenario, features=wanted))
        kept = [
            column
            for column, feature in enumerate(cut.features)
            if feature.family in families and (feature.name.count(".") > 1 or not feature.name.startswith("attribute."))
        ]
        engine = Engine(cut)
        rows.append(np.concatenate([engine.observe(batch) for batch in batches])[:, kept])
        features += [cut.features[column] for column in kept]
    names = [feature.name for feature in features]
    return Compared(tuple(features), np.concatenate(rows, axis=1), features_by_sql(scenario, batches, names), batches)


def with_withdrawn_labels(whole: Batch, *, every: int, after_ms: int) -> Batch:
    """Turn over one label in `every`, some time after it became known, as far as the ledger goes."""
    labels = np.flatnonzero(whole.kind == LABEL)[::every]
    labels = labels[whole.time_ms[labels] + after_ms <= whole.time_ms[-1]]
    taken = np.concatenate([np.arange(len(whole)), labels])
    is_new = np.arange(taken.shape[0]) >= len(whole)
    time_ms = whole.time_ms[taken] + is_new * after_ms
    order = np.lexsort((taken, time_ms))
    taken, is_new, time_ms = taken[order], is_new[order], time_ms[order]
    seq_of = np.zeros(int(whole.seq[-1]) + 1, np.int64)  # old seq of an event -> new
    seq_of[whole.seq[taken[~is_new]]] = np.flatnonzero(~is_new) + 1
    n_links = np.diff(whole.link_start)[taken]
    starts = np.concatenate([[0], np.cumsum(n_links)])
    links = np.arange(starts[-1]) - np.repeat(starts[:-1] - whole.link_start[taken], n_links)
    parts = {name: getattr(whole, name)[links if name.startswith("link_") else taken] for name in PER_RECORD + PER_LINK}
    value, event_seq = parts["label_value"], parts["label_event_seq"]
    changed = {
        "seq": np.arange(1, taken.shape[0] + 1),
        "time_ms": time_ms,
        "link_start": starts,
        "label_event_seq": np.where(event_seq >= 0, seq_of[event_seq], -1),
        "label_value": np.where(is_new, 1 - value, value).astype(np.int8),
        "label_replaces": np.where(is_new, value, parts["label_replaces"]).astype(np.int8),
    }
    return Batch(**(parts | changed))


def with_copied_texts(batch: Batch, *, share: float, n_stories: int, seed: int) -> Batch:
    """Give a share of the events one of a few stories, with up to five bits changed."""
    rng = np.random.default_rng(seed)
    stories = rng.integers(1, 2**63, size=n_stories).astype(np.uint64)
    simhash = batch.simhash.copy()
    for i in np.flatnonzero((simhash[:, 0] != 0) & (rng.random(len(batch)) < share)):
        flipped = rng.choice(64, size=int(rng.integers(6)), replace=False).astype(np.uint64)
        simhash[i, 0] = rng.choice(stories) ^ np.bitwise_or.reduce(np.uint64(1) << flipped, initial=np.uint64(0))
    return msgspec.structs.replace(batch, simhash=simhash)


PER_LINK = ("link_role", "link_lo", "link_hi")
PER_RECORD = tuple(name for name in Batch.__struct_fields__ if name not in (*PER_LINK, "link_start"))


@pytest.fixture(scope="module")
def insurer(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Claims of ten roles: who meets whom, hubs, witnesses who claim, copied narratives, withdrawn labels."""
    folder = tmp_path_factory.mktemp("insurer")
    report = simulate_motor_claims(2_500, 3, folder, fraud_rate=0.1, days=800)
    scenario = load_scenarios(folder / "ringfence.yaml")["motor-claims"]
    scenario = msgspec.structs.replace(
        scenario,
        features={TEXT: True},
        roles=tuple(msgspec.structs.replace(role, hub_cap=12 if role.strong else 40) for role in scenario.roles),
    )
    import_files(folder / "ledger", scenario, folder, FakeClock(report.ends_ms))
    (whole,) = Ledger.open(folder / "ledger", scenario).batches()
    batch = with_copied_texts(whole, share=0.3, n_stories=5, seed=4)
    batch = with_withdrawn_labels(batch, every=4, after_ms=9 * DAY_MS)
    assert (batch.label_replaces != NO_LABEL).sum() > 100
    return compared(scenario, [batch])


def test_rows_of_the_insurer_equal_sql(insurer: Compared) -> None:
    assert_equal_sql(insurer.names, insurer.rows, insurer.expected, insurer.batches)


def test_every_statistic_is_compared_where_it_says_something(insurer: Compared) -> None:
    stats = {stat.name for stat in (*ENTITY_STATS, *PAIR_STATS, *LINK_STATS, *TOGETHER_STATS, *EVENT_STATS)}
    stats |= {stat.name for stat in (*CHART_STATS, *TEXT_STATS, TEXT_GAP)}
    varied = {
        stat_of(name)
        for name, column in zip(insurer.names, insurer.rows.T, strict=True)
        if np.unique(column[~np.isnan(column)]).shape[0] > 1
    }
    assert stats - varied == set()

    assert {feature.family for feature in insurer.features} == set(FAMILIES) - {RINGS}


@pytest.mark.parametrize("off", [1.0, 1e-6])
def test_one_changed_value_is_noticed(insurer: Compared, off: float) -> None:
    rng = np.random.default_rng(5)
    for name in rng.choice(insurer.names, size=20, replace=False):
        column = insurer.names.index(name)
        present = np.flatnonzero(~np.isnan(insurer.expected[:, column]))
        if present.shape[0] == 0:
            continue
        changed = insurer.expected.copy()
        changed[rng.choice(present), column] += off
        with pytest.raises(AssertionError, match=f"1 of .* first {name} "):
            assert_equal_sql(insurer.names, changed, insurer.expected, insurer.batches)


@pytest.mark.data
def test_rows_of_card_payments_equal_sql(data_dir: Path, tmp_path: Path) -> None:
    payments = pl.scan_parquet(data_dir / "card_payments_handbook" / "transactions.parquet")
    some = payments.filter(
        (pl.col("CUSTOMER_ID").cast(pl.Int64) % 20 == 0) & (pl.col("TERMINAL_ID").cast(pl.Int64) < 9_000)
    )
    some.sort("TX_DATETIME", maintain_order=True).head(15_000).collect().write_parquet(tmp_path / "payments.parquet")
    scenario = scenario_from_mapping(
        "card-payments",
        {
            "decide": "payment",
            "sources": {"payment": "payments.parquet"},
            "events": {
                "payment": {
                    "event_id": "TRANSACTION_ID",
                    "event_time": "TX_DATETIME",
                    "amount": {"field": "TX_AMOUNT", "currency": "EUR"},
                    "entities": {"customer": "CUSTOMER_ID", "terminal": "TERMINAL_ID"},
                    "label": {"field": "TX_FRAUD", "delay": "7d"},
                }
            },
            "windows": ["1d", "7d", "30d"],
        },
        where="test",
    )
    import_files(tmp_path / "ledger", scenario, tmp_path, FakeClock(2_000_000_000_000))
    batches = list(Ledger.open(tmp_path / "ledger", scenario).batches())
    found = compared(scenario, batches)
    assert found.rows.shape[0] == 15_000
    assert_equal_sql(found.names, found.rows, found.expected, batches)

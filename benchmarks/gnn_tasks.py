# SPDX-License-Identifier: Apache-2.0
"""What a graph network is judged on, split in time, and the answer of the trees on the same split.

claims    the motor claims network (P2): first 60 % train, labels 90 days late, known by the cut; the rest tests
insurer   a simulated insurer: labels known when the last fifth of the history begins train; judged by the truth
payments  card payments (P1), the published protocol's first test fold: payments of the weeks before the labels' delay
          train, and the week after the delay tests, without the cards that were known to be compromised by then
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks import p1
from benchmarks.commands import ringfence
from benchmarks.p2 import workspace
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.sample_files import SampleFiles, sampled_rows
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.models.encoder import Encoder
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.simulate import simulate_motor_claims
from ringfence.training.examples import Examples
from ringfence.training.fitting import fit
from ringfence.training.folds import Fold
from ringfence.training.gnn_examples import FileExamples

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TRAIN_SHARE = 0.6
TEST_SHARE, WARM_UP_SHARE = 0.2, 0.1
LAST = 16
SCENARIOS = {"claims": "motor-claims", "insurer": "motor-claims", "payments": "card-payments"}


@dataclass(frozen=True)
class Task:
    """Events in seq order; labels of those that train, truth of those that test."""

    name: str
    catalogue: Catalogue
    files: SampleFiles
    events: pl.DataFrame  # seq, event_time_ms, known_at_ms, fraud (label or truth), is_train, is_test

    @property
    def fraud(self) -> NDArray[np.int8]:
        return self.events["fraud"].to_numpy().astype(np.int8)

    @property
    def time_ms(self) -> IntArray:
        return self.events["event_time_ms"].to_numpy()

    @property
    def train(self) -> IntArray:
        return np.flatnonzero(self.events["is_train"].to_numpy())

    @property
    def test(self) -> IntArray:
        return np.flatnonzero(self.events["is_test"].to_numpy())

    @property
    def is_category(self) -> list[bool]:
        return [feature.is_category for feature in self.catalogue.features]

    def rows(self) -> FloatArray:
        return np.concatenate([chunk.rows for chunk in self.files])


@dataclass(frozen=True)
class TreesAnswer:
    """What the trees of the product say, on the same split."""

    encoder: Encoder
    folds: list[Fold]  # positions among the training events
    out_of_fold: FloatArray  # (n train,) NaN where no fold emits
    test: FloatArray  # (n test,)


def load(name: str, work: Path, *, n_events: int = 0, seed: int = 0, n_weeks: int = 1, last: int = LAST) -> Task:
    """Open what an earlier run left in `work`, or make it: import or simulate, replay, sample `last` events a seat."""
    named = {"claims": name, "insurer": f"{name}-{n_events}-{seed}", "payments": f"{name}-{n_weeks}"}
    folder = work / (named[name] if last == LAST else f"{named[name]}-last-{last}")
    if not (folder / "events.parquet").exists():
        shutil.rmtree(folder, ignore_errors=True)
        if name == "claims":
            _claims(folder, last)
        elif name == "insurer":
            _insurer(folder, n_events, seed, last)
        else:
            _payments(folder, n_weeks, last)
    scenario = load_scenarios(folder / "workspace" / "ringfence.yaml")[SCENARIOS[name]]
    catalogue = Catalogue.build(scenario, neighbourhoods=last)
    files = SampleFiles.open(folder / "samples", catalogue)
    return Task(name, catalogue, files, pl.read_parquet(folder / "events.parquet"))


def _claims(folder: Path, last: int) -> None:
    workspace(folder / "workspace", None)
    scenario = load_scenarios(folder / "workspace" / "ringfence.yaml")["motor-claims"]
    ledger = Ledger.open(folder / "workspace" / "ledger" / scenario.name, scenario)
    events = _labelled(ledger).filter(pl.col("known_at_ms").is_not_null())
    cut_ms = int(np.sort(events["event_time_ms"].to_numpy())[int(TRAIN_SHARE * events.height)])
    events = events.with_columns(
        fraud=pl.col("value").cast(pl.Int8),
        is_train=pl.col("known_at_ms") <= cut_ms,
        is_test=pl.col("event_time_ms") >= cut_ms,
    )
    _write(folder, ledger, Catalogue.build(scenario, neighbourhoods=last), events)


def _insurer(folder: Path, n_events: int, seed: int, last: int) -> None:
    home = folder / "workspace"
    report = simulate_motor_claims(n_events, seed, home, fraud_rate=0.0056)
    scenario = load_scenarios(home / "ringfence.yaml")["motor-claims"]
    import_files(home / "ledger" / scenario.name, scenario, home, FakeClock(report.ends_ms))
    ledger = Ledger.open(home / "ledger" / scenario.name, scenario)
    truth = pl.read_parquet(home / "truth.parquet").select(event_id="claim_id", truth="fraud")
    events = _labelled(ledger).join(truth, on="event_id", how="left", maintain_order="left").with_row_index("place")
    cut, warm = int(events.height * (1.0 - TEST_SHARE)), int(events.height * (1.0 - TEST_SHARE) * WARM_UP_SHARE)
    cut_ms = events["event_time_ms"][cut]
    known = (pl.col("known_at_ms") < cut_ms).fill_null(False)
    events = events.with_columns(
        is_train=known & (pl.col("place") < cut) & (pl.col("place") > warm), is_test=pl.col("place") >= cut
    ).with_columns(
        fraud=pl.when("is_test").then(pl.col("truth").cast(pl.Int8)).otherwise(pl.col("value").cast(pl.Int8))
    )
    _write(folder, ledger, Catalogue.build(scenario, neighbourhoods=last), events)


def _payments(folder: Path, n_weeks: int, last: int) -> None:
    shutil.copytree(p1.EXAMPLE, folder / "workspace")
    ringfence("import", str(p1.DATA / "transactions.parquet"), "--workspace", str(folder / "workspace"))
    scenario = load_scenarios(folder / "workspace" / "ringfence.yaml")["card-payments"]
    ledger = Ledger.open(folder / "workspace" / "ledger" / scenario.name, scenario)
    start = datetime.fromisoformat(p1.FOLDS["test"][0])
    payments = pl.read_parquet(p1.DATA / "transactions.parquet").drop("TX_FRAUD_SCENARIO")
    p1.check_protocol(payments)
    test = p1.test_set(payments, start)
    cut, end = (start + timedelta(days=days) for days in (14, 7))
    first_ms, end_ms, cut_ms = (_utc_ms(at) for at in (end - timedelta(weeks=n_weeks), end, cut))
    happened = pl.col("event_time_ms").is_between(first_ms, end_ms, closed="left")
    events = _labelled(ledger).with_columns(
        fraud=pl.col("value").cast(pl.Int8),
        is_train=happened & (pl.col("known_at_ms") <= cut_ms),
        is_test=pl.col("event_id").is_in(test["TRANSACTION_ID"].cast(pl.String).implode()),
    )
    test.write_parquet(folder / "test.parquet")
    _write(folder, ledger, Catalogue.build(scenario, neighbourhoods=last), events)


def _utc_ms(at: datetime) -> int:
    return int(at.replace(tzinfo=UTC).timestamp()) * 1_000  # whole days: the data carries no zone


def _labelled(ledger: Ledger) -> pl.DataFrame:
    labels = ledger.labels()
    found = ledger.events(-(2**62)).join(labels, left_on="seq", right_on="event_seq", how="left", maintain_order="left")
    return found.sort("seq")


def _write(folder: Path, ledger: Ledger, catalogue: Catalogue, events: pl.DataFrame) -> None:
    events = events.filter(pl.col("is_train") | pl.col("is_test"))
    sampled_rows(ledger, catalogue, events["seq"].to_numpy().astype(np.int64), folder / "samples")
    wanted = ("seq", "event_id", "event_time_ms", "known_at_ms", "fraud", "is_train", "is_test")
    events.select(wanted).write_parquet(folder / "events.parquet")


def trees(task: Task, seed: int, work: Path) -> TreesAnswer:
    """Train the product's trees as `ringfence train` does; kept in `work` for the next run."""
    return trees_on(task, task.rows(), task.is_category, seed, work / f"trees-{seed}.msgpack")


def trees_on(task: Task, rows: FloatArray, is_category: list[bool], seed: int, path: Path) -> TreesAnswer:
    """Train trees like the product's on any columns, rows of shape (n, columns); kept at `path`."""
    train = task.train
    if not path.exists():
        known = task.events["known_at_ms"].to_numpy()[train]
        examples = Examples(
            seq=task.events["seq"].to_numpy()[train],
            event_id=(),
            event_time_ms=task.time_ms[train],
            known_at_ms=known,
            settled_at_ms=np.maximum(known, task.time_ms[train]),
            amount_minor=np.zeros(train.shape[0], np.int64),
            fraud=task.fraud[train],
            until_seq=0,
            n_unlabelled=0,
        )
        fitted = fit(rows[train], examples, is_category=is_category, seed=seed, n_threads=2, learners=())
        test = fitted.ensemble.gbdt.raw(fitted.ensemble.encode(_unread(rows[task.test], fitted.clocks)))
        path.parent.mkdir(parents=True, exist_ok=True)
        folds = [msgspec.structs.replace(f, fit=f.fit.tolist(), emit=f.emit.tolist()) for f in fitted.folds]
        kept = [fitted.ensemble.encoder, folds, fitted.out_of_fold.raw.tolist(), test.tolist()]
        path.write_bytes(msgspec.msgpack.encode(kept))
    encoder, stored, oof, test = msgspec.msgpack.decode(path.read_bytes())
    folds = [
        Fold(
            fit=np.array(one["fit"], np.int64),
            emit=np.array(one["emit"], np.int64),
            start_ms=one["start_ms"],
            end_ms=one["end_ms"],
            label_delay=one["label_delay"],
        )
        for one in stored
    ]
    return TreesAnswer(msgspec.convert(encoder, Encoder), folds, np.array(oof), np.array(test))


def _unread(rows: FloatArray, columns: IntArray) -> FloatArray:
    read = rows.copy()
    read[:, columns] = np.nan
    return read


def network_examples(task: Task, encoder: Encoder) -> FileExamples:
    return FileExamples(task.files, encoder=encoder)

# SPDX-License-Identifier: Apache-2.0
"""What looking ahead would gain: a history honestly, and with every label told right after its event.

    python -m benchmarks.leakage [--data claims|payments] [--seeds 5] [--trees 150] [--json FILE]

The two runs differ in feature rows alone: the same events, the same training labels, the same trees. Every sampled link
of both runs goes through the leakage guard, which is told the honest history. "As live" is the model trained on
cheating rows when it meets rows that know only what is known.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.commands import data_folder
from benchmarks.p2 import workspace
from benchmarks.replay import FULL_DAYS, batches_of, read_payments, scenario_of
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.label_history import LabelHistory, read_history, seat_keys
from ringfence.engine.layout import DAY_MS
from ringfence.engine.leakage import LeakageReport, leakage
from ringfence.engine.look_ahead import LookAhead
from ringfence.engine.replay import BatchSource
from ringfence.ledger.assembly import slice_batch
from ringfence.ledger.ledger import Ledger
from ringfence.models import paired_bootstrap
from ringfence.models.encoder import Encoder
from ringfence.models.gbdt import train_gbdt
from ringfence.models.metrics import average_precision, roc_auc
from ringfence.scenario.batch import Batch
from ringfence.workspace import Workspace

TRAIN_SHARE = 0.6
METRICS = {"roc_auc": roc_auc, "average_precision": average_precision}
FloatArray = NDArray[np.float64]
FIRST_DAY, TRAIN_DAY, TEST_DAY = (np.datetime64(day) for day in ("2018-06-20", "2018-07-25", "2018-08-08"))
WEEK = np.timedelta64(7, "D")


@dataclass(frozen=True)
class Task:
    """Labelled events in seq order, and which of them train and test."""

    source: BatchSource
    catalogue: Catalogue
    seqs: NDArray[np.int64]
    fraud: NDArray[np.int8]
    is_train: NDArray[np.bool_]
    is_test: NDArray[np.bool_]


class Listed:
    """Batches in memory as a source."""

    def __init__(self, batches: list[Batch]) -> None:
        self._listed = batches

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        for batch in self._listed:
            start = int(np.searchsorted(batch.seq, after_seq, side="right"))
            stop = len(batch) if until_seq is None else int(np.searchsorted(batch.seq, until_seq, side="right"))
            for low in range(start, stop, size):
                yield slice_batch(batch, low, min(low + size, stop))


def claims_task(folder: Path) -> Task:
    """First 60 % of the claims network train, with labels known 90 days after the claim and by the cut."""
    here = Workspace(workspace(folder / "claims", None))
    scenario = here.scenario()
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    events, labels = ledger.events(-(2**62)), ledger.labels()
    joined = events.join(labels, left_on="seq", right_on="event_seq", how="inner").sort("seq")
    time_ms = joined["event_time_ms"].to_numpy()
    cut_ms = int(np.sort(time_ms)[int(TRAIN_SHARE * joined.height)])
    return Task(
        source=ledger,
        catalogue=Catalogue.build(scenario, neighbourhoods=16),
        seqs=joined["seq"].to_numpy().astype(np.int64),
        fraud=joined["value"].to_numpy().astype(np.int8),
        is_train=joined["known_at_ms"].to_numpy() <= cut_ms,
        is_test=time_ms >= cut_ms,
    )


def payments_task() -> Task:
    """One week of the card payments trains, the second week after it is the test; labels are seven days late.

    History begins five weeks before. Cards known to be compromised are not left out, so figures are not those of
    `benchmarks.p1`.
    """
    payments = read_payments(data_folder("card_payments_handbook") / "transactions.parquet")
    first_ms, train_ms, test_ms, end_ms = (
        day.astype("datetime64[ms]").astype(np.int64) for day in (FIRST_DAY, TRAIN_DAY, TEST_DAY, TEST_DAY + WEEK)
    )
    # A week more, in which the last labels come: the cheat is to have them all.
    last_ms = end_ms + (end_ms - test_ms) + DAY_MS
    payments = payments.filter(pl.col("time_ms").is_between(first_ms, last_ms, closed="left"))
    source = Listed(batches_of(payments, with_labels=True))
    catalogue = Catalogue.build(scenario_of(FULL_DAYS), neighbourhoods=16)
    history = read_history(source, catalogue)
    time_ms = history.event_time_ms
    is_train = (time_ms >= train_ms) & (time_ms < train_ms + (end_ms - test_ms))
    is_test = (time_ms >= test_ms) & (time_ms < end_ms)
    wanted = is_train | is_test
    return Task(
        source=source,
        catalogue=catalogue,
        seqs=history.event_seq[wanted],
        fraud=payments["fraud"].to_numpy()[wanted].astype(np.int8),
        is_train=is_train[wanted],
        is_test=is_test[wanted],
    )


def rows_and_guard(
    source: BatchSource, catalogue: Catalogue, seqs: NDArray[np.int64], history: LabelHistory
) -> tuple[FloatArray, LeakageReport]:
    """Read rows and neighbourhoods in one replay, and guard every sampled link."""
    engine = Engine(catalogue)
    rows: list[FloatArray] = []
    reports: list[LeakageReport] = []
    for batch in source.batches(0, int(seqs[-1]), 8_192):
        wanted = np.isin(batch.seq, seqs)
        found, sampled = engine.observe_sampled(batch, wanted, wanted)
        rows.append(found)
        reports.append(leakage(sampled, seat_keys(batch, catalogue.plan, wanted), history))
    return np.concatenate(rows), LeakageReport.total(reports)


def scores(
    train: FloatArray, labels: NDArray[np.int8], tests: list[FloatArray], catalogue: Catalogue, *, trees: int, seed: int
) -> list[FloatArray]:
    encoder = Encoder.fit(train, [feature.is_category for feature in catalogue.features])
    model = train_gbdt(
        encoder.apply(train), labels, n_trees=trees, seed=seed, categories=encoder.category_columns, num_threads=1
    )
    return [model.raw(encoder.apply(rows)) for rows in tests]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("claims", "payments"), default="claims")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trees", type=int, default=150)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="ringfence-leakage-") as temporary:
        task = payments_task() if arguments.data == "payments" else claims_task(Path(temporary))
        catalogue, fraud, is_train, is_test = task.catalogue, task.fraud, task.is_train, task.is_test
        ahead = LookAhead(task.source, catalogue)
        honest_rows, honest = rows_and_guard(task.source, catalogue, task.seqs, ahead.honest)
        ahead_rows, cheat = rows_and_guard(ahead, catalogue, ahead.seqs(task.seqs), ahead.history)

    y = fraud[is_test]
    print(f"{int(is_train.sum()):,} events train, {y.shape[0]:,} test, {int(y.sum())} of them fraud")
    for name, report in (("honest", honest), ("look-ahead", cheat)):
        print(
            f"{name:10} {report.n_violations:7,} violations in {report.n_links:,} sampled links of "
            f"{report.n_events:,} events, {report.n_labelled:,} of them with a label, "
            f"and in {report.n_seats:,} seats"
        )
    # Trained and tested on the same kind of rows; and trained on cheating rows, then shown what is really known.
    kinds: dict[str, list[FloatArray]] = {"honest": [], "look-ahead": [], "look-ahead, as live": []}
    for seed in range(arguments.seeds):
        common: dict[str, Any] = {"catalogue": catalogue, "trees": arguments.trees, "seed": seed}
        honest_score = scores(honest_rows[is_train], fraud[is_train], [honest_rows[is_test]], **common)
        both = scores(ahead_rows[is_train], fraud[is_train], [ahead_rows[is_test], honest_rows[is_test]], **common)
        for name, score in zip(kinds, [*honest_score, *both], strict=True):
            kinds[name].append(score)
    found: dict[str, Any] = {
        "honest_guard": msgspec.to_builtins(honest),
        "look_ahead_guard": msgspec.to_builtins(cheat),
    }
    means = {name: np.mean(runs, axis=0) for name, runs in kinds.items()}
    for name, runs in kinds.items():
        precisions = [average_precision(y, score) for score in runs]
        areas = [roc_auc(y, score) for score in runs]
        found[name] = {"average_precision": precisions, "roc_auc": areas}
        print(
            f"{name:20} AP {np.mean(precisions):.3f} ± {np.std(precisions):.3f}, "
            f"ROC-AUC {np.mean(areas):.3f} ± {np.std(areas):.3f} (mean ± sd of {arguments.seeds} seeds)"
        )
    for name in ("look-ahead", "look-ahead, as live"):
        gain = paired_bootstrap(METRICS, y, means[name], means["honest"], seed=0, n_resamples=2_000)
        found[f"{name} less honest"] = msgspec.to_builtins(gain)
        for metric, value in gain.items():
            print(
                f"{name} less honest: {metric} {value.value:+.3f} (paired 95 %: {value.low:+.3f} to {value.high:+.3f})"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

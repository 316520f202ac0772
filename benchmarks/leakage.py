# SPDX-License-Identifier: Apache-2.0
"""What looking ahead would gain: the claims network honestly, and with every label told right after its claim.

    python -m benchmarks.leakage [--seeds 5] [--trees 150] [--json FILE]

First 60 % of the claims by time train, with labels known 90 days after the claim and by the cut; the rest is the test.
The two runs differ in feature rows alone: the same claims, the same training labels, the same trees. Every sampled link
of both runs goes through the leakage guard, which is told the honest history.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.p2 import workspace
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.leakage import LeakageReport, replay_leakage
from ringfence.engine.look_ahead import LookAhead
from ringfence.engine.replay import BatchSource, feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models import paired_bootstrap
from ringfence.models.encoder import Encoder
from ringfence.models.gbdt import train_gbdt
from ringfence.models.metrics import average_precision, roc_auc
from ringfence.workspace import Workspace

TRAIN_SHARE = 0.6
METRICS = {"roc_auc": roc_auc, "average_precision": average_precision}
FloatArray = NDArray[np.float64]


def rows_and_guard(
    source: BatchSource, catalogue: Catalogue, seqs: NDArray[np.int64], history: Any
) -> tuple[FloatArray, LeakageReport]:
    rows = feature_rows(source, catalogue, seqs, engine=Engine(catalogue)).rows
    return rows, replay_leakage(source, catalogue, seqs, history)


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
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trees", type=int, default=150)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="ringfence-leakage-") as temporary:
        here = Workspace(workspace(Path(temporary) / "claims", None))
        scenario = here.scenario()
        ledger = Ledger.open(here.ledger_dir(scenario), scenario)
        catalogue = Catalogue.build(scenario, neighbourhoods=16)
        events, labels = ledger.events(-(2**62)), ledger.labels()
        joined = events.join(labels, left_on="seq", right_on="event_seq", how="inner").sort("seq")
        seqs, fraud = joined["seq"].to_numpy().astype(np.int64), joined["value"].to_numpy().astype(np.int8)
        cut_ms = int(np.sort(joined["event_time_ms"].to_numpy())[int(TRAIN_SHARE * joined.height)])
        is_test = joined["event_time_ms"].to_numpy() >= cut_ms
        is_train = joined["known_at_ms"].to_numpy() <= cut_ms
        ahead = LookAhead(ledger, catalogue)
        honest_rows, honest = rows_and_guard(ledger, catalogue, seqs, ahead.honest)
        ahead_rows, cheat = rows_and_guard(ahead, catalogue, ahead.seqs(seqs), ahead.history)

    y = fraud[is_test]
    print(f"{int(is_train.sum()):,} claims train, {y.shape[0]:,} test, {int(y.sum())} of them fraud")
    for name, report in (("honest", honest), ("look-ahead", cheat)):
        print(
            f"{name:10} {report.n_violations:7,} violations in {report.n_links:,} sampled links of "
            f"{report.n_events:,} claims, {report.n_labelled:,} of them with a label"
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

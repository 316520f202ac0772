# SPDX-License-Identifier: Apache-2.0
"""Trees, linear model and their mix on six trainings, out of fold in time; no test window is read.

    python -m benchmarks.mixing [--sets claims-network,...]

Rows are made through the command line's workspaces: P2 and P3 until their cut, and four tables without the first of
five folds. Prints one line of Markdown a training (docs/adr/0013).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks import p2, p3, p5
from benchmarks.commands import ringfence
from ringfence.engine import Catalogue, feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models.metrics import average_precision, roc_auc
from ringfence.models.stack import BACKBONE
from ringfence.training.examples import collect_examples
from ringfence.training.fitting import Fitted, default_params, fit
from ringfence.training.linear import LinearLearner
from ringfence.workspace import Workspace

FloatArray = NDArray[np.float64]

NETWORK, VEHICLES = "claims-network", "vehicle-claims"


def workspace(work: Path, name: str) -> tuple[Path, int | None]:
    """Import one set; return its folder and the cut of its training."""
    if name == NETWORK:
        claims = pl.read_parquet(p2.DATA / "claims.parquet").sort("claim_time_derived")
        return p2.workspace(work / name, None), _ms(claims["claim_time_derived"][int(0.6 * claims.height)])
    if name == VEHICLES:
        shutil.copytree(p3.EXAMPLE, work / name)
        shutil.copy(p3.DATA, work / name / "claims.parquet")
        ringfence("import", "--workspace", str(work / name))
        return work / name, _ms(datetime.fromisoformat(p3.UNTIL))
    raw, label = p5.DATA / f"{name}.parquet", p5.SETS[name]
    table = pl.read_parquet(raw)
    fold = p5.fold_of(table.height, table[label].to_numpy(), 5)
    rows = np.random.default_rng([p5.SEED, 0]).permutation(np.flatnonzero(fold != 0))
    ringfence("init", str(work / name), "--from", str(raw))
    scenario = work / name / "ringfence.yaml"
    scenario.write_text(scenario.read_text(encoding="utf-8").replace(str(raw), "fold.parquet"), encoding="utf-8")
    table[rows].write_parquet(work / name / "fold.parquet")
    ringfence("import", "--workspace", str(work / name))
    return work / name, None


def trained(folder: Path, until_ms: int | None, *, as_before: bool) -> Fitted:
    """Fit trees and linear model; `as_before`: trees by the default setting alone."""
    place = Workspace(folder)
    scenario = place.scenario()
    ledger = Ledger.open(place.ledger_dir(scenario), scenario)
    catalogue = Catalogue.build(scenario)
    examples = collect_examples(ledger, from_ms=None, until_ms=until_ms, settled_after_ms=0)
    return fit(
        feature_rows(ledger, catalogue, examples.seq).rows,
        examples,
        is_category=[feature.is_category for feature in catalogue.features],
        n_threads=2,
        params=default_params(examples.n_fraud) if as_before else None,
        has_times=scenario.decided.event_time_column is not None,
        learners=(LinearLearner([feature.family for feature in catalogue.features]),),
    )


def line(name: str, folder: Path, until_ms: int | None) -> str:
    before, now = (trained(folder, until_ms, as_before=one) for one in (True, False))
    ledger = Workspace(folder)
    scenario = ledger.scenario()
    examples = collect_examples(
        Ledger.open(ledger.ledger_dir(scenario), scenario), from_ms=None, until_ms=until_ms, settled_after_ms=0
    )
    said = {
        "before": before.members[BACKBONE],
        "trees": now.members[BACKBONE],
        "linear": now.members["linear"],
        "mix": now.stacked,
    }
    cells = [_figures(examples.fraud, odds) for odds in said.values()]
    weight = now.ensemble.stack.weight_of("linear")
    return f"| {name}, {len(examples):,} | {examples.n_fraud:,} | {' | '.join(cells)} ({weight:.2f}) |"


def _figures(fraud: NDArray[np.int8], odds: FloatArray) -> str:
    there = ~np.isnan(odds)
    y, found = fraud[there], odds[there]
    loss = float(np.logaddexp(0.0, np.where(y == 1, -found, found)).mean())
    return f"{loss:.4f} {roc_auc(y, found):.3f}/{average_precision(y, found):.3f}"


def _ms(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join((NETWORK, VEHICLES, *p5.SETS)), help="with commas between")
    arguments = parser.parse_args()
    print("| training rows | frauds | trees as before | trees, best of three | linear | mix (weight of linear) |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="ringfence-mixing-") as temporary:
        for name in arguments.sets.split(","):
            print(line(name, *workspace(Path(temporary), name)), flush=True)


if __name__ == "__main__":
    main()

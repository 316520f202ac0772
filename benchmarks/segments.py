# SPDX-License-Identifier: Apache-2.0
"""What falling back on segments is worth on the simulated insurer: one replay a choice of segments, then trees.

    python -m benchmarks.segments [--events 100000] [--seeds 1] [--fraud-rate 0.0056]

As in benchmarks.families: trees train on the labels known when the last fifth of the history begins, each line is the
mean of five fits, and differences are paired bootstraps over the claims of the test. `lift` is how much more often the
tenth of the test with the highest `segment.fraud_rate` is fraud than the whole test: 1 where segments say nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.families import METRICS, TEST_SHARE, Rows, known_and_true, score
from ringfence.engine import Catalogue, Engine
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.models import paired_bootstrap
from ringfence.models.metrics import average_precision, recall_at_precision, roc_auc
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.simulate import simulate_motor_claims

CHOICES: Final = ((), ("claim_type",), ("region", "claim_type"), ("region",))


def lift(rate: Rows, fraud: NDArray[np.int64]) -> float:
    """Share of frauds in the tenth with the highest rate, against that of all; ties share what is left."""
    cut = np.quantile(rate, 0.9)
    above, at_cut = rate > cut, rate == cut
    left = 0.1 * len(rate) - above.sum()
    hits = fraud[above].sum() + (fraud[at_cut].mean() * left if at_cut.any() else 0.0)
    return float(hits / (0.1 * len(rate)) / fraud.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--fraud-rate", type=float, default=0.0056)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            workspace = Path(folder)
            report = simulate_motor_claims(arguments.events, seed, workspace, fraud_rate=arguments.fraud_rate)
            scenario = load_scenarios(workspace / "ringfence.yaml")["motor-claims"]
            directory = workspace / "ledger" / scenario.name
            import_files(directory, scenario, workspace, FakeClock(report.ends_ms))
            ledger = Ledger.open(directory, scenario)
            label, truth = known_and_true(ledger, workspace / "truth.parquet")
            cut = int(len(label) * (1.0 - TEST_SHARE))
            fraud = truth[cut:].astype(np.int64)
            print(f"seed {seed}: {int(fraud.sum())} frauds among {len(fraud):,} claims of the test")
            print(
                "| segments | with a label | lift | AP | ROC-AUC | recall at 15 % precision | AP against none | CPU s |"
            )
            print("|---|---|---|---|---|---|---|---|")
            first: Rows | None = None
            for names in CHOICES:
                chosen = msgspec.structs.replace(scenario, segments=names)
                catalogue = Catalogue.build(chosen)
                engine, began = Engine(catalogue), time.process_time()
                batches = Ledger.open(directory, chosen).batches()
                rows = np.concatenate([engine.observe(batch) for batch in batches])
                spent = time.process_time() - began
                found = score(rows, label, list(range(rows.shape[1])), cut)
                first = found if first is None else first
                gain = paired_bootstrap(METRICS, fraud, found, first, seed=0, n_resamples=500)["AP"]
                rate = rows[cut:, catalogue.index("segment.fraud_rate")] if names else np.zeros(len(fraud))
                cells = [
                    " and ".join(names) or "none",
                    str(engine.counters["segments"]),
                    f"{lift(rate, fraud):.2f}",
                    f"{average_precision(fraud, found):.3f}",
                    f"{roc_auc(fraud, found):.3f}",
                    f"{recall_at_precision(fraud, found, precision=0.15):.3f}",
                    f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
                    f"{spent:.1f}",
                ]
                print(f"| {' | '.join(cells)} |", flush=True)
                del rows


if __name__ == "__main__":
    main()

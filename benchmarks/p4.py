# SPDX-License-Identifier: Apache-2.0
"""Sign-ups of a shop, through the command line: first 70 % by time against the rest, with and without `derive:`.

    python -m benchmarks.p4 [--seed N] [--write] [--json FILE]

--write puts the table into examples/signups-ecommerce/README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import polars as pl

from benchmarks.commands import ROOT, data_folder, ringfence
from benchmarks.tabular import HEADER, RESAMPLES, table_row
from benchmarks.written import write_table
from ringfence.models import paired_bootstrap
from ringfence.models.metrics import average_precision, roc_auc

DATA = data_folder("signups_ecommerce")
EXAMPLE = ROOT / "examples" / "signups-ecommerce"
CUT = "2015-08-05"
BEFORE_DERIVED, AFTER_DERIVED = "        # Computed at the door", "        label:"
QUICK = (("attributes", ".500", ".046"), ("+ device and address velocity", ".552", ".079"))


def scores_of(work: Path, seed: int, *, derived: bool) -> tuple[pl.DataFrame, float]:
    """Run the example in a folder of its own; return the scores after the cut, and the seconds of `train`."""
    shutil.copytree(EXAMPLE, work)
    shutil.copy(DATA / "purchases.parquet", work / "purchases.parquet")
    shutil.copy(DATA / "ip_to_country.parquet", work / "ip_to_country.parquet")
    if not derived:
        scenario = work / "ringfence.yaml"
        before, _, rest = scenario.read_text(encoding="utf-8").partition(BEFORE_DERIVED)
        scenario.write_text(before + AFTER_DERIVED + rest.partition(AFTER_DERIVED)[2], encoding="utf-8")
    ringfence("import", "--workspace", str(work))
    began = time.perf_counter()
    ringfence("train", "--workspace", str(work), "--until", CUT, "--seed", str(seed))
    seconds = time.perf_counter() - began
    output = work / "scores.parquet"
    ringfence("score", "-w", str(work), "--from", CUT, "--release", "latest", "--output", str(output))
    return pl.read_parquet(output).select(pl.col("event_id").cast(pl.Int64), "score"), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into the example's README")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()

    labels = pl.read_parquet(DATA / "purchases.parquet").select(event_id=pl.col("user_id").cast(pl.Int64), y="is_fraud")
    lines, report, scores = [], {}, []
    with tempfile.TemporaryDirectory(prefix="ringfence-p4-") as temporary:
        for name, derived in (("with country, /16 and /24 networks", True), ("the same file without `derive:`", False)):
            found, seconds = scores_of(Path(temporary) / str(derived), arguments.seed, derived=derived)
            test = found.join(labels, on="event_id", how="inner").sort("event_id")
            y = test["y"].to_numpy()
            scores.append(test["score"].to_numpy())
            line, report[name] = table_row(f"{name} ({seconds:.0f} s of `train`)", y, scores[-1])
            lines.append(line)
            print(line, flush=True)
    metrics = {"ROC-AUC": roc_auc, "average precision": average_precision}
    gain = paired_bootstrap(metrics, y, scores[0], scores[1], seed=0, n_resamples=RESAMPLES)
    said = ", ".join(f"{m} {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})" for m, d in gain.items())
    lines += [f"| quick LightGBM, {name} | {auc} | {ap} | | | |" for name, auc, ap in QUICK]
    text = "\n".join(
        [
            f"Trained until {CUT}, labels 14 days late (an assumption, the data say nothing of it), tested on the "
            f"{y.shape[0]:,} purchases after it, {int(y.sum())} of them frauds; 95 % intervals over purchases, ECE "
            "over ten bins of equal mass. Written by `python -m benchmarks.p4 --write`.",
            "",
            HEADER,
            *lines,
            "",
            f"Gain of `derive:`, paired: {said}.",
        ]
    )
    print(text)
    if arguments.write:
        write_table(EXAMPLE / "README.md", "p4", text)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Tables without time, ids and entities, by five folds, through the command line: init --from, import, train, score.

    python -m benchmarks.p5 [--sets german_credit,...] [--folds 5] [--write] [--json FILE]

Each fold's file holds the training rows in random order, then the test rows without their label, so nothing of the test
is learnt or remembered. `ringfence init --from` drafts the scenario from the whole table; nothing in it is edited but
the path. Beside it, in the same folds: a logistic regression and LightGBM with its defaults. --write puts each table
into examples/tabular/README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.commands import ROOT, data_folder, ringfence
from benchmarks.tabular import HEADER, rivals, table_row
from benchmarks.written import write_table

DATA = data_folder("tabular_small")
PAGE = ROOT / "examples" / "tabular" / "README.md"
SETS = {
    "german_credit": "bad",
    "modeldata_credit_data": "bad",
    "modeldata_lending_club": "bad",
    "modeldata_mlc_churn": "churn",
}
SEED = 0


def fold_of(n: int, y: NDArray[np.integer[Any]], n_folds: int) -> NDArray[np.int64]:
    """Deal the rows into folds at random, both kinds evenly."""
    rng = np.random.default_rng(SEED)
    found = np.zeros(n, dtype=np.int64)
    for kind in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == kind))
        found[rows] = np.arange(rows.shape[0]) % n_folds
    return found


def scores_of(work: Path, drafted: Path, raw: Path, train: pl.DataFrame, test: pl.DataFrame, label: str) -> np.ndarray:
    """Train on one table, score the other, in a workspace of its own; return the scores in the order of `test`."""
    shutil.copytree(drafted, work)
    scenario = work / "ringfence.yaml"
    text = scenario.read_text(encoding="utf-8")
    if str(raw) not in text:
        raise SystemExit(f"the draft does not name {raw}")
    scenario.write_text(text.replace(str(raw), "fold.parquet"), encoding="utf-8")
    blind = test.with_columns(pl.lit(None, test[label].dtype).alias(label))
    pl.concat([train, blind]).write_parquet(work / "fold.parquet")
    ringfence("import", "--workspace", str(work))
    ringfence("train", "--workspace", str(work))
    output = work / "scores.parquet"
    ringfence("score", "-w", str(work), "--from", "1900-01-01", "--release", "latest", "--output", str(output))
    scored = pl.read_parquet(output).sort("event_time")
    if scored.height != train.height + test.height:
        raise SystemExit(f"{train.height + test.height} rows should have a score; {scored.height} have")
    return scored["score"].to_numpy()[train.height :]


def figures_of(name: str, label: str, n_folds: int) -> tuple[str, dict[str, dict[str, float]]]:
    """Run one table; return its Markdown table and the bare figures."""
    raw = DATA / f"{name}.parquet"
    table = pl.read_parquet(raw)
    y = table[label].to_numpy()
    fold = fold_of(table.height, y, n_folds)
    found: dict[str, NDArray[np.float64]] = {}
    with tempfile.TemporaryDirectory(prefix="ringfence-p5-") as temporary:
        drafted = Path(temporary) / "drafted"
        ringfence("init", str(drafted), "--from", str(raw))
        for at in range(n_folds):
            rows = np.random.default_rng([SEED, at]).permutation(np.flatnonzero(fold != at))
            train, test = table[rows], table.filter(pl.Series(fold == at))
            ours = scores_of(Path(temporary) / f"fold-{at}", drafted, raw, train, test, label)
            for who, score in {"ringfence": ours, **rivals(train, test, label)}.items():
                found.setdefault(who, np.full(y.shape[0], np.nan))[fold == at] = score
            print(f"{name}: fold {at + 1} of {n_folds}", flush=True)
    lines, report = [], {}
    for who, score in found.items():
        line, report[who] = table_row(who, y, score)
        lines.append(line)
    head = (
        f"{table.height:,} rows, {100 * y.mean():.1f} % `{label}`; {n_folds} folds, all rows scored once, "
        f"95 % intervals over rows, ECE by ten bins of equal mass. "
        f"Written by `python -m benchmarks.p5 --sets {name} --write`."
    )
    return "\n".join([head, "", HEADER, *lines]), report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS), help="which tables, with commas between")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put each table into the example's README")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()

    report = {}
    for name in arguments.sets.split(","):
        if name not in SETS:
            raise SystemExit(f"no table {name!r}; there are: {', '.join(SETS)}")
        text, report[name] = figures_of(name, SETS[name], arguments.folds)
        print(f"\n{name}\n{text}\n", flush=True)
        if arguments.write:
            write_table(PAGE, name, text)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

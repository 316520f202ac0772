# SPDX-License-Identifier: Apache-2.0
"""What losses are compared on: engine rows of events split in time into fit, validation and test.

payments   card payments (P1): one week fits, the next validates, a week of delay, then the protocol's test week, whose
           cards known to be compromised are left out; three such weeks
insurer    three simulated insurers: labels known when the seventh tenth of the history begins fit, those of the
           next two tenths that are known by their end validate, the last two tenths test, judged by the truth
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.commands import ringfence
from benchmarks.p1 import DATA, EXAMPLE, test_set
from ringfence.engine import Catalogue, feature_rows
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.models.encoder import Encoder
from ringfence.scenario.clock import FakeClock
from ringfence.simulate import simulate_motor_claims
from ringfence.training.clocks import clocks
from ringfence.training.folds import Fold
from ringfence.workspace import Workspace

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WEEKS = ("2018-07-25", "2018-08-01", "2018-08-08")  # when the validation of a run begins
WARM_UP, FIT_UNTIL, TEST_FROM = 0.1, 0.6, 0.8  # shares of an insurer's claims
FIT, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class Task:
    """Encoded rows of the three parts; what tells the time is missing everywhere, as in `train`."""

    name: str
    rows: FloatArray  # (n, n_features)
    part: NDArray[np.int8]  # (n,)
    fraud: FloatArray  # (n,) 0 or 1: the label known, or the truth of a test
    amount: FloatArray  # (n,) money
    categories: list[int]

    def at(self, part: int) -> IntArray:
        return np.flatnonzero(self.part == part)


def payments(work: Path, run: int) -> Task:
    """Prepare one week of card payments: run 0, 1 or 2."""
    kept = work / f"payments-{run}.npz"
    here = work / "payments"
    if not kept.exists():
        if not (here / "ledger").is_dir():
            shutil.copytree(EXAMPLE, here, dirs_exist_ok=True)
            ringfence("import", str(DATA / "transactions.parquet"), "--workspace", str(here))
        start = datetime.fromisoformat(WEEKS[run])
        table = pl.read_parquet(DATA / "transactions.parquet").drop("TX_FRAUD_SCENARIO", strict=False)
        time, days = pl.col("TX_DATETIME"), lambda n: start + timedelta(days=n)
        parts = (
            table.filter((time >= days(-14)) & (time < days(-7))),  # labels known by the first validated payment
            table.filter((time >= start) & (time < days(7))),  # known by the first tested one
            test_set(table, start),
        )
        chosen = pl.concat(
            [one.select(event_id=pl.col("TRANSACTION_ID").cast(pl.String), fraud="TX_FRAUD", part=pl.lit(part, pl.Int8))
             for part, one in enumerate(parts)]
        )  # fmt: skip
        ledger = _ledger(here)
        events = ledger.events(0).join(chosen, on="event_id", how="inner").sort("seq")
        if events.height != chosen.height:
            raise SystemExit(f"{chosen.height - events.height} payments of the protocol are not in {here}")
        _keep(kept, ledger, events)
    return _read(f"payments-{run}", kept)


def insurer(work: Path, run: int, n_claims: int) -> Task:
    """Prepare one simulated insurer: the world of seed run + 1."""
    kept = work / f"insurer-{run}-{n_claims}.npz"
    if not kept.exists():
        here = work / f"insurer-{run}-{n_claims}"
        report = simulate_motor_claims(n_claims, run + 1, here)
        spec = Workspace(here).scenario()
        import_files(Workspace(here).ledger_dir(spec), spec, here, FakeClock(report.ends_ms))
        ledger = _ledger(here)
        truth = pl.read_parquet(here / "truth.parquet").select(event_id="claim_id", truth="fraud")
        events = (
            ledger.events(0)
            .join(truth, on="event_id", how="left", maintain_order="left")
            .join(ledger.labels(), left_on="seq", right_on="event_seq", how="left", maintain_order="left")
        )
        first, fits, tests = (int(share * events.height) for share in (WARM_UP, FIT_UNTIL, TEST_FROM))
        times, place = events["event_time_ms"], pl.int_range(pl.len())
        known = pl.col("known_at_ms")
        part = (
            pl.when(place >= tests).then(TEST)
            .when((place >= fits) & (known < times[tests])).then(VALIDATION)
            .when((place >= first) & (place < fits) & (known < times[fits])).then(FIT)
        )  # fmt: skip
        events = events.with_columns(part=part.cast(pl.Int8)).filter(pl.col("part").is_not_null())
        fraud = pl.when(pl.col("part") == TEST).then(pl.col("truth").cast(pl.Int8)).otherwise(pl.col("value"))
        _keep(kept, ledger, events.with_columns(fraud=fraud))
        shutil.rmtree(here)
    return _read(f"insurer-{run}", kept)


def _ledger(here: Path) -> Ledger:
    workspace = Workspace(here)
    scenario = workspace.scenario()
    return Ledger.open(workspace.ledger_dir(scenario), scenario)


def _keep(path: Path, ledger: Ledger, events: pl.DataFrame) -> None:
    """Replay once, encode by what fits, and keep the rows of these events: seq, fraud, part, amount_minor."""
    catalogue = Catalogue.build(ledger.scenario)
    rows = feature_rows(ledger, catalogue, events["seq"].to_numpy()).rows
    part, times = events["part"].to_numpy(), events["event_time_ms"].to_numpy()
    fit, validation = np.flatnonzero(part == FIT), np.flatnonzero(part == VALIDATION)
    span = times[validation]
    fold = Fold(fit=fit, emit=validation, start_ms=int(span.min()), end_ms=int(span.max()), label_delay=True)
    is_category = [feature.is_category for feature in catalogue.features]
    rows[:, clocks(rows, [fold], is_category)] = np.nan
    encoder = Encoder.fit(rows[fit], is_category)
    np.savez(
        path,
        rows=encoder.apply(rows, in_place=True),
        part=part,
        fraud=events["fraud"].to_numpy().astype(np.float64),
        amount=events["amount_minor"].fill_null(0).to_numpy() / 100.0,
        categories=np.array(encoder.category_columns, dtype=np.int64),
    )


def _read(name: str, path: Path) -> Task:
    with np.load(path) as found:
        return Task(
            name=name,
            rows=found["rows"],
            part=found["part"],
            fraud=found["fraud"],
            amount=found["amount"],
            categories=found["categories"].tolist(),
        )

# SPDX-License-Identifier: Apache-2.0
"""Tables that nobody described, made for one question each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ringfence.drafting import Draft, draft_scenario, workspace_files, yaml_of
from ringfence.ledger.importer import ImportReport, import_files
from ringfence.ledger.runs import check_source
from ringfence.ledger.sources import column_names, needed_columns, read_plain_frames, resolve
from ringfence.scenario import FakeClock, IdentityKey
from ringfence.scenario.batch import MISSING_AMOUNT, NO_LABEL
from ringfence.scenario.columns import Columns
from ringfence.workspace import Workspace

N = 600
NOW_MS = 1_800_000_000_000


def payments(seed: int = 7, **columns: Any) -> dict[str, Any]:
    """600 payments in time order, 60 of them fraud; more columns may be added, or replaced."""
    rng = np.random.default_rng(seed)
    fraud = np.zeros(N, np.int64)
    fraud[rng.choice(N, 60, replace=False)] = 1
    day = np.sort(rng.integers(0, 200, N))
    return {
        "payment_id": [f"p{number}" for number in rng.permutation(N)],
        "paid_at": [f"2024-{1 + d // 28:02d}-{1 + d % 28:02d}T10:{i % 60:02d}:00" for i, d in enumerate(day)],
        "card_no": [f"c{number}" for number in rng.integers(0, 80, N)],
        "merchant": [f"m{number}" for number in rng.integers(0, 30, N)],
        "amount": np.round(rng.lognormal(3.0, 1.0, N), 2),
        "channel": rng.choice(["web", "shop", "phone"], N),
        "is_fraud": fraud,
        **columns,
    }


def draft_of(folder: Path, columns: dict[str, Any], name: str = "t.csv", **csv: Any) -> Draft:
    """Write a table and draft from it."""
    folder.mkdir(exist_ok=True)
    frame = pl.DataFrame(columns)
    if name.endswith(".parquet"):
        frame.write_parquet(folder / name)
    else:
        frame.write_csv(folder / name, **csv)
    return draft_scenario("drafted", [folder / name])


class LetIn(NamedTuple):
    """Rows that the door for files let in, without a ledger."""

    n_events: int
    n_labels: int
    n_rejected: int
    n_without_amount: int


def let_in(draft: Draft, folder: Path) -> LetIn:
    """Write the scenario of a draft, and let the rows of its decided files in as an import would."""
    (folder / "ringfence.yaml").write_text(yaml_of(draft, directory=folder), encoding="utf-8")
    spec = Workspace(folder).scenario()
    columns = Columns(spec, IdentityKey(bytes(32)))
    total = LetIn(0, 0, 0, 0)
    for file in resolve(spec, folder):
        check_source(file)
        needed = needed_columns(file.event_type)
        names = [name for name in column_names(file.path, file.dialect) if name in needed]
        for frame in read_plain_frames(file, names, _refuse):
            found = columns.admit(file.event_type, frame.rows, 0)
            n_labels, n_silent = (found.label_value != NO_LABEL).sum(), (found.amount_minor == MISSING_AMOUNT).sum()
            counts = (len(found), int(n_labels), frame.rows.height - len(found), int(n_silent))
            total = LetIn(*(a + b for a, b in zip(total, counts, strict=True)))
    return total


def _refuse(line: int, found: str, reason: str) -> None:
    raise AssertionError((line, found, reason))


def imported(draft: Draft, folder: Path) -> ImportReport:
    """Write the workspace of a draft and import what it drafted."""
    for name, text in workspace_files(draft, folder).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    here = Workspace(folder)
    spec = here.scenario()
    return import_files(here.ledger_dir(spec), spec, here.path, FakeClock(NOW_MS))

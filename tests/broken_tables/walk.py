# SPDX-License-Identifier: Apache-2.0
"""One table, well or broken, taken through the commands that its owner would type."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit

N = 120
NAMES = ("payment_id", "paid_at", "card_no", "merchant", "amount", "channel", "hour", "is_fraud")
_NEVER = re.compile(r"Traceback|internal error|panicked")


def payments(**columns: Any) -> dict[str, Any]:
    """120 payments in time order as texts, 24 of them fraud; columns may be replaced or added."""
    rng = np.random.default_rng(3)
    fraud = np.zeros(N, np.int64)
    fraud[rng.choice(N, 24, replace=False)] = 1
    start = datetime.fromisoformat("2024-01-01T10:00:00")
    moments = [
        start + timedelta(days=int(day), minutes=at % 60) for at, day in enumerate(np.sort(rng.integers(0, 200, N)))
    ]
    return {
        "payment_id": [f"p{number}" for number in rng.permutation(N)],
        "paid_at": [moment.isoformat() for moment in moments],
        "card_no": [f"c{number}" for number in rng.integers(10, 35, N)],
        "merchant": [f"m{number}" for number in rng.integers(10, 32, N)],
        "amount": [f"{value:.2f}" for value in rng.lognormal(4.0 + fraud, 1.0) + 1.0],
        "channel": rng.choice(["web", "shop", "phone"], N).tolist(),
        "hour": [str(hour) for hour in rng.integers(0, 24, N)],
        "is_fraud": [str(value) for value in fraud],
        **columns,
    }


def replaced(name: str, at: list[int], values: list[Any]) -> dict[str, list[Any]]:
    """The payments with some cells of a column replaced."""
    column = list(payments()[name])
    for row, value in zip(at, values, strict=True):
        column[row] = value
    return {name: column}


def text(columns: dict[str, list[Any]] | None = None, separator: str = ",", end: str = "\n") -> str:
    """A table as CSV; cells are quoted where they have to be."""
    columns = payments() if columns is None else columns

    def cell(value: Any) -> str:
        told = "" if value is None else str(value)
        return '"' + told.replace('"', '""') + '"' if any(sign in told for sign in (separator, '"', "\n")) else told

    rows = [list(columns), *zip(*columns.values(), strict=True)]
    return "".join(separator.join(map(cell, row)) + end for row in rows)


class Said(NamedTuple):
    """What a command ended with, and what it said."""

    code: int
    out: str
    err: str


class Walk:
    """`init --from`, `check`, `import`, `train` on one file; each must end in words, never in a traceback."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.workspace, self._capsys = folder, folder / "w", capsys

    def file(self, content: bytes | str, name: str = "t.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def frame(self, frame: pl.DataFrame) -> Path:
        path = self.folder / "t.parquet"
        frame.write_parquet(path)
        return path

    def run(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        code = run(list(arguments))
        said = self._capsys.readouterr()
        assert not _NEVER.search(said.out + said.err), said.err
        assert code != Exit.INTERNAL
        return Said(code, said.out, said.err)

    def init(self, file: Path) -> Said:
        return self.run("init", str(self.workspace), "--from", str(file))

    def check(self) -> Said:
        return self.run("check", "-w", str(self.workspace))

    def load(self) -> Said:
        return self.run("import", "-w", str(self.workspace))

    def train(self) -> Said:
        return self.run("train", "-w", str(self.workspace))

    def edit(self, before: str, after: str) -> None:
        path = self.workspace / "ringfence.yaml"
        written = path.read_text(encoding="utf-8")
        assert before in written
        path.write_text(written.replace(before, after), encoding="utf-8")

    @property
    def scenario(self) -> str:
        return (self.workspace / "ringfence.yaml").read_text(encoding="utf-8")

    def events(self) -> pl.DataFrame:
        """The events that were imported, in their order."""
        segments = sorted((self.workspace / "ledger").glob("**/segments/*/records.parquet"))
        return pl.concat([pl.read_parquet(path) for path in segments]).filter(pl.col("kind") == 0)

    def rejects(self) -> list[str]:
        """The lines of the rejects file, without the folder's name."""
        path = self.workspace / "reports" / "w-rejects.csv"
        told = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
        return [line.split("t.csv,")[-1].split("t.parquet,")[-1].split("t.jsonl,")[-1] for line in told]

    def nothing_is_left(self) -> bool:
        """Whether no workspace, and no part of one, was written."""
        return not self.workspace.exists()

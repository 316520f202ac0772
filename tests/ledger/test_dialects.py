# SPDX-License-Identifier: Apache-2.0
"""One table in many spellings is one history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ringfence.ledger.errors import SourceUnreadableError
from ringfence.ledger.importer import import_files
from ringfence.ledger.sources import column_names, n_rows
from ringfence.scenario import FakeClock
from ringfence.scenario.dialect import Dialect
from ringfence.scenario.load import scenario_from_mapping

PLAIN = [
    ("1", "2024-01-31T10:00:00", "1234.50", "Zoë", "1"),
    ("2", "2024-02-01T00:00:00", "-0.25", "Ann", "0"),
    ("3", "2024-02-11T23:59:00", None, "Zoë", None),
]
NAMES = ["id", "at", "amount", "who", "fraud"]


def history(folder: Path, source: dict[str, Any], content: bytes) -> pl.DataFrame:
    """Import a file under what its source says; the records, with digests under one key."""
    (folder / "ledger").mkdir(parents=True)
    key = folder / "ledger" / "identity.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    (folder / "t.csv").write_bytes(content)
    described = {
        "decide": "payment",
        "sources": {"payment": {"files": "t.csv", **source}},
        "events": {
            "payment": {
                "event_id": "id",
                "event_time": "at",
                "amount": {"field": "amount", "currency": "EUR", "negative": "allow"},
                "entities": {"person": "who"},
                "label": {"field": "fraud", "delay": "7d"},
            }
        },
    }
    scenario = scenario_from_mapping("payments", described, where="ringfence.yaml")
    report = import_files(folder / "ledger", scenario, folder, FakeClock(1_800_000_000_000))
    assert report.n_rejected == 0
    segment = next((folder / "ledger" / "segments").glob("*/records.parquet"))
    return pl.read_parquet(segment)


def text(rows: list[tuple[str | None, ...]], separator: str, nothing: str = "") -> str:
    return "\n".join(separator.join(nothing if cell is None else cell for cell in row) for row in [tuple(NAMES), *rows])


def comma(rows: list[tuple[str | None, ...]], order: str) -> list[tuple[str | None, ...]]:
    told = []
    for number, at, amount, who, fraud in rows:
        assert at is not None
        year, month, day = at[:10].split("-")
        date = f"{day}.{month}.{year}" if order == "day" else f"{month}/{day}/{year}"
        told.append((number, f"{date} {at[11:16]}", amount and amount.replace(".", ","), who, fraud))
    return told


@pytest.mark.parametrize("spelling", ["semicolons", "latin-1", "utf-16", "month first", "bars"])
def test_one_table_in_many_spellings_is_one_history(spelling: str, tmp_path: Path) -> None:
    cases: dict[str, tuple[dict[str, Any], bytes]] = {
        "semicolons": (
            {"separator": ";", "decimal": ",", "times": {"at": "day_first"}, "missing": ["NA"]},
            text(comma(PLAIN, "day"), ";", "NA").encode(),
        ),
        "latin-1": ({"encoding": "latin-1"}, text(PLAIN, ",").encode("latin-1")),
        "utf-16": ({"encoding": "utf-16"}, text(PLAIN, ",").encode("utf-16")),
        "month first": (
            {"separator": ";", "decimal": ",", "times": {"at": "month_first"}},
            text(comma(PLAIN, "month"), ";").encode("utf-8-sig"),
        ),
        "bars": ({"separator": "|", "missing": ["-"]}, text(PLAIN, "|", "-").encode()),
    }
    source, content = cases[spelling]
    plain = history(tmp_path / "plain", {}, text(PLAIN, ",").encode())
    found = history(tmp_path / "other", source, content)
    assert plain.height == 5
    assert found.equals(plain)


def test_wrong_encoding_names_the_byte_and_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(text(PLAIN, ",").encode("latin-1"))
    with pytest.raises(SourceUnreadableError, match=r"is not UTF-8: byte 0xeb on line 2; .*`encoding`"):
        n_rows(file)
    assert n_rows(file, Dialect(encoding="latin-1")) == 3
    file.write_bytes("ë,b\n".encode("utf-16"))
    with pytest.raises(SourceUnreadableError, match="is not UTF-8: the first line"):
        column_names(file)
    assert column_names(file, Dialect(encoding="utf-16")) == ["ë", "b"]

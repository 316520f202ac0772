# SPDX-License-Identifier: Apache-2.0
"""Logs of JSON lines: what is nested becomes columns, and every cell means what the same table as CSV would mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from ringfence.drafting import draft_scenario
from ringfence.ledger.json_lines import json_frames, json_names
from tests.drafting.tables import N, imported, payments


def refuse(line: int, found: str, reason: str) -> None:
    raise AssertionError((line, found, reason))


def test_nested_objects_become_columns_and_lists_stay_lists(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [
        {"id": 17, "user": {"mail": "a@b.c", "at": {"x": 1.50}}, "tags": [], "ok": True, "utm": None},
        {"id": 10**17 + 1, "user": {"mail": "", "at": None}, "tags": ["a", "b"], "ok": False, "utm": {"by": "mail"}},
        {"id": "s", "items": [{"n": 1}]},
    ]
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    names = ["id", "user.mail", "user.at.x", "tags", "ok", "utm.by", "items"]
    assert json_names(path) == names
    (frame,) = json_frames(path, names, refuse)
    assert frame.lines.tolist() == [1, 3, 5]
    assert frame.rows.to_dict(as_series=False) == {
        "id": ["17", "100000000000000001", "s"],
        "user.mail": ["a@b.c", None, None],
        "user.at.x": ["1.5", None, None],
        "tags": [[], ["a", "b"], None],
        "ok": ["true", "false", None],
        "utm.by": [None, "mail", None],
        "items": [None, None, '[{"n":1}]'],
    }


def test_a_log_of_json_lines_is_drafted_and_imported(tmp_path: Path) -> None:
    given = payments()
    people = np.random.default_rng(3).choice(["Ann Lee", "Bo Berg", "Cy Cole"], N)
    with (tmp_path / "log.jsonl").open("w") as file:
        for at in range(N):
            device = {"id": f"d{at % 90}", "os": ["ios", "android"][at % 2]}
            row = {
                "id": given["payment_id"][at], "created_at": given["paid_at"][at] + "+01:00", "device": device,
                "user": {"name": str(people[at])}, "is_abuse": bool(given["is_fraud"][at]),
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
    draft = draft_scenario("drafted", [tmp_path / "log.jsonl"])
    assert draft.event_id is not None
    assert draft.event_id.name == "id"
    assert [guess.column.name for guess in draft.roles] == ["device.id"]
    assert {a.column.name: (a.type, a.personal) for a in draft.attributes} == {
        "device.os": ("category", False), "user.name": ("text", True),
    }  # fmt: skip
    report = imported(draft, tmp_path)
    assert (report.n_events, report.n_labels, report.n_rejected) == (N, N, 0)


def test_lines_of_json_and_csv_give_the_same_cells(tmp_path: Path) -> None:
    frame = pl.DataFrame(payments())
    frame.write_ndjson(tmp_path / "t.jsonl")
    (found,) = json_frames(tmp_path / "t.jsonl", frame.columns, refuse)
    assert found.rows.equals(frame.cast(pl.String))

# SPDX-License-Identifier: Apache-2.0
"""Labels that an import brings for events which the ledger has already."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import duckdb
import pyarrow as pa

from ringfence.ledger.followed import Answered
from ringfence.ledger.labels import MATURED, Precedence, Standing
from ringfence.ledger.writer import EventLookup
from ringfence.scenario.batch import FRAUD, LEGIT
from ringfence.scenario.event import Link

_MARKS = 500
_SCHEMA = pa.schema(
    [
        ("at_ms", pa.int64()),
        ("ord", pa.int64()),
        ("event_type", pa.uint8()),
        ("role", pa.list_(pa.uint8())),
        ("lo", pa.list_(pa.uint64())),
        ("hi", pa.list_(pa.uint64())),
        ("label_event_seq", pa.int64()),
        ("label_event_time_ms", pa.int64()),
        ("label_value", pa.int8()),
        ("label_replaces", pa.int8()),
        ("label_source", pa.string()),
        ("place", pa.int64()),
    ]
)


class _Candidate(NamedTuple):
    event_seq: int
    at_ms: int
    is_matured: int  # after a label of the same moment
    ord: int
    value: int
    source: str
    place: int = -1  # `ord` of the outcome that gives it


def find_extra_labels(
    database: duckdb.DuckDBPyConnection,
    ledger: sqlite3.Connection,
    lookup: EventLookup,
    precedence: Precedence,
    watermark_ms: int,
    answered: list[Answered],
) -> int:
    """Fill the table `extra` and return its size.

    It holds the new word of rows that the ledger knows, where it changes what stands (so that the same import twice
    adds nothing), the events that mature up to `watermark_ms`, and those that outcomes of this import have `answered`.
    """
    candidates = [
        _Candidate(seq, known_at_ms, 0, ord_, value, source)
        for seq, known_at_ms, ord_, value, source in database.execute(
            """SELECT known.seq, known_at_ms, ord, label_value, label_source
            FROM events JOIN known USING (ord) WHERE same AND label_value IS NOT NULL"""
        ).fetchall()
    ]
    candidates += [
        _Candidate(seq, known_at_ms, 0, -1, FRAUD, source, -1 if place is None else place)
        for seq, known_at_ms, place, source in answered
    ]
    maturing = ledger.execute("SELECT event_seq, due_ms FROM maturing WHERE due_ms <= ?", (watermark_ms,))
    candidates += [_Candidate(seq, due_ms, 1, -1, LEGIT, MATURED) for seq, due_ms in maturing]
    standing = _standing(ledger, sorted({candidate.event_seq for candidate in candidates}))
    columns: list[list[object]] = [[] for _ in _SCHEMA]
    for label in sorted(candidates):
        before = standing.get(label.event_seq)
        if before is not None and not _is_news(label, before, precedence):
            continue
        standing[label.event_seq] = Standing(label.value, label.source, label.at_ms, -1)
        event_type, event_time_ms, links = lookup(label.event_seq)
        replaces = None if before is None else before.value
        place = None if label.place < 0 else label.place
        row = (label.at_ms, label.ord, event_type, *_lists(links), label.event_seq, event_time_ms)
        for column, value in zip(columns, (*row, label.value, replaces, label.source, place), strict=True):
            column.append(value)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    database.register("extra_arrow", pa.Table.from_arrays(arrays, schema=_SCHEMA))
    database.execute("CREATE TABLE extra AS SELECT * FROM extra_arrow")
    database.unregister("extra_arrow")
    return len(columns[0])


def _is_news(label: _Candidate, standing: Standing, precedence: Precedence) -> bool:
    if label.source == MATURED or label.value == standing.value:
        return False
    stands, _ = precedence.outcome(label.source, standing)
    # Between sources of equal rank the later word wins; a file that says again what it said before is no later word.
    return stands and (
        label.source == standing.source
        or label.at_ms > standing.known_at_ms
        or precedence.rank(label.source) < precedence.rank(standing.source)
    )


def _standing(ledger: sqlite3.Connection, seqs: list[int]) -> dict[int, Standing]:
    found: dict[int, Standing] = {}
    for start in range(0, len(seqs), _MARKS):
        chunk = seqs[start : start + _MARKS]
        query = f"""SELECT event_seq, value, source, known_at_ms, label_seq FROM standing
          WHERE event_seq IN ({",".join("?" * len(chunk))})"""
        found.update({row[0]: Standing(*row[1:]) for row in ledger.execute(query, chunk)})
    return found


def _lists(links: tuple[Link, ...]) -> tuple[list[int], list[int], list[int]]:
    return [link.role for link in links], [link.lo for link in links], [link.hi for link in links]

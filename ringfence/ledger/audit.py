# SPDX-License-Identifier: Apache-2.0
"""Proof that nothing in a ledger changed since it was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from ringfence.ledger import chain
from ringfence.ledger.codec import SELECT_RECORD, decode_body
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import Kind
from ringfence.ledger.schema import connect
from ringfence.ledger.segments import RECORDS, SEGMENTS, file_digest, list_segments

_CHUNK = 4_096


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found. `chain` is the value to note down elsewhere: it vouches for all records up to `last_seq`."""

    n_records: int
    n_segments: int
    last_seq: int
    chain: str  # hex
    first_broken_seq: int | None
    found: str | None  # what is wrong there

    @property
    def holds(self) -> bool:
        return self.first_broken_seq is None

    @property
    def text(self) -> str:
        """The result as a sentence."""
        if self.first_broken_seq is not None:
            return f"broken at seq {self.first_broken_seq:,}: {self.found}"
        records = "1 live record" if self.n_records == 1 else f"{self.n_records:,} live records"
        segments = "1 imported segment" if self.n_segments == 1 else f"{self.n_segments:,} imported segments"
        return f"intact: {records} and {segments} up to seq {self.last_seq:,}; chain {self.chain}"


def audit_ledger(ledger: Ledger, progress: Callable[[int, int], None] | None = None) -> AuditReport:
    """Recompute the hash chain and the digests of all segments; stop at the first record that does not fit.

    A record that was changed, removed or put between others breaks the chain at its seq; a changed or missing
    segment breaks it at the segment's first seq. Records cut off at the end leave an intact, shorter chain: compare
    `chain` with a value noted earlier.
    """
    directory = ledger.directory
    connection = connect(directory)
    try:
        segments = {segment.first_seq: segment for segment in list_segments(connection)}
        total = int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
        previous, at, n = chain.GENESIS, 0, 0

        def broken(seq: int, found: str) -> AuditReport:
            return AuditReport(
                n_records=n,
                n_segments=len(segments),
                last_seq=at,
                chain=previous.hex(),
                first_broken_seq=seq,
                found=found,
            )

        query = f"{SELECT_RECORD} WHERE seq > ? ORDER BY seq LIMIT {_CHUNK}"
        while rows := connection.execute(query, (at,)).fetchall():
            for seq, kind, recorded_at_ms, watermark_ms, body, value in rows:
                segment = segments.get(at + 1)
                expected = at + 1 if segment is None else segment.last_seq + 1
                if seq != expected:
                    return broken(at + 1, f"records {at + 1}..{seq - 1} are missing")
                if chain.link(previous, seq, kind, recorded_at_ms, watermark_ms, body) != value:
                    return broken(seq, f"the record at seq {seq}, or the chain value before it, was changed")
                if segment is not None or kind == Kind.IMPORT:
                    wrong = _check_import(directory, kind, body, segment.path if segment else None)
                    if wrong is not None:
                        return broken(at + 1, wrong)
                previous, at, n = value, seq, n + 1
            if progress is not None:
                progress(n, total)
        return AuditReport(
            n_records=n,
            n_segments=len(segments),
            last_seq=at,
            chain=previous.hex(),
            first_broken_seq=None,
            found=None,
        )
    finally:
        connection.close()


def _check_import(directory: Path, kind: int, body: bytes, path: str | None) -> str | None:
    if path is None or kind != Kind.IMPORT:
        return "a segment and its import record do not belong together"
    said = decode_body(kind, body)
    if not isinstance(said, dict) or said.get("path") != path:
        return f"segment {path} is not the one that was imported"
    file = directory / SEGMENTS / path / RECORDS
    if not file.is_file():
        return f"segment {file} is missing"
    if file_digest(file) != said.get("digest"):
        return f"segment {file} was changed"
    return None

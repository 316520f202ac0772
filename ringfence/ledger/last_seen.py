# SPDX-License-Identifier: Apache-2.0
"""At which seq each entity was last named: what `retain` goes by. A file of its own, beside the engine's snapshots.

It holds digests and seqs, follows from the records, and reads only those that came since it was last asked: losing it
costs a read of the whole ledger. So the writer of the ledger has nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from ringfence.ledger.erasable import ERASABLE
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import EventBody, Kind
from ringfence.ledger.segments import RECORDS, SEGMENTS, Segment
from ringfence.ledger.write_ahead import connect_write_ahead
from ringfence.scenario.batch import EVENT

LAST_SEEN: Final = "last_seen.db"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (
  one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, chain BLOB NOT NULL);
"""
_SEEN: Final = "INSERT INTO seen VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"
_CHUNK: Final = 4_096
_AT_ONCE: Final = 10_000


class LastSeen:
    """One connection; use it in the thread that made it."""

    def __init__(self, ledger: Ledger, state_dir: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self._ledger = ledger
        self._connection = connect_write_ahead(state_dir / LAST_SEEN)
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_TABLES)
        self._connection.execute("ATTACH ? AS beside", (str(ledger.directory / ERASABLE),))

    def catch_up(self) -> int:
        """Read the records that came since; returns the seq up to which all are known. Interrupted, it goes on there.

        A name that no record has, as after a crash between name and record, counts as seen now.
        """
        found = self._connection.execute("SELECT seq, chain FROM progress").fetchone()
        at, chain = found or (0, b"")
        if at and self._ledger.chain_at(at) != chain:  # of records that are no longer: a ledger was begun anew
            self._connection.executescript("BEGIN; DELETE FROM seen; DELETE FROM progress; COMMIT;")
            at = 0
        until = self._ledger.last_seq
        for segment in self._ledger.segments():
            if at < segment.first_seq:
                self._read_live(at, segment.first_seq - 1)
            if at < segment.last_seq:
                self._read_imported(segment)
                at = segment.last_seq
        self._read_live(at, until)
        self._connection.execute(
            "INSERT OR IGNORE INTO seen SELECT digest, ? FROM beside.directory AS d "
            "WHERE NOT EXISTS (SELECT 1 FROM seen WHERE digest = d.digest)",
            (until,),
        )
        return until

    def count_names(self, until_seq: int) -> int:
        """How many names there are of entities last named at or before `until_seq`."""
        query = "SELECT count(*) FROM beside.directory AS d JOIN seen USING (digest) WHERE seen.seq <= ?"
        return int(self._connection.execute(query, (until_seq,)).fetchone()[0])

    def names(self, until_seq: int) -> Iterator[list[bytes]]:
        """Yield their digests, some at a time; what was yielded before may be deleted meanwhile."""
        query = (
            "SELECT d.digest FROM beside.directory AS d JOIN seen USING (digest) "
            "WHERE d.digest > ? AND seen.seq <= ? ORDER BY d.digest LIMIT ?"
        )
        after = b""
        while rows := self._connection.execute(query, (after, until_seq, _AT_ONCE)).fetchall():
            after = rows[-1][0]
            yield [digest for (digest,) in rows]

    def forget(self, until_seq: int) -> None:
        """Drop what is known of entities last named at or before `until_seq`: they count anew once they are named."""
        self._connection.execute("DELETE FROM seen WHERE seq <= ?", (until_seq,))

    def close(self) -> None:
        self._connection.close()

    def _read_live(self, after: int, until: int) -> None:
        while after < until:
            records = list(self._ledger.records(after, kinds=(Kind.EVENT,), limit=_CHUNK, until_seq=until))
            seen = {
                link.hi.to_bytes(8, "big") + link.lo.to_bytes(8, "big"): record.seq
                for record in records
                if isinstance(record.body, EventBody)
                for link in record.body.event.links
            }
            after = records[-1].seq if len(records) == _CHUNK else until
            self._keep(seen.items(), after)

    def _read_imported(self, segment: Segment) -> None:
        path = self._ledger.directory / SEGMENTS / segment.path / RECORDS
        with pq.ParquetFile(path) as file:
            for row_group in range(file.num_row_groups):
                table = pl.DataFrame(pl.from_arrow(file.read_row_group(row_group, columns=["seq", "kind", "lo", "hi"])))
                last = (
                    table.filter(pl.col("kind") == EVENT)
                    .explode("lo", "hi")
                    .drop_nulls()
                    .group_by("hi", "lo")
                    .agg(pl.col("seq").max())
                    .sort("hi", "lo")
                )
                packed = last.select("hi", "lo").to_numpy().astype(">u8").tobytes()
                digests = [packed[start : start + 16] for start in range(0, len(packed), 16)]
                self._keep(zip(digests, last["seq"].to_list(), strict=True), None)
        # Through its IMPORT record, which comes right after it, the chain names the segment.
        self._keep((), segment.last_seq + 1)

    def _keep(self, seen: Iterable[tuple[bytes, int]], through: int | None) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_SEEN, seen)
        chain = None if through is None else self._ledger.chain_at(through)
        if chain is not None:
            self._connection.execute("INSERT OR REPLACE INTO progress VALUES (1, ?, ?)", (through, chain))
        self._connection.execute("COMMIT")

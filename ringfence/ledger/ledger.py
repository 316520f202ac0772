# SPDX-License-Identifier: Apache-2.0
"""The read side of a ledger: batches for the engine, labels and events for training, records for whoever tails it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.ledger.assembly import BatchAssembler, slice_batch
from ringfence.ledger.checkpoint import checkpoints
from ringfence.ledger.codec import SELECT_RECORD, decode_event, decode_label, record_of
from ringfence.ledger.derived import check_derived, note_live
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.erasable import connect as connect_erasable
from ringfence.ledger.event_segments import EventSegments
from ringfence.ledger.lock import writer_lock
from ringfence.ledger.outcomes import check_outcome, open_index
from ringfence.ledger.pending import n_pending, pending_seq, pending_seqs
from ringfence.ledger.records import EventBody, Kind, LabelBody, Record, TickBody
from ringfence.ledger.recovery import recover, sync_directory
from ringfence.ledger.schema import check_numbering, connect
from ringfence.ledger.segments import Segment, SegmentReader, list_segments
from ringfence.ledger.spool import PutBeside, append_spooled
from ringfence.ledger.writer import Writer
from ringfence.scenario.batch import EVENT, LABEL, Batch
from ringfence.scenario.clock import Clock
from ringfence.scenario.event import Event, Link
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.spec import Scenario

IDENTITY_KEY: Final = "identity.key"
_BUSY_MS: Final = 1_000
_BY_RARE_KIND: Final = "kind = ? AND kind NOT IN (0, 2)"  # spelled as in the partial index, which it needs to be used


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the ledger knows it."""

    seq: int
    event_type: str
    event_time_ms: int
    links: tuple[Link, ...]
    payload_digest: bytes


class Ledger:
    """One scenario's ledger, for reading. Threads may share it: each gets a connection of its own."""

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self._directory = directory
        self._scenario = scenario
        self._local = threading.local()
        self._readers: dict[str, SegmentReader] = {}
        self._segments_of_events = EventSegments(scenario, self._event, self.segments, self._reader)

    @classmethod
    def open(cls, directory: Path, scenario: Scenario) -> Ledger:
        """Open the ledger in `directory`, creating an empty one, for its owner alone, where there is none.

        Raises
        ------
        LedgerSchemaError
            If event types or roles of the scenario no longer fit the records.
        LedgerDamagedError
            If a file is not what was written.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ledger = cls(directory, scenario)
        check_numbering(ledger._connection, scenario, write=False)
        return ledger

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def scenario(self) -> Scenario:
        return self._scenario

    @cached_property
    def identity(self) -> IdentityKey:
        """The secret that names entities and events in this ledger; made at first use."""
        return IdentityKey.load_or_create(self._directory / IDENTITY_KEY)

    @property
    def last_seq(self) -> int:
        """The last durable seq; 0 for an empty ledger."""
        return int(self._connection.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])

    @property
    def watermark_ms(self) -> int:
        """The watermark at `last_seq`; 0 for an empty ledger."""
        row = self._connection.execute("SELECT watermark_ms FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return int(row[0]) if row else 0

    def check_derived(self) -> None:
        """Insist that the records hold what this scenario makes at the door, as `train` must before it learns that.

        Raises
        ------
        DerivedChangedError
            If a definition changed; while there are no live records, also if a table changed or a value was added.
        LabelRuleChangedError
            If they were labelled by another outcome.
        """
        check_derived(self._connection, self._scenario)
        check_outcome(self._connection, self._scenario)

    def chain_at(self, seq: int) -> bytes | None:
        """The hash of all records up to the live record at `seq`, which names them all; None where there is none."""
        row = self._connection.execute("SELECT chain FROM records WHERE seq = ?", (seq,)).fetchone()
        return bytes(row[0]) if row else None

    @contextmanager
    def writer(self, clock: Clock, put_beside: PutBeside | None = None, *, busy_ms: int = _BUSY_MS) -> Iterator[Writer]:
        """Hold the writer lock and append. Whatever an interrupted import left behind is removed first, and what the
        spool holds is appended; `put_beside` as `append_spooled` has it. A commit waits `busy_ms` where somebody else,
        who is none of ours, holds the database.

        Raises
        ------
        LedgerLockedError
            If another process writes.
        LabelRuleChangedError
            If the records were labelled by another outcome.
        SpoolForeignError, SpoolWaitsError, CommitFailedError
            If what the spool holds cannot be appended.
        """
        with writer_lock(self._directory):
            check_outcome(self._connection, self._scenario)
            connection = connect(self._directory, busy_ms=_BUSY_MS)
            check_numbering(connection, self._scenario, write=True)
            note_live(connection, self._scenario)
            open_index(connection, self._scenario)
            recover(self._directory, connection)
            identity = self.identity
            # SQLite syncs its files, not the folder that names a new database and its key.
            sync_directory(self._directory)
            sync_directory(self._directory.parent)
            erasable = Erasable(self._directory, busy_ms=_BUSY_MS)
            databases = {
                connection: partial(connect, self._directory),
                erasable.connection: partial(connect_erasable, self._directory),
            }
            with checkpoints(databases) as checkpointer:
                append_spooled(self._directory, connection, erasable, put_beside)
                connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
                writer = Writer(
                    self._directory,
                    self._scenario,
                    identity,
                    clock,
                    connection,
                    erasable,
                    self.event_links,
                    self._segments_of_events.values,
                    checkpointer.count_commit,
                )
                try:
                    yield writer
                finally:
                    writer.close()

    def hand_over(self, writer: Writer) -> None:
        """Let the writer of these records go on under this ledger's scenario, between two commits."""
        writer.adopt(self._scenario, self._segments_of_events.values)

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        """Yield events and labels with `after_seq` < seq <= `until_seq` in seq order, at most `size` to a batch.

        Labels that change nothing (a weaker source, or the value that stands) are left out. `until_seq` None means
        all that is durable at the call.
        """
        until = self.last_seq if until_seq is None else min(until_seq, self.last_seq)
        at = after_seq
        for segment in self.segments():
            if segment.first_seq > until:
                break
            if segment.last_seq <= at:
                continue
            yield from self._live_batches(at, segment.first_seq - 1, size)
            yield from self._segment_batches(segment, max(at, segment.first_seq - 1), until, size)
            at = segment.last_seq
        yield from self._live_batches(at, until, size)

    def _segment_batches(self, segment: Segment, after: int, until: int, size: int) -> Iterator[Batch]:
        reader = self._reader(segment)
        for row_group in range(reader.row_group_of(after + 1), reader.n_row_groups):
            if reader.first_seq_of(row_group) > until:
                return
            batch = reader.batch(row_group)
            self._segments_of_events.tell(batch)
            start = int(np.searchsorted(batch.seq, after, side="right"))
            stop = int(np.searchsorted(batch.seq, until, side="right"))
            for low in range(start, stop, size):
                yield slice_batch(batch, low, min(low + size, stop))

    def _live_batches(self, after: int, until: int, size: int) -> Iterator[Batch]:
        query = "SELECT seq, kind, body FROM records WHERE seq > ? AND seq <= ? AND kind IN (0, 1) ORDER BY seq LIMIT ?"
        assembler = BatchAssembler(self._scenario)
        # Fetched in whole chunks, so that no read transaction stays open while the caller works.
        while rows := self._connection.execute(query, (after, until, size)).fetchall():
            after = rows[-1][0]
            for seq, kind, body in rows:
                if kind == EVENT:
                    assembler.add_event(seq, decode_event(body).event)
                elif kind == LABEL:
                    label = decode_label(body)
                    assembler.add_label(seq, label, self._segments_of_events.values_for(label))
            if len(assembler):
                yield assembler.take()

    def seq_at(self, as_of_ms: int) -> int:
        """The last seq whose watermark is <= `as_of_ms`; 0 if there is none. Every "as of T" goes through here."""
        in_segments = 0
        for segment in self.segments():
            if segment.first_watermark_ms <= as_of_ms:
                in_segments = self._reader(segment).last_seq_at(as_of_ms)
        # Watermarks never fall, so the live records can be searched by halving; seqs may have gaps (segments).
        at_or_before = "SELECT seq, watermark_ms FROM records WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
        low, high = 0, self.last_seq
        while low < high:
            middle = (low + high + 1) // 2
            row = self._connection.execute(at_or_before, (middle,)).fetchone()
            if row is None or row[1] <= as_of_ms:
                low = middle
            else:
                high = row[0] - 1
        row = self._connection.execute(at_or_before, (low,)).fetchone()
        return max(in_segments, int(row[0]) if row else 0)

    def seen_at(self, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The last seq that an event at each time sees, were it reported then: what import would put before it.

        All records whose watermark is below the time, and labels of that very time which no event of it precedes:
        import sorts by (time, labels before events), and the event comes first among those of its time.

        Parameters
        ----------
        times_ms : shape (n,), ascending.

        Returns
        -------
        shape (n,), ascending; 0 where nothing is seen.
        """
        seen = np.zeros(times_ms.shape[0], np.int64)
        # Watermark and kind as one number that never falls: twice the watermark, and one more from an event on.
        order = np.int64(-(2**62))
        for seqs, watermarks_ms, is_event in self._watermarks():
            orders = np.maximum(np.maximum.accumulate(2 * watermarks_ms + is_event), order)
            n_seen = np.searchsorted(orders, 2 * times_ms, side="right")
            seen = np.where(n_seen > 0, seqs[np.maximum(n_seen, 1) - 1], seen)
            order = orders[-1]
            if times_ms.shape[0] and order > 2 * times_ms[-1]:
                break
        return seen

    def _watermarks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield (seq, watermark, whether it is an event) of all events and labels, in parts that are not empty."""
        after = 0
        for segment in self.segments():
            yield from self._live_watermarks(after, segment.first_seq - 1)
            reader, watermark_ms = self._reader(segment), segment.previous_watermark_ms
            for row_group in range(reader.n_row_groups):
                times_ms, is_event = reader.times_of(row_group)
                watermarks_ms = np.maximum(np.maximum.accumulate(times_ms), watermark_ms)
                watermark_ms = int(watermarks_ms[-1])
                yield reader.first_seq_of(row_group) + np.arange(len(times_ms)), watermarks_ms, is_event
            after = segment.last_seq
        yield from self._live_watermarks(after, self.last_seq)

    def _live_watermarks(
        self, after: int, until: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
        query = "SELECT seq, watermark_ms, kind FROM records WHERE seq > ? AND seq <= ? AND kind IN (0, 1) ORDER BY seq"
        while rows := self._connection.execute(f"{query} LIMIT 65536", (after, until)).fetchall():
            columns = np.array(rows, np.int64)
            after = int(columns[-1, 0])
            yield columns[:, 0], columns[:, 1], columns[:, 2] == EVENT

    def events(self, from_ms: int, to_ms: int | None = None, until_seq: int | None = None) -> pl.DataFrame:
        """Events of the decided type with `from_ms` <= event_time < `to_ms` and seq <= `until_seq`, in seq order.

        Returns
        -------
        Columns seq, event_id, event_time_ms, amount_minor (null where there is none).
        """
        schema = {"seq": pl.Int64, "event_id": pl.String, "event_time_ms": pl.Int64, "amount_minor": pl.Int64}
        to_ms = np.iinfo(np.int64).max if to_ms is None else to_ms
        until = self.last_seq if until_seq is None else until_seq
        decided = self._scenario.decided
        frames = [pl.DataFrame(schema=schema)]
        at = 0
        for segment in self.segments():
            frames.append(self._live_events(at, min(until, segment.first_seq - 1), from_ms, to_ms, schema))
            at = segment.last_seq
            if segment.first_seq > until:
                continue
            frames.append(
                pl.scan_parquet(self._reader(segment).path, glob=False)
                .filter(pl.col("time_ms").is_between(from_ms, to_ms, closed="left"), pl.col("kind") == EVENT)
                .filter(pl.col("event_type") == decided.index, pl.col("seq") <= until)
                .select("seq", "event_id", event_time_ms="time_ms", amount_minor="amount_minor")
                .collect()
            )
        frames.append(self._live_events(at, until, from_ms, to_ms, schema))
        return pl.concat(frames)

    def _live_events(self, after: int, until: int, from_ms: int, to_ms: int, schema: Any) -> pl.DataFrame:
        rows = []
        for record in self.records(after, kinds=(Kind.EVENT,), until_seq=until):
            if not isinstance(record.body, EventBody):
                continue
            event = record.body.event
            if event.event_type == self._scenario.decide and from_ms <= event.event_time_ms < to_ms:
                rows.append((record.seq, event.event_id, event.event_time_ms, event.amount_minor))
        return pl.DataFrame(rows, schema=schema, orient="row")

    def labels(self, until_seq: int | None = None) -> pl.DataFrame:
        """The label that stands for each labelled event once all records with seq <= `until_seq` are known.

        Returns
        -------
        Columns event_seq, value (FRAUD or LEGIT), known_at_ms, source; one row per event, ascending event_seq.
        """
        schema = {"event_seq": pl.Int64, "value": pl.Int8, "known_at_ms": pl.Int64, "source": pl.String}
        until = self.last_seq if until_seq is None else until_seq
        frames = [pl.DataFrame(schema={"seq": pl.Int64, **schema})]
        for segment in self.segments():
            if segment.n_labels and segment.first_seq <= until:
                frames.append(
                    pl.scan_parquet(self._reader(segment).path, glob=False)
                    .filter(pl.col("kind") == LABEL, pl.col("seq") <= until, pl.col("label_stands"))
                    .select(
                        "seq",
                        event_seq="label_event_seq",
                        value="label_value",
                        known_at_ms="time_ms",
                        source="label_source",
                    )
                    .collect()
                )
        rows = []
        query = f"SELECT seq, body FROM records WHERE {_BY_RARE_KIND} AND seq <= ? ORDER BY seq"
        for seq, body in self._connection.execute(query, (int(Kind.LABEL), until)):
            label: LabelBody = decode_label(body)
            if label.stands:
                rows.append((seq, label.event_seq, label.value, label.known_at_ms, label.source))
        frames.append(pl.DataFrame(rows, schema={"seq": pl.Int64, **schema}, orient="row"))
        return (
            pl.concat(frames)
            .sort("event_seq", "seq")
            .unique("event_seq", keep="last", maintain_order=True)
            .select(list(schema))
        )

    def find_event(self, event_type: str, event_id: str) -> StoredEvent | None:
        """Find an event by its idempotency key; None where the ledger does not hold it."""
        key = self.identity.event(event_type, event_id)
        row = self._connection.execute("SELECT seq, payload_digest FROM identity WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        _, event_time_ms, links = self.event_links(row[0])
        return StoredEvent(
            seq=row[0], event_type=event_type, event_time_ms=event_time_ms, links=links, payload_digest=bytes(row[1])
        )

    def decision_of(self, event_seq: int) -> Record | None:
        """The decision on the event at `event_seq`; None while it has none."""
        return next(iter(self.decisions_of(event_seq, event_seq)), None)

    def decisions_of(self, first_seq: int, last_seq: int) -> list[Record]:
        """The decisions on the events from `first_seq` to `last_seq`, both inclusive, in their own order."""
        query = f"{SELECT_RECORD} WHERE seq IN (SELECT seq FROM decisions WHERE event_seq BETWEEN ? AND ?) ORDER BY seq"
        return [record_of(row) for row in self._connection.execute(query, (first_seq, last_seq)).fetchall()]

    def pending_of(self, event_seq: int) -> Record | None:
        """The record that says the event at `event_seq` waits for the nightly batch; None where it does not."""
        seq = pending_seq(self._connection, event_seq)
        return None if seq is None else self._record(seq)

    def pending(self, after_event_seq: int, limit: int) -> list[Record]:
        """PENDING records of events that still wait, in the order of their events, at most `limit`."""
        found = [self._record(seq) for _, seq in pending_seqs(self._connection, after_event_seq, limit)]
        return [record for record in found if record is not None]

    @property
    def n_pending(self) -> int:
        """How many events wait for the nightly batch."""
        return n_pending(self._connection)

    def decision(self, decision_id: str) -> Record | None:
        """The decision with the id `d-<seq>`; None where there is none."""
        prefix, _, number = decision_id.partition("-")
        if prefix != "d" or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        record = self._record(int(number))
        return record if record is not None and record.kind is Kind.DECISION else None

    def records(
        self,
        after_seq: int = 0,
        kinds: Sequence[Kind] | None = None,
        limit: int | None = None,
        *,
        until_seq: int | None = None,
    ) -> Iterator[Record]:
        """Yield durable live records after `after_seq` in seq order. To tail, call again with the last seq seen.

        Imported history is not live: read it through `batches`, `events` and `labels`; here it is one IMPORT record.
        """
        until = self.last_seq if until_seq is None else until_seq
        where = "seq > ? AND seq <= ?"
        if kinds is not None:
            where += f" AND kind IN ({','.join(str(int(kind)) for kind in kinds)})"
            if not {Kind.EVENT, Kind.DECISION} & set(kinds):
                where += " AND kind NOT IN (0, 2)"
        left = limit
        while left is None or left > 0:
            chunk = 4_096 if left is None else min(left, 4_096)
            query = f"{SELECT_RECORD} WHERE {where} ORDER BY seq LIMIT ?"
            rows = self._connection.execute(query, (after_seq, until, chunk)).fetchall()
            for row in rows:
                yield record_of(row)
            if len(rows) < chunk:
                return
            after_seq = rows[-1][0]
            left = None if left is None else left - len(rows)

    def releases(self) -> list[Record]:
        """All release records, in seq order."""
        return list(self.records(kinds=(Kind.RELEASE,)))

    def ticks(self, spec: str, after_seq: int = 0, until_seq: int | None = None) -> list[TickBody]:
        """What the service recorded of the ticks of a feature spec that took effect after `after_seq`, in seq order.

        Those recorded after `until_seq` are left out.
        """
        bodies = [record.body for record in self.records(after_seq, kinds=(Kind.TICK,), until_seq=until_seq)]
        ticks = [body for body in bodies if isinstance(body, TickBody)]
        return [tick for tick in ticks if tick.spec == spec and tick.effect_seq > after_seq]

    def entity_names(self, digests: Iterable[bytes]) -> dict[bytes, tuple[str, str]]:
        """Digest (hi then lo, big endian) -> (entity type, original id), for those not erased."""
        return self._erasable.names(digests)

    def personal(self, event_seq: int) -> dict[str, Any]:
        """The personal values of an event, for those not erased."""
        return self._erasable.personal(event_seq)

    def segments(self) -> list[Segment]:
        """The imported segments, in seq order."""
        return list_segments(self._connection)

    @property
    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            self._local.connection = connect(self._directory)
        connection: sqlite3.Connection = self._local.connection
        return connection

    @property
    def _erasable(self) -> Erasable:
        if not hasattr(self._local, "erasable"):
            self._local.erasable = Erasable(self._directory)
        erasable: Erasable = self._local.erasable
        return erasable

    def _reader(self, segment: Segment) -> SegmentReader:
        reader = self._readers.get(segment.path)
        if reader is None:
            reader = self._readers[segment.path] = SegmentReader(self._directory, segment, self._scenario)
        return reader

    def _record(self, seq: int) -> Record | None:
        row = self._connection.execute(f"{SELECT_RECORD} WHERE seq = ?", (seq,)).fetchone()
        return record_of(row) if row else None

    def event_links(self, seq: int) -> tuple[int, int, tuple[Link, ...]]:
        """(event type index, event_time_ms, links) of the event at `seq`, live or imported."""
        event = self._event(seq)
        if event is not None:
            return self._scenario.event_type(event.event_type).index, event.event_time_ms, event.links
        query = "SELECT * FROM segments WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1"
        return self._reader(Segment(*self._connection.execute(query, (seq,)).fetchone())).links_of(seq)

    def _event(self, seq: int) -> Event | None:
        """The live event at `seq`; None where it is imported."""
        row = self._connection.execute("SELECT body FROM records WHERE seq = ? AND kind = 0", (seq,)).fetchone()
        return decode_event(row[0]).event if row is not None else None

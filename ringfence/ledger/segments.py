# SPDX-License-Identifier: Apache-2.0
"""Imported history as Parquet: one file per import, one row per record, row i at seq `first_seq + i`.

A segment holds no original entity id and nothing personal. Labels carry the links of their event. Attributes are kept
as they came, in columns `<event type>.<attribute>`, and become engine values at read, so that a release decides how.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ringfence.ledger.assembly import select
from ringfence.ledger.errors import LedgerDamagedError
from ringfence.scenario.batch import EVENT, LABEL, MISSING_AMOUNT, NO_LABEL, Batch
from ringfence.scenario.event import Link
from ringfence.scenario.simhash import simhashes_of
from ringfence.scenario.spec import Attribute, AttributeType, EventType, Scenario
from ringfence.scenario.values import values_of

SEGMENTS: Final = "segments"
RECORDS: Final = "records.parquet"
NAMES: Final = "names.parquet"  # on its way into erasable.db; gone once it is there
PERSONAL: Final = "personal.parquet"  # likewise
ROW_GROUP: Final = 65_536

_ARROW: Final = {
    AttributeType.NUMBER: pa.float64(),
    AttributeType.CATEGORY: pa.string(),
    AttributeType.BOOLEAN: pa.bool_(),
    AttributeType.TEXT: pa.string(),
    AttributeType.TIME: pa.float64(),  # ms since 1970
}
_ENGINE_COLUMNS: Final = [
    "kind", "event_type", "time_ms", "offset_ms", "amount_minor", "role", "lo", "hi",
    "label_event_seq", "label_event_time_ms", "label_value", "label_replaces", "label_stands",
]  # fmt: skip


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """One row of the table `segments`."""

    first_seq: int
    last_seq: int
    path: str  # folder below segments/
    digest: str  # hex blake2b-16 of records.parquet
    n_events: int
    n_labels: int
    previous_watermark_ms: int  # the ledger's watermark before the segment
    first_watermark_ms: int
    last_watermark_ms: int


def attribute_column(event_type: EventType, attribute: Attribute) -> str:
    return f"{event_type.name}.{attribute.name}"


def attribute_fields(event_type: EventType) -> dict[str, pa.DataType]:
    """The Arrow types of an event type's attribute columns in a segment, by column name."""
    return {attribute_column(event_type, a): _ARROW[a.type] for a in event_type.attributes if not a.personal}


def segment_schema(scenario: Scenario) -> pa.Schema:
    """The columns of `records.parquet`; null wherever a column does not apply to a row."""
    fields = [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("event_type", pa.uint8(), nullable=False),
        pa.field("time_ms", pa.int64(), nullable=False),
        pa.field("offset_ms", pa.int32(), nullable=False),
        pa.field("amount_minor", pa.int64()),
        pa.field("role", pa.list_(pa.field("element", pa.uint8(), nullable=False)), nullable=False),
        pa.field("lo", pa.list_(pa.field("element", pa.uint64(), nullable=False)), nullable=False),
        pa.field("hi", pa.list_(pa.field("element", pa.uint64(), nullable=False)), nullable=False),
        pa.field("event_id", pa.string()),
        pa.field("payload_digest", pa.binary(16)),
        pa.field("late", pa.bool_(), nullable=False),
        pa.field("label_event_seq", pa.int64()),
        pa.field("label_event_time_ms", pa.int64()),
        pa.field("label_value", pa.int8()),
        pa.field("label_replaces", pa.int8()),
        pa.field("label_source", pa.string()),
        pa.field("label_stands", pa.bool_()),
    ]
    for event_type in scenario.event_types:
        fields += [pa.field(name, kind) for name, kind in attribute_fields(event_type).items()]
    return pa.schema(fields)


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a Parquet writer tuned for fast decoding: digests plain and uncompressed, all else LZ4."""
    digests = {"role.list.element", "lo.list.element", "hi.list.element", "payload_digest", "event_id"}
    leaves = [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]
    return pq.ParquetWriter(
        path,
        schema,
        use_dictionary=[field.name for field in schema if pa.types.is_string(field.type) and field.name != "event_id"],
        compression={leaf: "none" if leaf in digests - {"event_id"} else "lz4" for leaf in leaves},
        write_statistics=["time_ms", "seq"],
    )


def file_digest(path: Path) -> str:
    """Hex blake2b-16 of a file's bytes."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def list_segments(connection: sqlite3.Connection) -> list[Segment]:
    """The visible segments, in seq order."""
    return [Segment(*row) for row in connection.execute("SELECT * FROM segments ORDER BY first_seq")]


class SegmentReader:
    """Reads one segment. Threads may share it; every read opens the memory-mapped file anew from cached metadata."""

    def __init__(self, directory: Path, segment: Segment, scenario: Scenario) -> None:
        self.segment = segment
        self.path = directory / SEGMENTS / segment.path / RECORDS
        self._scenario = scenario
        try:
            self._metadata = pq.read_metadata(self.path)
        except (OSError, pa.ArrowInvalid) as error:
            raise LedgerDamagedError(self.path, f"segment cannot be read ({error})") from error
        if self._metadata.num_rows != segment.last_seq - segment.first_seq + 1:
            raise LedgerDamagedError(self.path, f"holds {self._metadata.num_rows} rows, not those of {segment}")
        columns = self.column_names = frozenset(self._metadata.schema.to_arrow_schema().names)
        decided = scenario.decided
        self._values = [(a, attribute_column(decided, a)) for a in scenario.value_attributes]
        self._texts = [attribute_column(decided, a) for a in scenario.text_attributes]
        self._columns = _ENGINE_COLUMNS + [name for _, name in self._values if name in columns]
        sizes = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]
        self._starts: NDArray[np.int64] = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.array(sizes, np.int64))))
        self._lookup = lru_cache(maxsize=4)(self._read_for_lookup)

    @property
    def n_row_groups(self) -> int:
        return int(self._metadata.num_row_groups)

    def first_seq_of(self, row_group: int) -> int:
        """The seq of a row group's first record; with `n_row_groups`, one past the last record."""
        return self.segment.first_seq + int(self._starts[row_group])

    def row_group_of(self, seq: int) -> int:
        return int(np.searchsorted(self._starts, seq - self.segment.first_seq, side="right")) - 1

    def read(self, row_group: int, columns: list[str]) -> pa.Table:
        """Read some columns of a row group.

        Raises
        ------
        LedgerDamagedError
            If the bytes are not those of a Parquet file.
        """
        try:
            with pq.ParquetFile(self.path, metadata=self._metadata, memory_map=True) as file:
                return file.read_row_group(row_group, columns=columns, use_threads=False)
        except (OSError, pa.ArrowInvalid) as error:
            raise LedgerDamagedError(self.path, f"row group {row_group} cannot be read ({error})") from error

    def batch(self, row_group: int) -> Batch:
        """Decode a row group; labels that change nothing are left out."""
        table = self.read(row_group, self._columns)
        n = table.num_rows
        kind = _numbers(table, "kind")
        time_ms = _numbers(table, "time_ms")
        roles = _list(table, "role")
        values = np.full((n, len(self._values)), np.nan)
        simhash = np.zeros((n, len(self._texts)), np.uint64)
        for position, (attribute, name) in enumerate(self._values):
            if name in table.column_names:
                series = pl.Series(pl.from_arrow(table.column(name)))
                values[:, position] = values_of(attribute, series, time_ms)
                if name in self._texts:
                    simhash[:, self._texts.index(name)] = simhashes_of(series)
        batch = Batch(
            seq=np.arange(n, dtype=np.int64) + self.first_seq_of(row_group),
            kind=kind,
            event_type=_numbers(table, "event_type"),
            time_ms=time_ms,
            offset_ms=_numbers(table, "offset_ms"),
            amount_minor=np.where(kind == LABEL, 0, _numbers(table, "amount_minor", MISSING_AMOUNT)),
            values=values,
            link_start=roles.offsets.to_numpy().astype(np.int64) - roles.offsets[0].as_py(),
            link_role=roles.flatten().to_numpy(),
            link_lo=_list(table, "lo").flatten().to_numpy(),
            link_hi=_list(table, "hi").flatten().to_numpy(),
            label_event_seq=_numbers(table, "label_event_seq", -1),
            label_event_time_ms=_numbers(table, "label_event_time_ms", 0),
            label_value=_numbers(table, "label_value", NO_LABEL),
            label_replaces=_numbers(table, "label_replaces", NO_LABEL),
            simhash=simhash,
        )
        stands = pc.fill_null(_array(table, "label_stands"), True).to_numpy(zero_copy_only=False)
        return select(batch, (kind == EVENT) | (stands & (batch.label_value != batch.label_replaces)))

    def links_of(self, seq: int) -> tuple[int, int, tuple[Link, ...]]:
        """Return (event type index, event_time_ms, links) of the event at `seq`; cached by row group."""
        row_group = self.row_group_of(seq)
        event_type, time_ms, start, role, lo, hi = self._lookup(row_group)
        row = seq - self.first_seq_of(row_group)
        links = range(int(start[row]), int(start[row + 1]))
        return int(event_type[row]), int(time_ms[row]), tuple(Link(int(role[i]), int(lo[i]), int(hi[i])) for i in links)

    def _read_for_lookup(self, row_group: int) -> tuple[NDArray[Any], ...]:
        table = self.read(row_group, ["event_type", "time_ms", "role", "lo", "hi"])
        roles = _list(table, "role")
        start = roles.offsets.to_numpy().astype(np.int64) - roles.offsets[0].as_py()
        role, lo, hi = (_list(table, name).flatten().to_numpy() for name in ("role", "lo", "hi"))
        return _numbers(table, "event_type"), _numbers(table, "time_ms"), start, role, lo, hi

    def times_of(self, row_group: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return (time_ms, whether it is an event) of every record of a row group."""
        table = self.read(row_group, ["time_ms", "kind"])
        return _numbers(table, "time_ms"), _numbers(table, "kind") == EVENT

    def last_seq_at(self, as_of_ms: int) -> int:
        """The last seq whose watermark, max(previous watermark, time), is <= `as_of_ms`; 0 if there is none."""
        if as_of_ms < self.segment.first_watermark_ms:
            return 0
        if as_of_ms >= self.segment.last_watermark_ms:
            return self.segment.last_seq
        column = self._metadata.schema.to_arrow_schema().get_field_index("time_ms")  # no nested column comes before it
        low, high = 0, self.n_row_groups - 1  # the last row group that begins at or before as_of_ms
        while low < high:
            middle = (low + high + 1) // 2
            begins = self._metadata.row_group(middle).column(column).statistics.min
            low, high = (middle, high) if begins <= as_of_ms else (low, middle - 1)
        times = _numbers(self.read(low, ["time_ms"]), "time_ms")
        return self.first_seq_of(low) + int(np.searchsorted(times, as_of_ms, side="right")) - 1


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _list(table: pa.Table, name: str) -> pa.ListArray:
    return _array(table, name)


def _numbers(table: pa.Table, name: str, missing: int | None = None) -> NDArray[Any]:
    array = _array(table, name)
    if missing is not None and array.null_count:
        array = pc.fill_null(array, missing)
    numbers: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return numbers

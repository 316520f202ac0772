# SPDX-License-Identifier: Apache-2.0
"""A graph of events and entities on disk: Parquet tables, written piece by piece, whole or not there at all.

    directory/
      manifest.json                     what is in it, and how to read it causally; written last
      README.md                         the same for people
      events/<event type>.parquet       a row per event, `node` counting from 0 in ledger order
      entities/<entity type>.parquet    a row per entity, `node` counting from 0 in the order the ledger met them
      edges/<event type>.<role>.parquet a row per link: event node, entity node, seat, seq
      labels.parquet                    what labels said, and when, up to the cut
      later_labels.parquet              where asked for: those after it
      features.parquet                  where asked for: the feature row of each decided event as of itself

Everything is written beside, as `<directory>.unfinished`, and renamed when it is durable.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ringfence.steps.errors import GraphFolderError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
README: Final = "README.md"
LABELS: Final = "labels.parquet"
LATER_LABELS: Final = "later_labels.parquet"
FEATURES: Final = "features.parquet"
UNFINISHED: Final = ".unfinished"
ROW_GROUP: Final = 65_536  # rows, of narrow tables


class EventNodes(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of one event type."""

    event_type: str
    file: str
    n: int
    decided: bool
    attributes: dict[str, str]  # column -> type, as ringfence.yaml has it


class EntityNodes(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of one entity type; an entity of two roles is one node."""

    entity_type: str
    file: str
    n: int
    n_known: int  # nodes 0 to n_known - 1 were on record at the cut


class Edges(msgspec.Struct, frozen=True, kw_only=True):
    """Links from one event type by one role."""

    event_type: str
    role: str
    entity_type: str
    file: str
    n: int
    many: bool  # whether an event may name several


class GraphFeature(msgspec.Struct, frozen=True, kw_only=True):
    """One column of `features.parquet`."""

    name: str
    unit: str
    sentence: str
    missing: str
    is_category: bool  # hashed codes without order


class GraphManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder holds."""

    format: int
    ringfence: str  # version that wrote it
    scenario: str
    decide: str  # the decided event type
    until_ms: int | None  # the cut; None: the end of the ledger
    until_seq: int  # the last record on file at the cut
    last_seq: int  # the last record of the graph
    parts: dict[str, int]  # decided events by `part`
    n_fraud: int  # labels of the part `train`
    n_labels: int
    n_later_labels: int | None  # None: not asked for
    spec_hash: str | None  # of the features; None: not asked for
    events: tuple[EventNodes, ...]
    entities: tuple[EntityNodes, ...]
    edges: tuple[Edges, ...]
    features: tuple[GraphFeature, ...]
    how: tuple[str, ...]  # to use it causally
    files: dict[str, str]  # path -> hex blake2b-16 of its bytes
    digest: str  # of `files`


class GraphFiles:
    """A complete folder. Tables are read when they are asked for; `scan` leaves the reading to Polars."""

    def __init__(self, directory: Path, manifest: GraphManifest) -> None:
        self.directory = directory
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"<graph of {self.manifest.scenario} in {self.directory}>"

    @classmethod
    def open(cls, directory: Path | str) -> GraphFiles:
        """Open what `ringfence export graph` wrote.

        Raises
        ------
        GraphFolderError
            If the folder is not complete, or of another format.
        """
        directory = Path(directory)
        try:
            manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=GraphManifest)
        except (OSError, msgspec.DecodeError) as error:
            raise GraphFolderError(directory, f"its {MANIFEST} cannot be read ({error})", "export it again") from None
        if manifest.format != FORMAT:
            found = f"it has format {manifest.format}, this version reads {FORMAT}"
            raise GraphFolderError(directory, found, "export it again")
        return cls(directory, manifest)

    def scan(self, file: str) -> pl.LazyFrame:
        """One of its tables, unread; `file` as the manifest names it."""
        return pl.scan_parquet(self.directory / file, glob=False)

    def events(self, event_type: str | None = None) -> pl.DataFrame:
        """Nodes of an event type; None: the decided one."""
        wanted = self.manifest.decide if event_type is None else event_type
        return self._read("event type", wanted, {one.event_type: one.file for one in self.manifest.events})

    def entities(self, entity_type: str) -> pl.DataFrame:
        """Nodes of an entity type."""
        return self._read("entity type", entity_type, {one.entity_type: one.file for one in self.manifest.entities})

    def edges(self, role: str, event_type: str | None = None) -> pl.DataFrame:
        """Links of a role; `event_type` None: those of the decided one."""
        wanted = self.manifest.decide if event_type is None else event_type
        named = {one.role: one.file for one in self.manifest.edges if one.event_type == wanted}
        return self._read(f"role of {wanted}", role, named)

    def _read(self, what: str, name: str, known: dict[str, str]) -> pl.DataFrame:
        if name not in known:
            found = f"it has no {what} {name!r}"
            raise GraphFolderError(self.directory, found, f"name one of {', '.join(known) or '(none)'}")
        return self.scan(known[name]).collect()

    def labels(self, *, later: bool = False) -> pl.DataFrame:
        """What labels said up to the cut, in order; with `later`, also what they said after it, where exported."""
        found = self.scan(LABELS).collect()
        if later and self.manifest.n_later_labels is not None:
            found = pl.concat([found, self.scan(LATER_LABELS).collect()]).sort("seq")
        return found


class Table:
    """One Parquet file that grows. Rows wait until a row group is full: bytes do not depend on how they come."""

    def __init__(self, path: Path, schema: pa.Schema, row_group: int = ROW_GROUP) -> None:
        path.parent.mkdir(exist_ok=True)
        self.path, self.n = path, 0
        self._schema, self._row_group = schema, row_group
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0
        strings = [field.name for field in schema if pa.types.is_string(field.type) and field.name not in _DISTINCT]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=strings)

    def add(self, columns: Mapping[str, Any]) -> None:
        """Append rows: a NumPy array, Polars series or list for each column of the schema."""
        arrays = [_array(columns[field.name], field.type) for field in self._schema]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self.n += table.num_rows
        self._waiting.append(table)
        self._n_waiting += table.num_rows
        while self._n_waiting >= self._row_group:
            whole = pa.concat_tables(self._waiting)
            self._writer.write_table(whole.slice(0, self._row_group).combine_chunks(), row_group_size=self._row_group)
            self._waiting = [whole.slice(self._row_group)]
            self._n_waiting -= self._row_group

    def close(self) -> None:
        if self._n_waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks(), row_group_size=self._row_group)
        self._waiting, self._n_waiting = [], 0
        self._writer.close()


_DISTINCT: Final = frozenset({"event_id", "key", "entity_id"})  # no dictionary would be worth it


def _array(values: Any, kind: Any) -> Any:
    found = values.to_arrow() if isinstance(values, pl.Series) else pa.array(values)
    return found if found.type.equals(kind) else found.cast(kind)


@contextmanager
def unfinished_folder(directory: Path) -> Iterator[tuple[Path, ExitStack]]:
    """Give a folder to write to, and a stack for what has to be closed; on success it becomes `directory`, durably.

    Raises
    ------
    GraphFolderError
        If `directory` is there and not empty, or is no folder.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        found = "is not empty" if directory.is_dir() else "is no folder"
        raise GraphFolderError(directory, f"it {found}", "name another one, or remove it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = directory.with_name(directory.name + UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        with ExitStack() as stack:
            yield unfinished, stack
        for folder in (unfinished, *(path for path in unfinished.iterdir() if path.is_dir())):
            for path in folder.iterdir():
                if path.is_file():
                    _sync(path)
            _sync(folder)
        unfinished.rename(directory)  # takes the place of an empty folder
        _sync(directory.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def digest_of(files: Mapping[str, str]) -> str:
    """Hex blake2b-16 of paths and digests, in order of path."""
    return blake2b("".join(f"{path} {files[path]}\n" for path in sorted(files)).encode(), digest_size=16).hexdigest()


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

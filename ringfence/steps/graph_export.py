# SPDX-License-Identifier: Apache-2.0
"""The graph of a scenario for models of one's own: one pass over the ledger, a batch at a time.

ledger batch ──┬── events ──── part, label at the cut ──► events/
               ├── links ───── numbered entities ───────► entities/, edges/
               ├── labels ──── by the cut, or later ────► labels.parquet, later_labels.parquet
               └── engine ──── rows as of the event ────► features.parquet
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ringfence import __version__
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.replay import in_bulk
from ringfence.ledger.event_columns import event_columns
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.segments import file_digest
from ringfence.scenario.batch import EVENT, FRAUD, LABEL, Batch
from ringfence.steps.errors import NoCutError
from ringfence.steps.graph_files import (
    FEATURES,
    FORMAT,
    LABELS,
    LATER_LABELS,
    MANIFEST,
    README,
    Edges,
    EntityNodes,
    EventNodes,
    GraphFeature,
    GraphFiles,
    GraphManifest,
    Table,
    digest_of,
    unfinished_folder,
)
from ringfence.steps.graph_numbers import Numbering
from ringfence.steps.graph_readme import HOW, graph_readme
from ringfence.steps.graph_tables import (
    EDGE_SCHEMA,
    LABEL_SCHEMA,
    column_of,
    event_schema,
    given_values,
    major,
    moments,
    seats,
)

if TYPE_CHECKING:
    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace

AT_ONCE: Final = 16_384  # records: rows of 300 features are 40 MB
FEATURE_GROUP: Final = 16_384  # rows of a row group of features
PARTS: Final = ("train", "unlabelled", "late", "test")
_AT_THE_END: Final = 2**62


def export_graph(
    here: Workspace,
    scenario: Scenario,
    directory: Path,
    *,
    until_ms: int | None = None,
    features: bool = True,
    later_labels: bool = False,
    with_ids: bool = False,
    at_once: int = AT_ONCE,
    progress: Callable[[int, int], None] | None = None,
) -> GraphFiles:
    """Write events, entities, links and labels of the whole ledger, split at a cut; reads the ledger only.

    Memory: the engine's state where features are asked for, about 150 bytes an event and 50 an entity, some batches.

    Parameters
    ----------
    directory : does not exist yet, or is empty.
    until_ms : the cut; None: the end of the ledger, and no event is a test event.
    features : write the feature row of each decided event, as of itself.
    later_labels : write what labels said after the cut to a file of its own.
    with_ids : write the original ids of entities, for those not erased.
    at_once : records that are held at a time; no byte depends on it.
    progress : called with (seq reached, last seq).

    Raises
    ------
    GraphFolderError
        If the directory holds something.
    NoCutError
        If later labels are asked for without a cut.
    """
    if later_labels and until_ms is None:
        raise NoCutError
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    with unfinished_folder(directory) as (folder, stack):
        export = _Export(ledger, folder, stack, until_ms, features=features, later=later_labels, with_ids=with_ids)
        export.run(at_once, progress)
        stack.close()  # footers are written before digests are taken
        manifest = export.manifest()
        (folder / README).write_text(graph_readme(manifest), encoding="utf-8")
        (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return GraphFiles(directory, manifest)


class _Export:
    """One pass, and what it leaves behind."""

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        stack: ExitStack,
        until_ms: int | None,
        *,
        features: bool,
        later: bool,
        with_ids: bool,
    ) -> None:
        self._ledger, self._scenario, self._folder, self._stack = ledger, ledger.scenario, folder, stack
        self._last = ledger.last_seq
        self._until_ms = until_ms
        self._cut_ms = _AT_THE_END if until_ms is None else until_ms
        self._until_seq = self._last if until_ms is None else min(ledger.seq_at(until_ms), self._last)
        self._with_ids = with_ids
        self._catalogue = Catalogue.build(self._scenario) if features else None
        self._ids = ledger.events(-_AT_THE_END, None, self._last).select("seq", "event_id")
        self._standing = _standing(ledger, self._until_seq, self._cut_ms)
        self._decided_seq: NDArray[np.int64] = self._ids["seq"].to_numpy()
        self._n_events = dict.fromkeys((t.name for t in self._scenario.event_types), 0)
        self._numbers = {role.entity_type: Numbering() for role in self._scenario.roles}
        self._n_known = dict.fromkeys(self._numbers, 0)
        self._parts = dict.fromkeys(PARTS, 0)
        self._n_fraud = 0
        self._files: dict[str, Table] = {}
        self._events = {
            t.name: self._table(f"events/{t.name}.parquet", event_schema(t, self._scenario))
            for t in self._scenario.event_types
        }
        entity_fields = [("node", pa.int64()), ("key", pa.string()), ("first_seq", pa.int64())]
        entity_schema = pa.schema([*entity_fields, *([("entity_id", pa.string())] if with_ids else [])])
        self._entities = {t: self._table(f"entities/{t}.parquet", entity_schema) for t in self._numbers}
        self._edges = {
            (event_type.index, self._scenario.role(column.role).index): self._table(
                f"edges/{event_type.name}.{column.role}.parquet", EDGE_SCHEMA
            )
            for event_type in self._scenario.event_types
            for column in event_type.roles
        }
        self._labels = self._table(LABELS, LABEL_SCHEMA)
        self._later = self._table(LATER_LABELS, LABEL_SCHEMA) if later else None
        self._rows: Table | None = None
        if self._catalogue is not None:
            fields = [("node", pa.int64()), *((name, pa.float64()) for name in self._catalogue.names)]
            self._rows = self._table(FEATURES, pa.schema(fields), FEATURE_GROUP)

    def _table(self, file: str, schema: Any, row_group: int | None = None) -> Table:
        table = Table(self._folder / file, schema, *(() if row_group is None else (row_group,)))
        self._files[file] = self._stack.enter_context(closing(table))
        return table

    def run(self, at_once: int, progress: Callable[[int, int], None] | None) -> None:
        engine = None if self._catalogue is None else Engine(self._catalogue)
        batches = self._ledger.batches(0, self._last, at_once)
        for batch in batches if engine is None else in_bulk(engine, batches):
            self._write_links(batch, self._write_events(batch))
            self._write_labels(batch)
            if engine is not None and self._rows is not None:
                rows = engine.observe(batch)
                columns = dict(zip(engine.catalogue.names, np.ascontiguousarray(rows.T), strict=True))
                self._rows.add({"node": self._rows.n + np.arange(rows.shape[0]), **columns})
            if progress is not None:
                progress(int(batch.seq[-1]), self._last)

    def _write_events(self, batch: Batch) -> NDArray[np.int64]:
        """Write the events of a batch; returns the node of each record, -1 for labels."""
        node = np.full(len(batch), -1, np.int64)
        for event_type in self._scenario.event_types:
            here = np.flatnonzero((batch.kind == EVENT) & (batch.event_type == event_type.index))
            if not len(here):
                continue
            first = self._n_events[event_type.name]
            node[here] = first + np.arange(len(here))
            self._n_events[event_type.name] += len(here)
            seq, time_ms = batch.seq[here], batch.time_ms[here]
            columns: dict[str, Any] = {"node": node[here], "seq": seq, "event_time": moments(time_ms)}
            if event_type.amount is not None:
                columns["amount"] = major(batch.amount_minor[here], event_type.amount.digits)
            if event_type.name == self._scenario.decide:
                columns |= self._of_decided(first, seq, time_ms)
            self._events[event_type.name].add(columns)
        return node

    def _of_decided(self, first: int, seq: NDArray[np.int64], time_ms: NDArray[np.int64]) -> dict[str, Any]:
        place = np.searchsorted(self._standing.seq, seq)
        known = np.zeros(len(seq), np.bool_)
        inside = place < len(self._standing.seq)
        known[inside] = self._standing.seq[place[inside]] == seq[inside]
        is_test, on_record = time_ms >= self._cut_ms, seq <= self._until_seq
        part = np.where(is_test, 3, np.where(~on_record, 2, np.where(known, 0, 1)))  # places in PARTS
        known &= part == 0
        counts = np.bincount(part, minlength=4).tolist()
        self._parts = {name: self._parts[name] + n for name, n in zip(PARTS, counts, strict=True)}
        at = np.where(known, place, 0)
        label = pl.Series(self._standing.value[at] if known.any() else np.zeros(len(seq), np.int8))
        known_at = pl.Series(self._standing.known_at_ms[at] if known.any() else np.zeros(len(seq), np.int64))
        self._n_fraud += int((label.to_numpy()[known] == 1).sum())
        unknown = pl.Series(~known)
        given = event_columns(self._ledger, pl.Series("seq", seq), self._scenario.value_attributes).attributes
        return {
            "event_id": self._ids["event_id"].slice(first, len(seq)),
            "part": pl.Series(np.array(PARTS)[part], dtype=pl.String),
            "label": label.cast(pl.Int8).set(unknown, None),
            "label_known_at": known_at.set(unknown, None).cast(pl.Datetime("ms", "UTC")),
            **{column_of(a): given_values(a, given[a.name]) for a in self._scenario.value_attributes},
        }

    def _write_links(self, batch: Batch, node: NDArray[np.int64]) -> None:
        record = np.repeat(np.arange(len(batch)), np.diff(batch.link_start))
        of_event = batch.kind[record] == EVENT
        record, role = record[of_event], batch.link_role[of_event]
        lo, hi = batch.link_lo[of_event], batch.link_hi[of_event]
        entity = np.empty(len(record), np.int64)
        for entity_type, numbering in self._numbers.items():
            roles = [r.index for r in self._scenario.roles if r.entity_type == entity_type]
            here = np.flatnonzero(np.isin(role, roles))
            before = len(numbering)
            found = numbering.number(lo[here])
            entity[here] = found.node
            first = here[found.first]
            first_seq = batch.seq[record[first]]
            self._n_known[entity_type] += int((first_seq <= self._until_seq).sum())
            columns = {"node": before + np.arange(len(first)), "first_seq": first_seq}
            columns |= self._names(lo[first], hi[first])
            self._entities[entity_type].add(columns)
        seat = seats(record, role)
        for (event_type, index), table in self._edges.items():
            here = (role == index) & (batch.event_type[record] == event_type)
            at = record[here]
            table.add(
                {
                    "event": node[at],
                    "entity": entity[here],
                    "seat": seat[here],
                    "seq": batch.seq[at],
                    "event_time": moments(batch.time_ms[at]),
                }
            )

    def _names(self, lo: NDArray[np.uint64], hi: NDArray[np.uint64]) -> dict[str, Any]:
        packed = np.stack([hi, lo], axis=1).astype(">u8").tobytes()
        digests = [packed[at : at + 16] for at in range(0, len(packed), 16)]
        names: dict[str, Any] = {"key": pl.Series([digest.hex() for digest in digests], dtype=pl.String)}
        if self._with_ids:
            found = self._ledger.entity_names(digests)
            ids = [found[digest][1] if digest in found else None for digest in digests]
            names["entity_id"] = pl.Series(ids, dtype=pl.String)
        return names

    def _write_labels(self, batch: Batch) -> None:
        is_label = (batch.kind == LABEL) & (batch.event_type == self._scenario.decided.index)
        known = is_label & (batch.seq <= self._until_seq) & (batch.time_ms <= self._cut_ms)
        known &= batch.label_event_time_ms < self._cut_ms
        for table, here in ((self._labels, known), (self._later, is_label & ~known)):
            if table is not None:
                table.add(
                    {
                        "seq": batch.seq[here],
                        "event": np.searchsorted(self._decided_seq, batch.label_event_seq[here]),
                        "known_at": moments(batch.time_ms[here]),
                        "label": (batch.label_value[here] == FRAUD).astype(np.int8),
                    }
                )

    def manifest(self) -> GraphManifest:
        """What was written; its files have to be closed."""
        scenario, catalogue = self._scenario, self._catalogue
        files = {file: file_digest(table.path) for file, table in sorted(self._files.items())}
        notes = () if catalogue is None else catalogue.features
        return GraphManifest(
            format=FORMAT,
            ringfence=__version__,
            scenario=scenario.name,
            decide=scenario.decide,
            until_ms=self._until_ms,
            until_seq=self._until_seq,
            last_seq=self._last,
            parts=self._parts,
            n_fraud=self._n_fraud,
            n_labels=self._labels.n,
            n_later_labels=None if self._later is None else self._later.n,
            spec_hash=None if catalogue is None else catalogue.spec_hash,
            events=tuple(
                EventNodes(
                    event_type=one.name,
                    file=f"events/{one.name}.parquet",
                    n=self._n_events[one.name],
                    decided=one.name == scenario.decide,
                    attributes={column_of(a): a.type.value for a in scenario.value_attributes}
                    if one.name == scenario.decide
                    else {},
                )
                for one in scenario.event_types
            ),
            entities=tuple(
                EntityNodes(entity_type=name, file=f"entities/{name}.parquet", n=len(one), n_known=self._n_known[name])
                for name, one in self._numbers.items()
            ),
            edges=tuple(
                Edges(
                    event_type=one.name,
                    role=column.role,
                    entity_type=scenario.role(column.role).entity_type,
                    file=f"edges/{one.name}.{column.role}.parquet",
                    n=self._files[f"edges/{one.name}.{column.role}.parquet"].n,
                    many=scenario.role(column.role).many,
                )
                for one in scenario.event_types
                for column in one.roles
            ),
            features=tuple(
                GraphFeature(
                    name=f.name, unit=f.unit, sentence=f.sentence, missing=f.missing, is_category=f.is_category
                )
                for f in notes
            ),
            how=HOW,
            files=files,
            digest=digest_of(files),
        )


class _Standing(msgspec.Struct, frozen=True):
    """The labels that stand at the cut, in order of their events."""

    seq: NDArray[np.int64]
    value: NDArray[np.int8]  # 1 fraud, 0 legit
    known_at_ms: NDArray[np.int64]


def _standing(ledger: Ledger, until_seq: int, cut_ms: int) -> _Standing:
    labels = ledger.labels(until_seq).filter(pl.col("known_at_ms") <= cut_ms)
    return _Standing(
        labels["event_seq"].to_numpy(),
        (labels["value"].to_numpy() == FRAUD).astype(np.int8),
        labels["known_at_ms"].to_numpy(),
    )

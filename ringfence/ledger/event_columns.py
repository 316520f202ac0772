# SPDX-License-Identifier: Apache-2.0
"""What events were given, column by column: attributes as they came, and which roles were filled. For reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import EventBody, Kind
from ringfence.ledger.segments import RECORDS, SEGMENTS, attribute_column
from ringfence.scenario.batch import EVENT
from ringfence.scenario.spec import Attribute, AttributeType
from ringfence.scenario.values import CANONICAL_DTYPE


class EventColumns(msgspec.Struct, frozen=True, kw_only=True):
    """The decided events of a span, n rows in seq order."""

    attributes: pl.DataFrame  # seq, then one column per attribute; null where the event did not give it
    roles: pl.DataFrame  # seq, then one column of booleans per role: whether the event names an entity in it


def event_columns(ledger: Ledger, seqs: pl.Series, attributes: Sequence[Attribute]) -> EventColumns:
    """Read what the decided events at `seqs` were given.

    Parameters
    ----------
    seqs : seqs of events of the decided type, in any order.
    attributes : which of the decided event type to read; personal ones are not in the ledger and are left out. Of a
        text only its length is read.

    Returns
    -------
    Numbers and times as float64 (ms since 1970), booleans as booleans, categories as text, texts as their length. An
    attribute that was declared after an import is null for the events of that import.
    """
    decided = ledger.scenario.decided
    wanted = [attribute for attribute in attributes if not attribute.personal]
    roles = {column.role: ledger.scenario.role(column.role).index for column in decided.roles}
    frame = seqs.cast(pl.Int64).rename("seq").to_frame().sort("seq")
    types = {a.name: _type_of(a) for a in wanted}
    parts = [pl.DataFrame(schema={"seq": pl.Int64, **types, **{_key(role): pl.Boolean() for role in roles}})]
    first, last = (int(frame["seq"][0]), int(frame["seq"][-1])) if frame.height else (1, 0)
    for segment in ledger.segments():
        if segment.last_seq < first or segment.first_seq > last:
            continue
        scan = pl.scan_parquet(ledger.directory / SEGMENTS / segment.path / RECORDS, glob=False)
        present = set(scan.collect_schema().names())
        given = [
            _given(a, pl.col(column) if (column := attribute_column(decided, a)) in present else pl.lit(None))
            for a in wanted
        ]
        named = [pl.col("role").list.contains(index).alias(_key(role)) for role, index in roles.items()]
        parts.append(
            scan.filter(pl.col("seq").is_between(first, last))
            .filter(pl.col("kind") == EVENT, pl.col("event_type") == decided.index)
            .select("seq", *given, *named)
            .join(frame.lazy(), on="seq", how="semi")
            .collect()
        )
    rows: list[dict[str, Any]] = []
    for record in ledger.records(first - 1, kinds=(Kind.EVENT,), until_seq=last):
        if isinstance(record.body, EventBody) and record.body.event.event_type == decided.name:
            event = record.body.event
            filled = {link.role for link in event.links}
            values = {a.name: event.attributes.get(a.name) for a in wanted}
            rows.append({"seq": record.seq, **values, **{_key(role): at in filled for role, at in roles.items()}})
    if rows:
        canonical = {a.name: CANONICAL_DTYPE[a.type] for a in wanted if a.type is not AttributeType.TIME}
        live = pl.DataFrame(rows, schema_overrides={"seq": pl.Int64, **canonical}, infer_schema_length=None)
        columns = [_given(a, pl.col(a.name)) for a in wanted]
        parts.append(live.select("seq", *columns, *map(_key, roles)).join(frame, on="seq", how="semi"))
    found = frame.join(pl.concat(parts), on="seq", how="left").sort("seq")
    return EventColumns(
        attributes=found.select("seq", *(a.name for a in wanted)),
        roles=found.select("seq", *(pl.col(_key(role)).fill_null(False).alias(role) for role in roles)),
    )


def _key(role: str) -> str:
    return f"role {role}"  # an attribute may bear a role's name, but no space


def _type_of(attribute: Attribute) -> pl.DataType:
    match attribute.type:
        case AttributeType.CATEGORY:
            return pl.String()
        case AttributeType.BOOLEAN:
            return pl.Boolean()
    return pl.Float64()


def _given(attribute: Attribute, column: pl.Expr) -> pl.Expr:
    if attribute.type is AttributeType.TEXT:
        column = column.cast(pl.String).str.len_chars()
    return column.cast(_type_of(attribute)).alias(attribute.name)

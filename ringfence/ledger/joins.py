# SPDX-License-Identifier: Apache-2.0
"""A table joined to its source: a long one of (event, role, entity) as lists, a wide one as more columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import polars as pl
import pyarrow.parquet as pq

from ringfence.ledger.errors import SourceColumnsError, SourceUnreadableError
from ringfence.ledger.sources import SourceFile, read_frames, read_plain_frames
from ringfence.ledger.text_files import Frame
from ringfence.scenario.errors import did_you_mean

LINE: Final = "__line"  # the column that carries a row's line through the join


def join_parties(
    file: SourceFile, columns: list[str], frames: Iterator[Frame], scratch: Path, database: duckdb.DuckDBPyConnection
) -> Path:
    """Join the long table of (event, role, entity) to its source: one list column per role, in the table's order."""
    assert file.join is not None
    assert file.join_path is not None
    left, long, out = (scratch / f"join-{name}.parquet" for name in ("left", "long", "out"))
    _spool(left, (frame.rows.with_columns(pl.Series(LINE, frame.lines)) for frame in frames))
    join = file.join
    assert join.role is not None
    assert join.value is not None
    parts = read_frames(file.join_path, [join.on, join.role, join.value], _refuse_join(file.join_path), file.dialect)
    _spool(long, (frame.rows.with_columns(pl.Series(LINE, frame.lines)) for frame in parts))
    _require_roles(file, columns, long, database)
    lists = ", ".join(
        f"list({_quoted(join.value)} ORDER BY {LINE}) FILTER (WHERE {_quoted(join.role)} = {_literal(column)}) "
        f"AS {_quoted(column)}"
        for column in columns
    )
    database.execute(
        f"""COPY (
          SELECT source.*, {", ".join(f"parties.{_quoted(column)}" for column in columns)}
          FROM read_parquet({_literal(str(left))}) AS source
          LEFT JOIN (
            SELECT {_key(database, long, join.on)} AS party_key, {lists}
            FROM read_parquet({_literal(str(long))}) WHERE {_quoted(join.value)} IS NOT NULL GROUP BY party_key
          ) AS parties ON {_key(database, left, join.on)} = parties.party_key
          ORDER BY source.{LINE}
        ) TO {_literal(str(out))} (FORMAT parquet, ROW_GROUP_SIZE 131072)"""
    )
    left.unlink()
    long.unlink()
    return out


def join_columns(
    file: SourceFile, columns: list[str], frames: Iterator[Frame], scratch: Path, database: duckdb.DuckDBPyConnection
) -> Path:
    """Join columns of a wide table to its source; an event that it does not know has none of them.

    Raises
    ------
    SourceUnreadableError
        If the table has two rows for one event: neither is taken for the right one.
    """
    assert file.join is not None
    assert file.join_path is not None
    left, wide, out = (scratch / f"join-{name}.parquet" for name in ("left", "wide", "out"))
    _spool(left, (frame.rows.with_columns(pl.Series(LINE, frame.lines)) for frame in frames))
    there = msgspec.structs.replace(file, path=file.join_path)
    parts = read_plain_frames(there, [file.join.on, *columns], _refuse_join(file.join_path))
    _spool(wide, (frame.rows.with_columns(pl.Series(LINE, frame.lines)) for frame in parts))
    key, known = _key(database, wide, file.join.on), f"read_parquet({_literal(str(wide))})"
    twice = database.execute(
        f"SELECT {key} AS joined_key, max({LINE}) FROM {known} WHERE joined_key IS NOT NULL "
        f"GROUP BY joined_key HAVING count(*) > 1 LIMIT 1"
    ).fetchone()
    if twice is not None:
        raise SourceUnreadableError(
            file.join_path,
            f"has two rows for {file.join.on} {twice[0]!r}, the later one on line {twice[1]:,}",
            "keep one row for each, or say `role` and `value` where it is a long table of who takes part",
        )
    database.execute(
        f"""COPY (
          SELECT source.*, {", ".join(f"more.{_quoted(column)}" for column in columns)}
          FROM read_parquet({_literal(str(left))}) AS source
          LEFT JOIN (SELECT {", ".join(map(_quoted, columns))}, {key} AS joined_key FROM {known}) AS more
            ON {_key(database, left, file.join.on)} = more.joined_key
          ORDER BY source.{LINE}
        ) TO {_literal(str(out))} (FORMAT parquet, ROW_GROUP_SIZE 131072)"""
    )
    left.unlink()
    wide.unlink()
    return out


def _require_roles(file: SourceFile, columns: list[str], long: Path, database: duckdb.DuckDBPyConnection) -> None:
    """Refuse a role that neither the file nor the joined table knows: it would be empty in every event."""
    assert file.join is not None
    role = _quoted(str(file.join.role))
    query = f"SELECT DISTINCT CAST({role} AS VARCHAR) FROM read_parquet({_literal(str(long))}) WHERE {role} IS NOT NULL"
    found = sorted(value for (value,) in database.execute(query).fetchall())
    where = {column.column: column.role for column in file.event_type.given_roles}
    for column in columns:
        if column not in found:
            raise SourceColumnsError(
                file.path,
                f"has no column {column!r} (entities.{where[column]}), and it is no value of {file.join.role!r} in "
                f"{file.join.file} either",
                f"correct the mapping of {file.event_type.name!r} in ringfence.yaml: {did_you_mean(column, found)}",
            )


def _refuse_join(path: Path) -> Callable[[int, str, str], None]:
    def refuse(line: int, found: str, reason: str) -> None:
        raise SourceUnreadableError(path, f"line {line} {reason}: {found!r}", "mend the line: a join has no rejects")

    return refuse


def _spool(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    writer: pq.ParquetWriter | None = None
    for frame in frames:
        table = frame.to_arrow()
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="lz4")
        writer.write_table(table)
    if writer is None:
        raise ValueError(f"no frame for {path}")
    writer.close()


def _key(database: duckdb.DuckDBPyConnection, path: Path, column: str) -> str:
    """SQL for a join key as text, so that 17, 17.0 and "17" are one event."""
    kind = database.execute(
        f"SELECT typeof({_quoted(column)}) FROM read_parquet({_literal(str(path))}) LIMIT 1"
    ).fetchone()
    if kind is not None and kind[0] in ("DOUBLE", "FLOAT"):
        return f"CAST(CAST({_quoted(column)} AS BIGINT) AS VARCHAR)"
    return f"CAST({_quoted(column)} AS VARCHAR)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

# SPDX-License-Identifier: Apache-2.0
"""Lookup files of a workspace or a release: read, checked row by row, and prepared for the doors."""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from ringfence.scenario.derived import Lookup
from ringfence.scenario.errors import LookupFileError
from ringfence.scenario.lookup_rows import LookupRows
from ringfence.scenario.lookup_table import LookupTable
from ringfence.scenario.spec import Scenario

_PARQUET: Final = b"PAR1"

Lookups = Mapping[str, LookupTable]  # by "event type.name" of the derived value


def digest_of(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def with_digests(scenario: Scenario, workspace: Path) -> Scenario:
    """Note in a scenario what its lookup files hold; a file that is not there is noted as such, and asked for later."""
    if not scenario.lookups:
        return scenario
    digests: dict[str, str] = {}
    for file in {lookup.file for lookup in scenario.lookups.values()}:
        path = workspace / file
        digests[file] = digest_of(path.read_bytes()) if _is_inside(path, workspace) and path.is_file() else ""
    event_types = []
    for event_type in scenario.event_types:
        derived = tuple(
            msgspec.structs.replace(one, how=msgspec.structs.replace(one.how, digest=digests[one.how.file]))
            if isinstance(one.how, Lookup)
            else one
            for one in event_type.derived
        )
        event_types.append(msgspec.structs.replace(event_type, derived=derived))
    return msgspec.structs.replace(scenario, event_types=tuple(event_types))


def read_lookup_files(scenario: Scenario, workspace: Path) -> dict[str, bytes]:
    """Read the files that a scenario looks values up in, by the name that it gives them.

    Raises
    ------
    LookupFileError
        If one is missing, lies outside the workspace, or is another one than when ringfence.yaml was read.
    """
    files: dict[str, bytes] = {}
    for where, lookup in scenario.lookups.items():
        path = workspace / lookup.file
        if not _is_inside(path, workspace):
            raise LookupFileError(path, where, "a place outside the workspace", "put the file into the workspace")
        try:
            data = files.get(lookup.file) or path.read_bytes()
        except OSError as error:
            found = error.strerror or "an error"
            raise LookupFileError(path, where, found, "correct `lookup.file`, or add the file") from None
        if digest_of(data) != lookup.digest:
            raise LookupFileError(path, where, "a change since ringfence.yaml was read", "run the command again")
        files[lookup.file] = data
    return files


def prepare_lookups(scenario: Scenario, files: Mapping[str, bytes], *, tells: bool = False) -> Lookups:
    """Check and index the lookup tables of a scenario.

    Parameters
    ----------
    files : the content of each lookup file, by the name that the scenario gives it.
    tells : whether tables say which rows were let be, in `faults`.

    Raises
    ------
    LookupFileError
        If a table lacks a column or holds no row.
    LookupRowsError
        If rows of a table cannot be followed, and its lookup does not say what to do with such: a bound or key that is
        missing, a range that overlaps another, a value that is none.
    """
    prepared: dict[str, LookupTable] = {}
    frames: dict[str, pl.DataFrame] = {}
    for event_type in scenario.event_types:
        for derived in event_type.derived:
            if isinstance(derived.how, Lookup):
                where = f"{event_type.name}.{derived.name}"
                if derived.how.file not in frames:
                    frames[derived.how.file] = _frame(derived.how, files, where)
                rows = LookupRows(
                    derived, derived.how, where, frames[derived.how.file], scenario.time_zone, tells=tells
                )
                prepared[where] = rows.prepare()
    return prepared


def _is_inside(path: Path, workspace: Path) -> bool:
    return path.resolve().is_relative_to(workspace.resolve())


def _frame(lookup: Lookup, files: Mapping[str, bytes], where: str) -> pl.DataFrame:
    if lookup.file not in files:
        raise LookupFileError(lookup.file, where, "no such file", "hand the lookup files of the scenario over")
    data = files[lookup.file]
    try:
        if data.startswith(_PARQUET):
            return pl.read_parquet(io.BytesIO(data))
        separator = "\t" if lookup.file.lower().endswith(".tsv") else ","
        return pl.read_csv(io.BytesIO(data), infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        found = f"neither CSV (UTF-8) nor Parquet ({str(error).strip().splitlines()[0][:120]})"
        raise LookupFileError(lookup.file, where, found, "export it again") from None

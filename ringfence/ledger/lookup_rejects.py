# SPDX-License-Identifier: Apache-2.0
"""Lookup files of an import: prepared, and every row of them that cannot be followed listed in a file."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ringfence.scenario.errors import LookupRowsError
from ringfence.scenario.lookup_faults import Faults
from ringfence.scenario.lookup_files import Lookups, prepare_lookups, read_lookup_files
from ringfence.scenario.spec import Scenario


class PreparedLookups(NamedTuple):
    lookups: Lookups
    faults: tuple[Faults, ...]  # of files with rows that are let be
    path: Path  # the list of them; there is none without such rows


def prepare_and_list(scenario: Scenario, workspace: Path) -> PreparedLookups:
    """Prepare the lookup files of a scenario; list their bad rows in `reports/<scenario>-lookup-rejects.csv`.

    Raises
    ------
    LookupFileError
        If one of them cannot be used; LookupRowsError, after the list was written, if that is for rows of it.
    """
    path = workspace / "reports" / f"{scenario.name}-lookup-rejects.csv"
    try:
        lookups = prepare_lookups(scenario, read_lookup_files(scenario, workspace), tells=True)
    except LookupRowsError as error:
        _write(path, [error.faults])
        raise LookupRowsError(error.faults, listed_in=path) from None
    faults = tuple(table.faults for table in lookups.values() if table.faults is not None and table.faults.kinds)
    _write(path, faults)
    return PreparedLookups(lookups, faults, path)


def _write(path: Path, faults: Iterable[Faults]) -> None:
    rows = [(one.file, row, one.where, found, reason) for one in faults for row, found, reason in one.frame().rows()]
    if not rows:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "row", "looked_up_by", "found", "reason"])
        writer.writerows(rows)

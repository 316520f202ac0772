# SPDX-License-Identifier: Apache-2.0
"""A spine: rows of (who, when) that somebody wants features for, read as the door reads events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl

from ringfence.ledger.errors import ImportFailedError
from ringfence.ledger.sources import column_names, n_rows, read_frames
from ringfence.scenario.batch import EVENT, NO_LABEL, Batch
from ringfence.scenario.columns import ColumnarAdmission, Columns
from ringfence.scenario.errors import did_you_mean, shown
from ringfence.scenario.simhash import simhashes_of
from ringfence.scenario.spec import EventType, RoleColumn, Scenario
from ringfence.steps.errors import SpineColumnsError, SpineFileError, SpineRowsError

if TYPE_CHECKING:
    from ringfence.scenario.identity import IdentityKey

TIMES: Final = ("event_time", "time")
ROLE: Final = "role"
ENTITY_ID: Final = "id"
AMOUNT: Final = "amount"
_TOLD: Final = 5  # bad cells in a message


class Spine(NamedTuple):
    """Questions in the order of the frame they came from. n rows."""

    batch: Batch  # (n,) events of the decided type; `seq` is the row, from 1
    read: tuple[str, ...]  # columns that questions are made of; the others mean nothing here


def read_spine(path: Path) -> pl.DataFrame:
    """Read a CSV (all columns as text) or Parquet file.

    Raises
    ------
    SpineFileError
        If it is missing, empty, damaged or no table, or a line of a CSV has too many or too few fields.
    """
    bad: list[tuple[int, str]] = []
    if not path.is_file():
        raise SpineFileError(path, "no such file", "correct the path")
    try:
        n_rows(path)
        frames = [
            frame.rows
            for frame in read_frames(path, column_names(path), lambda line, _, reason: bad.append((line, reason)))
        ]
    except ImportFailedError as error:
        raise SpineFileError(path, error.found, error.do) from error
    if bad:
        line, reason = bad[0]
        raise SpineFileError(path, f"line {line} {reason}", "quote text that holds a comma")
    if not sum(frame.height for frame in frames):
        raise SpineFileError(path, "holds no row, at most a header", "give it a row per question")
    return pl.concat(frames)


def spine_of(frame: pl.DataFrame, scenario: Scenario, identity: IdentityKey) -> Spine:
    """Make a question of each row.

    Parameters
    ----------
    frame : `event_time` (or `time`), and either columns named as roles of the decided event type, each with an entity
        id (a list, or text with the role's separator, where a role holds many) or null for nobody; or `role` and
        `id`, one entity a row. Where the decided type has them: `amount` in major units, and columns named as
        attributes; missing where null or left out.

    Raises
    ------
    SpineColumnsError
        If who or when is missing, or who is told in two ways.
    SpineRowsError
        If a cell cannot be read, or (with `role` and `id`) names nobody; with the first of them.
    """
    columns, roles = set(frame.columns), [column.role for column in scenario.decided.roles]
    time = next((name for name in TIMES if name in columns), None)
    if time is None:
        do = f"name the column of times {TIMES[0]}; {did_you_mean(TIMES[0], frame.columns)}"
        raise SpineColumnsError("when each row asks", frame.columns, do)
    named = [role for role in roles if role in columns and role != time]
    by_role = {ROLE, ENTITY_ID} <= columns and not {ROLE, ENTITY_ID} & set(named)
    if by_role and named:
        do = f"take out {ROLE} and {ENTITY_ID}, or {', '.join(named)}"
        raise SpineColumnsError("who is meant, in one way", frame.columns, do)
    if not by_role and not named and roles:
        do = f"name columns as the roles of {scenario.decide}: {', '.join(roles)}; or give {ROLE} and {ENTITY_ID}"
        raise SpineColumnsError("whose features are asked for", frame.columns, do)
    read = {time, *named, *((ROLE, ENTITY_ID) if by_role else ())}
    if scenario.decided.amount is not None:
        read |= {AMOUNT} & columns
    read |= {attribute.name for attribute in scenario.value_attributes} & columns
    given = frame.select(name for name in frame.columns if name in read)
    if by_role:
        given = _by_role(given, roles)
    admission = Columns(scenario, identity).admit(_asked(scenario, time, given.columns), given, first_row=1)
    if admission.rejects.height:
        cells = [
            f"row {row}, {column} {found}: {reason}"
            for row, column, found, reason in admission.rejects.head(_TOLD).iter_rows()
        ]
        raise SpineRowsError(cells, admission.rejects["row"].n_unique(), frame.height)
    return Spine(_batch(admission, scenario), tuple(name for name in frame.columns if name in read))


def _asked(scenario: Scenario, time: str, columns: list[str]) -> EventType:
    """The decided event type as a spine spells it: columns named as what they hold. Those not given are missing."""
    decided = scenario.decided
    return msgspec.structs.replace(
        decided,
        event_id_column=None,
        event_time_column=time,
        roles=tuple(
            RoleColumn(role=role.role, column=role.role, separator=role.separator)
            for role in decided.roles
            if role.role in columns and role.role != time
        ),
        attributes=tuple(msgspec.structs.replace(a, column=a.name) for a in scenario.value_attributes),
        amount=None if decided.amount is None else msgspec.structs.replace(decided.amount, column=AMOUNT),
        label=None,
        derived=(),  # a spine names networks and countries themselves, as it names whoever else is meant
    )


def _by_role(frame: pl.DataFrame, roles: list[str]) -> pl.DataFrame:
    """Spread `role` and `id` over a column per role."""
    role, entity_id = frame[ROLE].cast(pl.String, strict=False), frame[ENTITY_ID]
    unknown = ~role.is_in(roles).fill_null(False)
    nobody = entity_id.is_null() | (entity_id.cast(pl.String, strict=False) == "").fill_null(False)
    reasons = {ROLE: f"a role is one of {', '.join(roles)}", ENTITY_ID: "each row names an entity"}
    bad = {ROLE: unknown, ENTITY_ID: nobody}
    if (unknown | nobody).any():
        cells = [
            f"row {row + 1}, {column} {shown(frame[column][row])}: {reasons[column]}"
            for column, wrong in bad.items()
            for row in wrong.arg_true().head(_TOLD).to_list()
        ]
        raise SpineRowsError(cells[:_TOLD], int((unknown | nobody).sum()), frame.height)
    spread = [pl.when(role == name).then(entity_id).alias(name) for name in roles if (role == name).any()]
    return frame.drop(ROLE, ENTITY_ID).with_columns(spread)


def _batch(admission: ColumnarAdmission, scenario: Scenario) -> Batch:
    n = len(admission)
    texts = [simhashes_of(admission.attributes[attribute.name]) for attribute in scenario.text_attributes]
    return Batch(
        seq=admission.row,
        kind=np.full(n, EVENT, np.uint8),
        event_type=np.full(n, scenario.decided.index, np.uint8),
        time_ms=admission.time_ms,
        offset_ms=admission.offset_ms,
        amount_minor=admission.amount_minor,
        values=admission.values,
        link_start=admission.link_start,
        link_role=admission.link_role,
        link_lo=admission.link_lo,
        link_hi=admission.link_hi,
        label_event_seq=np.full(n, -1, np.int64),
        label_event_time_ms=np.zeros(n, np.int64),
        label_value=np.full(n, NO_LABEL, np.int8),
        label_replaces=np.full(n, NO_LABEL, np.int8),
        simhash=np.stack(texts, axis=1) if texts else np.zeros((n, 0), np.uint64),
    )

# SPDX-License-Identifier: Apache-2.0
"""What a scenario would learn from its files: rows let in, entities that come back, labels, a split, and leaks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from ringfence.drafting.evidence import Floats
from ringfence.drafting.followed import followed
from ringfence.drafting.label import truth_of
from ringfence.drafting.leaks import Suspicion, order_auc, suspicion_of
from ringfence.drafting.profile import Column, Profile, profile_table
from ringfence.drafting.table import open_table, with_columns_of
from ringfence.ledger.runs import check_source
from ringfence.ledger.sources import SourceFile, column_names, needed_columns, read_frames, read_plain_frames, resolve
from ringfence.ledger.tally import Tally, Underived
from ringfence.scenario.columns import Columns
from ringfence.scenario.dialect import Dialect, plainly
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.lookup_files import Lookups, prepare_lookups, read_lookup_files
from ringfence.scenario.spec import EventType, Label, Scenario
from ringfence.scenario.times import moments_ms

_TRIED_ROWS: Final = 20_000
_TRAINED_SHARE: Final = 0.7  # of the events, before the suggested split
_ORDERED: Final = 0.65  # ROC-AUC of the row number from which on the order of a file is suspect
_ANY_KEY: Final = IdentityKey(bytes(32))  # of rows that are only tried, and kept nowhere


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """Cells that an import would refuse."""

    column: str
    reason: str
    found: str  # an example
    n: int


class RoleOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """How often the entities of a role come back; counts are 0 where another file holds them."""

    role: str
    column: str
    n_entities: int
    reuse: float  # events per entity


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of the decided event type hold. Shares and moments come from a sample of the first file."""

    files: tuple[tuple[str, int], ...]  # path, rows
    first_ms: int | None
    last_ms: int | None
    roles: tuple[RoleOutlook, ...]
    n_fraud: int  # in the rows looked at; with labels by a later event, as far as the files tell
    n_legit: int
    n_silent: int
    split_ms: int | None  # a moment with 70 % of the events before it
    n_fraud_known: int  # frauds before it whose label is known by then
    n_fraud_after: int
    n_looked_at: int
    n_tried: int  # first rows that were tried as an import would
    n_rejected: int
    rejected: tuple[Rejected, ...]
    suspicions: tuple[Suspicion, ...]
    underived: tuple[Underived, ...]  # of the rows tried
    lookup_faults: tuple[str, ...]  # rows of lookup files that are let be, in words
    unused: tuple[str, ...]  # columns of the first file that the scenario does not read


def outlook_of(scenario: Scenario, workspace: Path) -> Outlook:
    """Look at the files of a scenario's decided event type.

    Raises
    ------
    ImportFailedError
        If a source is missing, is no table, or lacks columns that the scenario names.
    DraftError
        If the first file holds no row.
    """
    files = resolve(scenario, workspace)
    for file in files:
        check_source(file)
    decided = [file for file in files if file.event_type.name == scenario.decide]
    event_type, first = scenario.decided, decided[0]
    known = _shape(first.dialect)
    table = open_table(first.path, known)
    is_wide = first.join is not None and first.join.role is None and first.join_path is not None
    if first.join is not None and first.join_path is not None and is_wide:
        table = with_columns_of(table, open_table(first.join_path, known), first.join.on)
    profile = profile_table(table)
    rows = [(str(file.path), profile.table.n_rows if file is first else _n_rows(file)) for file in decided]
    event_ms = _moments(event_type.event_time_column, first, profile, scenario.time_zone)
    outcome = None if event_type.label is None else event_type.label.outcome
    told = None if outcome is None else followed(scenario, outcome, files, first, profile)
    truth = _truth(event_type.label, profile) if told is None else told.truth
    known_ms = _known_ms(event_type.label, event_ms, first, profile, scenario) if told is None else told.known_ms
    split_ms, n_known, n_after = _split(known_ms, truth, event_ms)
    lookups = prepare_lookups(scenario, read_lookup_files(scenario, workspace), tells=True)
    n_tried, n_rejected, rejected, underived = _try(scenario, first, lookups)
    given = event_ms[~np.isnan(event_ms)] if event_ms is not None else np.empty(0)
    needed = needed_columns(event_type)
    return Outlook(
        files=tuple(rows),
        first_ms=int(given.min()) if len(given) else None,
        last_ms=int(given.max()) if len(given) else None,
        roles=_roles(event_type, first, profile),
        n_fraud=int((truth == 1.0).sum()) if truth is not None else 0,
        n_legit=int((truth == 0.0).sum()) if truth is not None else 0,
        n_silent=int(np.isnan(truth).sum()) if truth is not None else len(profile.row),
        split_ms=split_ms,
        n_fraud_known=n_known,
        n_fraud_after=n_after,
        n_looked_at=len(profile.row),
        n_tried=n_tried,
        n_rejected=n_rejected,
        rejected=rejected,
        underived=underived,
        lookup_faults=tuple(
            table.faults.told for table in lookups.values() if table.faults is not None and table.faults.kinds
        ),
        suspicions=_suspicions(event_type, profile, truth, event_ms),
        unused=tuple(
            name for name in profile.table.names if name not in needed and name not in first.dialect.clocks.values()
        ),
    )


def _suspicions(
    event_type: EventType, profile: Profile, truth: Floats | None, event_ms: Floats | None
) -> tuple[Suspicion, ...]:
    read = {attribute.column for attribute in event_type.attributes if attribute.is_feature}
    read |= {event_type.amount.column} if event_type.amount is not None else set()
    found = [
        suspicion
        for column in profile.columns
        if column.name in read and (suspicion := suspicion_of(column, truth, event_ms, profile.row)) is not None
    ]
    if event_ms is None:
        auc = order_auc(truth, profile.row)
        if auc >= _ORDERED:
            why = f"the order of the rows tells the label (ROC-AUC {auc:.3f}): shuffle them, or give the events a time"
            found.append(Suspicion(column="(row)", why=why, is_leak=True))
    return tuple(found)


def _moments(name: str | None, file: SourceFile, profile: Profile, time_zone: str) -> Floats | None:
    """(sample,) a column as the import reads it, in ms; NaN where there is none. None without a column."""
    if name is None:
        return None
    clock = file.dialect.clocks.get(name)
    sample = pl.DataFrame([profile.column(column).sample for column in (name, clock) if column is not None])
    time_ms, missing, bad = moments_ms(plainly(sample, file.dialect, ())[name], time_zone)
    return np.where(missing | bad, np.nan, time_ms.astype(np.float64))


def _known_ms(
    label: Label | None, event_ms: Floats | None, file: SourceFile, profile: Profile, scenario: Scenario
) -> Floats | None:
    """(sample,) when the label became known."""
    if label is None or label.column is None or event_ms is None:
        return None
    if label.delay_ms is not None:
        return event_ms + label.delay_ms
    return _moments(label.known_at_column, file, profile, scenario.time_zone)


def _truth(label: Label | None, profile: Profile) -> Floats | None:
    if label is None or label.column is None:
        return None
    return truth_of(profile.column(label.column), label.fraud, label.legit)


def _split(known_ms: Floats | None, truth: Floats | None, event_ms: Floats | None) -> tuple[int | None, int, int]:
    if event_ms is None or truth is None or known_ms is None:
        return None, 0, 0
    given = event_ms[~np.isnan(event_ms)]
    if len(given) < 10:
        return None, 0, 0
    split_ms = float(np.quantile(given, _TRAINED_SHARE))
    fraud = truth == 1.0
    return int(split_ms), int((fraud & (known_ms <= split_ms)).sum()), int((fraud & (event_ms > split_ms)).sum())


def _roles(event_type: EventType, file: SourceFile, profile: Profile) -> tuple[RoleOutlook, ...]:
    parties = _parties(file, {role.column for role in event_type.given_roles} - set(profile.table.names))
    return tuple(_role(role.role, role.column, profile, parties) for role in event_type.given_roles)


def _parties(file: SourceFile, wanted: set[str]) -> dict[str, tuple[int, float]]:
    """Of the roles that a long table fills: how many entities it names, and how many of its rows each."""
    join = file.join
    if join is None or join.role is None or join.value is None or file.join_path is None or not wanted:
        return {}
    frames = read_frames(file.join_path, [join.role, join.value], lambda *_: None, file.dialect)
    long = pl.concat([frame.rows.select(pl.col(join.role, join.value).cast(pl.String)) for frame in frames])
    found = long.drop_nulls().group_by(join.role).agg(n=pl.len(), n_entities=pl.col(join.value).n_unique())
    return {role: (n_entities, n / n_entities) for role, n, n_entities in found.iter_rows() if role in wanted}


def _role(role: str, column: str, profile: Profile, parties: dict[str, tuple[int, float]]) -> RoleOutlook:
    if column not in profile.table.names:
        n_entities, reuse = parties.get(column, (0, 0.0))
        return RoleOutlook(role=role, column=column, n_entities=n_entities, reuse=round(reuse, 2))
    found: Column = profile.column(column)
    return RoleOutlook(role=role, column=column, n_entities=found.n_distinct, reuse=round(found.reuse, 2))


def _try(
    scenario: Scenario, file: SourceFile, lookups: Lookups
) -> tuple[int, int, tuple[Rejected, ...], tuple[Underived, ...]]:
    """Let the first rows in, as an import would, and keep nothing."""
    needed = needed_columns(file.event_type)
    clocks = set(file.dialect.clocks.values())
    columns = [name for name in column_names(file.path, file.dialect) if name in needed or name in clocks]
    broken: list[tuple[str, str]] = []
    more = _joined(file, set(needed) - set(columns))
    if file.join is not None and more is not None and file.join.on not in columns:
        columns.append(file.join.on)
    for frame in read_plain_frames(file, columns, lambda line, found, reason: broken.append((found, reason))):
        admission = Columns(scenario, _ANY_KEY, lookups).admit(
            file.event_type, _with(frame.rows.head(_TRIED_ROWS), more, file), 0
        )
        reasons: Counter[tuple[str, str]] = Counter()
        examples: dict[tuple[str, str], str] = {}
        for _, column, found, reason in admission.rejects.iter_rows():
            reasons[column, reason] += 1
            examples.setdefault((column, reason), found)
        for found, reason in broken:
            reasons["", reason] += 1
            examples.setdefault(("", reason), found)
        told = tuple(
            Rejected(column=column, reason=reason, found=examples[column, reason], n=n)
            for (column, reason), n in reasons.most_common()
        )
        n_tried = min(frame.rows.height, _TRIED_ROWS) + len(broken)
        tally = Tally()
        tally.count(admission, np.ones(len(admission), np.bool_), ())
        return n_tried, n_tried - len(admission), told, tally.underived
    return 0, 0, (), ()


def _joined(file: SourceFile, lacking: set[str]) -> pl.DataFrame | None:
    """The columns that a wide table adds to a source, with their key as text; None without one."""
    if file.join is None or file.join.role is not None or file.join_path is None:
        return None
    there = msgspec.structs.replace(file, path=file.join_path)
    columns = [name for name in column_names(file.join_path, file.dialect) if name in lacking]
    parts = [frame.rows for frame in read_plain_frames(there, [file.join.on, *columns], lambda *_: None)]
    return pl.concat(parts).with_columns(pl.col(file.join.on).cast(pl.String)).unique(file.join.on, keep="first")


def _with(rows: pl.DataFrame, more: pl.DataFrame | None, file: SourceFile) -> pl.DataFrame:
    if more is None or file.join is None:
        return rows
    on = file.join.on
    key = rows.select(pl.col(on).cast(pl.String)).join(more, on=on, how="left", maintain_order="left")
    return rows.hstack(key.drop(on))


def _n_rows(file: SourceFile) -> int:
    return open_table(file.path, _shape(file.dialect)).n_rows


def _shape(dialect: Dialect) -> Dialect:
    """What a dialect says of a file before any of its cells is read."""
    return Dialect(separator=dialect.separator, encoding=dialect.encoding, header=dialect.header)

# SPDX-License-Identifier: Apache-2.0
"""Several files: which one holds the events that are decided on, and what the others are to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from ringfence.drafting.clock import ClockGuess, clock_of, moments_of
from ringfence.drafting.label import LabelGuess, label_of
from ringfence.drafting.names import hints, plain_name
from ringfence.drafting.profile import Column, Profile
from ringfence.drafting.roles import RoleGuess, event_id_of
from ringfence.scenario.spec import Join

_MOST_ROLE_NAMES: Final = 40  # in the column that says who somebody is to an event
_SHARED: Final = 0.5  # share of one column's values that the other must know
_ONE_TO_ONE: Final = 0.98


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a joined long table."""

    role: str
    value: str  # in the table's role column
    many: bool
    same_as: str | None  # a column of the main file that says the same
    reuse: float  # events per entity
    why: str


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A long table of (event, role, entity), or a wide one of more columns, which then count as the main file's."""

    join: Join
    path: Path
    parties: tuple[Party, ...] = ()


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Events that are not decided on, and teach: they have a time and share entities with those that are."""

    name: str
    profile: Profile
    clock: ClockGuess
    roles: tuple[tuple[str, Column], ...]  # role of the main file -> column here
    why: str


def main_of(profiles: list[Profile]) -> tuple[Profile, LabelGuess | None]:
    """The file of the events that are decided on, and the label that it has.

    The one with a label; of several, or without any, the one that has most of what events have, and only then the
    longest: a lookup of a million addresses may well hold a column of yes and no.
    """
    guesses = [(profile, label_of(profile)) for profile in profiles]
    labelled = [guess for guess in guesses if guess[1] is not None] or guesses
    return labelled[0] if len(labelled) == 1 else max(labelled, key=lambda guess: _like_events(*guess))


def _like_events(profile: Profile, label: LabelGuess | None) -> tuple[bool, bool, int, bool, int]:
    """What speaks for a file of events, the weightiest first."""
    words = () if label is None else label.column.words
    named = 2 if hints(words, "label") else 1 if hints(words, "label_perhaps") or (label and label.is_sure) else 0
    has_time = clock_of(profile, moments_of(profile)) is not None
    event_id, _ = event_id_of(profile, "event")
    return named > 0, has_time, named, event_id is not None, profile.table.n_rows


def wide_of(main: Profile, others: list[Profile]) -> Joined | None:
    """The other file with one row for each of many events and further columns; None where there is none."""
    for other in others:
        for column in main.columns:
            if column.name not in other.table.names or not column.is_unique or column.kind not in ("number", "text"):
                continue
            key = other.column(column.name)
            if not (key.is_unique and key.kind == column.kind and key.is_texts == column.is_texts):
                continue
            if column.kind == "number" and not (column.is_whole and key.is_whole):
                continue
            both = other.table.rows.select(column.name).collect().to_series()
            n_known = int(both.is_in(main.table.rows.select(column.name).collect().to_series().implode()).sum())
            if n_known >= _SHARED * len(both) and set(other.table.names) - set(main.table.names):
                join = Join(file=str(other.table.path), on=column.name)
                return Joined(join=join, path=other.table.path)
    return None


def joined_of(main: Profile, event_id: Column | None, other: Profile, roles: list[RoleGuess]) -> Joined | None:
    """The other file as a long table of who takes part in which event; None where it is none."""
    if event_id is None:
        return None
    on = _key(event_id, other)
    if on is None:
        return None
    texts = [column for column in other.columns if column is not on and column.kind == "text"]
    names = [column for column in texts if 1 < column.n_distinct <= _MOST_ROLE_NAMES and column.n_missing == 0]
    names.sort(key=lambda column: column.n_distinct)
    if len(names) == 2 and 2 * names[0].n_distinct <= names[1].n_distinct:
        names = names[:1]  # in a short table there are few entities, too
    values = [
        column
        for column in other.columns
        if column is not on and column not in names and (column.kind == "text" or column.is_whole)
    ]
    if len(names) != 1 or len(values) != 1:
        return None
    role, value = names[0], values[0]
    long = other.table.rows.select(on.name, role.name, value.name).drop_nulls().collect()
    parties, taken = [], [guess.role for guess in roles]
    for name in sorted(long[role.name].unique().to_list()):
        rows = long.filter(long[role.name] == name)
        per_event = rows.height / max(rows[on.name].n_unique(), 1)
        same = name if name in main.table.names else _same_column(main, event_id, roles, rows, on.name, value.name)
        plain = plain_name(name.lower(), taken)
        reuse = rows.height / max(rows[value.name].n_unique(), 1)
        why = (
            f"{rows[value.name].n_unique():,} of them in {rows[on.name].n_unique():,} events, {per_event:.1f} an event"
        )
        parties.append(Party(role=plain, value=name, many=per_event > 1.0, same_as=same, reuse=reuse, why=why))
        taken.append(plain)
    join = Join(file=str(other.table.path), on=on.name, role=role.name, value=value.name)
    if on.name != event_id.name:
        return None  # the loader joins on one name
    return Joined(join=join, path=other.table.path, parties=tuple(parties))


def context_of(roles: list[RoleGuess], other: Profile, taken: set[str]) -> Context | None:
    """The other file as events that only teach; None where it has no time or shares no entity."""
    clock = clock_of(other, moments_of(other))
    if clock is None:
        return None
    shared: list[tuple[str, Column]] = []
    for guess in roles:
        column = _key(guess.column, other)
        if column is not None and column.name not in [known.name for _, known in shared]:
            shared.append((guess.role, column))
    if not shared:
        return None
    name = plain_name(other.table.path.stem.lower(), taken)
    why = ", ".join(f"{column.name} names the same as {role}" for role, column in shared)
    return Context(name=name, profile=other, clock=clock, roles=tuple(shared), why=why)


def _key(column: Column, other: Profile) -> Column | None:
    """The column of the other file that holds this one's values; the one of the same name before others."""
    known = set(column.sample.drop_nulls().cast(str).to_list())
    best: tuple[float, Column] | None = None
    for candidate in other.columns:
        if candidate.kind not in ("number", "text") or candidate.is_texts != column.is_texts:
            continue
        if candidate.name != column.name and not column.is_texts:
            continue  # numbers coincide by chance
        found = set(candidate.sample.drop_nulls().cast(str).to_list())
        share = len(known & found) / max(min(len(found), len(known)), 1)
        score = share + (candidate.name == column.name)
        if share >= _SHARED and (best is None or score > best[0]):
            best = (score, candidate)
    return None if best is None else best[1]


def _same_column(
    main: Profile, event_id: Column, roles: list[RoleGuess], rows: pl.DataFrame, on: str, value: str
) -> str | None:
    """A column of the main file that tells the same entities apart."""
    if rows.height != rows[on].n_unique():
        return None
    names = [guess.column.name for guess in roles if guess.column.kind != "list"]
    both = (
        main.table.rows.select(event_id.name, *names)
        .collect()
        .join(rows.select(pl.col(on).alias(event_id.name), pl.col(value).alias("__party")), on=event_id.name)
    )
    if not both.height:
        return None
    n_parties = both["__party"].n_unique()
    for name in names:
        n_own, n_pairs = both[name].n_unique(), both.select(pl.struct(name, "__party").n_unique()).item()
        if n_parties > 1 and n_pairs * _ONE_TO_ONE <= min(n_own, n_parties):
            return name
    return None

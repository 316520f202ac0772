# SPDX-License-Identifier: Apache-2.0
"""Which derived values the records hold: events keep what the door computed, so the making must not change unnoticed.

    meta 'derived'    "claim.network" -> (definition, digest of its table)

A ledger without live records is brought up to date by `import --replace`, so it has to be. With live records that is
no longer possible: then a new table counts from the next event on, as it would have at the time, a new value is missing
in older events, and another definition needs another name.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from ringfence.ledger.errors import DerivedChangedError
from ringfence.scenario.spec import Scenario

_META: Final = "derived"
_Made = dict[str, tuple[str, str]]


def check_derived(connection: sqlite3.Connection, scenario: Scenario) -> None:
    """Hold the scenario's derived values against those that the records were written with.

    Raises
    ------
    DerivedChangedError
        If a definition changed; while there are no live records, also if a table changed or a value was added.
    """
    stored, is_live = _stored(connection), _is_live(connection)
    if not is_live and not _has_history(connection):
        return
    anew = "run `ringfence import --replace`"
    for value, (definition, table) in _made(scenario).items():
        if value not in stored:
            if not is_live:
                raise DerivedChangedError(scenario.name, value, "events before there was", anew)
        elif stored[value][0] != definition:
            do = "give the new value another name: there are live records, which no import brings back"
            raise DerivedChangedError(scenario.name, value, "another definition of", do if is_live else anew)
        elif stored[value][1] != table and not is_live:
            raise DerivedChangedError(scenario.name, value, "an older lookup file of", anew)


def note_imported(connection: sqlite3.Connection, scenario: Scenario) -> None:
    """Note how imported records are made; what was noted of values that are gone stays."""
    _note(connection, _stored(connection) | _made(scenario))


def note_live(connection: sqlite3.Connection, scenario: Scenario) -> None:
    """Note how live records are made. A ledger that only holds history keeps what the import noted."""
    if _is_live(connection) or not _has_history(connection):
        _note(connection, _made(scenario) | _stored(connection))


def _note(connection: sqlite3.Connection, made: _Made) -> None:
    if made != _stored(connection):
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_META, msgspec.msgpack.encode(made)))


def _is_live(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM records WHERE kind IN (0, 1, 2) LIMIT 1").fetchone() is not None


def _has_history(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM segments LIMIT 1").fetchone() is not None


def _stored(connection: sqlite3.Connection) -> _Made:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_META,)).fetchone()
    return msgspec.msgpack.decode(row[0], type=_Made) if row else {}


def _made(scenario: Scenario) -> _Made:
    return {
        f"{event_type.name}.{one.name}": (one.definition, one.table_digest)
        for event_type in scenario.event_types
        for one in event_type.derived
    }

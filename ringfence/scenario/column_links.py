# SPDX-License-Identifier: Apache-2.0
"""Links of many events at once: role columns -> entity digests in compressed rows, and the directory of names."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.door import MOST_ENTITIES
from ringfence.scenario.factor import factorise
from ringfence.scenario.identity import LONGEST_ID, IdentityKey, id_texts
from ringfence.scenario.rejects import Rejects
from ringfence.scenario.spec import EventType, Role, Scenario

_DIRECTORY: Final = {"hi": pl.UInt64(), "lo": pl.UInt64(), "entity_type": pl.String(), "entity_id": pl.String()}


class Links(NamedTuple):
    """Event i owns links `start[i]:start[i + 1]`, ordered by role, then as given; none twice within a role."""

    start: NDArray[np.int64]
    role: NDArray[np.uint8]
    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    directory: pl.DataFrame

    def only(self, good: NDArray[np.bool_]) -> Links:
        """The links of the events where `good`, and the directory of the entities they name."""
        counts = np.diff(self.start)
        kept = np.repeat(good, counts)
        start = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts[good])))
        named = pl.DataFrame({"hi": self.hi[kept], "lo": self.lo[kept]}).unique()
        directory = self.directory.join(named, on=["hi", "lo"], how="semi")
        return Links(start, self.role[kept], self.hi[kept], self.lo[kept], directory)


class _RoleLinks(NamedTuple):
    event: NDArray[np.int64]  # (m,) ascending
    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    directory: pl.DataFrame


def read_links(
    scenario: Scenario, event_type: EventType, frame: pl.DataFrame, identity: IdentityKey, rejects: Rejects
) -> Links:
    """Read every role column of an event type; a column that the frame lacks names nobody."""
    columns = {column.role: column for column in event_type.roles}
    roles = [role for role in scenario.roles if role.name in columns and columns[role.name].column in frame.columns]
    parts = []
    for role in roles:
        column, separator = frame[columns[role.name].column], columns[role.name].separator
        if separator is not None and column.dtype == pl.String:
            column = column.str.split(separator).list.eval(pl.element().str.strip_chars())
        parts.append((role, _read_role(role, column, identity, rejects)))
    n_links = sum(part.event.shape[0] for _, part in parts)
    per_role = [np.bincount(part.event, minlength=frame.height) for _, part in parts]
    counts = sum(per_role, np.zeros(frame.height, np.int64))
    start = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
    links = Links(
        start,
        np.empty(n_links, np.uint8),
        np.empty(n_links, np.uint64),
        np.empty(n_links, np.uint64),
        _directory([part.directory for _, part in parts]),
    )
    # Place role after role: within an event, a role's links follow those of the roles before it.
    free = start[:-1].copy()
    for (role, part), n_of in zip(parts, per_role, strict=True):
        first = np.cumsum(n_of) - n_of
        at = free[part.event] + np.arange(part.event.shape[0]) - first[part.event]
        links.role[at], links.hi[at], links.lo[at] = role.index, part.hi, part.lo
        free += n_of
    return links


def _read_role(role: Role, column: pl.Series, identity: IdentityKey, rejects: Rejects) -> _RoleLinks:
    is_list = isinstance(column.dtype, pl.List | pl.Array)
    if is_list:
        lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
        n_of = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        if role.many:
            rejects.add(column.name, n_of > MOST_ENTITIES, f"a role holds at most {MOST_ENTITIES:,} entities")
        ids = lists.filter(pl.Series(n_of > 0)).explode()
        event = np.repeat(np.arange(len(column)), n_of)
    else:
        ids, event = column, np.arange(len(column))
    factor = factorise(ids)
    texts, bad_unique = id_texts(factor.uniques)
    named = texts.is_not_null().to_numpy()
    bad = np.append(bad_unique, False)[factor.codes]
    if bad.any():
        where = np.zeros(len(column), np.bool_)
        where[event[bad]] = True
        rejects.add(column.name, where, f"an id is a text of 1 to {LONGEST_ID} characters or a whole number")
    known = texts.fill_null("").to_list()
    hi, lo = identity.entities_of(role.entity_type, known)
    given = np.append(named & ~bad_unique, False)[factor.codes]
    event, codes = event[given], factor.codes[given]
    if is_list:
        # Nobody is linked twice in one role. Codes tell apart less than ids do (0.0 and -0.0), so compare digests.
        once = _first_of_each(event, hi[codes], lo[codes])
        event, codes = event[once], codes[once]
        if not role.many:
            crowded = np.bincount(event, minlength=len(column)) > 1
            rejects.add(column.name, crowded, "this role holds one entity")
    wanted = pl.Series(named & ~bad_unique)
    directory = pl.DataFrame(
        {"hi": hi, "lo": lo, "entity_type": [role.entity_type] * len(known), "entity_id": texts}, schema=_DIRECTORY
    ).filter(wanted)
    return _RoleLinks(event, hi[codes], lo[codes], directory)


def _first_of_each(event: NDArray[np.int64], hi: NDArray[np.uint64], lo: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not event.shape[0]:
        return np.zeros(0, np.bool_)
    frame = pl.DataFrame({"event": event, "hi": hi, "lo": lo})
    return frame.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()


def _directory(parts: list[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema=_DIRECTORY)
    return pl.concat(parts).unique(["hi", "lo"], keep="first", maintain_order=True)

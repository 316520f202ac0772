# SPDX-License-Identifier: Apache-2.0
"""Erase one entity: its original id, and the personal values of all events that name it. No record is touched.

    found, nothing done  ->  act on record  ->  name out, and kept out  ->  values out  ->  bytes off the disk
                             (who, when, why)   (one transaction)          (a few at a time)

Killed anywhere, the next call finds what is left and goes on: the mark that keeps the name out says whether the bytes
are off the disk. Records name entities by keyed digests, so chain, features, replay and state are as they were. It
works beside a running service: only `erasable.db` is written, in transactions of a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ringfence.ledger.erasable import Erasable
from ringfence.ledger.errors import LedgerLockedError, UnknownEntityError
from ringfence.ledger.held import HeldEntity, HeldEvent, held_on
from ringfence.ledger.lock import writer_lock
from ringfence.ledger.quoted import is_quoted
from ringfence.ledger.recovery import is_unfinished, recover
from ringfence.ledger.schema import connect
from ringfence.ledger.spool import require_no_spool
from ringfence.scenario.batch import EVENT
from ringfence.scenario.personal import personal_roles

if TYPE_CHECKING:
    from pathlib import Path

    from ringfence.ledger.ledger import Ledger


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, and what could not be."""

    entity_type: str
    digest: str  # hex; what the entity is called from now on begins with it
    n_events: int  # that name it
    n_names: int  # taken out of the directory: its own, and those made of its personal values alone
    n_personal: int  # personal values deleted
    n_quoting: int  # events whose id or other attributes quote its id: they are chained and stay
    quoting: tuple[str, ...]  # which attributes, or `event_id`
    was_erased_at_ms: int | None  # when it was erased before; None: it was not
    was_due: bool  # False: it was erased before, and nothing has come since


class _Found(msgspec.Struct, kw_only=True):
    digest: bytes
    has_name: bool
    seqs: list[int]
    n_personal: int
    n_quoting: int
    quoting: set[str]


def erase_entity(
    ledger: Ledger, entity_type: str, entity_id: str | int, *, at_ms: int, record: Callable[[str], None]
) -> Erasure:
    """Erase what the ledger holds in the clear on one entity; returns once its bytes are off the disk.

    Reads the whole ledger once. Events that come in meanwhile count as later ones. Where there is nothing left to
    erase, nothing is done and nothing put on record.

    Parameters
    ----------
    record : puts the act on record, given the entity's digest in hex, before anything is done.

    Raises
    ------
    UnknownEntityError
        If nothing names it.
    SpoolHoldsNamesError
        If records wait for a ledger that cannot be written.
    LedgerLockedError
        If an import is under way, whose files hold what is to be erased.
    NotScrubbedError
        If the bytes could not be taken off the disk; another call goes on there.
    """
    require_no_spool(ledger.directory)
    finish_import(ledger.directory)
    found = _find(ledger, entity_type, entity_id)
    with closing(Erasable(ledger.directory)) as erasable:
        before = erasable.erased(found.digest)
        if not found.seqs and not found.has_name and before is None:
            raise UnknownEntityError(ledger.scenario.name, entity_type)
        made_of_it = _made_of(ledger, found)
        is_interrupted = before is not None and not before.is_scrubbed
        is_due = before is None or found.has_name or found.n_personal > 0 or bool(made_of_it)
        if is_due and not is_interrupted:
            record(found.digest.hex())
        n_names = n_personal = 0
        if is_due:
            n_names = erasable.erase([found.digest, *made_of_it], at_ms=at_ms)
            n_personal = erasable.drop_personal(found.seqs)
        if is_due or is_interrupted:
            erasable.scrub(lambda: is_written(ledger.directory))
    return Erasure(
        entity_type=entity_type,
        digest=found.digest.hex(),
        n_events=len(found.seqs),
        n_names=n_names,
        n_personal=n_personal,
        n_quoting=found.n_quoting,
        quoting=tuple(sorted(found.quoting)),
        was_erased_at_ms=None if before is None else before.at_ms,
        was_due=is_due or is_interrupted,
    )


def finish_import(directory: Path) -> None:
    """Bring what an interrupted import left behind to where it can be erased.

    Raises
    ------
    LedgerLockedError
        If an import is under way.
    """
    if not is_unfinished(directory):
        return
    with writer_lock(directory), closing(connect(directory)) as connection:
        recover(directory, connection)


def is_written(directory: Path) -> bool:
    """Whether somebody holds the writer lock, as a service does while it runs."""
    try:
        with writer_lock(directory):
            return False
    except LedgerLockedError:
        return True


def _find(ledger: Ledger, entity_type: str, entity_id: str | int) -> _Found:
    found = _Found(digest=b"", has_name=False, seqs=[], n_personal=0, n_quoting=0, quoting=set())
    for held in held_on(ledger, entity_type, entity_id):
        if isinstance(held, HeldEntity):
            found.digest, found.has_name = bytes.fromhex(held.digest), held.in_directory
        elif isinstance(held, HeldEvent):
            found.seqs.append(held.seq)
            found.n_personal += len(held.personal)
            texts = {name: text for name, text in held.attributes.items() if isinstance(text, str)}
            texts["event_id"] = held.event_id
            quoting = {name for name, text in texts.items() if is_quoted(str(entity_id), text)}
            found.quoting |= quoting
            found.n_quoting += bool(quoting)
    return found


def _made_of(ledger: Ledger, found: _Found) -> list[bytes]:
    """Digests of entities with a name that were derived from personal values of these events, and that no other names.

    Such a name is as personal as the value it was made of. One that other events share, as a mail domain, tells of
    nobody, and stays.
    """
    scenario = ledger.scenario
    personal = {event_type.index: personal_roles(scenario, event_type) for event_type in scenario.event_types}
    if not any(personal.values()):
        return []
    digests: set[tuple[int, int]] = set()
    for seq in found.seqs:
        event_type, _, links = ledger.event_links(seq)
        digests |= {(link.hi, link.lo) for link in links if scenario.roles[link.role].name in personal[event_type]}
    if not digests:
        return []
    own, halves = np.array(found.seqs, np.int64), np.array([lo for _, lo in digests], np.uint64)
    for batch in ledger.batches():
        other = (batch.kind == EVENT) & ~np.isin(batch.seq, own)
        event = np.repeat(np.arange(len(batch.seq)), np.diff(batch.link_start))
        shared = other[event] & np.isin(batch.link_lo, halves)
        digests -= set(zip(batch.link_hi[shared].tolist(), batch.link_lo[shared].tolist(), strict=True))
    keys = [hi.to_bytes(8, "big") + lo.to_bytes(8, "big") for hi, lo in sorted(digests)]
    return sorted(ledger.entity_names(keys))

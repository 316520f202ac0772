# SPDX-License-Identifier: Apache-2.0
"""Validated events and labels, one at a time: what the door lets through and the ledger keeps."""

from __future__ import annotations

import msgspec

AttributeValue = float | bool | str | None


class Link(msgspec.Struct, frozen=True, array_like=True):
    """An event names an entity in a role. The digest is keyed (`scenario.identity`); the id itself is erasable."""

    role: int  # Role.index
    lo: int  # unsigned 64 bit
    hi: int  # unsigned 64 bit


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event that passed the door. Holds nothing personal and no original entity id."""

    event_type: str
    event_id: str
    event_time_ms: int
    amount_minor: int | None
    links: tuple[Link, ...]  # ordered by role index, then as given; no duplicates within a role
    attributes: dict[str, AttributeValue]  # by attribute name; without the personal ones
    payload_digest: bytes  # 16 bytes; equal payloads have equal digests whatever the key order of the JSON


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """An event with what must stay erasable beside it."""

    event: Event
    entity_ids: dict[bytes, tuple[str, str]]  # 16-byte digest (hi then lo, big endian) -> (entity type, original id)
    personal: dict[str, AttributeValue]
    values: tuple[float, ...]  # one row of Batch.values
    offset_ms: int
    underived: tuple[str, ...] = ()  # derived values that what is given did not yield


class LabelNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Someone tells us the truth about an event."""

    event_type: str
    event_id: str
    value: int  # batch.FRAUD or batch.LEGIT
    source: str
    known_at_ms: int | None  # None: the moment it is recorded

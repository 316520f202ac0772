# SPDX-License-Identifier: Apache-2.0
"""The typed, frozen form of `derive:`: which values and roles the door computes, how, and from what."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Final

import msgspec

_OF_THE_TABLE: Final = ("bad_rows", "overlaps")  # they change what a file says, as mending it would
COLUMN: Final = "derive."  # before the name: where the doors put a derived value beside the source's columns


class Origin(StrEnum):
    """Where a derived value finds what it is made of."""

    ATTRIBUTE = "attribute"
    ROLE = "role"
    DERIVED = "derived"  # an earlier entry of the same `derive:`
    COLUMN = "column"  # a column that nothing else declares: read, and kept nowhere
    FIXED = "fixed"  # a number in the scenario file


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a derived value is made of."""

    name: str
    origin: Origin
    number: float | None = None  # of what is fixed


class IpPrefix(msgspec.Struct, frozen=True, kw_only=True, tag="ip_prefix"):
    """The network that an address lies in, such as 203.0.113.0/24."""

    bits: int  # of an IPv4 address, 1 to 32
    bits_v6: int  # of an IPv6 address, 1 to 128


class EmailDomain(msgspec.Struct, frozen=True, kw_only=True, tag="email_domain"):
    """What stands behind the last @, in small letters."""


class Entropy(msgspec.Struct, frozen=True, kw_only=True, tag="entropy"):
    """Shannon entropy of a text's characters, in bits per character."""


class Distance(msgspec.Struct, frozen=True, kw_only=True, tag="distance"):
    """Great-circle distance in km; inputs are latitude, longitude, latitude, longitude in degrees."""


class BadRows(StrEnum):
    """What to do with rows of a lookup file that cannot be followed."""

    REFUSE = "refuse"
    SKIP = "skip"  # as if they were not there


class Overlaps(StrEnum):
    """What to do where ranges of a lookup file overlap."""

    REFUSE = "refuse"
    NARROWEST = "narrowest"  # of those that hold, the one of the fewest numbers counts


class Lookup(msgspec.Struct, frozen=True, kw_only=True, tag="lookup"):
    """The value that a table gives for a key, or for the range that a number or an IP address lies in.

    Either `key` or both `low` and `high` are set. With `valid_from` or `valid_to` a row counts for events of that time.
    """

    file: str  # CSV or Parquet, relative to the workspace
    value: str  # column
    key: str | None = None  # column
    low: str | None = None  # column, inclusive
    high: str | None = None  # column, inclusive
    valid_from: str | None = None  # column, inclusive; open where null
    valid_to: str | None = None  # column, exclusive; open where null
    bad_rows: BadRows = BadRows.REFUSE
    overlaps: Overlaps = Overlaps.REFUSE
    digest: str = ""  # hex blake2b-16 of the file; empty where there is no such file


How = IpPrefix | EmailDomain | Entropy | Distance | Lookup


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """A value or a role that is computed at the door: a pure function of the event and the lookup tables."""

    name: str
    how: How
    inputs: tuple[Input, ...]
    is_role: bool = False
    is_number: bool = False  # else a category, or the id of a role

    @property
    def column(self) -> str:
        return f"{COLUMN}{self.name}"

    @property
    def definition(self) -> str:
        """16 hex digits that change with what is computed; a table's content and place are not in them."""
        how = msgspec.structs.replace(self.how, file="", digest="") if isinstance(self.how, Lookup) else self.how
        told = msgspec.to_builtins(msgspec.structs.replace(self, how=how))
        for name in _OF_THE_TABLE:
            told["how"].pop(name, None)
        return blake2b(msgspec.json.encode(told), digest_size=8).hexdigest()

    @property
    def table_digest(self) -> str:
        """Of what the lookup file says: its content, and how its faults are read; empty where the value needs none."""
        if not isinstance(self.how, Lookup):
            return ""
        settings = (self.how.bad_rows, self.how.overlaps)
        read = "".join(f" {setting.value}" for setting in settings) if set(settings) != {"refuse"} else ""
        return self.how.digest + read

    @property
    def sentence(self) -> str:
        """How it is made, such as `ip_prefix of ip`."""
        made_of = ", ".join(f"{given.number:g}" if given.number is not None else given.name for given in self.inputs)
        told = str(type(self.how).__struct_config__.tag)
        return f"{told} of {made_of}" + (f" in {self.how.file}" if isinstance(self.how, Lookup) else "")

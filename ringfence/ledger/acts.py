# SPDX-License-Identifier: Apache-2.0
"""Administrative acts that concern a workspace rather than one scenario's records: one JSON object a line, chained.

    {"n":1,"at":"2026-11-23T02:30:00.000Z","by":"ops","act":"key created","about":"desk",
     "stands":["desk:decide:2c26…"],"chain":"5f0a…"}

A ledger cannot hold them: it has one appender, which is the service while it runs, and a key must be revocable then.
The chain is made as that of the ledger's records: each value vouches for its line and all before it. Lines cut off at
the end leave an intact, shorter chain: compare it with a value noted elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from ringfence.ledger.chain import CHAIN_BYTES, GENESIS
from ringfence.ledger.errors import ActLogDamagedError
from ringfence.ledger.lock import one_at_a_time

_CHAIN_MARK: Final = b',"chain":"'


class Act(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody did."""

    n: int  # 1, 2, …
    at: str  # ISO 8601, UTC, to the millisecond
    by: str  # the user of the operating system
    act: str  # such as "key rotated"
    about: str  # such as the key's name
    stands: tuple[str, ...]  # what there is of it after the act; empty where nothing is left
    note: str = ""  # why, in the words of who did it


class ActReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit of the acts found. `chain` vouches for all of them."""

    n_acts: int
    chain: str  # hex
    found: str | None  # what is wrong; None: nothing

    @property
    def holds(self) -> bool:
        return self.found is None

    @property
    def text(self) -> str:
        """The result as a sentence."""
        acts = "1 administrative act" if self.n_acts == 1 else f"{self.n_acts:,} administrative acts"
        return f"acts broken: {self.found}" if self.found is not None else f"{acts} on record; chain {self.chain}"


def add_act(path: Path, act: str, about: str, stands: Sequence[str], *, at_ms: int, by: str, note: str = "") -> Act:
    """Put an act on record, durably, before it is done. The file is replaced as a whole: no line is ever half there.

    Raises
    ------
    ActLogDamagedError
        If what is there cannot be read, or its chain does not hold.
    """
    with one_at_a_time(path):
        text = path.read_bytes() if path.exists() else b""
        acts = list(_chained(path, text))
        chain = acts[-1][1] if acts else GENESIS
        at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        done = Act(n=len(acts) + 1, at=at, by=by, act=act, about=about, stands=tuple(stands), note=note)
        body = msgspec.json.encode(done)[:-1]
        line = body + _CHAIN_MARK + _link(chain, body).hex().encode() + b'"}\n'
        fresh = path.with_name(path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text + line)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    return done


def read_acts(path: Path) -> list[Act]:
    """Return the acts on record, oldest first.

    Raises
    ------
    ActLogDamagedError
        If one cannot be read, or the chain does not hold.
    """
    return [act for act, _ in _chained(path, path.read_bytes() if path.exists() else b"")]


def audit_acts(path: Path, standing: Mapping[str, Sequence[str]]) -> ActReport:
    """Walk the chain, and hold what stands now against what the acts left standing.

    Parameters
    ----------
    standing : by what acts are about, what there is of it now, in the order of its making.
    """
    n, chain = 0, GENESIS
    left: dict[str, tuple[str, ...]] = {}

    def report(found: str | None) -> ActReport:
        return ActReport(n_acts=n, chain=chain.hex(), found=found)

    try:
        for act, value in _chained(path, path.read_bytes() if path.exists() else b""):
            n, chain = n + 1, value
            left[act.about] = act.stands
    except ActLogDamagedError as error:
        return report(error.found)
    for about in sorted({*left, *standing}):
        there, expected = tuple(standing.get(about, ())), left.get(about)
        if expected is None:
            return report(f"{about!r} is there, and no act on record made it")
        if there != expected:
            return report(f"{about!r} is not as the last act on it left it")
    return report(None)


def _chained(path: Path, text: bytes) -> Iterator[tuple[Act, bytes]]:
    """Yield each act with its chain value; raise where a line does not follow from those before."""
    chain = GENESIS
    for number, line in enumerate(text.splitlines(), start=1):
        body, _, tail = line.rpartition(_CHAIN_MARK)
        chain = _link(chain, body)
        if tail != chain.hex().encode() + b'"}':
            raise ActLogDamagedError(path, f"line {number} of {path.name}, or one before it, was changed or removed")
        try:
            act = msgspec.json.decode(body + b"}", type=Act)
        except msgspec.DecodeError as error:
            raise ActLogDamagedError(path, f"line {number} of {path.name} is no act ({error})") from error
        if act.n != number:
            raise ActLogDamagedError(path, f"line {number} of {path.name} says that it is act {act.n}")
        yield act, chain


def _link(previous: bytes, body: bytes) -> bytes:
    return blake2b(previous + body, digest_size=CHAIN_BYTES).digest()

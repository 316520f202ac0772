# SPDX-License-Identifier: Apache-2.0
"""Which release is live, and which was: read from the ledger's release records, changed by appending one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from ringfence.ledger.records import Kind, Record, ReleaseBody
from ringfence.rollout.errors import (
    AlreadyChampionError,
    AlreadyShadowError,
    ChampionIsNoShadowError,
    NoShadowError,
    NothingToRollBackError,
    UnknownReleaseError,
)

REGISTERED = "registered"
PROMOTED = "promoted"
ROLLED_BACK = "rolled_back"
SHADOWED = "shadowed"
UNSHADOWED = "unshadowed"
_NAME = re.compile(r"r-[0-9a-f]{4,64}", re.ASCII)
_CHANGES = (PROMOTED, ROLLED_BACK)  # of champion


class ReleaseLog(Protocol):
    """The part of a ledger the registry reads."""

    def releases(self) -> list[Record]: ...


class ReleaseWriter(Protocol):
    """The part of a ledger writer the registry appends through. Committing is the caller's."""

    def stage(self, kind: Kind, body: ReleaseBody) -> object: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A registered release and the part it plays."""

    release: str
    digest: str
    note: str  # of the last registration, promotion or rollback that gave one; a shadow's is told with it
    by: str  # who promoted it last, or rolled back to it; empty where no person did
    registered_seq: int
    registered_at_ms: int
    is_champion: bool
    was_champion: bool
    is_shadow: bool


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """The release that scores along after the answer, and acts never."""

    release: str
    since_seq: int  # of the record that says so: it scores events after that
    since_ms: int
    note: str
    by: str


class Registry:
    """The releases of one ledger as they stand after its last release record."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._acts = [(record, record.body) for record in records if isinstance(record.body, ReleaseBody)]
        self._acts.sort(key=lambda act: act[0].seq)

    @classmethod
    def read(cls, log: ReleaseLog) -> Registry:
        return cls(log.releases())

    def at(self, time_ms: int) -> Registry:
        """Return the registry as it stood at a time of the clock that recorded it, inclusive."""
        return Registry(record for record, _ in self._acts if record.recorded_at_ms <= time_ms)

    def live_since_ms(self) -> int | None:
        """When the release that is live became so; None where there is none."""
        changes = [record.recorded_at_ms for record, body in self._acts if body.act in _CHANGES]
        return changes[-1] if changes else None

    def entries(self) -> list[Entry]:
        """List every registered release, oldest first."""
        champion, shadow = self.champion(), self.shadow()
        lives = {body.release for _, body in self._acts if body.act in _CHANGES}
        notes = {body.release: body.note for _, body in self._acts if body.note and body.act in (REGISTERED, *_CHANGES)}
        by = {body.release: body.by for _, body in self._acts if body.act in _CHANGES}
        first: dict[str, Entry] = {}
        for record, body in self._acts:
            if body.release not in first:
                first[body.release] = Entry(
                    release=body.release,
                    digest=body.digest,
                    note=notes.get(body.release, ""),
                    by=by.get(body.release, ""),
                    registered_seq=record.seq,
                    registered_at_ms=record.recorded_at_ms,
                    is_champion=body.release == champion,
                    was_champion=body.release in lives,
                    is_shadow=shadow is not None and body.release == shadow.release,
                )
        return list(first.values())

    def latest(self) -> str | None:
        """Name the release registered last; None where there is none."""
        entries = self.entries()
        return entries[-1].release if entries else None

    def champion(self) -> str | None:
        """Name the release that is live now; None where there is none."""
        history = self.champions()
        return history[-1][1] if history else None

    def named(self, wanted: str, releases_dir: Path | None = None) -> str:
        """Name the release that is meant by an id, `latest` (of those registered) or `champion`.

        An id may be one that is not registered and lies in `releases_dir`: copied there, or trained beside a service.

        Raises
        ------
        UnknownReleaseError
            If there is none such.
        """
        name = {"latest": self.latest, "champion": self.champion}.get(wanted, lambda: wanted)()
        if name is not None and (self.is_registered(name) or _is_made(name, releases_dir)):
            return name
        raise UnknownReleaseError(wanted, [entry.release for entry in self.entries()])

    def champion_at(self, seq: int) -> str | None:
        """Name the release that was live for a record at `seq`: the last one made champion at a smaller seq."""
        live = [release for since, release in self.champions() if since < seq]
        return live[-1] if live else None

    def champions(self) -> list[tuple[int, str]]:
        """List (seq, release) of every change of champion, oldest first."""
        return [(record.seq, body.release) for record, body in self._acts if body.act in _CHANGES]

    def shadow(self) -> Shadow | None:
        """Return the shadow: the last release that was made one, until that is taken back or it is the champion."""
        shadow: Shadow | None = None
        champion: str | None = None
        for record, body in self._acts:
            champion = body.release if body.act in _CHANGES else champion
            if body.act == SHADOWED:
                shadow = Shadow(
                    release=body.release,
                    since_seq=record.seq,
                    since_ms=record.recorded_at_ms,
                    note=body.note,
                    by=body.by,
                )
            if body.act == UNSHADOWED or (shadow is not None and shadow.release == champion):
                shadow = None
        return shadow

    def is_registered(self, release: str) -> bool:
        return any(body.release == release for _, body in self._acts)

    def register(self, writer: ReleaseWriter, release: str, *, digest: str, note: str = "") -> bool:
        """Stage a new release's record; False, and nothing staged, where it is registered already."""
        if self.is_registered(release):
            return False
        writer.stage(Kind.RELEASE, ReleaseBody(release=release, act=REGISTERED, digest=digest, note=note))
        return True

    def promote(self, writer: ReleaseWriter, release: str, *, note: str = "", by: str = "") -> None:
        """Stage the record that makes `release` the champion.

        Raises
        ------
        UnknownReleaseError
            If it was never registered.
        AlreadyChampionError
            If it is live already.
        """
        if not self.is_registered(release):
            raise UnknownReleaseError(release, [entry.release for entry in self.entries()])
        self._promote(writer, release, note, by)

    def install(self, writer: ReleaseWriter, release: str, *, digest: str, note: str = "", by: str = "") -> None:
        """Stage the record that makes `release` the champion, and before it, where it has none, its registration.

        Raises
        ------
        AlreadyChampionError
            If it is live already.
        """
        self.register(writer, release, digest=digest)
        self._promote(writer, release, note, by)

    def _promote(self, writer: ReleaseWriter, release: str, note: str, by: str) -> None:
        champion = self.champion()
        if champion == release:
            raise AlreadyChampionError(release)
        writer.stage(Kind.RELEASE, ReleaseBody(release=release, act=PROMOTED, replaces=champion, note=note, by=by))

    def shadow_with(self, writer: ReleaseWriter, release: str, *, digest: str, note: str = "", by: str = "") -> None:
        """Stage the record that makes `release` the shadow, and before it, where it has none, its registration.

        Another shadow is one no longer.

        Raises
        ------
        ChampionIsNoShadowError, AlreadyShadowError
            If it is live, or the shadow already.
        """
        shadow = self.shadow()
        if release == self.champion():
            raise ChampionIsNoShadowError(release)
        if shadow is not None and shadow.release == release:
            raise AlreadyShadowError(release)
        self.register(writer, release, digest=digest)
        replaces = None if shadow is None else shadow.release
        writer.stage(Kind.RELEASE, ReleaseBody(release=release, act=SHADOWED, replaces=replaces, note=note, by=by))

    def unshadow(self, writer: ReleaseWriter, *, note: str = "", by: str = "") -> str:
        """Stage the record that ends the shadow, and name it.

        Raises
        ------
        NoShadowError
            If there is none.
        """
        shadow = self.shadow()
        if shadow is None:
            raise NoShadowError
        writer.stage(Kind.RELEASE, ReleaseBody(release=shadow.release, act=UNSHADOWED, note=note, by=by))
        return shadow.release

    def rollback(self, writer: ReleaseWriter, *, note: str = "", by: str = "") -> str:
        """Stage the record that makes the previous champion the champion again, and name it.

        Rolling back twice goes back two releases, not back and forth: each rollback undoes the newest promotion that is
        not undone yet.

        Raises
        ------
        NothingToRollBackError
            If no champion came before.
        """
        gone, back = self.rolls_back()
        writer.stage(Kind.RELEASE, ReleaseBody(release=back, act=ROLLED_BACK, replaces=gone, note=note, by=by))
        return back

    def rolls_back(self) -> tuple[str, str]:
        """Name the release that a rollback would replace, and the one that it would go back to; errors as there."""
        standing: list[str] = []
        for _, body in self._acts:
            if body.act == PROMOTED:
                standing.append(body.release)
            elif body.act == ROLLED_BACK and len(standing) > 1:
                standing.pop()
        if len(standing) < 2:
            raise NothingToRollBackError(standing[-1] if standing else None)
        return standing[-1], standing[-2]


def _is_made(name: str, releases_dir: Path | None) -> bool:
    return releases_dir is not None and _NAME.fullmatch(name) is not None and (releases_dir / name).is_dir()

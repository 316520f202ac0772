# SPDX-License-Identifier: Apache-2.0
"""API keys: a text file of names, scopes and SHA-256 hashes; the token itself is shown once and kept nowhere.

One key a line, `name:scopes:sha256`, scopes joined by `+`; `#` begins a comment:

    webshop:decide+label:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

`RINGFENCE_KEYS` carries the same entries, separated by white space. A token carries 256 random bits, so a plain SHA-256
of it cannot be searched and needs no salt or stretching.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

import msgspec

from ringfence.serving.errors import KeyFileError, KeyMissingError, ScopeMissingError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_HASH = re.compile(r"[0-9a-f]{64}\Z")


class Scope(StrEnum):
    DECIDE = "decide"  # decisions and events
    LABEL = "label"
    READ = "read"  # stored decisions, entities, metrics
    ADMIN = "admin"  # includes the other three


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    scopes: frozenset[Scope]
    sha256: bytes  # 32 bytes

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


class KeyRing:
    """The keys a service accepts."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def holder(self, authorization: bytes | None, scope: Scope) -> ApiKey:
        """Return the key behind an `Authorization: Bearer TOKEN` header.

        Every stored hash is compared, each in constant time, so that timing tells neither which key nor how much.

        Raises
        ------
        KeyMissingError
            If the header is absent, malformed or names no key (401).
        ScopeMissingError
            If the key exists but was not given `scope` (403).
        """
        if authorization is None or authorization[:7].lower() != b"bearer ":
            raise KeyMissingError
        digest = hashlib.sha256(authorization[7:].strip()).digest()
        found: ApiKey | None = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            raise KeyMissingError
        if not found.allows(scope):
            raise ScopeMissingError(found.name, str(scope))
        return found


def load_keys(path: Path | None, environment: str | None = None) -> KeyRing:
    """Read the keys of a file, where there is one, and of the text of `RINGFENCE_KEYS`.

    Raises
    ------
    KeyFileError
        If an entry is malformed, a name is there twice, others may read the file, or there is no key at all.
    """
    where = str(path or "RINGFENCE_KEYS")
    keys = list(list_keys(path)) if path is not None else []
    for position, text in enumerate((environment or "").split(), start=1):
        keys.append(_parsed(text, f"RINGFENCE_KEYS, entry {position}"))
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise KeyFileError(where, f"two keys named {name!r}", "remove one of them")
    if not keys:
        raise KeyFileError(
            where,
            "no API key",
            "create one with `ringfence keys create NAME --scopes decide+label`; the service does not run without",
        )
    return KeyRing(tuple(keys))


def create_key(path: Path, name: str, scopes: Collection[Scope | str]) -> str:
    """Add a new key's hash to `path` (mode 0600, replaced as a whole) and return its token: `rf_` and 43 characters.

    Raises
    ------
    KeyFileError
        If the name is malformed or taken, a scope is unknown or none is given, or the file cannot be understood.
    """
    lines = _lines(path)
    if any(key.name == name for key in list_keys(path)):
        raise KeyFileError(str(path), f"a key named {name!r} already", "choose another name or remove that entry")
    token = "rf_" + secrets.token_urlsafe(32)
    line = f"{name}:{'+'.join(sorted({str(scope) for scope in scopes}))}:{hashlib.sha256(token.encode()).hexdigest()}"
    _parsed(line, str(path))
    _write(path, [*lines, line])
    return token


def list_keys(path: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file in the order of their making; none when there is no file."""
    lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(_lines(path), start=1))
    return tuple(_parsed(line, f"{path}, line {number}") for number, line in lines if line)


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from its file; a running service refuses it after a restart.

    Raises
    ------
    KeyFileError
        If the file has no key of that name.
    """
    lines = _lines(path)
    kept = [line for line in lines if line.partition(":")[0].strip() != name]
    if len(kept) == len(lines):
        known = ", ".join(key.name for key in list_keys(path)) or "none"
        raise KeyFileError(str(path), f"no key named {name!r}", f"name one of its keys: {known}")
    _write(path, kept)


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    if path.stat().st_mode & 0o007:
        raise KeyFileError(str(path), "a file that everyone can read or write", f"run: chmod 600 {path}")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise KeyFileError(str(path), "a file that is not UTF-8", "restore it, or create the keys anew") from error


def _parsed(line: str, where: str) -> ApiKey:
    name, _, rest = line.partition(":")
    text, _, digest = rest.partition(":")
    scopes = [scope for scope in text.split("+") if scope]
    if _NAME.match(name) is None:
        do = "use letters, digits, dot, dash and underscore, at most 64, not beginning with a sign"
        raise KeyFileError(where, f"the key name {name!r}", do)
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        found = f"the unknown scope {unknown[0]!r}" if unknown else f"no scope for {name!r}"
        raise KeyFileError(where, found, f"give one or more of {', '.join(Scope)}, joined by +")
    if _HASH.match(digest) is None:
        raise KeyFileError(where, f"no SHA-256 in hex for {name!r}", "create the key with `ringfence keys create`")
    return ApiKey(name=name, scopes=frozenset(Scope(scope) for scope in scopes), sha256=bytes.fromhex(digest))

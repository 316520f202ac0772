# SPDX-License-Identifier: Apache-2.0
"""API keys: a JSON file of names, scopes and SHA-256 hashes; the token itself is shown once and kept nowhere.

    {"keys": [{"name": "webshop", "scopes": ["decide", "label"], "sha256": "9f86d081..."}]}

The environment carries the same as `name:decide+label:sha256`, entries separated by white space. A token carries 256
random bits, so a plain SHA-256 of it cannot be searched and needs no salt or stretching.
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


class _StoredKey(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    scopes: list[str]
    sha256: str


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[_StoredKey]


def load_keys(path: Path | None, environment: str | None = None) -> KeyRing:
    """Read the keys of a file, where there is one, and of the text of `RINGFENCE_KEYS`.

    Raises
    ------
    KeyFileError
        If an entry is malformed, a name is there twice, others may read the file, or there is no key at all.
    """
    where = str(path or "RINGFENCE_KEYS")
    stored = _read(path) if path is not None else []
    keys = [_checked(key, where) for key in stored]
    for position, text in enumerate((environment or "").split(), start=1):
        name, _, rest = text.partition(":")
        scopes, _, digest = rest.partition(":")
        key = _StoredKey(name=name, scopes=scopes.split("+"), sha256=digest)
        keys.append(_checked(key, f"RINGFENCE_KEYS, entry {position}"))
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
    stored = _read(path)
    if any(key.name == name for key in stored):
        raise KeyFileError(str(path), f"a key named {name!r} already", "choose another name or remove that entry")
    token = "rf_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    new = _StoredKey(name=name, scopes=sorted({str(scope) for scope in scopes}), sha256=digest)
    _checked(new, str(path))
    _write(path, [*stored, new])
    return token


def list_keys(path: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file in the order of their making; none when there is no file."""
    return tuple(_checked(key, str(path)) for key in _read(path))


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from its file; a running service refuses it after a restart.

    Raises
    ------
    KeyFileError
        If the file has no key of that name.
    """
    stored = _read(path)
    kept = [key for key in stored if key.name != name]
    if len(kept) == len(stored):
        known = ", ".join(key.name for key in stored) or "none"
        raise KeyFileError(str(path), f"no key named {name!r}", f"name one of its keys: {known}")
    _write(path, kept)


def _write(path: Path, keys: list[_StoredKey]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(_KeyFile(keys=keys)), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _read(path: Path) -> list[_StoredKey]:
    if not path.exists():
        return []
    if path.stat().st_mode & 0o007:
        raise KeyFileError(str(path), "a file that everyone can read or write", f"run: chmod 600 {path}")
    try:
        return msgspec.json.decode(path.read_bytes(), type=_KeyFile).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(str(path), str(error), "restore the file, or remove it and create the keys anew") from error


def _checked(key: _StoredKey, where: str) -> ApiKey:
    if _NAME.match(key.name) is None:
        do = "use letters, digits, dot, dash and underscore, at most 64, not beginning with a sign"
        raise KeyFileError(where, f"the key name {key.name!r}", do)
    unknown = sorted(set(key.scopes) - set(Scope))
    if unknown or not key.scopes:
        found = f"the unknown scope {unknown[0]!r}" if unknown else f"no scope for {key.name!r}"
        raise KeyFileError(where, found, f"give one or more of {', '.join(Scope)}")
    if _HASH.match(key.sha256) is None:
        raise KeyFileError(where, f"no SHA-256 in hex for {key.name!r}", "create the key with `ringfence keys create`")
    scopes = frozenset(Scope(scope) for scope in key.scopes)
    return ApiKey(name=key.name, scopes=scopes, sha256=bytes.fromhex(key.sha256))

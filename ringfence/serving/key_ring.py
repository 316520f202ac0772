# SPDX-License-Identifier: Apache-2.0
"""Who may do what: keys, their scopes, until when they hold, how often they may be used, and who holds a token."""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum

import msgspec

from ringfence.serving.errors import KeyExpiredError, KeyMissingError, ScopeMissingError
from ringfence.serving.rates import Rate


class Scope(StrEnum):
    DECIDE = "decide"  # decisions and events
    LABEL = "label"
    READ = "read"  # stored decisions, entities, metrics
    ADMIN = "admin"  # includes the other three


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the key file. After a rotation a name has two: the new one, and the old one with its end."""

    name: str
    scopes: frozenset[Scope]
    sha256: bytes  # 32 bytes
    until_ms: int | None = None  # exclusive; None: until it is revoked
    rate: Rate | None = None  # None: the service's own, if it has one

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def stands_at(self, now_ms: int) -> bool:
        return self.until_ms is None or now_ms < self.until_ms


class KeyRing:
    """The keys a service accepts."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(key.name for key in self._keys)

    def holder(self, authorization: bytes | None, scope: Scope, *, now_ms: int) -> ApiKey:
        """Return the key behind an `Authorization: Bearer TOKEN` header.

        Every stored hash is compared, each in constant time, so that timing tells neither which key nor how much.

        Raises
        ------
        KeyMissingError
            If the header is absent, malformed or names no key (401).
        KeyExpiredError
            If the key was valid until a moment that has come (401).
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
        if not found.stands_at(now_ms):
            raise KeyExpiredError(found.name)
        if not found.allows(scope):
            raise ScopeMissingError(found.name, str(scope))
        return found

# SPDX-License-Identifier: Apache-2.0
"""API keys in a text file: names, scopes and SHA-256 hashes; the token itself is shown once and kept nowhere.

One key a line, `name:scopes:sha256`, scopes joined by `+`, then what else there is to say about it; `#` begins a
comment:

    webshop:decide+label:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08:rate=50,burst=100
    console:read:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae:until=2026-12-01T00:00:00Z

`RINGFENCE_KEYS` carries the same entries, separated by white space. A token carries 256 random bits, so a plain SHA-256
of it cannot be searched and needs no salt or stretching: both slow down guessing at secrets that people choose. That a
key was used is counted in the metrics, and written nowhere on the way of a request.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from ringfence.ledger.lock import one_at_a_time
from ringfence.serving.errors import KeyFileError
from ringfence.serving.file_stamp import stamp
from ringfence.serving.key_ring import ApiKey, KeyRing, Scope
from ringfence.serving.rates import Rate

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_HASH = re.compile(r"[0-9a-f]{64}\Z")

# Told of an act, the key's name and the entries that the name has after it, before the file is replaced.
Recorder = Callable[[str, str, list[str]], None]


def load_keys(path: Path | None, environment: str | None = None) -> KeyRing:
    """Read the keys of a file, where there is one, and of the text of `RINGFENCE_KEYS`.

    Raises
    ------
    KeyFileError
        If an entry is malformed, a name is there twice, others may read the file, or there is no key at all.
    """
    ring = _read_keys(path, environment)
    if not len(ring):
        raise KeyFileError(
            str(path or "RINGFENCE_KEYS"),
            "no API key",
            "create one with `ringfence keys create NAME --scopes decide+label`; the service does not run without",
        )
    return ring


class KeySource:
    """Where a service's keys come from, for one that runs while they change. Starts with what is there now.

    Raises
    ------
    KeyFileError
        As `load_keys`.
    """

    def __init__(self, path: Path, environment: str | None = None) -> None:
        self._path, self._environment = path, environment
        self._seen = stamp(path)
        self.ring = load_keys(path, environment)

    def look(self) -> bool:
        """Read the file again if it is another than before; True where it was. `ring` is what it says then.

        A file that has no key any more closes the service to everybody: that is what revoking the last one means.

        Raises
        ------
        KeyFileError
            If it cannot be understood: once for each state that it is found in. `ring` stays as it was.
        """
        now = stamp(self._path)
        if now == self._seen:
            return False
        self._seen = now
        self.ring = _read_keys(self._path, self._environment)
        return True


def _read_keys(path: Path | None, environment: str | None) -> KeyRing:
    where = str(path or "RINGFENCE_KEYS")
    keys = list(list_keys(path)) if path is not None else []
    for position, text in enumerate((environment or "").split(), start=1):
        keys.append(parse_key(text, f"RINGFENCE_KEYS, entry {position}"))
    for name in dict.fromkeys(key.name for key in keys):
        if sum(key.name == name and key.until_ms is None for key in keys) > 1:
            raise KeyFileError(where, f"two keys named {name!r}", "remove one of them, or say until when one is valid")
    return KeyRing(tuple(keys))


def create_key(
    path: Path,
    name: str,
    scopes: Collection[Scope | str],
    *,
    until_ms: int | None = None,
    rate: Rate | None = None,
    record: Recorder | None = None,
) -> str:
    """Add a new key's hash to `path` (mode 0600, replaced as a whole) and return its token: `rf_` and 43 characters.

    Parameters
    ----------
    until_ms : from when on it is refused; None: not before it is revoked.
    record : told of the act before the file is replaced; what it raises leaves the file as it was.

    Raises
    ------
    KeyFileError
        If the name is malformed or taken, a scope is unknown or none is given, or the file cannot be understood.
    """
    with one_at_a_time(path):
        lines = _lines(path)
        if any(key.name == name for key in list_keys(path)):
            raise KeyFileError(str(path), f"a key named {name!r} already", "choose another name or remove that entry")
        token, digest = _drawn()
        entry = f"{name}:{'+'.join(sorted({str(scope) for scope in scopes}))}:{digest.hex()}"
        key = parse_key(entry, str(path))
        entry = entry_of(ApiKey(name=key.name, scopes=key.scopes, sha256=digest, until_ms=until_ms, rate=rate))
        _replace(path, [*lines, entry], "key created", name, record)
    return token


def rotate_key(
    path: Path, name: str, *, now_ms: int, old_until_ms: int, record: Recorder | None = None
) -> tuple[str, ApiKey]:
    """Give a key a new token; the old one stays valid until a stated moment. Scopes and rate stay as they are.

    Parameters
    ----------
    old_until_ms : from when on the old token is refused. A token that ends sooner already keeps its end.

    Returns
    -------
    The new token, and the entry of the old one with its end.

    Raises
    ------
    KeyFileError
        If the file has no key of that name, or none of that name that is still valid.
    """
    with one_at_a_time(path):
        keys = list_keys(path)
        _require(path, keys, name)
        standing = [key for key in keys if key.name == name and key.stands_at(now_ms)]
        if not standing:
            raise KeyFileError(
                str(path), f"no token of {name!r} that is valid still", "revoke it, and create one of that name"
            )
        newest = standing[-1]
        token, digest = _drawn()
        ended = [
            ApiKey(
                name=key.name,
                scopes=key.scopes,
                sha256=key.sha256,
                until_ms=old_until_ms if key.until_ms is None else min(key.until_ms, old_until_ms),
                rate=key.rate,
            )
            for key in standing
        ]
        fresh = ApiKey(name=name, scopes=newest.scopes, sha256=digest, rate=newest.rate)
        entries = [entry_of(key) for key in (*ended, fresh)]
        _replace(path, [*_without(path, name), *entries], "key rotated", name, record)
    return token, ended[-1]


def revoke_key(path: Path, name: str, *, only_old: bool = False, record: Recorder | None = None) -> int:
    """Remove a key from its file, with all its tokens, and return how many those were.

    Parameters
    ----------
    only_old : the newest token stays; those that a rotation left valid for a while go now.

    Raises
    ------
    KeyFileError
        If the file has no key of that name.
    """
    with one_at_a_time(path):
        keys = list_keys(path)
        _require(path, keys, name)
        entries = [entry_of(key) for key in keys if key.name == name]
        kept = entries[-1:] if only_old else []
        if len(kept) < len(entries):
            act = "key's old tokens revoked" if only_old else "key revoked"
            _replace(path, [*_without(path, name), *kept], act, name, record)
    return len(entries) - len(kept)


def list_keys(path: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file, those of one name in the order of their making; none when there is no file."""
    lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(_lines(path), start=1))
    return tuple(parse_key(line, f"{path}, line {number}") for number, line in lines if line)


def entries_by_name(path: Path) -> dict[str, list[str]]:
    """Return the entries of each name as `record` is told them."""
    entries: dict[str, list[str]] = {}
    for key in list_keys(path):
        entries.setdefault(key.name, []).append(entry_of(key))
    return entries


def entry_of(key: ApiKey) -> str:
    """Write a key as its line in the file."""
    more = []
    if key.until_ms is not None:
        more.append(f"until={datetime.fromtimestamp(key.until_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}")
    if key.rate is not None:
        more += [f"rate={key.rate.per_s:.12g}", f"burst={key.rate.burst}"]
    entry = f"{key.name}:{'+'.join(sorted(key.scopes))}:{key.sha256.hex()}"
    return f"{entry}:{','.join(more)}" if more else entry


def parse_key(line: str, where: str) -> ApiKey:
    """Read one entry.

    Raises
    ------
    KeyFileError
        If it is malformed.
    """
    name, _, rest = line.partition(":")
    text, _, rest = rest.partition(":")
    digest, _, more = rest.partition(":")
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
    until_ms, rate = _more(more, name, where)
    return ApiKey(
        name=name,
        scopes=frozenset(Scope(scope) for scope in scopes),
        sha256=bytes.fromhex(digest),
        until_ms=until_ms,
        rate=rate,
    )


def _more(text: str, name: str, where: str) -> tuple[int | None, Rate | None]:
    given: dict[str, str] = {}
    for part in text.split(",") if text else []:
        what, _, value = part.partition("=")
        if what not in ("until", "rate", "burst") or what in given:
            raise KeyFileError(
                where, f"{part!r} for {name!r}", "write until=TIME, rate=NUMBER or burst=NUMBER, each once"
            )
        given[what] = value
    try:
        until = datetime.fromisoformat(given["until"]) if "until" in given else None
        if until is not None and until.tzinfo is None:
            raise ValueError("no time zone")
        burst = int(given["burst"]) if "burst" in given else None
        rate = Rate.of(float(given["rate"]), burst) if "rate" in given else None
        if burst is not None and rate is None:
            raise ValueError("a burst without a rate")
    except (ValueError, OverflowError) as error:
        do = "write until=2026-12-01T00:00:00Z, rate=50 or 0.5 a second, burst=100"
        raise KeyFileError(where, f"{text!r} for {name!r} ({error})", do) from None
    return (None if until is None else int(until.timestamp()) * 1000), rate


def _drawn() -> tuple[str, bytes]:
    token = "rf_" + secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).digest()


def _require(path: Path, keys: Collection[ApiKey], name: str) -> None:
    if all(key.name != name for key in keys):
        known = ", ".join(dict.fromkeys(key.name for key in keys)) or "none"
        raise KeyFileError(str(path), f"no key named {name!r}", f"name one of its keys: {known}")


def _without(path: Path, name: str) -> list[str]:
    return [line for line in _lines(path) if line.partition(":")[0].strip() != name]


def _replace(path: Path, lines: list[str], act: str, name: str, record: Recorder | None) -> None:
    if record is not None:
        texts = (line.partition("#")[0].strip() for line in lines)
        entries = [text for text in texts if text.partition(":")[0] == name]
        record(act, name, [entry_of(parse_key(entry, str(path))) for entry in entries])
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # the mode above is that of a new file alone
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

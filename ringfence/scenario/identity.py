# SPDX-License-Identifier: Apache-2.0
"""Who is who without saying it: keyed 128-bit digests in place of entity ids.

The ids themselves live in an erasable directory. Without the key nobody can test a guessed id against a digest.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from threading import get_ident
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.errors import IdentityKeyError
from ringfence.scenario.factor import factorise

SEPARATOR: Final = "\x1f"
LONGEST_ID: Final = 512  # characters
_SHORTEST_KEY, _LONGEST_KEY = 16, 64  # bytes; blake2b takes no longer key
_EXACT: Final = 2.0**53


class IdentityKey:
    """The secret behind the digests. Two workspaces with different keys cannot recognise each other's entities."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if not _SHORTEST_KEY <= len(secret) <= _LONGEST_KEY:
            raise IdentityKeyError(f"an identity key has 16 to 64 bytes, found {len(secret)}; restore the key file")
        self._secret = secret

    @classmethod
    def load_or_create(cls, path: Path) -> IdentityKey:
        """Read the key file, or write a new one that only its owner can read.

        Raises
        ------
        IdentityKeyError
            If the file holds no key, or can be read by others.
        """
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o077:
            raise IdentityKeyError(f"{path} can be read by others; run: chmod 600 {path}")
        try:
            return cls(path.read_bytes())
        except IdentityKeyError as error:
            raise IdentityKeyError(f"{path}: {error}") from None

    def entity(self, entity_type: str, entity_id: str | int) -> tuple[int, int]:
        """High and low half of an entity's digest, each unsigned 64 bit. Whole numbers count as their decimals."""
        digest = blake2b(f"{entity_type}{SEPARATOR}{entity_id}".encode(), digest_size=16, key=self._secret).digest()
        return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")

    def entities(self, entity_type: str, values: pl.Series) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """High and low halves for a column of ids without nulls: text, whole numbers, or floats that are whole.

        Raises
        ------
        ValueError
            If an id is missing, empty, too long, or of another type.
        """
        factor = factorise(values)
        texts, bad = id_texts(factor.uniques)
        if bad.any() or texts.null_count() or (factor.codes < 0).any():
            raise ValueError(f"a column of {entity_type} ids holds something that is no id")
        hi, lo = self.entities_of(entity_type, texts.to_list())
        return hi[factor.codes], lo[factor.codes]

    def entities_of(self, entity_type: str, texts: list[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """High and low halves, one per text."""
        head, key = f"{entity_type}{SEPARATOR}", self._secret
        packed = b"".join([blake2b((head + text).encode(), digest_size=16, key=key).digest() for text in texts])
        halves = np.frombuffer(packed, dtype=">u8").astype(np.uint64).reshape(-1, 2)
        return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])

    def event(self, event_type: str, event_id: str) -> bytes:
        """16 bytes that stand for the idempotency key (event type, event id)."""
        text = f"event{SEPARATOR}{event_type}{SEPARATOR}{event_id}"
        return blake2b(text.encode(), digest_size=16, key=self._secret).digest()

    def token(self, text: str) -> bytes:
        """16 bytes that stand for a personal value: equal texts have equal tokens."""
        return blake2b(f"token{SEPARATOR}{text}".encode(), digest_size=16, key=self._secret).digest()


def _create(path: Path) -> None:
    """Write a new key so that no reader sees half of it, and of two writers one wins; durable on return."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def id_text(value: object) -> str | None:
    """An id as text: whole numbers (also 5.0) as decimals, text as it is. None where it is no id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value) if -(2**63) <= value < 2**64 else None
    if isinstance(value, float):
        return str(int(value)) if abs(value) < _EXACT and value == int(value) else None
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def id_texts(values: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    """A column of ids as text, null where missing, and which rows are no ids; the twin of `id_text`.

    In files, empty text and NaN mean that nobody is named.
    """
    dtype = values.dtype
    given = values.is_not_null().to_numpy()
    if dtype in (pl.Categorical, pl.Enum):
        values, dtype = values.cast(pl.String), pl.String()
    if dtype == pl.String:
        texts = values.replace("", None)
        bad = (texts.str.len_chars() > LONGEST_ID).fill_null(False).to_numpy()
        return texts, bad
    if isinstance(dtype, pl.Decimal) and dtype.scale == 0:  # how some warehouses export whole numbers
        whole_numbers = values.cast(pl.Int64, strict=False)
        return whole_numbers.cast(pl.String), given & whole_numbers.is_null().to_numpy()
    if dtype.is_integer():
        return values.cast(pl.String), np.zeros(len(values), np.bool_)
    if dtype.is_float():
        number = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        whole = np.isfinite(number) & (np.abs(number) < _EXACT) & (number == np.floor(number))
        texts = pl.Series(values.name, np.where(whole, number, 0.0).astype(np.int64)).cast(pl.String)
        return texts.set(pl.Series(~whole), None), ~whole & ~np.isnan(number)
    return pl.Series(values.name, [None] * len(values), dtype=pl.String), given

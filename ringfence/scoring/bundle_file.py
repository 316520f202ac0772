# SPDX-License-Identifier: Apache-2.0
"""One file of a bundle, held against the digest that it was written with."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from ringfence.scoring.errors import ReleaseDamagedError


def digest_of(data: bytes) -> str:
    """Digest a file's content: 32 hex digits."""
    return blake2b(data, digest_size=16).hexdigest()


def read_file(path: Path, name: str, digests: Mapping[str, str]) -> bytes:
    """Read a file of the bundle at `path`; `digests` holds those of its files by name.

    Raises
    ------
    ReleaseDamagedError
        If it cannot be read, or is not what was written.
    """
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise ReleaseDamagedError(str(path), name, "cannot be read") from error
    if digest_of(content) != digests.get(name):
        raise ReleaseDamagedError(str(path), name, "its digest is not the one in the manifest")
    return content

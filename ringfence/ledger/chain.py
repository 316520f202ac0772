# SPDX-License-Identifier: Apache-2.0
"""The hash chain: each record vouches for all before it."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import Final

CHAIN_BYTES: Final = 16
GENESIS: Final = bytes(CHAIN_BYTES)

_HEADER: Final = Struct(">qBqq")


def link(previous: bytes, seq: int, kind: int, recorded_at_ms: int, watermark_ms: int, body: bytes) -> bytes:
    """Return the chain value of a record: blake2b over the previous value, the record's header and its body bytes."""
    digest = blake2b(previous, digest_size=CHAIN_BYTES)
    digest.update(_HEADER.pack(seq, kind, recorded_at_ms, watermark_ms))
    digest.update(body)
    return digest.digest()

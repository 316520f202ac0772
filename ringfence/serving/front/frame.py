# SPDX-License-Identifier: Apache-2.0
"""What the front process and the service say to each other: messages over a stream of bytes, each with its length."""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

from ringfence.serving.wire import Ahead

_LENGTH: Final = struct.Struct("<I")
_ENCODER: Final = msgspec.msgpack.Encoder()


class Request(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A request as it arrived; nothing in it has been judged."""

    number: int  # of this process, for its answer
    received_ns: int  # `perf_counter_ns` at the last byte of its body: one clock for all processes of a machine
    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]  # names in lower case
    body: bytes
    ahead: Ahead | None = None


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The front process takes connections from now on."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """It refused what was no request, or came too slowly; for the metrics."""

    problem: str  # last word of the problem's type


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=3):
    number: int
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class AdmitBy(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Let events in by the door of this release from now on. Those let in by another one are let in again."""

    scenario: str
    release: str


class Close(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Take no more connections, answer what is under way, and end."""


FROM_FRONT: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(Request | Opened | Refused)
TO_FRONT: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(Answer | AdmitBy | Close)


def framed(message: Request | Opened | Refused | Answer | AdmitBy | Close) -> bytes:
    """Return a message as it is written to the stream; at most 4 GiB."""
    encoded = _ENCODER.encode(message)
    return _LENGTH.pack(len(encoded)) + encoded


class Frames:
    """Cuts what arrives into messages, however it was cut on its way."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[Any]) -> None:
        self._decoder = decoder
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Return the messages that are whole now, in order."""
        self._rest += data
        found: list[Any] = []
        at, size, whole = 0, len(self._rest), memoryview(self._rest)
        while size - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(whole, at)
            if size - at - _LENGTH.size < length:
                break
            found.append(self._decoder.decode(whole[at + _LENGTH.size : at + _LENGTH.size + length]))
            at += _LENGTH.size + length
        whole.release()
        del self._rest[:at]
        return found

# SPDX-License-Identifier: Apache-2.0
"""A connection of the front process: decisions stay, and whatever else a client wants, the service talks to it itself.

The connection's file descriptor goes over to the service with what has been read of it, at the border between two
requests; the client notices nothing. So streams, slow readers and all routes there will ever be need no word here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, Final

import structlog

from ringfence.serving.connection import Bounds, Connection

_log: Final = structlog.get_logger("ringfence.serving")
DECISIONS: Final = "/v1/decisions"
_STAYS: Final = (f"POST {DECISIONS} ".encode(), f"POST {DECISIONS}?".encode())
_LENGTH: Final = struct.Struct("<I")


def lane(bounds: Bounds, on_refusal: Callable[[str], None], hand_over: HandOver) -> type[Connection]:
    """Return the protocol for `uvicorn.Config(http=…)`."""

    class Lane(Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(bounds, on_refusal, *arguments, **named)

        def data_received(self, data: bytes) -> None:
            if self.is_between_requests and not data.startswith(_STAYS) and not self.transport.is_closing():
                self.transport.pause_reading()
                file = self.transport.get_extra_info("socket")
                hand_over(file.fileno(), data)
                self.transport.close()  # ours alone: the service has one of its own by now
                return
            super().data_received(data)

    return Lane


class HandOver:
    """Sends connections to the service; called for each with its file descriptor and what was read of it."""

    def __init__(self, to_service: socket.socket) -> None:
        self._to_service = to_service

    def __call__(self, file: int, data: bytes) -> None:
        try:
            socket.send_fds(self._to_service, [_LENGTH.pack(len(data))], [file])
            self._to_service.sendall(data)
        except OSError as error:  # the service is gone, or does not listen: the client's connection ends
            _log.error("a connection could not be handed over", cause=str(error))


def receive(from_front: socket.socket) -> tuple[socket.socket | None, bytes] | None:
    """Wait for a connection and what was read of it; None at the end. Without the connection: no file was left for it.

    Raises
    ------
    OSError
        If the other side is gone in the middle.
    """
    head, files, _, _ = socket.recv_fds(from_front, _LENGTH.size, 1)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    data = bytearray()
    while len(data) < length:
        part = from_front.recv(length - len(data))
        if not part:
            raise ConnectionResetError("the front process ended in the middle of a connection")
        data += part
    return (socket.socket(fileno=files[0]) if files else None), bytes(data)

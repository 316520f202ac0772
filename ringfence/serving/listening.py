# SPDX-License-Identifier: Apache-2.0
"""How we have uvicorn listen, in the service and in the process before it."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from ringfence.serving.config import ServiceConfig
from ringfence.serving.connection import Bounds, Connection

_OWN_FILES: Final = 256  # left to ledger, state and releases: a ledger that cannot be opened answers nobody


def listening(app: Any, config: ServiceConfig, protocol: type[Connection]) -> uvicorn.Config:
    """Return the settings of a server for an ASGI application."""
    return uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        proxy_headers=False,  # nothing here goes by who the caller says that it speaks for
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=10,
    )


def bounds_of(config: ServiceConfig) -> Bounds:
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = config.connections if open_files == resource.RLIM_INFINITY else max(16, open_files - _OWN_FILES)
    return Bounds(
        head_bytes=config.head_limit_bytes,
        head_s=config.head_timeout_s,
        body_s=config.body_timeout_s,
        connections=min(config.connections, room),
    )


class Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again after its end, before queued records are committed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

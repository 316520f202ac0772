# SPDX-License-Identifier: Apache-2.0
"""How fast the service does what nobody waits for: never faster than it leaves time for those who do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator


class Pace:
    """Lets one group after another through, each after a pause as long as the one before took.

    So that deciding what waits takes at most every other turn of the engine's thread, whoever and however many ask.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._free_at_s = 0.0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, and hold it for the body."""
        async with self._lock:
            await asyncio.sleep(max(0.0, self._free_at_s - time.perf_counter()))
            began_s = time.perf_counter()
            try:
                yield
            finally:
                ended_s = time.perf_counter()
                self._free_at_s = ended_s + (ended_s - began_s)

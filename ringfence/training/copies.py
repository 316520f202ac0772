# SPDX-License-Identifier: Apache-2.0
"""How much of the rows may lie in memory twice: who would copy more waits until another has given its copy up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Final

MOST_BYTES: Final = 600_000_000  # LightGBM takes about as much again for as long as it cuts a copy into bins


class Copies:
    """Room for copies that several threads make; the first one always finds some.

    Parameters
    ----------
    most_bytes : of all copies together.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._held = 0
        self._changed = Condition()

    @contextmanager
    def of(self, n_bytes: int) -> Iterator[None]:
        """Wait for room, and hold it until the block ends."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + n_bytes <= self._most)
            self._held += n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._held -= n_bytes
                self._changed.notify_all()

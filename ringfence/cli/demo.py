# SPDX-License-Identifier: Apache-2.0
"""`demo`: all of it, on a simulated insurer, in a minute or two."""

from __future__ import annotations


def demo() -> None:
    """Simulate an insurer, train, serve, and decide live claims."""

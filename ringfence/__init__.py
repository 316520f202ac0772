# SPDX-License-Identifier: Apache-2.0
"""ringfence decides how risky an event is, and runs the whole loop around that decision."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazily, and not as a function of this module: `open` would hide Python's own from whoever reads this file.
    if name == "open":
        from ringfence.steps.opened import OpenWorkspace

        return OpenWorkspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "open"]

# SPDX-License-Identifier: Apache-2.0
"""`ringfence serve` with a graph network that raises or sleeps while a switch says so; nothing else is different."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

from benchmarks.trouble.shim import RAISES, SLEEPS, Reading
from ringfence.cli.application import main
from ringfence.steps.kernel_cache import use_kernel_cache

SLEEP_S: Final = 0.2


def hindered(switches: Reading) -> AbstractContextManager[object]:
    """Put the switch before every call of a network's ONNX session."""
    use_kernel_cache(os.environ)  # before anything imports numba, as `main` does it
    from ringfence.models.gnn import Gnn

    as_it_is = Gnn.forward

    def forward(self: Gnn, prepared: Any) -> Any:
        trouble = switches["model"]
        if trouble == RAISES:
            raise RuntimeError("the ONNX session failed")
        if trouble == SLEEPS:
            time.sleep(SLEEP_S)
        return as_it_is(self, prepared)

    return patch.object(Gnn, "forward", forward)


if __name__ == "__main__":
    with hindered(Reading()):
        main()

# SPDX-License-Identifier: Apache-2.0
"""The command line: the composition root, the only place that builds everything.

It alone reads the clock, the environment and the terminal; what it builds is handed those as arguments. One module a
command group; libraries are imported inside the commands, so that `ringfence --help` answers at once.
"""

from __future__ import annotations

from ringfence.cli.application import main

__all__ = ["main"]

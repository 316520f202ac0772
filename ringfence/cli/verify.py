# SPDX-License-Identifier: Apache-2.0
"""`verify parity | state | audit | decision`: prove it."""

from __future__ import annotations

import typer

app = typer.Typer(help="Prove parity, state, audit chain and decisions.", no_args_is_help=True)

# SPDX-License-Identifier: Apache-2.0
"""`python -m ringfence.cli`: the same as the `ringfence` command, for a given interpreter."""

from __future__ import annotations

from ringfence.cli.application import main

main()

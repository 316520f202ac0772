# SPDX-License-Identifier: Apache-2.0
"""`doctor`: what is wrong with this installation, and what to do."""

from __future__ import annotations


def doctor() -> None:
    """Check the installation and the workspace, and say what to do about what is wrong."""

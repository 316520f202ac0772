# SPDX-License-Identifier: Apache-2.0
"""Alert rules for Prometheus and a dashboard for Grafana, as files."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

FILES: Final = ("alerts.yaml", "dashboard.json")


def text_of(name: str) -> str:
    """Return one of `FILES`."""
    return files(__name__).joinpath(name).read_text("utf-8")

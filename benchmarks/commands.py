# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of public data share: where the data lies, and the command line as a user would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def data_folder(name: str) -> Path:
    """The folder of a data set in $RINGFENCE_DATA, or in ../shared/data beside the project."""
    return Path(os.environ.get("RINGFENCE_DATA", ROOT.parent / "shared" / "data")) / name


def ringfence(*arguments: str) -> dict[str, Any]:
    """Run one command in a process of its own and return its JSON; end with its message when it fails."""
    command = [sys.executable, "-m", "ringfence.cli", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
    return found

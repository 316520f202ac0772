# SPDX-License-Identifier: Apache-2.0
"""Write constraints.txt: the versions here of all that `ringfence[dev,bench,docs]` needs, and of nothing else.

    .venv/bin/python scripts/pin_constraints.py

Upgrade in .venv, run `make test bench site`, which installs all extras, then pin.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

HEADER = """# SPDX-License-Identifier: Apache-2.0
# Exact versions, for plain pip: pip install -c constraints.txt -e '.[dev]'. Written by scripts/pin_constraints.py.
"""


def needed(name: str, extras: frozenset[str], found: dict[str, tuple[str, frozenset[str]]]) -> None:
    """Add a distribution and all that it needs here to `found`: normalised name -> (name==version, extras seen)."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    seen = found[key][1] if key in found else frozenset()
    if key in found and extras <= seen:
        return
    try:
        there = distribution(name)
    except PackageNotFoundError:
        return  # for another platform
    version = there.version.partition("+")[0]  # a build for one kind of processor, such as torch 2.13.0+cpu
    found[key] = f"{there.name}=={version}", seen | extras
    for line in there.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            needed(requirement.name, frozenset(requirement.extras), found)


def main() -> None:
    found: dict[str, tuple[str, frozenset[str]]] = {}
    needed("ringfence", frozenset({"dev", "bench", "docs"}), found)
    del found["ringfence"]
    for extra, of_it in (("bench", "snapml"), ("docs", "sphinx")):
        if of_it not in found:
            raise SystemExit(
                f"{extra} is not installed, and its pins would be lost; run: pip install -e '.[dev,bench,docs]'"
            )
    pins = [pin for _, (pin, _) in sorted(found.items())]
    (Path(__file__).resolve().parents[1] / "constraints.txt").write_text(HEADER + "\n".join(pins) + "\n", "utf-8")


if __name__ == "__main__":
    main()

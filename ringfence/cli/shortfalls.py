# SPDX-License-Identifier: Apache-2.0
"""What a training run fell short of, in words: memory that was too small, columns that no example has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringfence.scoring.release import Release


def shortfalls(release: Release) -> list[str]:
    """Warn of what `train` wrote into the release's metrics; nothing where the release is older than that."""
    metrics = release.metrics
    return [
        *_forgotten(metrics.get("memory") or {}),
        *_missing(metrics.get("missing_in_every_example") or {}),
        *(metrics.get("brought") or {}).get("warnings", []),
    ]


def size_text(n_bytes: int) -> str:
    """Write a size as `memory` in ringfence.yaml takes it."""
    unit, name = (1 << 30, "GiB") if n_bytes >= 1 << 30 else (1 << 20, "MiB")
    return f"{n_bytes / unit:.4g} {name}"


def _forgotten(memory: dict[str, Any]) -> list[str]:
    counted = memory.get("forgotten") or {}
    forgotten = {what: counted[what] for what in ("entities", "pairs", "texts", "events") if counted.get(what)}
    if not forgotten:
        return []
    counts = ", ".join(f"{n:,} {what} (there is room for {memory['room'][what]:,})" for what, n in forgotten.items())
    return [
        f"memory of {size_text(memory['budget_bytes'])} was full: the replay forgot {counts}, whoever was idle "
        "longest; who comes back counts as new, here and live; raise `memory` in ringfence.yaml and train again"
    ]


def _missing(missing: dict[str, list[str]]) -> list[str]:
    named = [
        f"{what if len(names) > 1 else what.removesuffix('s')} {', '.join(names)}"
        for what in ("roles", "attributes")
        if (names := missing.get(what))
    ]
    if not named:
        return []
    return [
        f"{' and '.join(named)}: missing in every example, so nothing is learned from them; what was added to "
        "ringfence.yaml after the import is not in the ledger: `ringfence import --replace` with the same -w, then "
        "train again"
    ]

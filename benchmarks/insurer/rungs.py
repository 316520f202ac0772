# SPDX-License-Identifier: Apache-2.0
"""What each rung of the ensemble's release says, before its calibration and after it."""

from __future__ import annotations

import msgspec

from benchmarks.insurer.contenders import RUNGS, ensemble
from benchmarks.insurer.figures import Figures, aligned, figures_of
from benchmarks.insurer.work import Work
from benchmarks.insurer.worlds import Bench
from ringfence.models.calibration import sigmoid


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One rung in one run; the order of its scores is the same before and after."""

    before: Figures
    after: Figures


def measured_rungs(work: Work, bench: Bench, seed: int) -> dict[str, Rung]:
    """Judge every rung of a run's release."""
    path = work.path(f"world-{bench.number}", f"rungs-{seed}")
    kept = work.read(path, dict[str, Rung])
    if kept is not None:
        return kept
    work.step(f"world {bench.number}, seed {seed}: rungs before and after calibration")
    _, said = ensemble(work, bench, seed)
    claims = bench.judged()
    found: dict[str, Rung] = {}
    for name in RUNGS:
        if name not in said.columns:
            continue
        columns = aligned(claims, said, (name, f"{name}_raw"))
        raw, score = columns[f"{name}_raw"].to_numpy(), columns[name].to_numpy()
        found[name] = Rung(
            before=figures_of(claims, raw, sigmoid(raw), seed=bench.number),
            after=figures_of(claims, raw, score, seed=bench.number),
        )
    work.keep(path, found)
    return found

# SPDX-License-Identifier: Apache-2.0
"""How much a fit may cost: decided by the numbers of examples and frauds, and by nothing else."""

from __future__ import annotations

from typing import Final

import msgspec

SOME_EXAMPLES: Final = 50_000  # beyond: folds and boosters of their own cores, which stop where trees do not help
MANY_EXAMPLES: Final = 300_000  # beyond: fewer folds, since noise is small and hours are long
LEGIT_PER_FRAUD: Final = 12  # beyond that and MANY_LEGIT, legit examples are sampled, afresh for every booster
MANY_LEGIT: Final = 100_000
VERY_MANY_EXAMPLES: Final = 500_000  # beyond: fewer boosters, and trees counted from a sample
_PATIENCE: Final = 5  # steps of the curve


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What is spent on one fit."""

    n_blocks: int  # of time, each scored by a model of its own
    legit_share: float  # of the legit examples that one model sees, in (0, 1]; all of them calibrate and are scored
    n_seeds: int  # boosters that are averaged, each with a sample of its own
    max_trees: int
    side_by_side: bool  # folds and boosters grow beside each other, one core each, none waiting for what another found
    patience: int | None  # steps of a fold's curve without a better loss, after which it stops; None: never
    curve_rows: int | None  # of each class of a block, at most, that its curve is read from; None: all
    bin_rows: int | None  # that a column's bins are found from; None: what LightGBM takes
    most_bins: int | None  # of a number; None: what `ringfence.models.gbdt.DEFAULTS` says

    @property
    def text(self) -> str:
        """What was spared because examples are very many, for card and report; empty where nothing was."""
        if self.curve_rows is None:
            return ""
        return (
            f"{self.n_seeds} boosters; folds stop growing where more trees do not help; the number of trees is read "
            f"off up to {self.curve_rows:,} frauds and as many legit events of each block, bins of a feature off "
            f"{self.bin_rows:,} rows, at most {self.most_bins} of a number; every event of a block is scored, "
            "calibrates and is measured"
        )


def effort_for(n_examples: int, n_fraud: int) -> Effort:
    """Say what a fit on so many examples is worth."""
    share = min(1.0, max(LEGIT_PER_FRAUD * n_fraud, MANY_LEGIT) / max(n_examples - n_fraud, 1))
    if n_examples <= VERY_MANY_EXAMPLES:
        return Effort(
            n_blocks=3 if n_examples > MANY_EXAMPLES else 5,
            legit_share=share,
            n_seeds=3,
            max_trees=400,
            side_by_side=n_examples > SOME_EXAMPLES,
            patience=_PATIENCE if n_examples > SOME_EXAMPLES else None,
            curve_rows=None,
            bin_rows=None,
            most_bins=None,
        )
    return Effort(
        n_blocks=3,
        legit_share=share,
        n_seeds=2,
        max_trees=400,
        side_by_side=True,
        patience=_PATIENCE,
        curve_rows=25_000,
        bin_rows=50_000,
        most_bins=63,
    )

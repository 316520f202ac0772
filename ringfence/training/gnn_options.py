# SPDX-License-Identifier: Apache-2.0
"""How a graph network is built and trained."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Gather = Literal["gated", "attention", "recurrent"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class GnnOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Architecture and schedule. What fits on one processor comes out well below 0.2 ms an event."""

    hops: Literal[0, 1, 2] = 2
    last: int | None = None  # newest events a seat; None: all that were sampled
    # A sigmoid gate and a mean; multi-head attention from the seat's counts; or a recurrent unit from oldest to newest.
    gather: Gather = "gated"
    roles: tuple[str, ...] | None = None  # whose seats are read; None: all
    reads_rows: bool = True  # the feature row of the event at hand is an input too
    members: int = 4  # networks trained side by side on the same batches, whose log-odds are averaged
    width: int = 16  # channels of a message and of a seat, a member
    heads: int = 4  # of attention; divides `width`
    row_width: int = 32
    head_width: int = 32
    vector_width: int = 4  # of a category's value
    dropout: float = 0.2
    input_dropout: float = 0.1  # of the row's numbers
    learning_rate: float = 2e-3
    # What holds weights back is a prior of fixed strength: the decay, decoupled (Loshchilov and Hutter, 2019) and not
    # of biases, is this over the frauds that are learnt from, and at most `most_decay`.
    prior_strength: float = 500.0
    most_decay: float = 10.0
    batch: int = 512
    most_epochs: int = 16
    patience: int = 5  # epochs without a better later window
    negatives_per_fraud: float | None = 20.0  # drawn afresh for every epoch; None: all
    smoothing: float = 0.99  # of the exponential average of weights that is kept; 0: the last weights

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")


# Chosen inside the first 60 % of the motor claims network (184 frauds).
FEW: Final = GnnOptions(batch=128, most_epochs=16, dropout=0.3, input_dropout=0.2, smoothing=0.95)
FEW_FRAUDS: Final = 1_000


MOST_A_PASS: Final = 12_000  # examples of one pass in a training of a release: beyond it, fewer legit ones a fraud


def options_for(n_fraud: int) -> GnnOptions:
    """Return `default_options`, less where frauds are many: what a training may cost is bounded.

    Beyond `MOST_A_PASS` examples there are fewer legit ones a fraud, at least one, and fewer passes, at least two.
    """
    options = default_options(n_fraud)
    negatives = options.negatives_per_fraud
    if negatives is None or n_fraud * (1.0 + negatives) <= MOST_A_PASS:
        return options
    negatives = max(1.0, MOST_A_PASS / n_fraud - 1.0)
    passes = max(2, round(options.most_epochs * MOST_A_PASS / (n_fraud * (1.0 + negatives))))
    return msgspec.structs.replace(options, negatives_per_fraud=negatives, most_epochs=passes)


def default_options(n_fraud: int) -> GnnOptions:
    """Return the options tried first: the fewer frauds, the stronger what holds the network back."""
    return FEW if n_fraud < FEW_FRAUDS else GnnOptions()

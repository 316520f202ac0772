# SPDX-License-Identifier: Apache-2.0
"""Should weights follow what was labelled since? Only where they forecast better the labels that became known last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.calibration import fit_calibrator
from ringfence.models.followed import BAND, WORTH, band_of, follow_stack
from ringfence.models.stack import Stack
from ringfence.reports import Table
from ringfence.reports.page import Cell
from ringfence.scenario.spec import Scenario
from ringfence.training.ranking import Interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST: Final = 30  # frauds, and legit events, in the part that weights are fitted on
FEWEST_JUDGED: Final = 8  # of each, in the part that judges
_SIGMAS: Final = 1.959964  # of a two-sided interval of 95 %
RULE: Final = (
    f"Each weight is pulled to the released one as by {WORTH:.0f} labelled frauds, and stays between "
    f"{BAND[0]:g} and {BAND[1]:g} times what training gave it."
)
SELECTION: Final = (
    "Labels are of events that somebody looked at or that matured: weights follow what branches were worth there, and "
    "not on events that nobody ever told the truth about."
)


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a stack's weights, by member."""

    trained: dict[str, float]  # in the training that made the models
    before: dict[str, float]
    tried: dict[str, float]  # by the labels known first, judged on those known last; empty: not tried
    now: dict[str, float]
    gain: Interval | None  # of log-loss, mean per event; above zero: better by the weights tried. None: not tried
    left: str = ""  # why the weights stay what they were; empty: they moved

    @property
    def moved(self) -> bool:
        return not self.left


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """The stacks that follow from it."""

    judged: Stack  # fitted on the labels known first, where weights move; else the released one
    stack: Stack  # fitted on all of them, likewise
    following: Following


def weights_of(stack: Stack) -> dict[str, float]:
    """Return a stack's weights by member."""
    return dict(zip(stack.members, stack.weights, strict=True))


def unseen_from_ms(scenario: Scenario, stack: Stack) -> int:
    """Return from when on (inclusive) no event can have trained a network that was brought from elsewhere."""
    stated = [one.trained_until_ms for one in scenario.branches if one.name in stack.members]
    return max((until_ms for until_ms in stated if until_ms is not None), default=0)


def follow_weights(
    released: Stack,
    members: Mapping[str, FloatArray],
    fraud: NDArray[np.int8],
    *,
    fitted: IntArray,
    judged: IntArray,
    trained: Mapping[str, float],
) -> Followed:
    """Fit weights on what became known first, and keep them where they forecast better what became known last.

    Both sides of the comparison have a calibration of their own, fitted on the same labels as the weights, so that what
    a calibration mends anyway is no reason to move a weight.

    Parameters
    ----------
    members : raw scores of the stack's members, each of shape (n,), of events that none of them was fitted on.
    fraud : shape (n,).
    fitted, judged : positions of the first and of the last labels; of others nothing is read.
    trained : weights in the training that made the models.

    Returns
    -------
    The released stack and why it stays, where it is the trees alone, fewer than 30 frauds or legit events are there to
    fit on or fewer than 8 to judge, or the 95 % interval of the gain of log-loss is not above zero; else the moved one.
    """
    before = weights_of(released)

    def stays(why: str, tried: Mapping[str, float] | None = None, gain: Interval | None = None) -> Followed:
        following = Following(
            trained=dict(trained), before=before, tried=dict(tried or {}), now=before, gain=gain, left=why
        )
        return Followed(judged=released, stack=released, following=following)

    if sum(trained[name] > 0.0 for name in released.members) < 2:
        return stays("only one member of the stack has a weight, so there is nothing to weigh it against")
    for part, needed, purpose in ((fitted, FEWEST, "fit them on"), (judged, FEWEST_JUDGED, "judge them by")):
        n_fraud = int(fraud[part].sum())
        n_legit = int(part.shape[0]) - n_fraud
        if min(n_fraud, n_legit) < needed:
            return stays(
                f"{n_fraud} fraud and {n_legit} legit labels are there to {purpose}, and at least {needed} of each are "
                "needed"
            )
    first = follow_stack(
        released, {name: members[name][fitted] for name in released.members}, fraud[fitted], trained=trained
    )
    losses = []
    for stack in (released, first):
        raw = stack.raw(members)
        odds = fit_calibrator(raw[fitted], fraud[fitted]).log_odds(raw[judged])
        losses.append(np.logaddexp(0.0, np.where(fraud[judged] == 1, -odds, odds)))
    gains = losses[0] - losses[1]
    reach = _SIGMAS * float(gains.std()) / float(np.sqrt(gains.shape[0]))
    mean = float(gains.mean())
    gain = Interval(mean, mean - reach, mean + reach)
    if not gain.low > 0.0:
        return stays("with moved ones the labels known last were not forecast better", weights_of(first), gain)
    both = np.concatenate([fitted, judged])
    stack = follow_stack(
        released, {name: members[name][both] for name in released.members}, fraud[both], trained=trained
    )
    following = Following(
        trained=dict(trained), before=before, tried=weights_of(first), now=weights_of(stack), gain=gain
    )
    return Followed(judged=first, stack=stack, following=following)


def verdict_of(following: Following) -> str:
    """Tell in a sentence whether weights moved, and by what that was judged."""
    gain = following.gain
    told = "" if gain is None else f" (log-loss lower by {gain.value:.6f} an event, {gain.low:.6f} to {gain.high:.6f})"
    if following.moved:
        return f"the weights moved: with them the labels known last were forecast better{told}"
    return f"the weights stay: {following.left}{told}"


def rows_of(following: Following) -> list[list[str]]:
    """Return for each member its name, its weights at training, before and now, and its band."""
    rows = []
    for name, trained in following.trained.items():
        band = band_of(trained)
        found = (trained, following.before[name], following.now[name])
        rows.append([name, *(f"{weight:.4f}" for weight in found), f"{band.low:.4f} to {band.high:.4f}"])
    return rows


COLUMNS: Final = ("member", "at training", "before", "now", "band")


def card_lines(following: Following) -> list[str]:
    """Return what a card says of it."""
    return [
        f"Weights of the stack: {verdict_of(following)}. {RULE} {SELECTION}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *[f"| {' | '.join(row)} |" for row in rows_of(following)],
        "",
    ]


def table_of(following: Following) -> Table:
    """Return what a report shows of it."""
    rows: list[list[Cell]] = [list(row) for row in rows_of(following)]
    return Table(caption="Weights of the stack", columns=list(COLUMNS), rows=rows, numeric=(1, 2, 3, 4))

# SPDX-License-Identifier: Apache-2.0
"""What to know before a release is believed or used: what `train` found against it, and answers that are mostly one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ringfence.steps.figures import figure_of

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scoring.release import Release

MOST: Final = 0.5  # of the events: no desk and no customer base bears more of one answer than approve
TIMES_MEASURED: Final = 3.0  # the share that training measured, from `SOME` on
SOME: Final = 0.1
LEAST_EVENTS: Final = 100
_GRID: Final = 10_000
_COSTS: Final = {"challenge": "costs.challenge", "review": "costs.review", "decline": "costs.false_decline"}


def told_reservations(release: Release) -> list[dict[str, Any]]:
    """Return what `train` found against a release; empty where it found nothing, or the release is older than this."""
    found: list[dict[str, Any]] = release.metrics.get("reservations") or []
    return found


def reservation_lines(release: Release, *, with_money: bool) -> list[str]:
    """Write them for a terminal, two lines each; empty where there is none.

    Parameters
    ----------
    with_money : whether figures in money are told beside them: what is said of costs is left out if not.
    """
    lines = []
    for one in told_reservations(release):
        if one["kind"] == "placeholder_costs" and not with_money:
            continue
        lines += [f"  {one['sentence']}", f"    what to do: {one['do']}"]
    return ["before you believe it:", *lines] if lines else []


def lopsided(rows: pl.DataFrame, release: Release) -> list[str]:
    """Warn of an answer other than approve that far more events get than training, or anybody's capacity, knew.

    Parameters
    ----------
    rows : as `score` returns them.
    """
    n = rows.height
    if n < LEAST_EVENTS:
        return []
    measured = _measured(release)
    warnings = []
    for action, count in sorted(rows["action"].value_counts().iter_rows()):
        part, known = count / n, measured.get(action)
        beyond = known is not None and part >= SOME and part > TIMES_MEASURED * known
        if action == "approve" or not (part > MOST or beyond):
            continue
        where = "" if known is None else f" ({100 * known:.1f} % of the events that training measured)"
        warnings.append(
            f"{100 * part:.1f} % of {n:,} events get {action}{where}: {_driven(release, action)}; "
            f"{_skill(release)}; check {_COSTS[action]} and costs.missed_fraud in "
            f"policies/{release.manifest.scenario}.yaml, and train again"
        )
    return warnings


def _measured(release: Release) -> dict[str, float]:
    actions = (release.metrics.get("money") or {}).get("actions") or []
    counts = {one["action"]: one["n_fraud"] + one["n_legit"] for one in actions}
    total = sum(counts.values())
    return {action: count / total for action, count in counts.items()} if total else {}


def _driven(release: Release, action: str) -> str:
    """The least score that gets this answer at the typical amount, and the costs behind it."""
    import numpy as np

    from ringfence.policy.costs import ACTIONS

    policy = release.policy
    scores = np.linspace(0.0, 1.0, _GRID + 1)
    codes = policy.decide(scores, np.full(scores.shape[0], np.nan)).codes
    at = np.flatnonzero(codes == ACTIONS.index(action))
    typical = policy.typical_amount
    amount = "" if typical is None else f", at the typical amount of {typical:,.2f} {policy.costs.currency}"
    costs = policy.costs
    missed = costs.missed_fraud.fixed + costs.missed_fraud.amount_share * (typical or 0.0)
    decline = costs.false_decline.fixed + costs.false_decline.amount_share * (typical or 0.0)
    price = {
        "challenge": "" if costs.challenge is None else f"a challenge costs {costs.challenge.friction:g}",
        "review": "" if costs.review is None else f"a review costs {costs.review.cost:g}",
        "decline": f"a wrong decline costs {decline:g}",
    }[action]
    against = f"{price} and a missed fraud {missed:g}"
    if not at.shape[0]:
        return f"{against}, though at no score{amount}"
    return f"it is the cheapest answer from a score of {100 * scores[at[0]]:.2f} % on{amount}, as {against}"


def _skill(release: Release) -> str:
    value, low, high = figure_of((release.manifest.headline or {}).get("brier_skill"))
    if value is None or low is None or high is None:
        return "the Brier skill of this release is not known"
    shown = "" if low > 0.0 else ", not shown to be better than the base rate"
    return f"the Brier skill of {release.id} is {value:.3f} ({low:.3f} .. {high:.3f}){shown}"

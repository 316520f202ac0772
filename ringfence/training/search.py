# SPDX-License-Identifier: Apache-2.0
"""The search for hyperparameters: trial 0 is the default, then optuna's TPE proposes; least out-of-fold log-loss wins.

What a trial tries depends on the seed, its number, and the trials that are `AHEAD` or more before it, and on nothing
else: not on which process ran them, nor on when, nor on how often the search was interrupted. So up to `AHEAD`
processes share one search, and whoever finishes it has found what one process alone would have found.

    trial      0  1  2  3  4  5  6  7
    7 knows    ■  ■  ■  ■              ready once these are known; 4, 5 and 6 may run beside it

The proposals are Bergstra et al., Algorithms for hyper-parameter optimization (NeurIPS 2011), section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ringfence.training.crossfit import CrossFit, OutOfFold
from ringfence.training.errors import MissingExtraError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from ringfence.training.study import Tried

AHEAD: Final = 4  # trials that may run side by side
AT_RANDOM: Final = 5  # trials known before proposals learn from them: 1 to 7 are random ones
_DIGITS: Final = 4  # of a proposed value


class Span(NamedTuple):
    """Where a hyperparameter is looked for, ends included."""

    low: float
    high: float
    is_log: bool = False  # evenly on the scale of its logarithm
    is_whole: bool = False


SPACE: Final = {
    "num_leaves": Span(4, 63, is_log=True, is_whole=True),
    "min_data_in_leaf": Span(5, 300, is_log=True, is_whole=True),
    "learning_rate": Span(0.02, 0.1, is_log=True),
    "feature_fraction": Span(0.1, 0.8),
    "bagging_fraction": Span(0.5, 1.0),
    "lambda_l2": Span(0.3, 100.0, is_log=True),
}
EXTRA_TREES: Final = "extra_trees"  # on or off: splits at random thresholds (Geurts et al., 2006)


def require_search() -> None:
    """Say early that a search cannot be made here.

    Raises
    ------
    MissingExtraError
        Where optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise MissingExtraError("optuna", "search", what="a search (--trials)")


def search(
    try_setting: CrossFit,
    default: Mapping[str, Any],
    *,
    others: Sequence[Mapping[str, Any]] = (),
    trials: int,
    seed: int,
    directory: Callable[[], Path | None] | None = None,
    recalled: Callable[[], None] | None = None,
) -> tuple[dict[str, Any], OutOfFold, list[dict[str, Any]]]:
    """Try the default, then others or `trials` proposed settings; least out-of-fold log-loss wins, of equals the first.

    Parameters
    ----------
    try_setting : the same setting must fare the same again.
    others : tried in their order where there are no trials.
    seed : the same arguments find the same, interrupted or not, alone or beside other processes.
    directory : asked where this study is kept (`training.study`), if there are trials; None: nowhere.
    recalled : called for each trial that another run, or another process, has made.

    Returns
    -------
    The winning parameters, its out-of-fold scores, and one line per setting for metrics.json.

    Raises
    ------
    MissingExtraError
        If there are trials and optuna is not installed.
    """
    if not trials:
        tried = [(dict(params), try_setting(params)) for params in (default, *others)]
        chosen, found = min(tried, key=lambda one: _loss(one[1]))
        return chosen, found, [_line(one, oof.n_trees, _loss(oof), oof.average_precision) for one, oof in tried]
    require_search()
    kept = None if directory is None else directory()
    with TemporaryDirectory(prefix="ringfence-search-") as nowhere:
        return _search(
            try_setting,
            default,
            n=1 + trials,
            seed=seed,
            directory=Path(nowhere) / "study" if kept is None else kept,
            recalled=recalled,
        )


def _search(
    try_setting: CrossFit,
    default: Mapping[str, Any],
    *,
    n: int,
    seed: int,
    directory: Path,
    recalled: Callable[[], None] | None,
) -> tuple[dict[str, Any], OutOfFold, list[dict[str, Any]]]:
    from ringfence.training.study import Study, Tried

    study, mine = Study(directory), set()
    best: tuple[int, OutOfFold] | None = None  # of the trials made here
    known = study.finished()
    while missing := [number for number in range(n) if number not in known]:
        ready = [number for number in missing if all(before in known for before in range(number - AHEAD + 1))]
        with study.claimed(ready) as number:
            known = study.finished()
            if number in known:
                continue
            proposed = _proposed(number, known, seed) if number else {}
            params = {**default, **proposed}
            found = try_setting(params)
            tried = Tried(
                number=number,
                params=params,
                n_trees=found.n_trees,
                log_loss=_loss(found),
                average_precision=found.average_precision,
            )
            study.record(tried, _placed(params), _inside(params))
        known = study.finished()
        mine.add(number)
        if best is None or (tried.log_loss, number) < (_loss(best[1]), best[0]):
            best = number, found
    if recalled is not None:
        for _ in range(n - len(mine)):
            recalled()
    trials = [known[number] for number in range(n)]
    winner = min(trials, key=lambda one: (one.log_loss, one.number))
    if best is None or best[0] != winner.number:
        best = winner.number, try_setting(winner.params)
    lines = [_line(one.params, one.n_trees, one.log_loss, one.average_precision) for one in trials]
    return winner.params, best[1], lines


def searched(settings: list[dict[str, Any]], *, trials: int) -> list[tuple[str, str]]:
    """Say for the card what was tried; nothing where that was the default alone.

    Parameters
    ----------
    settings : the lines of `search`, the default first.
    trials : how many were proposed; 0: the others are those that a small table has beside the default.
    """
    if len(settings) < 2:
        return []
    losses = [float(one["log_loss"]) for one in settings]
    at, n = int(np.argmin(losses)), len(settings) - 1
    kept = "the default stays" if at == 0 else f"trial {at} is taken"
    if not trials:
        taken = "stays" if at == 0 else f"gives way to number {at}"
        return [
            (
                "settings tried",
                f"{n} beside the default, as examples are few: log-loss out of fold, in time, {losses[0]:.6f} with the "
                f"default, {losses[at]:.6f} at best, so the default {taken}",
            )
        ]
    spans = ", ".join(f"{name} {span.low:g} to {span.high:g}" for name, span in SPACE.items())
    return [
        (
            "search",
            f"{n} {'setting' if n == 1 else 'settings'} beside the default, proposed by optuna's TPE; the objective is "
            f"the log-loss out of fold, in time: {losses[0]:.6f} with the default, {losses[at]:.6f} at best, so {kept}",
        ),
        ("searched", f"{spans}, {EXTRA_TREES} on or off"),
    ]


def _proposed(number: int, known: Mapping[int, Tried], seed: int) -> dict[str, Any]:
    """Return what TPE proposes as the trial of that number, knowing those `AHEAD` or more before it."""
    import optuna
    from optuna.trial import create_trial

    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=own_seed, n_startup_trials=AT_RANDOM)
    study = optuna.create_study(sampler=sampler)
    for before in range(number - AHEAD + 1):
        tried = known[before]
        if place := _placed(tried.params):
            study.add_trial(create_trial(value=tried.log_loss, params=place, distributions=_distributions()))
    asked = study.ask(_distributions()).params
    return {name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value for name, value in asked.items()}


def _distributions() -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    numbers: dict[str, BaseDistribution] = {
        name: IntDistribution(int(span.low), int(span.high), log=span.is_log)
        if span.is_whole
        else FloatDistribution(span.low, span.high, log=span.is_log)
        for name, span in SPACE.items()
    }
    return {**numbers, EXTRA_TREES: CategoricalDistribution((False, True))}


def _inside(params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return the distributions of a setting that lies in the space; none of one that lies outside."""
    if all(name in params and span.low <= params[name] <= span.high for name, span in SPACE.items()):
        return _distributions()
    return {}


def _placed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting's place in the space; nothing where it lies outside."""
    return {name: params.get(name, False) for name in _inside(params)}  # a default is silent about EXTRA_TREES


def _loss(found: OutOfFold) -> float:
    return float(found.log_loss.min())


def _line(params: Mapping[str, Any], n_trees: int, log_loss: float, average_precision: float) -> dict[str, Any]:
    return {
        **params,
        "n_trees": n_trees,
        "log_loss": round(log_loss, 6),
        "average_precision": round(average_precision, 6),
    }

# SPDX-License-Identifier: Apache-2.0
"""From feature rows and labels to a fitted, calibrated model; arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.branches import RULES
from ringfence.models.calibration import Calibrator
from ringfence.models.encoder import Encoder
from ringfence.models.ensemble import Ensemble
from ringfence.models.seen import Seen
from ringfence.models.stack import BACKBONE, Stack
from ringfence.training.anomalies import AnomalyLearner
from ringfence.training.boosters import begin_boosters
from ringfence.training.calibrating import calibrate_in_time
from ringfence.training.clocks import clocks
from ringfence.training.crossfit import OutOfFold, Report, cross_fit
from ringfence.training.effort import Effort, effort_for
from ringfence.training.errors import NoFoldsError
from ringfence.training.examples import Examples
from ringfence.training.folds import Fold, expanding_folds
from ringfence.training.learner import Learner, Task
from ringfence.training.search import search
from ringfence.training.stacking import BranchWorth, comparable, on_common_ground, stack_in_time

FloatArray = NDArray[np.float64]

FEW_FRAUDS: Final = 300

_COMMON: Final[dict[str, Any]] = {"learning_rate": 0.05, "bagging_fraction": 0.8, "bagging_freq": 1}
# Chosen out of fold on the motor claims network's first 60 % (184 frauds): small trees, few features each.
FEW: Final[dict[str, Any]] = {
    **_COMMON,
    "num_leaves": 5,
    "min_data_in_leaf": 30,
    "feature_fraction": 0.25,
    "lambda_l2": 10.0,
}
# Chosen on the validation weeks of the card-payments benchmark (benchmarks/p1.py --folds validation).
MANY: Final[dict[str, Any]] = {
    **_COMMON,
    "num_leaves": 31,
    "min_data_in_leaf": 15,
    "feature_fraction": 0.4,
    "lambda_l2": 1.0,
}

# Chosen likewise: leaves that hold twice as many events, and are believed less.
CAREFUL: Final[dict[str, Any]] = {**FEW, "min_data_in_leaf": 60, "lambda_l2": 50.0}
SMALL: Final = 20_000  # examples up to which all three are tried, and the one that forecast later blocks best is taken


def default_params(n_fraud: int) -> dict[str, Any]:
    """Return the hyperparameters tried first: the fewer frauds, the smaller the trees."""
    return dict(FEW if n_fraud < FEW_FRAUDS else MANY)


def other_params(n_examples: int, n_fraud: int) -> list[dict[str, Any]]:
    """Return what is tried beside the default without being asked: on a small table it takes seconds."""
    if n_examples > SMALL:
        return []
    return [dict(one) for one in (FEW, MANY, CAREFUL) if one != default_params(n_fraud)]


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A model and the out-of-fold scores that chose its size and its calibration."""

    ensemble: Ensemble
    worth: list[BranchWorth]  # what each branch but the trees was found to add
    unlearnt: tuple[str, ...]  # branches that found too little to learn from
    calibrator: Calibrator
    gbdt_calibrator: Calibrator  # of the trees alone, for the rung `gbdt`
    rules_calibrator: Calibrator | None  # of the rules alone, for the rung `rules`; None without rules
    calibration_weight: float  # of the fitted map; the rest is the model's own score
    clocks: NDArray[np.int64]  # columns that tell the time, and that nothing was learnt from
    params: dict[str, Any]
    effort: Effort
    folds: list[Fold]
    out_of_fold: OutOfFold  # of the trees, where every member of the stack speaks
    stacked: FloatArray  # (n,) out-of-fold log-odds of the stack; NaN where no fold emits the example
    settings: list[dict[str, Any]]  # every hyperparameter setting tried, the default first
    trials: int  # how many of them were proposed by a search
    members: dict[str, FloatArray]  # (n,) out-of-fold raw scores of every branch to compare, trees at the base rate

    def out_of_fold_scores(self) -> FloatArray:
        """Return calibrated out-of-fold scores of the emitted examples, in their order."""
        return self.calibrator.apply(self.stacked[self.out_of_fold.emitted])

    def scores(self, seen: Seen) -> FloatArray:
        """Return calibrated scores, shape (n,)."""
        return self.calibrator.apply(self.ensemble.raw(seen))


def fit(
    rows: FloatArray,
    examples: Examples,
    *,
    is_category: Sequence[bool],
    trials: int = 0,
    seed: int = 0,
    n_threads: int = 1,
    params: Mapping[str, Any] | None = None,
    has_times: bool = True,
    effort: Effort | None = None,
    learners: Sequence[Learner] = (AnomalyLearner(),),
    monotone: Sequence[int] = (),
    studies: Path | None = None,
    report: Report | None = None,
) -> Fitted:
    """Choose the tree count and the branches out of fold, calibrate on the out-of-fold scores, refit on everything.

    Parameters
    ----------
    rows : shape (n, n_features), of the examples, as the engine gives them.
    trials : hyperparameter settings to try beside the default.
    seed : of boosting and search; the same call gives the same model.
    has_times : False where the order of a file stands for the time; no feature is taken for a clock then.
    effort : what may be spent; None: what `effort_for` says of so many examples.
    learners : of the branches beside the trees, which are tried in this order.
    monotone : for each column 1 where the trees' score may only rise with it, -1 only fall, 0 either; empty: all free.
    studies : the folder that finished trials are kept in, and recalled from; the model does not depend on it.
    report : called with (steps done, steps in all).

    Raises
    ------
    NoFoldsError
        If no time split has both labels on each side.
    """
    effort = effort_for(len(examples), examples.n_fraud) if effort is None else effort
    folds = _folds(examples, n_blocks=effort.n_blocks)
    with ThreadPoolExecutor(1) as beside:  # neither reads what the other finds
        encoding = beside.submit(Encoder.fit, rows, is_category)
        unread = clocks(rows, folds, is_category, n_threads=n_threads) if has_times else np.empty(0, dtype=np.int64)
        encoder = encoding.result()
    held = {"monotone_constraints": list(monotone)} if any(monotone) else {}
    others = [] if trials or params else other_params(len(examples), examples.n_fraud)
    total = (1 + len(others) + trials) * len(folds) + effort.n_seeds
    done, one_at_a_time = 0, Lock()

    def step(_done: int, _total: int) -> None:
        nonlocal done
        with one_at_a_time:
            done += 1
            if report is not None:
                report(min(done, total), total)

    try_setting = partial(
        _try,
        rows=rows,
        fraud=examples.fraud,
        folds=folds,
        is_category=is_category,
        seed=seed,
        n_threads=n_threads,
        step=step,
        effort=effort,
        unread=unread,
        held=held,
    )
    default = default_params(examples.n_fraud) | dict(params or {})

    def study() -> Path | None:
        if studies is None:
            return None
        from ringfence.training.study import study_key

        key = study_key(
            rows,
            examples.fraud,
            folds,
            is_category=is_category,
            unread=unread,
            default={**default, **held},
            effort=effort,
            seed=seed,
        )
        return studies / key

    def recalled() -> None:
        for _ in folds:
            step(0, 0)

    chosen, found, settings = search(
        try_setting, default, others=others, trials=trials, seed=seed, directory=study, recalled=recalled
    )
    grown = begin_boosters(
        rows,
        examples.fraud,
        encoder,
        unread=unread,
        params={**chosen, **held},
        n_trees=_refit_trees(found.n_trees, folds, len(examples)),
        seed=seed,
        effort=effort,
        n_threads=n_threads,
        report=step,
    )
    task = Task(
        rows=rows,
        fraud=examples.fraud,
        event_time_ms=examples.event_time_ms,
        folds=folds,
        is_category=is_category,
        unread=unread,
        seed=seed,
        n_threads=n_threads,
    )
    members = {BACKBONE: found.raw}
    for learner in learners:
        said = learner.out_of_fold(task, most=effort.curve_rows)
        if said is not None:
            members[learner.name] = said
    stack, worth = stack_in_time(members, examples.fraud, folds, legit_share=effort.legit_share)
    calibrator, weight = calibrate_in_time(found.raw, examples.fraud, folds, legit_share=effort.legit_share)
    alone, stacked = calibrator, found.raw
    judged = folds
    ruled = calibrate_in_time(members[RULES], examples.fraud, folds)[0] if RULES in members else None
    if stack != Stack():
        if effort.curve_rows is not None:
            taking_part = [learner for learner in learners if learner.name in stack.members]
            whole = {learner.name: learner.out_of_fold(task, most=None) for learner in taking_part}
            members |= {name: said for name, said in whole.items() if said is not None}
        stacked = stack.raw(members)
        judged, found = on_common_ground(stacked, folds, found)
        # The stack was fitted on all legit events, whatever share of them the trees saw.
        calibrator, weight = calibrate_in_time(stacked, examples.fraud, judged)
    gbdt = grown()
    branches = {
        learner.name: learner.fit(task, encoder)
        for learner in learners
        if learner.name in members and (learner.is_told or learner.name in stack.members)
    }
    return Fitted(
        ensemble=Ensemble(encoder=encoder, gbdt=gbdt, branches=branches, stack=stack),
        worth=worth,
        unlearnt=tuple(learner.name for learner in learners if learner.name not in members),
        calibrator=calibrator,
        gbdt_calibrator=alone,
        rules_calibrator=ruled,
        calibration_weight=weight,
        clocks=unread,
        params=chosen,
        effort=effort,
        folds=judged,
        out_of_fold=found,
        stacked=stacked,
        settings=settings,
        trials=trials,
        members=comparable(members | {BACKBONE: members[BACKBONE] + np.log(effort.legit_share)}, stack, folds),
    )


def _try(
    params: Mapping[str, Any],
    *,
    rows: FloatArray,
    fraud: NDArray[np.int8],
    folds: list[Fold],
    is_category: Sequence[bool],
    seed: int,
    n_threads: int,
    step: Report,
    effort: Effort,
    unread: NDArray[np.int64],
    held: Mapping[str, Any],
) -> OutOfFold:
    return cross_fit(
        rows,
        fraud,
        folds,
        is_category=is_category,
        params={**params, **held},
        seed=seed,
        effort=effort,
        unread=unread,
        n_threads=n_threads,
        report=step,
    )


def _folds(examples: Examples, *, n_blocks: int) -> list[Fold]:
    for blocks, share, needed in ((n_blocks, 0.3, 10), (2, 0.5, 5)):
        folds = expanding_folds(
            examples.event_time_ms,
            examples.settled_at_ms,
            examples.fraud,
            n_blocks=blocks,
            first_share=share,
            min_fraud=needed,
        )
        emitted = np.concatenate([fold.emit for fold in folds]) if folds else np.empty(0, dtype=np.int64)
        n_fraud = int(examples.fraud[emitted].sum())
        if needed <= n_fraud <= emitted.shape[0] - needed:
            return folds
    raise NoFoldsError(len(examples), examples.n_fraud)


def _refit_trees(n_trees: int, folds: list[Fold], n_examples: int) -> int:
    """Let the count grow with the data: more examples carry more trees, about as their fourth root."""
    fitted = float(np.mean([fold.fit.shape[0] for fold in folds]))
    return max(1, round(n_trees * float((n_examples / fitted) ** 0.25)))

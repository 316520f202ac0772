# SPDX-License-Identifier: Apache-2.0
"""The graph network's part in a training: log-odds of events that it had not seen, and the network of the release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.encoder import Encoder
from ringfence.models.gnn import Gnn
from ringfence.models.gnn_branch import GNN, GnnBranch
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.training.calibrating import prior_log_odds
from ringfence.training.gnn import train_gnn
from ringfence.training.gnn_crossfit import FoldNetworks, fold_networks
from ringfence.training.gnn_examples import Taken
from ringfence.training.gnn_options import GnnOptions, options_for
from ringfence.training.learner import Task
from ringfence.training.samples import Samples

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_JUDGED: Final = 2_000  # legit examples of a block that the number of epochs is chosen by
_AT_ONCE: Final = 1_024  # events a thread scores; of one size, so that no bit depends on the number of threads


class TaskExamples:
    """The examples of a task as one network sees them: rows by its own encoder, without what tells the time."""

    def __init__(self, task: Task, samples: Samples, encoder: Encoder) -> None:
        self._task, self._samples, self._encoder = task, samples, encoder
        self.seats = samples.seats
        self.event_columns = samples.event_columns
        self.seat_columns = samples.seat_columns
        unread = set(task.unread.tolist())
        self.categories = tuple(column for column in encoder.category_columns if column not in unread)

    def __len__(self) -> int:
        return int(self._task.rows.shape[0])

    def take(self, positions: IntArray) -> Taken:
        """Copy those examples that are among the samples on disk."""
        return Taken(self._samples.take(positions), self.rows(positions))

    def rows(self, positions: IntArray) -> FloatArray:
        """Return encoded rows, shape (n, n_features)."""
        rows = self._task.rows[positions]  # a copy
        rows[:, self._task.unread] = np.nan
        return self._encoder.apply(rows, in_place=True)


class GnnLearner:
    """Fits networks on the folds of the trees and, where the stack counts on them, one on all examples.

    Parameters
    ----------
    samples : its first events are the examples, in their order.
    name : of the branch.
    options : None: what `options_for` says of so many frauds.
    report : called with (networks done, networks in all).
    """

    is_told: Final = False  # each event would pay for what the score does not count on

    def __init__(
        self,
        samples: Samples,
        *,
        name: str = GNN,
        options: GnnOptions | None = None,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        self.name = name
        self._samples, self._options, self._report = samples, options, report
        self._found: FoldNetworks | None = None
        self._shown: list[TaskExamples] = []  # what each of the networks found was shown, in their order

    def out_of_fold(self, task: Task, *, most: int | None) -> FloatArray | None:
        """Return what networks of the past say, as `Learner` says: log-odds at the base rate of all examples.

        None where some fold's past holds too little, among what was sampled, to learn from.
        """
        if self._found is None:
            self._found = self._fold_networks(task)
        networks = self._found.networks
        if len(networks) < len(task.folds):
            return None
        owner = np.full(task.rows.shape[0], -1, np.int64)
        rng = np.random.default_rng([task.seed, 5])
        for number, one in enumerate(networks):
            emit = one.emit if most is None or one.emit.shape[0] <= most else rng.choice(one.emit, most, replace=False)
            owner[emit] = number
        raw = np.full(owner.shape[0], np.nan)

        def score(part: tuple[int, IntArray, SampledArrays]) -> None:
            number, at, sampled = part
            raw[at] = networks[number].gnn.raw(sampled, self._shown[number].rows(at)) + networks[number].to_base_rate

        with ThreadPoolExecutor(task.n_threads) as pool:
            for at, sampled in self._samples.blocks(np.flatnonzero(owner >= 0)):
                list(pool.map(score, _parts(owner[at], at, sampled)))
        return raw

    def fit(self, task: Task, encoder: Encoder) -> GnnBranch:
        """Train on all examples that were sampled, for as many epochs as were best for the folds."""
        assert self._found is not None, "out_of_fold comes first"
        there = np.flatnonzero(self._samples.has(np.arange(task.rows.shape[0])))
        trained = train_gnn(
            TaskExamples(task, self._samples, encoder),
            task.fraud,
            task.event_time_ms,
            fit=there,
            options=self._chosen(task),
            seed=task.seed,
            n_epochs=self._found.n_epochs,
            device="cpu",
        ).gnn
        rate = prior_log_odds(task.fraud) - prior_log_odds(task.fraud[there])
        header = msgspec.structs.replace(trained.header, shift=trained.header.shift + rate)
        if self._report is not None:
            self._report(len(task.folds) + 1, len(task.folds) + 1)
        return GnnBranch(Gnn(header, trained.graph))

    def _chosen(self, task: Task) -> GnnOptions:
        return self._options or options_for(int(task.fraud.sum()))

    def _fold_networks(self, task: Task) -> FoldNetworks:
        def examples(fit: IntArray) -> TaskExamples:
            self._shown.append(TaskExamples(task, self._samples, Encoder.fit(task.rows[fit], task.is_category)))
            return self._shown[-1]

        return fold_networks(
            examples,
            task.fraud,
            task.folds,
            there=self._samples.has(np.arange(task.rows.shape[0])),
            most_judged=MOST_JUDGED,
            options=self._chosen(task),
            seed=task.seed,
            device="cpu",
            report=lambda done, total: None if self._report is None else self._report(done, total + 1),
        )


def _parts(owner: IntArray, at: IntArray, sampled: SampledArrays) -> Iterator[tuple[int, IntArray, SampledArrays]]:
    # Of each network's events so many at a time.
    for number in np.unique(owner).tolist():
        mine = np.flatnonzero(owner == number)
        for low in range(0, mine.shape[0], _AT_ONCE):
            part = mine[low : low + _AT_ONCE]
            yield number, at[part], SampledArrays(sampled.events[part], sampled.mask[part], sampled.nodes[part])

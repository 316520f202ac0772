# SPDX-License-Identifier: Apache-2.0
"""What a release was fitted on, made again from its ledger, to ask what would have been."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import BatchSource
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.branches import STORED
from ringfence.models.seen import Seen
from ringfence.scenario.batch import FRAUD
from ringfence.scoring.release import Release
from ringfence.training.comparisons.study import Judge, Study, Variant
from ringfence.training.examples import collect_examples
from ringfence.training.fitting import Fitted, fit
from ringfence.training.learner import Task
from ringfence.training.learners import beside_trees
from ringfence.training.monotone import signs_of
from ringfence.training.recalled import recalled_rows
from ringfence.training.row_cache import RowCache
from ringfence.training.summary import data_digest
from ringfence.training.train import later_events

FloatArray = NDArray[np.float64]
Report = Callable[[str, int, int], None]  # stage, done, total

ENOUGH_FRAUDS: Final = 50  # of a later window, to judge by it rather than by the out-of-fold scores
_NO_PARAMETERS: Final = ("trials", "legit_share")  # of the settings that a release keeps


class Trees(NamedTuple):
    """Trees of their own, the scores that they give the judged events, and what fitting took."""

    fitted: Fitted
    scores: FloatArray
    seconds: float
    n_features: int


class Said(NamedTuple):
    """What a branch says out of fold, and what learning it took."""

    raw: FloatArray  # (n,) of the examples, NaN where no fold emits them
    seconds: float


class Remade:
    """A release's n examples and m later events of known label, in ledger order, with their rows.

    Attributes
    ----------
    seqs, event_time_ms : shape (n + m,).
    rows : shape (n + m, n_features), as the engine gives them.
    """

    def __init__(
        self,
        ledger: Ledger,
        release: Release,
        *,
        n_threads: int,
        now: Callable[[], float],
        enough_frauds: int = ENOUGH_FRAUDS,
        samples_dir: Path | None = None,
        cache: RowCache | None = None,
        report: Report,
    ) -> None:
        """Collect examples, later events and rows.

        Parameters
        ----------
        ledger : of the release's scenario.
        n_threads : of replay and fits; no score depends on it.
        now : seconds of a clock that never goes back, to time fits with.
        enough_frauds : of the later events, to judge by them.
        samples_dir : where neighbourhoods may be written while they are read; None: branches that read them are not
            learnt.
        cache : of feature rows, as in `train`: what is in there is not replayed.
        report : called with (stage, done, total).

        Raises
        ------
        NoExamplesError
            If the ledger has none of the examples any more.
        """
        made, scenario = release.manifest.made, release.scenario
        self.release, self.report = release, report
        self.ledger = Ledger.open(ledger.directory, scenario)  # as the release knows the scenario
        self.catalogue = Catalogue.build(scenario)
        self._enough_frauds = enough_frauds
        self._n_threads, self._now, self._samples_dir = n_threads, now, samples_dir
        label = scenario.decided.label
        settled_after_ms = 0 if label is None else label.settled_after_ms
        self.examples = collect_examples(
            self.ledger, from_ms=made.examples_from_ms, until_ms=made.models_until_ms, settled_after_ms=settled_after_ms
        )
        later = later_events(self.ledger, made.until_ms, settled_after_ms)
        if later is None:
            later = pl.DataFrame(schema={"seq": pl.Int64, "event_time_ms": pl.Int64, "value": pl.Int8})
        self.seqs = np.concatenate([self.examples.seq, later["seq"].to_numpy()])
        self.event_time_ms = np.concatenate([self.examples.event_time_ms, later["event_time_ms"].to_numpy()])
        self._later_fraud = (later["value"].to_numpy() == FRAUD).astype(np.int8)
        self.rows = recalled_rows(
            self.ledger, self.catalogue, self.seqs, cache, n_threads=n_threads, report=report
        ).rows

    @property
    def is_category(self) -> list[bool]:
        return [feature.is_category for feature in self.catalogue.features]

    @property
    def family(self) -> NDArray[np.str_]:
        """The family of each column, shape (n_features,)."""
        return np.array([feature.family for feature in self.catalogue.features])

    @property
    def seed(self) -> int:
        return self.release.manifest.made.seed

    @property
    def judges_later(self) -> bool:
        """Whether ways are compared on the later events; else on the examples, each scored out of fold."""
        return int(self._later_fraud.sum()) >= self._enough_frauds and bool((self._later_fraud == 0).any())

    @cached_property
    def judged(self) -> NDArray[np.int64]:
        """Places of the judged events among all, ascending."""
        n = len(self.examples)
        if self.judges_later:
            return np.arange(n, self.seqs.shape[0])
        return np.flatnonzero(self.whole.fitted.out_of_fold.emitted)

    @cached_property
    def whole(self) -> Trees:
        """Trees on all features, as the release has them."""
        return self.trees(self.rows)

    def trees(
        self,
        rows: FloatArray,
        *,
        kept: NDArray[np.bool_] | None = None,
        added: Sequence[bool] = (),
        seed: int | None = None,
    ) -> Trees:
        """Fit trees under the release's settings.

        Parameters
        ----------
        rows : shape (n + m, n_features + n_added).
        kept : shape (n_features,), which of the release's features they read; None: all.
        added : of each column behind those, whether it is a category.
        seed : None: the release's.
        """
        n, made = len(self.examples), self.release.manifest.made
        kept = np.ones(len(self.catalogue.features), np.bool_) if kept is None else kept
        rows = rows if kept.all() else np.ascontiguousarray(rows[:, np.append(kept, np.ones(len(added), np.bool_))])
        held = signs_of(self.catalogue)
        began = self._now()
        fitted = fit(
            rows[:n],
            self.examples,
            is_category=[*np.asarray(self.is_category)[kept].tolist(), *added],
            monotone=[*np.asarray(held)[kept].tolist(), *(0 for _ in added)] if held else (),
            seed=made.seed if seed is None else seed,
            n_threads=self._n_threads,
            params={
                name: value
                for name, value in made.settings.items()
                if name not in _NO_PARAMETERS and isinstance(value, bool | int | float)
            },
            has_times=self.release.scenario.decided.event_time_column is not None,
            learners=(),
        )
        seconds = self._now() - began
        scores = fitted.scores(Seen(rows[n:])) if self.judges_later else fitted.stacked[fitted.out_of_fold.emitted]
        return Trees(fitted, scores, seconds, rows.shape[1])

    def branches(self, source: BatchSource, names: Collection[str] | None = None) -> dict[str, Said]:
        """Learn branches beside the trees, as `train` would: out of fold, and from all examples.

        Parameters
        ----------
        source : the records that neighbourhoods are sampled from.
        names : of branches; None: all. Those that cannot be learnt here are not in what is returned.
        """
        fitted = self.whole.fitted
        n = len(self.examples)
        task = Task(
            rows=self.rows[:n],
            fraud=self.examples.fraud,
            event_time_ms=self.examples.event_time_ms,
            folds=fitted.folds,
            is_category=self.is_category,
            unread=fitted.clocks,
            seed=self.seed,
            n_threads=self._n_threads,
        )
        found = {}
        with beside_trees(
            source,
            self.catalogue,
            self.seqs,
            self.examples,
            self.rows,
            texts=event_texts(self.ledger, self.seqs),
            without=() if names is None else [name for name in STORED if name not in names],
            folder=self._samples_dir,
            seed=self.seed,
            report=self.report,
        ) as beside:
            for learner in beside.learners:
                began = self._now()
                raw = learner.out_of_fold(task, most=None)
                if raw is not None:
                    learner.fit(task, fitted.ensemble.encoder)
                    found[learner.name] = Said(raw, self._now() - began)
        return found

    def comparison(self) -> Comparison:
        return Comparison(self)


class Comparison:
    """Ways of scoring the judged events of one study, held against trees on all features."""

    def __init__(self, remade: Remade) -> None:
        self._remade = remade
        self._fraud = np.concatenate([remade.examples.fraud, remade._later_fraud])[remade.judged]
        self._judge = Judge(self._fraud, seed=remade.seed)
        self.variants: list[Variant] = []
        self.add("all features", remade.whole)

    def add(self, name: str, trees: Trees, *, text: str = "", is_control: bool = False) -> Variant:
        found = self._judge.variant(
            name,
            trees.scores,
            n_features=trees.n_features,
            seconds=trees.seconds,
            text=text,
            is_control=is_control,
        )
        self.variants.append(found)
        return found

    def study(
        self, name: str, *, title: str, question: str, answer: str, is_good: bool | None, notes: Sequence[str] = ()
    ) -> Study:
        """Close the comparison with its answer."""
        remade = self._remade
        later = "events after the cut, scored by trees that were fitted on all examples"
        folds = "the release's examples, each scored by trees that were fitted on earlier ones only"
        made = remade.release.manifest.made
        changed = []
        if data_digest(remade.examples, remade.rows[: len(remade.examples)]) != made.data_digest:
            changed = [
                "Labels in the ledger, or features of this version, are not those that the release was fitted on any "
                "more: everything here was made again, under its settings."
            ]
        return Study(
            name=name,
            title=title,
            question=question,
            answer=answer,
            is_good=is_good,
            window=later if remade.judges_later else folds,
            n=int(self._fraud.shape[0]),
            n_fraud=int(self._fraud.sum()),
            variants=self.variants,
            notes=[*notes, *changed],
        )

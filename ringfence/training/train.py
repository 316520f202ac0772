# SPDX-License-Identifier: Apache-2.0
"""How a release is made: examples, one replay, out-of-fold fit, policy, evaluation, bundle, ledger record."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.stats import FAMILIES
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Need
from ringfence.policy.policy import Policy
from ringfence.scenario.batch import FRAUD
from ringfence.scenario.clock import Clock
from ringfence.scenario.spec import AttributeUse, Scenario
from ringfence.scoring.release import Contents, Made, Release, write_release
from ringfence.training.absent import absent_from
from ringfence.training.brought import brought_learners
from ringfence.training.card import write_card
from ringfence.training.errors import NoFeaturesError
from ringfence.training.examples import collect_examples, require_both_classes
from ringfence.training.findings import findings_of
from ringfence.training.fitting import fit
from ringfence.training.held_out import amounts_of, days_spanned, later_window, out_of_fold, segments_of
from ringfence.training.importance import importance_of
from ringfence.training.learners import beside_trees
from ringfence.training.monotone import held_to, signs_of
from ringfence.training.recalled import recalled_rows
from ringfence.training.recorded import record_release
from ringfence.training.report import render
from ringfence.training.row_cache import RowCache
from ringfence.training.search import require_search
from ringfence.training.summary import alerts_of, data_digest, headline_of, metrics_of, summarise

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # stage, done, total

LATER_EVENTS: Final = 50_000  # at most so many labelled events after the cut are scored for the report


def train(
    ledger: Ledger,
    scenario: Scenario,
    policy: Policy,
    *,
    releases_dir: Path,
    clock: Clock,
    examples_from_ms: int | None = None,
    until_ms: int | None = None,
    trials: int = 0,
    seed: int = 0,
    n_threads: int = 1,
    cache: RowCache | None = None,
    studies: Path | None = None,
    progress: Progress | None = None,
    lookup_files: dict[str, bytes] | None = None,
    without: Collection[str] = (),
    samples_dir: Path | None = None,
    brought: dict[str, bytes] | None = None,
) -> Release:
    """Make a release from the ledger and record it there; the first one becomes the champion.

    Beside a service, which alone may write to its ledger, the release is made and not recorded: whatever names it next,
    a promotion or a shadow, registers it.

    Parameters
    ----------
    policy : costs and capacity; its review price is fitted on out-of-fold scores.
    releases_dir : the bundle is written to a folder of its own in there.
    examples_from_ms : decided events from then on (inclusive) are examples; earlier ones only teach the engine.
    until_ms : the cut T: nothing that became known after it is fitted. None: the end of the ledger. Where labelled
        events follow T, they are scored too, for the report alone.
    trials : hyperparameter settings to try beside the default.
    seed : the same seed on the same ledger makes the same model.
    n_threads : of LightGBM; the model does not depend on it.
    lookup_files : the files that derived values are looked up in, by the name that the scenario gives them; the release
        keeps a copy.
    brought : the files of networks that were trained elsewhere, likewise.
    cache : feature rows of earlier trainings, and a place for these; the release does not depend on it.
    without : branches beside the trees that are not tried, such as `gnn`.
    samples_dir : where neighbourhoods may be written while it lasts; None: branches that read them are not tried.
    studies : a place for finished trials: a search that was interrupted goes on, and processes share one; the release
        does not depend on it.

    Raises
    ------
    NoExamplesError, OneClassError, NoFoldsError
        If there is too little to learn from.
    NoFeaturesError
        If all feature families are switched off.
    LedgerLockedError
        If another process writes to a ledger that has no champion; the bundle exists then, but is not registered.
    UnknownBranchError
        If `without` names a branch that does not exist.
    MissingExtraError
        If there are trials and optuna is not installed.
    DerivedChangedError, LabelRuleChangedError
        If the ledger was filled with other derived values than the scenario's, or labelled by another outcome.
    """
    if trials:
        require_search()
    ledger.check_derived()
    report = progress or _silent
    catalogue = Catalogue.build(scenario)
    if not catalogue.features:
        raise NoFeaturesError(scenario.name, FAMILIES)
    networks = brought_learners(catalogue, brought or {})
    roles = tuple(role.role for role in scenario.decided.roles)
    label = scenario.decided.label
    settled_after_ms = 0 if label is None else label.settled_after_ms
    examples = collect_examples(ledger, from_ms=examples_from_ms, until_ms=until_ms, settled_after_ms=settled_after_ms)
    require_both_classes(examples)
    cut_ms = until_ms if until_ms is not None else ledger.watermark_ms
    later = later_events(ledger, cut_ms, settled_after_ms) if until_ms is not None else None
    seqs = examples.seq if later is None else np.concatenate([examples.seq, later["seq"].to_numpy()])
    rows, forgotten = recalled_rows(ledger, catalogue, seqs, cache, n_threads=n_threads, report=report)
    with beside_trees(
        ledger,
        catalogue,
        seqs,
        examples,
        rows,
        texts=event_texts(ledger, seqs),
        brought=networks,
        without=without,
        folder=samples_dir,
        seed=seed,
        report=report,
    ) as beside:
        report("fitting", 0, 0)
        fitted = fit(
            rows[: len(examples)],
            examples,
            is_category=[feature.is_category for feature in catalogue.features],
            trials=trials,
            seed=seed,
            n_threads=n_threads,
            has_times=scenario.decided.event_time_column is not None,
            monotone=signs_of(catalogue),
            studies=studies,
            learners=beside.learners,
            report=lambda done, total: report("fitting", done, total),
        )
        if Need.NEIGHBOURHOODS in fitted.ensemble.needs and beside.samples is not None:
            catalogue = Catalogue.build(scenario, neighbourhoods=beside.samples.last)
        segmentation = segments_of(rows[: len(examples)], catalogue, seed)
        windows = [out_of_fold(examples, rows, fitted, ledger, catalogue, segmentation)]
        emitted = windows[0]
        policy = policy.fit_capacity(
            emitted.scored.score,
            amounts_of(emitted.scored.amount_minor),
            n_days=days_spanned(emitted.scored.event_time_ms),
        )
        if later is not None:
            windows.insert(0, later_window(later, len(examples), rows, fitted, beside, ledger, catalogue, segmentation))
        report("evaluating", 0, 3)
        with ThreadPoolExecutor(2) as pool:  # figures beside findings, and what was fitted digested as there is time
            evaluating = pool.submit(
                lambda: [window.evaluation(seed=seed, alerts_per_day=alerts_of(policy)) for window in windows]
            )
            digesting = pool.submit(data_digest, examples, rows[: len(examples)])
            importance = importance_of(
                fitted.ensemble, beside, emitted.row, emitted.scored.fraud, catalogue.features, roles, seed=seed
            )
            report("evaluating", 1, 3)
            found = findings_of(
                ledger, catalogue, policy, examples, beside, fitted, windows, evaluating.result, seed=seed
            )
            evaluations, digest = evaluating.result(), digesting.result()
            report("evaluating", 2, 3)
            absent = absent_from(rows[: len(examples)], catalogue)
    summary = summarise(
        scenario,
        catalogue,
        policy,
        examples,
        fitted,
        beside.left_out,
        evaluations,
        importance,
        found,
        forgotten,
        absent,
        cut_ms,
        seed,
    )
    audit_only = tuple(a.name for a in scenario.decided.attributes if a.use is AttributeUse.AUDIT_ONLY)
    release = write_release(
        releases_dir,
        Contents(
            scenario=scenario,
            lookup_files=lookup_files or {},
            segmentation=segmentation,
            neighbourhoods=catalogue.neighbourhoods,
            ensemble=fitted.ensemble,
            calibrator=fitted.calibrator,
            gbdt_calibrator=fitted.gbdt_calibrator,
            rules_calibrator=fitted.rules_calibrator,
            policy=policy,
            made=Made(
                data_digest=digest,
                examples_from_ms=examples_from_ms,
                until_ms=cut_ms,
                until_seq=examples.until_seq,
                n_examples=len(examples),
                n_fraud=examples.n_fraud,
                seed=seed,
                n_seeds=fitted.effort.n_seeds,
                n_trees=fitted.ensemble.n_trees,
                settings={
                    **fitted.params,
                    "trials": trials,
                    "legit_share": fitted.effort.legit_share,
                    **held_to(catalogue),
                },
            ),
            metrics=metrics_of(summary, fitted, catalogue),
            headline=headline_of(summary),
            card=write_card(summary, decides=scenario.decide, roles=roles, audit_only=audit_only),
            report=render(summary),
        ),
    )
    record_release(ledger, release, clock)
    report("evaluating", 3, 3)
    return release


def _silent(stage: str, done: int, total: int) -> None:
    pass


def later_events(ledger: Ledger, cut_ms: int, settled_after_ms: int) -> pl.DataFrame | None:
    """Take the first events after the cut whose label is known by now; None where there are none of both kinds.

    Of events whose horizon has not passed, only the frauds are known: they are left out (`collect_examples`).
    """
    before_ms = ledger.watermark_ms - settled_after_ms + 1 if settled_after_ms else None
    events = ledger.events(cut_ms + 1, before_ms, ledger.last_seq)
    if not events.height:
        return None
    known = (
        events.join(ledger.labels(ledger.last_seq), left_on="seq", right_on="event_seq", how="inner")
        .sort("seq")
        .head(LATER_EVENTS)
    )
    n_fraud = int((known["value"] == FRAUD).sum())
    return known if 0 < n_fraud < known.height else None

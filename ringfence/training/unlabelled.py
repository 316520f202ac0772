# SPDX-License-Identifier: Apache-2.0
"""A release from the first day, when nothing is labelled: how unusual an event is, what the rules say, and a rate that
somebody states.

The score is then no calibrated probability. Its log-odds are the surprise of the anomaly model plus the log-odds of the
rules' points, moved so that their mean over the events is the stated rate: an event as unusual as one in k has odds
proportional to k, and `POINTS_TO_DOUBLE` points double them. It orders events; what it is worth, nobody knows yet. So
such a release may approve and review, and nothing else, and says so in card, report and every answer.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.rule_features import rule_features
from ringfence.engine.stats import FAMILIES
from ringfence.ledger.ledger import Ledger
from ringfence.models.anomaly import MOST_EVENTS, train_anomaly
from ringfence.models.branch import Branch
from ringfence.models.branches import ANOMALY, RULES, AnomalyBranch
from ringfence.models.calibration import assume_rate
from ringfence.models.encoder import Encoder
from ringfence.models.ensemble import Ensemble
from ringfence.models.rules import RulesModel
from ringfence.models.seen import Seen
from ringfence.models.stack import Stack
from ringfence.policy.costs import ACTIONS
from ringfence.policy.policy import Policy
from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.scenario.clock import Clock
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Contents, Made, Release, write_release
from ringfence.training.absent import absent_from
from ringfence.training.clocks import clocks
from ringfence.training.errors import NoEventsError, NoFeaturesError
from ringfence.training.folds import Fold
from ringfence.training.held_out import amounts_of, days_spanned, segments_of
from ringfence.training.memory_use import room_told
from ringfence.training.recalled import recalled_rows
from ringfence.training.recorded import record_release
from ringfence.training.row_cache import RowCache
from ringfence.training.unlabelled_card import Assumed, card_of, page_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[str, int, int], None]

MILD: Final = ("approve", "review")  # what may be done on a score that nothing was measured of
_CHUNK: Final = 65_536
_SPANS: Final = 3  # of time, in which features that tell the time are looked for


def train_unlabelled(
    ledger: Ledger,
    scenario: Scenario,
    policy: Policy,
    *,
    assumed_rate: float,
    releases_dir: Path,
    clock: Clock,
    examples_from_ms: int | None = None,
    until_ms: int | None = None,
    seed: int = 0,
    n_threads: int = 1,
    cache: RowCache | None = None,
    progress: Progress | None = None,
    lookup_files: dict[str, bytes] | None = None,
) -> Release:
    """Make a release that needs no label, and record it; the first one becomes the champion.

    Parameters
    ----------
    assumed_rate : of fraud among the events, in (0, 1), as somebody states it.
    examples_from_ms, until_ms : decided events between them, both inclusive, are looked at; labels are not.
    policy, releases_dir, clock, seed, n_threads, cache, progress, lookup_files : as in `train`.

    Raises
    ------
    NoEventsError
        If no decided event lies between them.
    NoFeaturesError
        If all feature families are switched off.
    TooFewEventsError
        If there are too few events for an anomaly model, or none that differ.
    LedgerLockedError, DerivedChangedError
        As in `train`.
    ValueError
        If the rate does not lie in (0, 1).
    """
    if not 0.0 < assumed_rate < 1.0:
        raise ValueError(f"a rate lies in (0, 1), found {assumed_rate}")
    ledger.check_derived()
    report = progress or (lambda stage, done, total: None)
    catalogue = Catalogue.build(scenario)
    if not catalogue.features:
        raise NoFeaturesError(scenario.name, FAMILIES)
    events = _events(ledger, examples_from_ms, until_ms)
    seqs = events["seq"].to_numpy()
    rows, forgotten = recalled_rows(ledger, catalogue, seqs, cache, n_threads=n_threads, report=report)
    report("fitting", 0, 2)
    is_category = [feature.is_category for feature in catalogue.features]
    encoder = Encoder.fit(rows, is_category)
    drawn = np.arange(rows.shape[0])
    if drawn.shape[0] > MOST_EVENTS:
        drawn = np.sort(np.random.default_rng(seed).choice(drawn, MOST_EVENTS, replace=False))
    encoded = np.array(encoder.apply(rows[drawn]))
    if scenario.decided.event_time_column is not None:
        encoded[:, clocks(rows, _spans(events["event_time_ms"].to_numpy()), is_category)] = np.nan
    branches: dict[str, Branch] = {ANOMALY: AnomalyBranch(train_anomaly(encoded, seed=seed))}
    if scenario.rules:
        branches[RULES] = RulesModel.of(scenario.rules, rule_features(catalogue.features), len(catalogue.features))
    stack = Stack(members=tuple(branches), weights=(1.0,) * len(branches))
    ensemble = Ensemble(encoder=encoder, gbdt=None, branches=branches, stack=stack)
    report("fitting", 1, 2)
    said = _said(ensemble, rows)
    centres = tuple(float(said[name].mean()) for name in stack.members)
    ensemble = Ensemble(
        encoder=encoder, gbdt=None, branches=branches, stack=msgspec.structs.replace(stack, centres=centres)
    )
    raw = stack.raw(said)
    calibrator = assume_rate(raw, assumed_rate)
    amounts = amounts_of(events["amount_minor"].fill_null(MISSING_AMOUNT).to_numpy())
    policy = mild(policy).fit_capacity(
        calibrator.apply(raw), amounts, n_days=days_spanned(events["event_time_ms"].to_numpy())
    )
    cut_ms = until_ms if until_ms is not None else ledger.watermark_ms
    absent = absent_from(rows, catalogue)
    assumed = Assumed(
        scenario=scenario.name,
        decides=scenario.decide,
        rate=assumed_rate,
        n_events=events.height,
        n_labelled=ledger.labels(int(seqs[-1])).height,
        until_ms=cut_ms,
        seed=seed,
        rules=scenario.rules,
        actions=policy.permitted["full"],
        missing=(*absent.roles, *absent.attributes),
    )
    release = write_release(
        releases_dir,
        Contents(
            scenario=scenario,
            lookup_files=lookup_files or {},
            segmentation=segments_of(rows, catalogue, seed),
            ensemble=ensemble,
            calibrator=calibrator,
            gbdt_calibrator=calibrator,
            rules_calibrator=assume_rate(said[RULES], assumed_rate) if RULES in said else None,
            policy=policy,
            made=Made(
                data_digest=_digest(seqs, rows),
                examples_from_ms=examples_from_ms,
                until_ms=cut_ms,
                until_seq=int(seqs[-1]),
                n_examples=events.height,
                n_fraud=0,
                seed=seed,
                assumed_rate=assumed_rate,
            ),
            metrics={
                "assumed_rate": assumed_rate,
                "n_events": events.height,
                "evaluations": [],
                "branches": [],
                "memory": {
                    "budget_bytes": scenario.memory_bytes,
                    "room": room_told(catalogue.plan.room),
                    "forgotten": msgspec.to_builtins(forgotten),
                },
                "missing_in_every_example": msgspec.to_builtins(absent),
            },
            card=card_of(assumed),
            report=page_of(assumed),
        ),
    )
    record_release(ledger, release, clock)
    report("fitting", 2, 2)
    return release


def mild(policy: Policy) -> Policy:
    """Permit a policy to approve, and to review where it prices that; on every rung."""
    priced = {ACTIONS[code] for code in policy.costs.actions}
    allowed = tuple(name for name in MILD if name in priced)
    return msgspec.structs.replace(policy, permitted={"full": allowed, "gbdt": allowed, "rules": allowed})


def _events(ledger: Ledger, from_ms: int | None, until_ms: int | None) -> pl.DataFrame:
    until_seq = ledger.last_seq if until_ms is None else ledger.seq_at(until_ms)
    events = ledger.events(-(2**62) if from_ms is None else from_ms, None, until_seq).sort("seq")
    if not events.height:
        raise NoEventsError(ledger.scenario.decide, until_ms)
    return events


def _spans(event_time_ms: IntArray) -> list[Fold]:
    """Cut the events in time, each part with what came before it, whatever their labels."""
    order = np.argsort(event_time_ms, kind="stable")
    edges = (np.linspace(0.4, 1.0, _SPANS + 1) * order.shape[0]).astype(np.int64).tolist()
    return [
        Fold(
            fit=np.sort(order[:low]),
            emit=np.sort(order[low:high]),
            start_ms=int(event_time_ms[order[low]]),
            end_ms=int(event_time_ms[order[high - 1]]),
            label_delay=False,
        )
        for low, high in pairwise(edges)
        if 0 < low < high
    ]


def _said(ensemble: Ensemble, rows: FloatArray) -> dict[str, FloatArray]:
    found: dict[str, FloatArray] = {name: np.empty(rows.shape[0]) for name in ensemble.stack.members}
    for low in range(0, rows.shape[0], _CHUNK):
        seen = Seen(rows[low : low + _CHUNK])
        for name, raw in ensemble.members(seen, ensemble.encode(seen.rows)).items():
            found[name][low : low + _CHUNK] = raw
    return found


def _digest(seqs: IntArray, rows: FloatArray) -> str:
    digest = blake2b(digest_size=16)
    for values in (seqs, rows):
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()

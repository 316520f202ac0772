# SPDX-License-Identifier: Apache-2.0
"""Another calibration for the models of a release, and weights if wished, from labels known after it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import sampled_batches
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Need
from ringfence.models.branches import RULES
from ringfence.models.calibration import Calibrator, fit_calibrator
from ringfence.models.seen import Seen
from ringfence.models.stack import BACKBONE, Stack
from ringfence.scenario.clock import Clock
from ringfence.scoring.release import Calibrated, Contents, FollowedWeights, Release, lookup_name, write_release
from ringfence.training.errors import NoExamplesError, TooFewNewLabelsError, UnlabelledBaseError
from ringfence.training.evaluation import Evaluation, Scored, evaluate
from ringfence.training.examples import Examples, collect_examples
from ringfence.training.following import FEWEST_JUDGED, follow_weights, unseen_from_ms, weights_of
from ringfence.training.held_out import amounts_of
from ringfence.training.recalibrated import Rung, Shift, card_of, gain_of, headline_of, metrics_of, page_of
from ringfence.training.recalled import recalled_rows
from ringfence.training.recorded import record_release
from ringfence.training.row_cache import RowCache
from ringfence.training.samples import sampling_catalogue
from ringfence.training.summary import data_digest

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[str, int, int], None]

FEWEST: Final = 30  # frauds, and legit events, whose labels became known since
_FITTED_SHARE: Final = 2.0 / 3.0  # of the frauds; what became known last judges
_CHUNK: Final = 16_384  # rows scored at once
_DAY_MS: Final = 86_400_000


def recalibrate(
    ledger: Ledger,
    base: Release,
    *,
    releases_dir: Path,
    clock: Clock,
    until_ms: int | None = None,
    weights: bool = False,
    seed: int = 0,
    n_threads: int = 1,
    cache: RowCache | None = None,
    note: str = "",
    progress: Progress | None = None,
) -> Release:
    """Make a release of the same models with calibrators fitted anew, and record it; the champion stays what it is.

    Fitted on are the events whose labels became known after the cut of `base` and no later than `until_ms`, and that
    no model of it was fitted on. A window of knowing holds as many slow labels of earlier events as it lacks of its
    own, so that its rate of fraud is that of the stream; a window of happening would hold the quick ones alone.

    Parameters
    ----------
    base : its scenario defines features; its costs and capacity stay, and the price of a review is fitted anew.
    until_ms : nothing that became known after it is used; None: the end of the ledger.
    weights : also let the weights of the stack follow these labels, where `follow_weights` finds reason to; the new
        release is a function of `base` and of the ledger's records up to `until_ms`.
    seed : of the intervals' bootstrap.
    note : kept in the ledger with the release.

    Raises
    ------
    TooFewNewLabelsError
        If fewer than 30 frauds or 30 legit events became known, or all at one moment.
    UnlabelledBaseError
        If `base` was made without labels.
    """
    if not base.has_trees:
        raise UnlabelledBaseError(base.id)
    report = progress or _silent
    ledger = Ledger.open(ledger.directory, base.scenario)
    examples = new_examples(ledger, base, until_ms)
    fitted, judged = _parts(examples, base, until_ms)
    catalogue = Catalogue.build(base.scenario)
    rows, _ = recalled_rows(ledger, catalogue, examples.seq, cache, n_threads=n_threads, report=report)
    report("calibrating", 0, 2)
    members = _member_scores(ledger, base, examples.seq, rows)
    follows = None
    if weights:
        seen_by_nobody = examples.event_time_ms >= unseen_from_ms(base.scenario, base.stack)
        follows = follow_weights(
            base.stack,
            members,
            examples.fraud,
            fitted=fitted[seen_by_nobody[fitted]],
            judged=judged[seen_by_nobody[judged]],
            trained=base.trained_weights,
        )
    ensemble = base.ensemble if follows is None else replace(base.ensemble, stack=follows.stack)
    raw = _rungs(base, ensemble.stack, members)
    was = _rungs(base, base.stack, members)
    judge = raw if follows is None else _rungs(base, follows.judged, members)
    old = {"full": base.calibrator, BACKBONE: base.gbdt_calibrator}
    if base.rules is not None:
        old[RULES] = base.rules[1]
    new, rungs = {}, []
    for name, scores in raw.items():
        then = fit_calibrator(judge[name][fitted], examples.fraud[fitted])
        new[name] = fit_calibrator(scores, examples.fraud)
        rungs.append(_rung(name, examples, judged, (old[name], was[name]), (then, judge[name]), seed))
    report("calibrating", 1, 2)
    until = until_ms if until_ms is not None else ledger.watermark_ms
    made = base.manifest.made
    policy = base.policy.fit_capacity(
        new["full"].apply(raw["full"]),
        amounts_of(examples.amount_minor),
        n_days=max(1.0, (until - made.until_ms) / _DAY_MS),
    )
    calibrated = Calibrated(
        release=base.id,
        digest=base.digest,
        models_until_ms=made.models_until_ms,
        after_ms=made.until_ms,
        n=len(examples),
        n_fraud=examples.n_fraud,
        data_digest=data_digest(examples, rows),
        weights=_lineage(base, ensemble.stack, asked=weights),
    )
    shift = Shift(
        base=base.id,
        after_ms=made.until_ms,
        until_ms=until,
        n_fitted=int(fitted.shape[0]),
        n_fitted_fraud=int(examples.fraud[fitted].sum()),
        judged_from_ms=int(examples.settled_at_ms[judged].min()),
        n=len(examples),
        n_fraud=examples.n_fraud,
        methods={name: (old[name].method, found.method) for name, found in new.items()},
        rungs=rungs,
        review_price=(base.policy.review_price, policy.review_price),
        weights=None if follows is None else follows.following,
    )
    release = write_release(
        releases_dir,
        Contents(
            scenario=base.scenario,
            lookup_files=_lookup_files(base),
            segmentation=base.segmentation,
            neighbourhoods=base.manifest.neighbourhoods,
            ensemble=ensemble,
            calibrator=new["full"],
            gbdt_calibrator=new[BACKBONE],
            rules_calibrator=new.get(RULES),
            policy=policy,
            made=msgspec.structs.replace(made, until_ms=until, until_seq=examples.until_seq, calibrated=calibrated),
            metrics=metrics_of(base, shift),
            headline=headline_of(shift),
            card=card_of(base, shift),
            report=page_of(base, shift),
        ),
    )
    record_release(ledger, release, clock, note=note)
    report("calibrating", 2, 2)
    return release


def new_examples(ledger: Ledger, base: Release, until_ms: int | None) -> Examples:
    """Collect the events whose label may be learnt since the cut of `base`, and was not known before it.

    Raises
    ------
    TooFewNewLabelsError
        If there are fewer than 30 of either kind.
    """
    cut_ms = base.manifest.made.until_ms
    label = base.scenario.decided.label
    settled_after_ms = 0 if label is None else label.settled_after_ms

    def known(at_ms: int | None) -> Examples | None:
        try:
            return collect_examples(ledger, from_ms=None, until_ms=at_ms, settled_after_ms=settled_after_ms)
        except NoExamplesError:
            return None

    now, then = known(until_ms), known(cut_ms)
    # What had a label by the cut may have been fitted, whatever its label became since.
    fresh = (
        np.empty(0, np.int64)
        if now is None
        else np.flatnonzero((now.settled_at_ms > cut_ms) & ~np.isin(now.seq, [] if then is None else then.seq))
    )
    n_fraud = 0 if now is None else int(now.fraud[fresh].sum())
    if now is None or n_fraud < FEWEST or fresh.shape[0] - n_fraud < FEWEST:
        raise TooFewNewLabelsError(base.id, cut_ms, until_ms, n_fraud, int(fresh.shape[0]) - n_fraud, FEWEST)
    return _taken(now, fresh)


def _taken(examples: Examples, at: IntArray) -> Examples:
    return msgspec.structs.replace(
        examples,
        seq=examples.seq[at],
        event_id=tuple(examples.event_id[place] for place in at.tolist()),
        event_time_ms=examples.event_time_ms[at],
        known_at_ms=examples.known_at_ms[at],
        settled_at_ms=examples.settled_at_ms[at],
        amount_minor=examples.amount_minor[at],
        fraud=examples.fraud[at],
    )


class _Parts(NamedTuple):
    fitted: IntArray  # positions of what became known first
    judged: IntArray  # and last


def _parts(examples: Examples, base: Release, until_ms: int | None) -> _Parts:
    """Cut in time of knowing, where two thirds of the frauds are known."""
    known = np.sort(examples.settled_at_ms[examples.fraud == 1])
    cut_ms = known[min(int(np.ceil(_FITTED_SHARE * known.shape[0])), known.shape[0] - 1)]
    first = examples.settled_at_ms < cut_ms
    for part in (first, ~first):
        n_fraud = int(examples.fraud[part].sum())
        if min(n_fraud, int(part.sum()) - n_fraud) < FEWEST_JUDGED:
            made = base.manifest.made
            raise TooFewNewLabelsError(
                base.id, made.until_ms, until_ms, n_fraud, int(part.sum()) - n_fraud, FEWEST_JUDGED, is_part=True
            )
    return _Parts(np.flatnonzero(first), np.flatnonzero(~first))


def _lineage(base: Release, stack: Stack, *, asked: bool) -> FollowedWeights | None:
    """Say whence the weights come, where somebody asked for them to follow, now or before."""
    calibrated = base.manifest.made.calibrated
    if not asked and (calibrated is None or calibrated.weights is None):
        return None
    return FollowedWeights(trained=base.trained_weights, before=weights_of(base.stack), now=weights_of(stack))


def _alone(base: Release) -> tuple[str, ...]:
    return (BACKBONE,) if base.rules is None else (BACKBONE, RULES)


def _rungs(base: Release, stack: Stack, members: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the raw scores by rung, each of shape (n,)."""
    return {"full": stack.raw(members), **{name: members[name] for name in _alone(base)}}


def _member_scores(ledger: Ledger, base: Release, seqs: IntArray, rows: FloatArray) -> dict[str, FloatArray]:
    """Return the raw scores, each of shape (n,), of whoever is in the stack or is a rung by itself."""
    ensemble = base.ensemble
    found = {name: np.empty(rows.shape[0]) for name in dict.fromkeys((*ensemble.stack.members, *_alone(base)))}
    texts = event_texts(ledger, seqs) if Need.TEXTS in ensemble.needs else ()
    low = 0
    for seen in _shown(ledger, base, seqs, rows):
        part = slice(low, low + seen.n)
        members = ensemble.members(seen._replace(texts=tuple(text[part] for text in texts)), ensemble.encode(seen.rows))
        for name, scores in found.items():
            scores[part] = members[name]
        low += seen.n
    return found


def _shown(ledger: Ledger, base: Release, seqs: IntArray, rows: FloatArray) -> Iterator[Seen]:
    last = base.manifest.neighbourhoods
    if last is None:
        yield from (Seen(rows[low : low + _CHUNK]) for low in range(0, rows.shape[0], _CHUNK))
        return
    low = 0
    for _, found in sampled_batches(ledger, sampling_catalogue(base.catalogue, last), seqs):
        yield Seen(rows[low : low + len(found)], found)
        low += len(found)


def _rung(
    name: str,
    examples: Examples,
    at: IntArray,
    before: tuple[Calibrator, FloatArray],
    after: tuple[Calibrator, FloatArray],
    seed: int,
) -> Rung:
    """Measure a rung on the events `at`: each side with its calibrator and its raw scores of all events."""

    def measured(side: tuple[Calibrator, FloatArray], title: str, explanation: str) -> tuple[FloatArray, Evaluation]:
        calibrator, raw = side
        scored = Scored(
            event_time_ms=examples.event_time_ms[at],
            fraud=examples.fraud[at],
            score=calibrator.apply(raw[at]),
            amount_minor=examples.amount_minor[at],
        )
        return scored.score, evaluate(scored, name="later_window", title=title, explanation=explanation, seed=seed)

    old, was = measured(before, "Before", "The labels that became known last, as the release scored until now.")
    new, then = measured(
        after, "After", "The same events by a calibration on the labels that became known before theirs."
    )
    return Rung(name=name, before=was, after=then, gain=gain_of(old, new, examples.fraud[at]))


def _lookup_files(base: Release) -> dict[str, bytes]:
    return {look.file: (base.path / lookup_name(look)).read_bytes() for look in base.scenario.lookups.values()}


def _silent(stage: str, done: int, total: int) -> None:
    pass

# SPDX-License-Identifier: Apache-2.0
"""The proofs behind `verify` and `demo --once`: they build two of a thing in two ways and compare."""

from __future__ import annotations

import math
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.cli.terminal import Progress
from ringfence.steps.errors import UnknownDecisionError

if TYPE_CHECKING:
    from ringfence.engine.catalogue import Catalogue
    from ringfence.engine.engine import Engine
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.records import DecisionBody, DisagreementBody
    from ringfence.models.seen import Seen
    from ringfence.scenario.batch import Batch
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace


SCORE_TOLERANCE = 1e-6
_BATCH = 65_536  # records folded at once in replay
_SMALL_BATCH = 61  # about as many as a busy service folds at once


class ParityProof(msgspec.Struct, frozen=True, kw_only=True):
    """Feature rows observed record by record, with a snapshot and restore in between, against a replay in bulk."""

    n_records: int
    n_rows: int
    n_features: int
    neighbourhoods: int | None  # events of each seat that are compared beside the rows; None: none are sampled
    restored_at_seq: int
    n_different_rows: int
    first_different_seq: int | None
    different_features: tuple[str, ...]  # of the first different row
    state_one_by_one: str
    state_replayed: str

    @property
    def holds(self) -> bool:
        return self.n_rows > 0 and self.n_different_rows == 0 and self.state_one_by_one == self.state_replayed


class StateProof(msgspec.Struct, frozen=True, kw_only=True):
    """State recovered as the service recovers it, against a fresh replay of the whole ledger.

    Where there is no snapshot, both are replays, and what differs is how many records the engine was given at once.
    """

    seq: int
    release: str | None  # whose features they are; None: those of ringfence.yaml, while no release is live
    n_features: int
    snapshot_seq: int | None  # None: there was no usable snapshot
    refused: tuple[str, ...]  # newer snapshots that recovery passes over, with the reason
    recovered: str
    replayed: str
    n_ticks: int  # on record, of the feature spec that is live
    wrong_ticks: tuple[str, ...]  # what is wrong with those that the replay computed otherwise

    @property
    def holds(self) -> bool:
        return self.seq > 0 and self.recovered == self.replayed and not self.wrong_ticks


class DecisionProof(msgspec.Struct, frozen=True, kw_only=True):
    """A decision on record, and the same decision made again from the ledger."""

    decision_id: str
    event_id: str
    release: str
    same_features: bool
    score: float
    score_again: float
    action: str
    action_again: str
    review: str | None = None  # where a review is requested on record: what `full` would have done
    review_again: str | None = None  # the same made again; None where `full` would have done what was decided

    @property
    def holds(self) -> bool:
        same_score = abs(self.score - self.score_again) <= SCORE_TOLERANCE
        same_action = self.action == self.action_again and self.review == self.review_again
        return self.same_features and same_score and same_action


class DisagreementProof(msgspec.Struct, frozen=True, kw_only=True):
    """What a shadow would have done otherwise, as it is on record and as it comes out again."""

    decision_id: str
    event_id: str
    shadow: str
    score: float
    score_again: float
    action: str
    action_again: str

    @property
    def holds(self) -> bool:
        return abs(self.score - self.score_again) <= SCORE_TOLERANCE and self.action == self.action_again


def live_catalogue(here: Workspace, scenario: Scenario) -> tuple[str | None, Catalogue]:
    """The champion and its catalogue, which state is built from; the workspace's while there is none."""
    from ringfence.engine.catalogue import Catalogue
    from ringfence.ledger.ledger import Ledger
    from ringfence.rollout.registry import Registry
    from ringfence.scoring.release import load_release

    champion = Registry.read(Ledger.open(here.ledger_dir(scenario), scenario)).champion()
    if champion is None:
        return None, Catalogue.build(scenario)
    return champion, load_release(here.releases_dir / champion).catalogue


def parity_proof(ledger: Ledger, catalogue: Catalogue, *, n_events: int, progress: Progress) -> ParityProof:
    """Fold the oldest `n_events` decided events of the ledger, and all between them, twice, and compare.

    Half way through these records the engine that observes one by one is written to a snapshot and restored.

    Parameters
    ----------
    n_events : decided events to compare, > 0; all of them where the ledger holds fewer.
    progress : called with (decided events compared, n_events).
    """
    from ringfence.engine.engine import Engine
    from ringfence.engine.snapshot import restore_newest, write_snapshot
    from ringfence.ledger.assembly import slice_batch

    bulk, single = Engine(catalogue), Engine(catalogue)
    middle = max(sum(len(batch) for batch in _until_rows(ledger, catalogue, n_events)) // 2, 1)
    n_records = n_rows = n_different = restored_at = 0
    first: tuple[int, tuple[str, ...]] | None = None
    for batch in _until_rows(ledger, catalogue, n_events):
        replayed = _read_of(bulk, batch)
        rows = []
        for i in range(len(batch)):
            rows.append(_read_of(single, slice_batch(batch, i, i + 1)))
            if n_records + i + 1 == middle:
                restored_at = single.seq
                with tempfile.TemporaryDirectory(prefix="ringfence-parity-") as folder:
                    write_snapshot(single, Path(folder))
                    restored = restore_newest(catalogue, Path(folder))
                    assert restored is not None
                    single = restored
        observed = np.concatenate(rows)
        different = (replayed != observed).any(axis=1)
        if first is None and different.any():
            at = int(np.flatnonzero(different)[0])
            decided = (batch.kind == 0) & (batch.event_type == catalogue.scenario.decided.index)
            columns = np.flatnonzero(replayed[at] != observed[at])
            names = (*catalogue.names, "neighbourhood")
            named = [names[min(column, len(names) - 1)] for column in columns.tolist()]
            first = int(batch.seq[decided][at]), tuple(dict.fromkeys(named))
        n_records += len(batch)
        n_rows += replayed.shape[0]
        n_different += int(different.sum())
        progress(min(n_rows, n_events), n_events)
    return ParityProof(
        n_records=n_records,
        n_rows=n_rows,
        n_features=len(catalogue.features),
        neighbourhoods=catalogue.neighbourhoods,
        restored_at_seq=restored_at,
        n_different_rows=n_different,
        first_different_seq=first[0] if first else None,
        different_features=first[1] if first else (),
        state_one_by_one=single.state_hash(),
        state_replayed=bulk.state_hash(),
    )


def _read_of(engine: Engine, batch: Batch) -> NDArray[np.uint64]:
    """What an engine reads of a batch, bit by bit: feature rows, and neighbourhoods where it samples them."""
    if engine.catalogue.neighbourhoods is None:
        return engine.observe(batch).view(np.uint64)
    rows, found = engine.observe_sampled(batch)
    near = [found.events.view(np.uint32), found.mask, found.nodes.view(np.uint32)]
    flat = [part.reshape(len(found), math.prod(part.shape[1:])).astype(np.uint64) for part in near]
    return np.concatenate([rows.view(np.uint64), *flat], axis=1)


def _until_rows(ledger: Ledger, catalogue: Catalogue, n_events: int) -> Iterator[Batch]:
    """Yield batches until they hold `n_events` decided events, and not one record more."""
    from ringfence.ledger.assembly import slice_batch

    left = n_events
    for batch in ledger.batches(size=4_096):
        decided = np.flatnonzero((batch.kind == 0) & (batch.event_type == catalogue.scenario.decided.index))
        if decided.shape[0] >= left:
            yield slice_batch(batch, 0, int(decided[left - 1]) + 1)
            return
        left -= decided.shape[0]
        yield batch


def state_proof(here: Workspace, scenario: Scenario, progress: Progress | None = None) -> StateProof:
    """Recover state as start-up does, replay it from nothing, and compare the digests.

    Without a snapshot recovery is a replay itself, and comparing it with another would prove nothing: then one of the
    two is folded in batches of `_SMALL_BATCH` records. Ticks on record are held against those of the fresh replay.

    Parameters
    ----------
    progress : called with (seq replayed, last seq).
    """
    from ringfence.engine.engine import Engine
    from ringfence.engine.snapshot import restore_newest
    from ringfence.engine.ticks import wrong_ticks
    from ringfence.ledger.ledger import Ledger

    release, catalogue = live_catalogue(here, scenario)
    live = catalogue.scenario
    ledger = Ledger.open(here.ledger_dir(live), live)
    until = ledger.last_seq
    refused: list[str] = []
    snapshot = restore_newest(
        catalogue, here.state_dir(live), last_seq=until, refused=lambda error: refused.append(str(error))
    )
    snapshot_seq = None if snapshot is None else snapshot.seq
    recovered = snapshot or Engine(catalogue)
    fresh = Engine(catalogue)
    _fold(recovered, ledger, until, progress, size=_BATCH if snapshot is not None else _SMALL_BATCH)
    _fold(fresh, ledger, until, progress, size=_BATCH)
    ticks = ledger.ticks(catalogue.spec_hash, until_seq=until)
    return StateProof(
        seq=until,
        release=release,
        n_features=len(catalogue.features),
        snapshot_seq=snapshot_seq,
        refused=tuple(refused),
        recovered=recovered.state_hash(),
        replayed=fresh.state_hash(),
        n_ticks=len(ticks),
        wrong_ticks=tuple(map(str, wrong_ticks(ticks, fresh.take_effects()))),
    )


def decision_proofs(
    here: Workspace, scenario: Scenario, ids: list[str], *, newest: int, progress: Progress
) -> list[DecisionProof]:
    """Make decisions again: replay to each event's seq, score with the recorded release and circumstances.

    Parameters
    ----------
    ids : decision ids; empty means the `newest` decisions on record.
    progress : called with (seq replayed, last seq needed), once per release.

    Raises
    ------
    UnknownDecisionError
        If an id is not on record.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.records import DecisionBody, Kind, ReviewRequestedBody

    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    wanted: dict[str, dict[int, tuple[str, DecisionBody]]] = {}  # release -> event seq -> id and decision
    if ids:
        found = [(decision_id, ledger.decision(decision_id)) for decision_id in ids]
    else:
        last = deque(ledger.records(kinds=(Kind.DECISION,)), maxlen=newest)
        found = [(f"d-{record.seq}", record) for record in last]
    for decision_id, record in found:
        if record is None or not isinstance(record.body, DecisionBody):
            raise UnknownDecisionError(decision_id)
        body = record.body
        wanted.setdefault(body.versions["release"], {})[body.event_seq] = decision_id, body
    bodies = [record.body for record in ledger.records(kinds=(Kind.REVIEW_REQUESTED,))]
    reviews = {body.event_seq: body.full_action for body in bodies if isinstance(body, ReviewRequestedBody)}
    return [
        proof
        for release, decisions in wanted.items()
        for proof in _made_again(here, ledger, release, decisions, reviews, progress)
    ]


def _made_again(
    here: Workspace,
    ledger: Ledger,
    release_id: str,
    decisions: dict[int, tuple[str, DecisionBody]],
    reviews: dict[int, str],
    progress: Progress,
) -> Iterator[DecisionProof]:
    from ringfence.scoring.release import load_release
    from ringfence.scoring.scorer import FULL, Scorer

    # What is left of a damaged release makes again what it decided without the rest; that is told where it does not.
    release = load_release(here.releases_dir / release_id, without=lambda error: None)
    scorer = Scorer(release)
    for event_seq, one, packed, amount_minor in _replayed(ledger, release, sorted(decisions), progress):
        decision_id, body = decisions[event_seq]
        again, review_again = scorer.again(one, amount_minor, body.circumstances), None
        if (review := reviews.get(event_seq)) is not None:
            full = scorer.again(one, amount_minor, {**body.circumstances, "rung": FULL, "without_rules": False})
            review_again = full.action if full.action != body.action else None
        yield DecisionProof(
            decision_id=decision_id,
            event_id=body.event_id,
            release=release_id,
            same_features=blake2b(one.rows.tobytes() + packed, digest_size=16).digest() == body.feature_digest,
            score=body.score,
            score_again=again.score,
            action=body.action,
            action_again=again.action,
            review=review,
            review_again=review_again,
        )


def disagreement_proofs(
    here: Workspace, scenario: Scenario, ids: Sequence[str], *, progress: Progress
) -> list[DisagreementProof]:
    """Make again what shadows would have done otherwise: replay to each event's seq, score with the shadow's release.

    Parameters
    ----------
    ids : of decisions on record; those that no shadow disagreed with are passed over.
    progress : called with (seq replayed, last seq needed), once per shadow.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.records import DecisionBody, DisagreementBody, Kind
    from ringfence.scoring.release import load_release
    from ringfence.scoring.scorer import Scorer

    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    asked = {int(decision_id.removeprefix("d-")) for decision_id in ids}
    wanted: dict[str, dict[int, list[DisagreementBody]]] = {}  # shadow -> event seq -> what it would have done
    for record in ledger.records(min(asked, default=ledger.last_seq), (Kind.DISAGREEMENT,)):
        body = record.body
        if isinstance(body, DisagreementBody) and body.decision_seq in asked:
            wanted.setdefault(body.shadow, {}).setdefault(body.event_seq, []).append(body)
    proofs = []
    for shadow, bodies in wanted.items():
        release = load_release(here.releases_dir / shadow)
        scorer = Scorer(release)
        for event_seq, one, _, amount_minor in _replayed(ledger, release, sorted(bodies), progress):
            decision = ledger.decision_of(event_seq)
            assert decision is not None
            assert isinstance(decision.body, DecisionBody)
            score = float(scorer.score(one).score[0])
            left = decision.body.circumstances.get("reviews_left")
            action = scorer.act(score, amount_minor, reviews_left=left)
            proofs += [
                DisagreementProof(
                    decision_id=f"d-{body.decision_seq}",
                    event_id=body.event_id,
                    shadow=shadow,
                    score=body.shadow_score,
                    score_again=score,
                    action=body.shadow_action,
                    action_again=action,
                )
                for body in bodies[event_seq]
            ]
    return proofs


def _replayed(
    ledger: Ledger, release: Release, event_seqs: Sequence[int], progress: Progress
) -> Iterator[tuple[int, Seen, bytes, int | None]]:
    """Yield (seq, what a release sees, its neighbourhood packed, amount in minor units) of each of these events.

    Parameters
    ----------
    event_seqs : of events of the decided type, ascending, at least one.
    """
    from ringfence.engine.engine import Engine
    from ringfence.ledger.event_texts import event_texts
    from ringfence.ledger.ledger import Ledger
    from ringfence.models.packed import pack
    from ringfence.models.seen import Seen
    from ringfence.scenario.batch import MISSING_AMOUNT

    ledger = Ledger.open(ledger.directory, release.scenario)  # ringfence.yaml may have been edited since
    engine, seqs = Engine(release.catalogue), np.array(event_seqs, np.int64)
    texts = event_texts(ledger, seqs)
    for batch in ledger.batches(until_seq=event_seqs[-1]):
        want = np.isin(batch.seq, seqs)
        near = None
        if release.catalogue.neighbourhoods is None:
            seen = Seen(engine.observe(batch, want=want))
        else:
            rows, near = engine.observe_sampled(batch, want, want)
            seen = Seen(rows, near)
        progress(int(batch.seq[-1]), event_seqs[-1])
        for at, (seq, amount) in enumerate(zip(batch.seq[want], batch.amount_minor[want], strict=True)):
            place = int(np.searchsorted(seqs, seq))
            one = seen.part(slice(at, at + 1))._replace(texts=tuple(text[place : place + 1] for text in texts))
            packed = b"" if near is None else pack(near, at)
            yield int(seq), one, packed, None if amount == MISSING_AMOUNT else int(amount)


def _fold(engine: Engine, ledger: Ledger, until: int, progress: Progress | None, *, size: int) -> None:
    for batch in ledger.batches(after_seq=engine.seq, until_seq=until, size=size):
        engine.observe(batch, want=np.zeros(len(batch), np.bool_))
        if progress is not None:
            progress(int(batch.seq[-1]), until)

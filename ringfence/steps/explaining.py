# SPDX-License-Identifier: Apache-2.0
"""Explain: why decisions on record, of any age, have the score that they have; by a replay up to each event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ringfence.scoring.exact import ExactReason, exact_reasons
from ringfence.scoring.told import Explanation, told
from ringfence.steps.errors import UnknownDecisionError

if TYPE_CHECKING:
    from pathlib import Path

    from ringfence.engine.engine import Engine
    from ringfence.engine.without import Reading
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.records import DecisionBody
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.errors import ReleaseDamagedError
    from ringfence.scoring.release import Release
    from ringfence.workspace import Workspace


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, its strongest features, and what its whole score is made of."""

    decision_id: str
    event_id: str
    action: str
    release: str
    exact_reasons: list[ExactReason]  # empty where no model was asked
    explanation: Explanation


def explain_decisions(
    here: Workspace,
    scenario: Scenario,
    ids: Sequence[str],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Explained]:
    """Explain decisions: replay to just before each event, read it again without each of its entities, and score.

    The replay begins at the newest snapshot before the first event, where there is one of the release's features.

    Parameters
    ----------
    ids : decision ids, such as d-1042.
    progress : called with (seq replayed, last seq needed), once per release.

    Returns
    -------
    In the order of `ids`.

    Raises
    ------
    UnknownDecisionError
        If an id is not on record.
    NotReproducedError
        If a decision's score does not come out again.
    ReleaseDamagedError
        If files are broken that the decision's rung needs.
    """
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.records import DecisionBody
    from ringfence.scoring.release import load_release

    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    wanted: dict[str, dict[int, tuple[str, DecisionBody]]] = {}  # release -> event seq -> id and decision
    for decision_id in ids:
        record = ledger.decision(decision_id)
        if record is None or not isinstance(record.body, DecisionBody):
            raise UnknownDecisionError(decision_id)
        wanted.setdefault(record.body.versions["release"], {})[record.body.event_seq] = decision_id, record.body
    found: dict[str, Explained] = {}
    for name, decisions in wanted.items():
        release = load_release(here.releases_dir / name, without=_left_out)
        told_of = Ledger.open(ledger.directory, release.scenario)  # ringfence.yaml may have been edited since
        readings = readings_of(told_of, release, here.state_dir(scenario), sorted(decisions), progress)
        for seq, (decision_id, body) in decisions.items():
            found[decision_id] = _explained(told_of, release, decision_id, body, readings[seq])
    return [found[decision_id] for decision_id in ids]


def readings_of(
    ledger: Ledger,
    release: Release,
    state_dir: Path,
    seqs: Sequence[int],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Reading]:
    """Read decided events again, just before each was folded; by seq.

    Parameters
    ----------
    seqs : of decided events, ascending, at least one.
    state_dir : where snapshots lie that a replay can begin at.
    """
    import numpy as np

    from ringfence.engine.without import read_without_each
    from ringfence.ledger.assembly import slice_batch

    engine = _engine_before(release, state_dir, seqs[0])
    found: dict[int, Reading] = {}
    for batch in ledger.batches(after_seq=engine.seq, until_seq=seqs[-1]):
        begin = 0
        for place in np.flatnonzero(np.isin(batch.seq, seqs)).tolist():
            before = slice_batch(batch, begin, place)
            engine.observe(before, want=np.zeros(len(before), np.bool_))
            found[int(batch.seq[place])] = read_without_each(engine, slice_batch(batch, place, place + 1))
            begin = place
        rest = slice_batch(batch, begin, len(batch))
        engine.observe(rest, want=np.zeros(len(rest), np.bool_))
        progress(int(batch.seq[-1]), seqs[-1])
    return found


def _engine_before(release: Release, state_dir: Path, seq: int) -> Engine:
    from ringfence.engine.engine import Engine
    from ringfence.engine.errors import SnapshotError
    from ringfence.engine.snapshot import list_snapshots, read_snapshot

    for path in list_snapshots(state_dir):
        if int(path.stem) < seq:
            try:
                return read_snapshot(release.catalogue, path)
            except SnapshotError:  # of other features, or damaged: an older one or the whole ledger will do
                continue
    return Engine(release.catalogue)


def _left_out(error: ReleaseDamagedError) -> None:
    """A branch is broken: decisions of a rung that does without it can be explained all the same."""


def _explained(ledger: Ledger, release: Release, decision_id: str, body: DecisionBody, reading: Reading) -> Explained:
    from ringfence.models.seen import Seen
    from ringfence.scoring.scorer import Scorer
    from ringfence.scoring.whole import whole_of_decision

    scorer = Scorer(release)
    whole = whole_of_decision(ledger, body, reading, scorer)
    exact = exact_reasons(release, [body], Seen(reading.rows[:1]))[0]
    return Explained(
        decision_id=decision_id,
        event_id=body.event_id,
        action=body.action,
        release=release.id,
        exact_reasons=exact,
        explanation=told(whole, ledger),
    )

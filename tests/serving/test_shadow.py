# SPDX-License-Identifier: Apache-2.0
"""A release that scores along: what it comes to is what it would have answered, each decision is counted once."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.cli.proofs import disagreement_proofs
from ringfence.engine.engine import Engine
from ringfence.engine.snapshot import list_snapshots, write_snapshot
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, DisagreementBody, Kind, ReviewRequestedBody
from ringfence.models.seen import Seen
from ringfence.rollout.registry import Registry
from ringfence.scenario.batch import EVENT
from ringfence.scenario.clock import FakeClock
from ringfence.scoring import Release
from ringfence.scoring.errors import ReleaseError
from ringfence.scoring.scorer import Scorer
from ringfence.serving import shadow
from ringfence.serving.opinions import Opinions, Standing
from ringfence.serving.service import State
from ringfence.serving.shadow import SNAPSHOTS, Along, shadow_all
from ringfence.workspace import Workspace

from .conftest import NOW_MS, POLICY, RunningService, claim, copy_of
from .releases import OTHER_WINDOWS, make_release
from .routed_release import promote_routed_release
from .test_ledger_trouble import until
from .test_service import decide

Start = Callable[..., RunningService]
OTHER_COSTS = POLICY.replace("cost: 5", "cost: 400")  # reviews far less


def shadowed(service: RunningService, release: Release) -> None:
    answer = service.ask("POST", "/v1/releases/shadow", {"release": release.id, "note": "wider windows"})
    assert answer.status_code == 200, answer.text


@contextlib.contextmanager
def along(service: RunningService) -> Iterator[tuple[Along, Opinions]]:
    """The shadow, in the test's own thread."""
    state_dir = service.workspace.state_dir(service.scenario)
    now = Registry.read(service.ledger).shadow()
    assert now is not None
    with contextlib.closing(Opinions(state_dir)) as opinions:
        yield (
            Along(now, service.ledger, service.workspace.releases_dir, state_dir, opinions, opinions.begin(now)),
            opinions,
        )


def catch_up(service: RunningService, n: int | None = None) -> Standing:
    """Follow to the end of the ledger, or through `n` batches; tell what was found."""
    now = Registry.read(service.ledger).shadow()
    assert now is not None
    with along(service) as (follower, opinions):
        turns = iter([False] * (10**6 if n is None else n - 1))
        follower.catch_up(lambda: next(turns, True), threading.Event())
        follower.ask_after_waiting()
        found = opinions.standing(now)
    assert found is not None
    return found


def answered(service: RunningService, release: Release) -> dict[int, tuple[float, str, DecisionBody]]:
    """The slow twin: replay the whole ledger event by event, and answer what was decided after the shadow began."""
    now = Registry.read(service.ledger).shadow()
    assert now is not None
    decisions = {
        record.body.event_seq: record.body
        for record in service.ledger.records(now.since_seq, (Kind.DECISION,))
        if isinstance(record.body, DecisionBody)
    }
    engine, scorer, found = Engine(release.catalogue), Scorer(release), {}
    for batch in Ledger.open(service.ledger.directory, release.scenario).batches(size=1):
        row = engine.observe(batch)
        body = decisions.get(int(batch.seq[0])) if batch.kind[0] == EVENT else None
        if body is not None:
            amount = int(batch.amount_minor[0])
            answer = scorer.again(Seen(row), amount, {"reviews_left": body.circumstances["reviews_left"]})
            found[body.event_seq] = answer.score, answer.action, body
    return found


def ids(service: RunningService) -> list[str]:
    return [f"d-{record.seq}" for record in service.ledger.records(kinds=(Kind.DECISION,))]


def on_record(ledger: Ledger) -> list[DisagreementBody]:
    bodies = [record.body for record in ledger.records(kinds=(Kind.DISAGREEMENT,))]
    return [body for body in bodies if isinstance(body, DisagreementBody)]


def recorded(service: RunningService, n: int) -> list[DisagreementBody]:
    until(lambda: len(on_record(service.ledger)) >= n)
    return on_record(service.ledger)


def test_a_shadow_of_other_features_comes_to_what_it_would_have_answered(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS, policy=OTHER_COSTS)
    service = start()
    for number in range(5):
        decide(service, claim(f"before-{number}"))
    shadowed(service, other)
    for number in range(40):
        decide(service, claim(f"after-{number}"))
    standing = catch_up(service)
    twin = answered(service, other)
    assert len(twin) == 40
    assert Counter({(pair.action, pair.shadow_action): pair.n for pair in standing.pairs}) == Counter(
        (body.action, action) for _, action, body in twin.values()
    )
    apart = [score - body.score for score, _, body in twin.values()]
    assert standing.mean_difference == pytest.approx(np.mean(apart), abs=1e-12)
    differs = {seq: told for seq, told in twin.items() if told[1] != told[2].action}
    assert 0 < len(differs) < 40
    found = recorded(service, len(differs))
    assert {(one.event_seq, one.shadow_score, one.shadow_action, one.action) for one in found} == {
        (seq, score, action, body.action) for seq, (score, action, body) in differs.items()
    }
    assert {(one.release, one.shadow) for one in found} == {(service.release.id, other.id)}
    proofs = disagreement_proofs(workspace, service.scenario, ids(service), progress=lambda at, of: None)
    assert {proof.decision_id for proof in proofs} == {f"d-{one.decision_seq}" for one in found}
    assert [proof for proof in proofs if not proof.holds] == []
    until(lambda: service.ask("GET", "/v1/releases").json()["shadow"]["different"] == len(differs))
    assert audit_ledger(service.ledger).holds


def test_at_rest_no_record_is_left_to_read_whatever_came_last(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start(follower=False)
    shadowed(service, other)
    decide(service, claim("s-0"))
    catch_up(service)
    assert told(service)["records_behind"] == 0
    said = ReviewRequestedBody(
        decision_seq=1, event_seq=1, event_id="s-0", event_type="claim", release=service.release.id, rung="rules",
        why="", action="approve", score=0.1, full_action="review", full_score=0.2,
    )  # fmt: skip
    service.service.record([(Kind.REVIEW_REQUESTED, said)])  # no event: nothing to score
    assert told(service)["records_behind"] == 1
    catch_up(service)
    assert told(service)["records_behind"] == 0


def test_a_shadow_that_ends_in_the_middle_counts_nothing_twice(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, policy=OTHER_COSTS)
    service = start()
    shadowed(service, other)
    for number in range(60):
        decide(service, claim(number))
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr(shadow, "_PORTION", 7)
        patched.setattr(shadow, "_REST", 0.0)
        first = catch_up(service, n=3)
        assert 0 < first.n_same + first.n_different < 60
        catch_up(service, n=2)
        whole = catch_up(service)
    assert whole.n_same + whole.n_different == 60
    assert whole == catch_up(service)
    twin = answered(service, other)
    assert whole.n_different == sum(action != body.action for _, action, body in twin.values()) > 0
    assert len(recorded(service, whole.n_different)) == whole.n_different


def test_it_begins_with_a_snapshot_of_its_own_features_and_never_with_one_from_beyond(
    start: Start, workspace: Workspace
) -> None:
    other = make_release(workspace, OTHER_WINDOWS, policy=OTHER_COSTS)
    service = start()
    shadowed(service, other)
    for number in range(20):
        decide(service, claim(number))
    beyond = Engine(other.catalogue)
    for batch in Ledger.open(service.ledger.directory, other.scenario).batches():
        beyond.observe(batch)
    folder = workspace.state_dir(service.scenario) / SNAPSHOTS
    write_snapshot(beyond, folder)
    with along(service) as (follower, _):
        assert follower.engine.seq == 0
    assert catch_up(service).n_same + catch_up(service).n_different == 20
    with along(service) as (follower, _):
        assert follower.engine.seq == beyond.seq
        assert follower.engine.state_hash() == beyond.state_hash()


def test_it_keeps_a_snapshot_after_a_long_replay_unless_the_champions_will_do(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_AT_ONCE", 100)
    own, same = make_release(workspace, OTHER_WINDOWS), make_release(workspace, seed=3)
    service = start()
    folder = workspace.state_dir(service.scenario) / SNAPSHOTS
    write_snapshot(live_engine(service), workspace.state_dir(service.scenario))
    shadowed(service, same)
    decide(service, claim("one"))
    with along(service) as (follower, _):
        assert follower.engine.seq > 0
        follower.catch_up(lambda: False, threading.Event())
        follower.keep_snapshot()
    assert list_snapshots(folder) == []
    shadowed(service, own)
    decide(service, claim("two"))
    with along(service) as (follower, _):
        assert follower.engine.seq == 0
        follower.catch_up(lambda: False, threading.Event())
        follower.keep_snapshot()
        assert [int(path.stem) for path in list_snapshots(folder)] == [follower.engine.seq]
        follower.keep_snapshot()
        assert len(list_snapshots(folder)) == 1


def live_engine(service: RunningService) -> Engine:
    live = service.service._live
    assert live is not None
    return live.engine


def test_a_disagreement_that_does_not_follow_from_the_ledger_is_found_out(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_release(workspace, policy=OTHER_COSTS)
    service = start()
    shadowed(service, other)
    for number in range(60):
        decide(service, claim(number))
    n = catch_up(service).n_different
    found = recorded(service, n)
    service.service.stop()
    here = ["-w", str(workspace.path)]
    assert run(["verify", "decision", *here]) == Exit.OK
    assert f"{n} of {n} disagreements of a shadow reproduced" in capsys.readouterr().out
    made_up = msgspec.structs.replace(found[0], decision_seq=found[0].decision_seq, shadow_score=0.99)
    with service.ledger.writer(FakeClock(NOW_MS)) as writer:
        writer.stage(Kind.DISAGREEMENT, made_up)
        writer.commit()
    assert run(["verify", "decision", f"d-{made_up.decision_seq}", *here]) == Exit.CHECK_FAILED
    told = capsys.readouterr().out
    assert f"the shadow {other.id} NOT reproduced: score 0.99 and" in told
    assert run(["verify", "decision", f"d-{found[1].decision_seq}", *here]) == Exit.OK


def test_an_event_left_to_the_nightly_run_is_compared_once_it_is_decided(template: Workspace, tmp_path: Path) -> None:
    here = copy_of(template, tmp_path / "routed")
    promote_routed_release(here, FakeClock(NOW_MS - 3_600_000))
    other = make_release(here, policy=OTHER_COSTS)
    service = RunningService(here, FakeClock(NOW_MS), _config())
    try:
        shadowed(service, other)
        waits = [service.ask("POST", "/v1/decisions", claim(f"small-{number}", amount=50.0)) for number in range(6)]
        assert {answer.status_code for answer in waits} == {202}
        at_once = service.ask("POST", "/v1/decisions", claim("large", amount=9_000_000.0))
        assert at_once.status_code == 200
        standing = catch_up(service)
        assert (standing.n_waiting, standing.n_same + standing.n_different) == (6, 1)
        done = service.ask("POST", "/v1/pending/decide", {})
        assert done.json()["decided"] == 6, done.text
        standing = catch_up(service)
        assert (standing.n_waiting, standing.n_same + standing.n_different) == (0, 7)
        assert standing == catch_up(service)
        twin = answered(service, other)
        assert standing.n_different == sum(action != body.action for _, action, body in twin.values())
    finally:
        service.stop()


def test_an_event_that_was_learned_first_is_compared_once_it_is_decided(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS, policy=OTHER_COSTS)
    service = start()
    shadowed(service, other)
    event = claim("learned", amount=700.0)
    assert service.ask("POST", "/v1/events", {**event, "event_type": "claim"}).status_code == 202
    decide(service, claim("at once"))
    standing = catch_up(service)
    assert (standing.n_waiting, standing.n_same + standing.n_different) == (1, 1)
    decide(service, event)
    standing = catch_up(service)
    assert (standing.n_waiting, standing.n_same + standing.n_different) == (0, 2)
    twin = answered(service, other)
    assert standing.mean_difference == pytest.approx(np.mean([score - body.score for score, _, body in twin.values()]))


def test_history_that_is_imported_meanwhile_is_folded_and_not_scored(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    first = RunningService(workspace, FakeClock(NOW_MS), _config())
    shadowed(first, other)
    decide(first, claim("before"))
    first.stop()
    claims = [claim(f"imported-{number}") for number in range(30)]
    others = "shop_id,witness_ids,policy_age_days,vehicle_make,narrative,towed,bought_at,phone,is_fraud"
    lines = [f"{one['event_id']},{one['event_time']},{one['amount']},1" + ",shop-1" + 8 * "," for one in claims]
    text = "\n".join([f"claim_id,claim_time,amount,claimant_id,{others}", *lines])
    (workspace.path / "more.csv").write_text(text)
    imported = ringfence.open(workspace.path).import_(workspace.path / "more.csv")
    assert imported["n_events"].to_list() == [30]
    service = start()
    decide(service, claim("after"))
    standing = catch_up(service)
    assert (standing.n_waiting, standing.n_same + standing.n_different) == (0, 2)
    twin = answered(service, other)
    assert standing.mean_difference == pytest.approx(np.mean([score - body.score for score, _, body in twin.values()]))


def _config() -> Any:
    from ringfence.serving.config import ServiceConfig

    from .conftest import PATIENT

    return ServiceConfig(**PATIENT)


def test_an_event_that_it_cannot_score_is_counted_and_the_others_are_compared(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_release(workspace, policy=OTHER_COSTS)
    service = start()
    shadowed(service, other)
    for number in range(12):
        decide(service, claim(number))
    score, bad = Scorer.score, {3, 7}

    def hindered(scorer: Scorer, seen: Seen, **told: Any) -> Any:
        if seen.n > 1 or any(row.tobytes() in hindered_rows for row in seen.rows):
            raise RuntimeError("this one is odd")
        return score(scorer, seen, **told)

    engine, rows = Engine(other.catalogue), []
    for batch in service.ledger.batches(size=1):
        row = engine.observe(batch)
        if batch.kind[0] == EVENT and service.ledger.decision_of(int(batch.seq[0])) is not None:
            rows.append(row[0].tobytes())
    hindered_rows = {rows[at] for at in bad}
    monkeypatch.setattr(Scorer, "score", hindered)
    standing = catch_up(service)
    assert (standing.n_impossible, standing.n_same + standing.n_different) == (2, 10)


def test_a_shadow_that_is_broken_is_told_and_goes_on_once_it_is_mended(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_AGAIN_S", 0.1)
    monkeypatch.setattr(shadow, "_POLL_S", 0.02)
    other = make_release(workspace, policy=OTHER_COSTS)
    service = start()
    shadowed(service, other)
    decide(service, claim("one"))
    model = next((workspace.releases_dir / other.id).glob("**/gbdt*"))
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    with pytest.raises(ReleaseError), along(service):
        pass
    ended = threading.Event()
    state_dir = workspace.state_dir(service.scenario)
    thread = threading.Thread(
        target=shadow_all, args=(service.ledger, workspace.releases_dir, state_dir, ended.is_set), daemon=True
    )
    thread.start()
    try:
        until(lambda: model.name in (told(service)["failure"] or ""))
        assert service.service.state is State.READY
        model.write_bytes(whole)
        until(lambda: told(service)["failure"] is None and told(service)["same"] + told(service)["different"] == 1)
        ended_shadow = service.ask("POST", "/v1/releases/unshadow")
        assert ended_shadow.status_code == 200
        decide(service, claim("two"))
        assert service.ask("GET", "/v1/releases").json()["shadow"] is None
        shadowed(service, other)
        decide(service, claim("three"))
        until(lambda: told(service)["same"] + told(service)["different"] == 1)
    finally:
        ended.set()
        thread.join(10)


def told(service: RunningService) -> dict[str, Any]:
    found: dict[str, Any] = service.ask("GET", "/v1/releases").json()["shadow"]
    return found

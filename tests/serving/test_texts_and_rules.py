# SPDX-License-Identifier: Apache-2.0
"""A service whose score counts on narratives and that has rules: answers, late decisions, proofs, the lowest rung."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.cli.proofs import decision_proofs
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.rule_features import rule_features
from ringfence.ledger.ledger import Ledger
from ringfence.models import Ensemble, Stack, fit_calibrator
from ringfence.models.rules import RulesModel
from ringfence.models.text import train_texts
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Rule
from ringfence.scoring import Contents, write_release
from ringfence.serving.recovery import champion_of
from ringfence.workspace import Workspace

from .conftest import NOW_MS, RunningService, claim
from .test_service import decide

RULES = (
    Rule(name="dear", when="amount > 5000", points=40, says="The claim is high"),
    Rule(name="known-shop", when="repair_shop.is_new = false", points=-5),
)
STOLEN, KEPT = "The car was stolen in the night", "The car was not stolen in the night"


@pytest.fixture
def reading(workspace: Workspace, start: Callable[..., RunningService]) -> Callable[[], RunningService]:
    """Promote the template's release with a text model and rules beside its trees."""
    spec = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(spec), spec)
    base = champion_of(ledger, workspace.releases_dir)
    texts, fraud = [STOLEN, KEPT] * 60, np.array([1, 0] * 60)
    catalogue = Catalogue.build(base.scenario)
    rules = RulesModel.of(RULES, rule_features(catalogue.features), len(catalogue.features))
    branches = {**base.ensemble.branches, "text": train_texts((texts,), fraud), "rules": rules}
    stack = Stack(members=("gbdt", "text"), weights=(1.0, 0.8), intercept=-0.1)
    points = np.repeat([-5.0, 0.0, 40.0], 40)
    release = write_release(
        workspace.releases_dir,
        Contents(
            scenario=msgspec.structs.replace(base.scenario, rules=RULES),
            ensemble=Ensemble(encoder=base.encoder, gbdt=base.ensemble.gbdt, branches=branches, stack=stack),
            calibrator=base.calibrator,
            gbdt_calibrator=base.gbdt_calibrator,
            rules_calibrator=fit_calibrator(rules.log_odds(points), np.repeat([0, 1, 0, 1], [76, 4, 20, 20])),
            policy=base.policy,
            made=base.manifest.made,
        ),
    )
    with ledger.writer(FakeClock(NOW_MS - 1_000)) as writer:
        registry = Registry.read(ledger)
        registry.register(writer, release.id, digest=release.digest)
        writer.commit()
        Registry.read(ledger).promote(writer, release.id)
        writer.commit()
    return start


def told(number: str, narrative: str | None, **changes: Any) -> dict[str, Any]:
    attributes = {"policy_age_days": 100.0, "vehicle_make": "vw"}
    if narrative is not None:
        attributes |= {"narrative": narrative}
    entities = {"claimant": f"new-{number}", "repair_shop": f"far-{number}"}
    return claim(number, event_time=NOW_MS - 5_000, amount=9_000.0, entities=entities, attributes=attributes, **changes)


def test_what_a_narrative_says_counts_and_no_word_of_it_is_told(reading: Callable[[], RunningService]) -> None:
    service = reading()
    assert service.release.id == Registry.read(service.ledger).champion()
    stolen, kept = decide(service, told("a", STOLEN)), decide(service, told("b", KEPT))
    silent = decide(service, told("c", None))
    assert stolen["rung"] == "full"
    assert stolen["members"]["text"] > 0.7 > 0.3 > kept["members"]["text"]
    assert stolen["score"] > silent["score"] > kept["score"]
    assert stolen["members"]["rules"] > 0.7
    assert not any("stolen" in reason["sentence"] for reason in stolen["reasons"])


def test_an_event_learned_first_is_decided_with_what_it_said(reading: Callable[[], RunningService]) -> None:
    first = reading()
    learned = told("later", STOLEN)
    assert first.ask("POST", "/v1/events", learned).status_code == 202
    first.service.stop()
    second = reading()
    answer = decide(second, learned)
    assert answer["members"]["text"] == decide(second, told("now", STOLEN))["members"]["text"]
    here = second.workspace
    proofs = decision_proofs(here, here.scenario(), ids=[], newest=2, progress=lambda done, total: None)
    assert len(proofs) == 2
    assert all(proof.same_features for proof in proofs)
    assert [proof.score_again for proof in proofs] == [proof.score for proof in proofs]


def test_rules_answer_where_trees_are_gone_or_scoring_fails(
    reading: Callable[[], RunningService], workspace: Workspace
) -> None:
    service = reading()
    live = service.service._live
    assert live is not None
    live.scorer._by_rung = None  # models that turned out broken after start-up
    failed = decide(service, told("failed", STOLEN))
    service.service.stop()
    for name in ("trees.npz", "text.npz"):
        (service.release.path / name).unlink()
    again = reading()
    high, low = decide(again, told("high", STOLEN)), decide(again, {**told("low", STOLEN), "amount": 10.0})
    for answer in (failed, high, low):
        assert (answer["rung"], answer["degraded"], answer["action"] != "decline") == ("rules", True, True)
        assert list(answer["members"]) == ["rules"]
    assert failed["circumstances"]["degraded"] == "TypeError"
    assert failed["score"] == high["score"] > 2 * low["score"]
    assert (high["reasons"][0]["code"], high["reasons"][0]["sentence"]) == ("RULE_DEAR", "The claim is high")


def test_without_its_texts_the_trees_answer_alone(reading: Callable[[], RunningService]) -> None:
    service = reading()
    service.service.stop()
    (service.release.path / "text.npz").unlink()
    answer = decide(reading(), told("alone", STOLEN))
    assert (answer["rung"], answer["circumstances"]["degraded"]) == ("gbdt", "text.npz is broken")


class FailingRules(RulesModel, frozen=True, kw_only=True, dict=True):
    """Rules that turn out wrong when they are asked."""

    def points(self, rows: Any) -> Any:
        raise ZeroDivisionError


def test_rules_that_fail_leave_the_base_rate_and_the_decision_is_reproduced(
    reading: Callable[[], RunningService], workspace: Workspace
) -> None:
    service = reading()
    live = service.service._live
    assert live is not None
    branches = live.scorer.release._branches
    rules = branches["rules"]
    assert isinstance(rules, RulesModel)
    branches["rules"] = FailingRules(**msgspec.structs.asdict(rules))
    live.scorer._by_rung = {}  # no model is left
    failed = decide(service, told("failed", STOLEN))
    assert (failed["rung"], failed["members"], failed["action"] != "decline") == ("rules", {}, True)
    assert failed["circumstances"]["without_rules"] is True
    assert failed["score"] == live.scorer.base_rate
    (proof,) = decision_proofs(workspace, service.scenario, [failed["decision_id"]], newest=1, progress=no_progress)
    assert proof.holds


def test_what_a_damaged_release_decided_is_reproduced_by_what_is_left_and_after_its_repair(
    reading: Callable[[], RunningService], workspace: Workspace
) -> None:
    service = reading()
    service.service.stop()
    files = {name: (service.release.path / name).read_bytes() for name in ("trees.npz", "rules.json")}
    for name in files:
        (service.release.path / name).unlink()
    damaged = reading()
    answer = decide(damaged, told("damaged", STOLEN))
    assert (answer["rung"], answer["circumstances"]["without_rules"]) == ("rules", True)
    ids = [answer["decision_id"]]
    assert [one.holds for one in decision_proofs(workspace, damaged.scenario, ids, newest=1, progress=no_progress)] == [
        True
    ]
    for name, content in files.items():
        (service.release.path / name).write_bytes(content)
    assert [one.holds for one in decision_proofs(workspace, damaged.scenario, ids, newest=1, progress=no_progress)] == [
        True
    ]


def no_progress(done: int, total: int) -> None:
    """Nobody watches."""

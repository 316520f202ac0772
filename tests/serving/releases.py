# SPDX-License-Identifier: Apache-2.0
"""More releases for the tiny workspace, of its feature spec or of another, and a client that never stops asking."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models import AnomalyBranch, Encoder, Ensemble, Stack, fit_calibrator, train_anomaly, train_gbdt
from ringfence.policy import policy_from_text
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.scoring import Contents, Made, Release, write_release
from ringfence.workspace import Workspace

from .conftest import NOW_MS, POLICY, SCENARIO, RunningService, claim

OTHER_WINDOWS = SCENARIO.replace("windows: [7d, 30d]", "windows: [1d, 14d, 60d]")
_TOWED = "          towed: boolean\n"
MORE_ATTRIBUTES = SCENARIO.replace(_TOWED, f"{_TOWED}          mileage: number\n")


def make_release(
    workspace: Workspace,
    scenario_text: str = SCENARIO,
    *,
    seed: int = 2,
    policy: str = POLICY,
    register: bool = True,
    neighbourhoods: int | None = None,
) -> Release:
    """Train a release on what the workspace's ledger holds, and register it; nothing is promoted."""
    path = workspace.path / f"scenario-{seed}.yaml"
    path.write_text(scenario_text)
    scenario = next(iter(load_scenarios(path).values()))
    ledger = Ledger.open(workspace.ledger_dir(scenario.name), scenario)
    catalogue = Catalogue.build(scenario)
    known = ledger.labels()
    seqs = known["event_seq"].to_numpy()
    rows = feature_rows(ledger, catalogue, seqs).rows
    labels = known["value"].to_numpy().astype(np.int64)
    encoder = Encoder.fit(rows, [feature.is_category for feature in catalogue.features])
    encoded = encoder.apply(rows)
    params = {"min_data_in_leaf": 5, "num_leaves": 7}
    gbdt = train_gbdt(encoded, labels, n_trees=15, seed=seed, categories=encoder.category_columns, params=params)
    anomaly = train_anomaly(encoded, seed=seed)
    members = {"gbdt": gbdt.raw(encoded), "anomaly": anomaly.raw(encoded)}
    stack = Stack(members=("gbdt", "anomaly"), weights=(0.9, 0.2), intercept=-0.2)
    release = write_release(
        workspace.releases_dir,
        Contents(
            scenario=scenario,
            lookup_files={},
            ensemble=Ensemble(encoder=encoder, gbdt=gbdt, branches={"anomaly": AnomalyBranch(anomaly)}, stack=stack),
            calibrator=fit_calibrator(stack.raw(members), labels),
            gbdt_calibrator=fit_calibrator(members["gbdt"], labels),
            policy=policy_from_text(policy, where="policy.yaml"),
            made=Made(
                data_digest="1" * 32,
                examples_from_ms=None,
                until_ms=NOW_MS,
                until_seq=600,
                n_examples=len(labels),
                n_fraud=int(labels.sum()),
                seed=seed,
            ),
        ),
    )
    if register:
        with ledger.writer(FakeClock(NOW_MS - 1_000)) as writer:
            Registry.read(ledger).register(writer, release.id, digest=release.digest)
            writer.commit()
    return release


def asked(service: RunningService, route: str, body: object = None) -> dict[str, Any]:
    """Ask for a switch and wait for its end."""
    response = service.ask("POST", f"/v1/releases/{route}", body)
    assert response.status_code == 202, response.text
    return waited(service, response.json()["number"])


def waited(service: RunningService, number: int) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while True:
        found: dict[str, Any] = service.ask("GET", "/v1/releases").json()["switch"]
        if found["number"] == number and found["step"] in ("done", "failed"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


class Asking:
    """A thread that asks for one decision after the other until the block ends; each answer is kept."""

    def __init__(self, service: RunningService, tag: str, pause_s: float = 0.003) -> None:
        self._service, self._tag, self._pause_s = service, tag, pause_s
        self.answers: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        number = 0
        while not self._ended.wait(self._pause_s):
            number += 1
            response = self._service.ask("POST", "/v1/decisions", claim(f"{self._tag}-{number}"), key="decide")
            if response.status_code == 200:
                self.answers.append(response.json())
            else:
                self.refused.append(response.text)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

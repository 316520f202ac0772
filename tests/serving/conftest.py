# SPDX-License-Identifier: Apache-2.0
"""A tiny workspace with real history, a real release and a running service, driven through its ASGI face."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.ledger.ledger import Ledger
from ringfence.models import AnomalyBranch, Encoder, Ensemble, Stack, fit_calibrator, train_anomaly, train_gbdt
from ringfence.policy import policy_from_text
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.lookup_files import prepare_lookups, read_lookup_files
from ringfence.scoring import Contents, Made, Release, write_release
from ringfence.serving.app import App
from ringfence.serving.config import ServiceConfig
from ringfence.serving.keys import Scope, create_key, load_keys
from ringfence.serving.recovery import champion_of
from ringfence.serving.service import ScenarioService, State
from ringfence.serving.telemetry import Telemetry
from ringfence.workspace import Workspace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from ringfence.serving.tracing import Traces

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is no installed package

NOW_MS = 1_750_000_000_000  # 2025-06-15T15:06:40Z
DAY_MS = 86_400_000

SCENARIO = """\
scenarios:
  motor-claims:
    decide: claim
    time_zone: Europe/Berlin
    label_precedence: [court]
    sources: {claim: claims.csv, policy_change: changes.csv}
    windows: [7d, 30d]
    events:
      claim:
        event_id: claim_id
        event_time: claim_time
        amount: {field: amount, currency: EUR}
        entities:
          claimant: {column: claimant_id, type: person}
          repair_shop: shop_id
          witness: {column: witness_ids, type: person, many: true}
        attributes:
          policy_age_days: number
          vehicle_make: category
          narrative: text
          towed: boolean
          bought_at: time
          phone: {type: text, personal: true}
        label: {field: is_fraud, values: {fraud: [1], legit: [0]}, delay: 30d}
      policy_change: {event_id: change_id, event_time: changed_at, entities: {claimant: person_id}}
"""
POLICY = """\
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0}
  review: {cost: 5, detects: 0.9}
  false_decline: {fixed: 500, amount_share: 1.0}
"""


def claim(number: int | str, **changes: Any) -> dict[str, Any]:
    """An event in API form; `changes` replace its fields."""
    draw = np.random.default_rng(int(number) if isinstance(number, int) else zlib.crc32(number.encode()))
    event: dict[str, Any] = {
        "event_id": f"c-{number}",
        "event_time": NOW_MS - DAY_MS + int(draw.integers(0, DAY_MS)),
        "amount": float(draw.integers(100, 1_000_000)) / 100,
        "entities": {"claimant": int(draw.integers(50)), "repair_shop": f"shop-{draw.integers(8)}"},
        "attributes": {"policy_age_days": float(draw.integers(2000)), "vehicle_make": ["vw", "bmw"][draw.integers(2)]},
    }
    return {**event, **changes}


def make_workspace(path: Path, scenario_text: str = SCENARIO) -> Workspace:
    """Write a workspace, fill its ledger with 300 labelled claims, and promote a release trained on their rows."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "ringfence.yaml").write_text(scenario_text)
    workspace = Workspace(path)
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    clock = FakeClock(NOW_MS - 60 * DAY_MS)
    files = read_lookup_files(scenario, path)
    door = Door(scenario, ledger.identity, prepare_lookups(scenario, files))
    catalogue = Catalogue.build(scenario)
    draw = np.random.default_rng(3)
    labels, rows = [], []
    with ledger.writer(clock) as writer:
        engine = Engine(catalogue)
        for number in range(300):
            clock.advance(3_600_000)
            raw = claim(number, event_id=f"past-{number}", event_time=clock.now_ms() - 1000)
            writer.stage_event(door.admit(raw, now_ms=clock.now_ms()))
            rows.append(engine.observe(writer.batch()))
            fraud = bool(draw.random() < (0.5 if raw["entities"]["repair_shop"] in ("shop-1", "shop-2") else 0.03))
            labels.append(int(fraud))
            label = {"event_id": raw["event_id"], "label": "fraud" if fraud else "legit", "source": "investigator"}
            writer.stage_label(door.label(label))
            engine.observe(writer.batch())
        release = _release(workspace, catalogue, np.concatenate(rows), np.array(labels), files)
        registry = Registry.read(ledger)
        registry.register(writer, release.id, digest=release.digest)
        writer.commit()
        Registry.read(ledger).promote(writer, release.id)
        writer.commit()
    return workspace


def _release(
    workspace: Workspace, catalogue: Catalogue, rows: Any, labels: Any, lookup_files: dict[str, bytes]
) -> Release:
    encoder = Encoder.fit(rows, [feature.is_category for feature in catalogue.features])
    encoded = encoder.apply(rows)
    gbdt = train_gbdt(
        encoded,
        labels,
        n_trees=20,
        seed=1,
        categories=encoder.category_columns,
        params={"min_data_in_leaf": 5, "num_leaves": 7},
    )
    anomaly = train_anomaly(encoded, seed=1)
    members = {"gbdt": gbdt.raw(encoded), "anomaly": anomaly.raw(encoded)}
    stack = Stack(members=("gbdt", "anomaly"), weights=(1.0, 0.1), intercept=-0.1)
    return write_release(
        workspace.releases_dir,
        Contents(
            scenario=catalogue.scenario,
            lookup_files=lookup_files,
            ensemble=Ensemble(encoder=encoder, gbdt=gbdt, branches={"anomaly": AnomalyBranch(anomaly)}, stack=stack),
            calibrator=fit_calibrator(stack.raw(members), labels),
            gbdt_calibrator=fit_calibrator(members["gbdt"], labels),
            policy=policy_from_text(POLICY, where="policy.yaml"),
            made=Made(
                data_digest="0" * 32,
                examples_from_ms=None,
                until_ms=NOW_MS,
                until_seq=600,
                n_examples=300,
                n_fraud=int(labels.sum()),
                seed=1,
            ),
        ),
    )


# On a busy machine a test that is about something else must not end on a lower rung.
PATIENT: dict[str, Any] = {"deadline_ms": 60_000, "longest_score_ms": 60_000.0}


class RunningService:
    """The app over a real engine thread, in an event loop of its own; `ask` speaks HTTP to it without a socket."""

    def __init__(
        self, workspace: Workspace, clock: FakeClock, config: ServiceConfig, spans: SpanExporter | None = None
    ) -> None:
        keys_path = workspace.keys_path
        if not keys_path.exists():
            self.tokens = {str(scope): create_key(keys_path, str(scope), {scope}) for scope in Scope}
            (workspace.path / "tokens.json").write_text(json.dumps(self.tokens))
        self.tokens = json.loads((workspace.path / "tokens.json").read_text())
        scenario = workspace.scenario()
        self.workspace, self.scenario, self.clock = workspace, scenario, clock
        self.ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
        self.release = champion_of(self.ledger, workspace.releases_dir)
        self.telemetry = Telemetry()
        self.service = ScenarioService(
            self.ledger, self.release, workspace.state_dir(scenario), clock, config, self.telemetry
        )
        self.traces = None if spans is None else self._traces(spans, config)
        self.app = App({scenario.name: self.service}, load_keys(keys_path), self.telemetry, config, clock, self.traces)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.service.start(self.loop)
        deadline = time.monotonic() + 120
        while self.service.state is not State.READY and time.monotonic() < deadline:
            assert self.service.state is not State.FAILED
            time.sleep(0.01)
        assert self.service.state is State.READY

    def _traces(self, spans: SpanExporter, config: ServiceConfig) -> Traces:
        from ringfence.serving.tracing import Traces

        return Traces(spans, self.clock, self.telemetry, sample=config.trace_sample)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = "admin",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request. `body` is sent as it is when it is bytes or a stream, as JSON otherwise."""
        sent = {"content-type": "application/json", **(headers or {})}
        if key is not None:
            sent["authorization"] = f"Bearer {self.tokens[key]}"
        content: Any = body
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__aiter__"):
            content = json.dumps(body).encode()

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://ringfence") as client:
                return await client.request(method, path, content=content, headers=sent)

        answer: httpx.Response = self.run(send())
        return answer

    def stop(self) -> None:
        self.service.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        if self.traces is not None:
            self.traces.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace nobody serves from; copy it."""
    return make_workspace(tmp_path_factory.mktemp("template") / "workspace")


@pytest.fixture(scope="session")
def graph_template(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same with a network in the champion's stack; copy it."""
    from .graph_release import promote_graph_release

    here = copy_of(template, tmp_path_factory.mktemp("graph") / "workspace")
    promote_graph_release(here, FakeClock(NOW_MS - 3_600_000))
    return here


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(template, tmp_path / "workspace")


def copy_of(template: Workspace, path: Path) -> Workspace:
    import shutil

    shutil.copytree(template.path, path)
    return Workspace(path)


@pytest.fixture
def start(workspace: Workspace) -> Iterator[Callable[..., RunningService]]:
    """Start a service on the test's workspace; all that were started end with the test."""
    running: list[RunningService] = []

    def begin(*, spans: SpanExporter | None = None, **settings: Any) -> RunningService:
        service = RunningService(workspace, FakeClock(NOW_MS), ServiceConfig(**{**PATIENT, **settings}), spans)
        running.append(service)
        return service

    yield begin
    for service in running:
        service.stop()


@pytest.fixture(scope="module")
def shared(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests of a module that do not mind each other's records."""
    place = copy_of(template, tmp_path_factory.mktemp("shared") / "workspace")
    service = RunningService(place, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    yield service
    service.stop()

# SPDX-License-Identifier: Apache-2.0
"""What the service tells of itself: counts that add up, costs, lags, lines of the log, and never a personal value."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ringfence.engine.snapshot import write_snapshot
from ringfence.serving.decision_log import DecisionLog
from ringfence.serving.explanations import Explanations
from ringfence.serving.lags import snapshots_behind
from ringfence.serving.tally import Tally, TallyCounter, TallyHistogram
from ringfence.serving.telemetry import line_processors
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, FakeClock, RunningService, ServiceConfig, claim, copy_of
from .faults import hinder_trees
from .test_ledger_trouble import locked, until

Start = Callable[..., RunningService]
PERSONAL = "+49-171-planted"
TEXT = "zebra crossing planted"
PERSON, SHOP = "person-planted-1", "shop-planted-2"


def values(service: RunningService, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Read the samples of a name from the page, by their labels."""
    page = service.ask("GET", "/metrics", key="read").text
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


def decide(service: RunningService, event: dict[str, Any]) -> dict[str, Any]:
    response = service.ask("POST", "/v1/decisions", event)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    structlog.configure(processors=line_processors(), logger_factory=structlog.PrintLoggerFactory(stream))
    yield stream
    structlog.reset_defaults()


def test_a_histogram_counts_as_a_comparison_with_every_bound_would() -> None:
    bounds = (0.0005, 0.001, 0.25)
    registry = CollectorRegistry()
    tally = TallyHistogram("x", "X", ("a",), bounds, registry=registry).labels("one")
    drawn = [*np.random.default_rng(1).exponential(0.1, 500).tolist(), *bounds]
    for value in drawn:
        tally.observe(value)
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    for bound in bounds:
        assert found["x_bucket", str(bound)] == sum(value <= bound for value in drawn)
    assert found["x_bucket", "+Inf"] == found["x_count", None] == len(drawn)
    assert found["x_sum", None] == pytest.approx(sum(drawn))


def test_a_quantile_is_exact_where_every_whole_number_has_a_bound() -> None:
    drawn = np.random.default_rng(2).integers(0, 40, 333)
    tally = Tally(tuple(float(bound) for bound in range(41)))
    assert tally.quantile(0.95) is None
    for value in drawn.tolist():
        tally.observe(value)
    for share in (0.05, 0.5, 0.95, 1.0):
        assert tally.quantile(share) == np.quantile(drawn, share, method="inverted_cdf")


def test_a_counter_keeps_label_values_apart_and_sums_them() -> None:
    registry = CollectorRegistry()
    counter = TallyCounter("n", "N", ("a", "b"), registry=registry)
    counter.inc(("x", 'quote" and \\'))
    counter.inc(("x", "other"), 2)
    counter.inc(("y", "other"), 4)
    assert (counter.sum("x"), counter.sum("y"), counter.sum("z")) == (3, 4, 0)
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    assert {(s.labels["a"], s.labels["b"]): s.value for s in family.samples} == {
        ("x", 'quote" and \\'): 1, ("x", "other"): 2, ("y", "other"): 4,
    }  # fmt: skip


def test_decisions_are_counted_once_each_with_release_and_rung(start: Start) -> None:
    service = start()
    answers = [decide(service, claim(number)) for number in range(5)]
    decide(service, claim(0))  # again: nothing is decided
    lines = b"\n".join(json.dumps(claim(number)).encode() for number in range(5, 9))
    batch = service.ask("POST", "/v1/decisions/batch", lines, headers={"content-type": "application/x-ndjson"})
    actions = [answer["action"] for answer in answers] + [
        json.loads(line)["action"] for line in batch.text.split("\n") if line
    ]
    expected = {
        (("action", action), ("release", service.release.id), ("rung", "full"), ("scenario", "motor-claims")): float(
            actions.count(action)
        )
        for action in set(actions)
    }
    assert values(service, "ringfence_decisions_total") == expected
    assert sum(values(service, "ringfence_queue_seconds_count").values()) == 10
    assert values(service, "ringfence_ledger_lag_records")[("reader", "explanations"), ("scenario", "motor-claims")] > 0


def test_cost_is_price_times_busy_time_over_decisions(start: Start) -> None:
    service = start(machine_price_per_hour=7.2)
    assert not values(service, "ringfence_cost_per_1000_decisions")
    for number in range(4):
        decide(service, claim(number))
    until(lambda: sum(values(service, "ringfence_queue_seconds_count").values()) == 4)
    service.service.stop()  # the turn of the last answer has been counted then
    (cost,) = values(service, "ringfence_cost_per_1000_decisions").values()
    (busy_s,) = values(service, "ringfence_busy_seconds_total").values()
    assert 0 < busy_s < 60
    assert cost == pytest.approx(7.2 * busy_s / 3600 / 4 * 1000)


def test_commit_lag_grows_while_the_ledger_is_locked_and_ends_with_it(start: Start) -> None:
    service = start()
    # At zero before the first failure: Prometheus sees a rise only of what it has seen before.
    assert list(values(service, "ringfence_commit_failures_total").values()) == [0.0]
    blocker = locked(service)
    assert service.ask("POST", "/v1/decisions", claim("waits")).status_code == 503
    (first,) = values(service, "ringfence_commit_lag_seconds").values()
    (second,) = values(service, "ringfence_commit_lag_seconds").values()
    assert 0 < first < second
    blocker.execute("ROLLBACK")
    blocker.close()
    until(lambda: service.ask("GET", "/readyz", key=None).status_code == 200)
    assert list(values(service, "ringfence_commit_lag_seconds").values()) == [0.0]


def test_the_page_is_told_also_where_explanations_cannot_be_read(start: Start) -> None:
    service = start()
    answer = decide(service, claim(1))
    lag = ("reader", "explanations"), ("scenario", "motor-claims")
    assert values(service, "ringfence_ledger_lag_records")[lag] == answer["seq"]
    state_dir = service.workspace.state_dir(service.scenario)
    with contextlib.closing(Explanations(state_dir)) as explanations:
        explanations.put([], answer["seq"] - 1)
    assert values(service, "ringfence_ledger_lag_records")[lag] == 1
    for path in state_dir.glob("explanations.db*"):
        path.unlink()
    (state_dir / "explanations.db").write_bytes(b"no database" * 100)
    assert values(service, "ringfence_ledger_lag_records")[lag] == 1


def test_snapshots_are_behind_by_what_a_start_would_replay(start: Start) -> None:
    service = start()
    assert service.service._live is not None
    engine, state_dir = service.service._live.engine, service.workspace.state_dir(service.scenario)
    assert snapshots_behind(state_dir, engine.seq) == engine.seq
    write_snapshot(engine, state_dir)
    seq = engine.seq
    decide(service, claim(1))
    lag = values(service, "ringfence_ledger_lag_records")[("reader", "snapshots"), ("scenario", "motor-claims")]
    assert lag == service.service._live.engine.seq - seq > 0


def test_sizes_of_neighbourhoods_are_those_that_were_sampled(graph_template: Workspace, tmp_path: Any) -> None:
    place = copy_of(graph_template, tmp_path / "workspace")
    service = RunningService(place, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    try:
        cycle = service.service._cycle
        assert cycle is not None
        assert cycle.no_samples is not None
        most = int(np.prod(cycle.no_samples.mask.shape[1:]))
        for number in range(6):
            decide(service, claim(number, entities={"claimant": "busy", "repair_shop": "busy-shop"}))
        until(lambda: sum(values(service, "ringfence_neighbourhood_size_count").values()) == 6)
        total = sum(values(service, "ringfence_neighbourhood_size_sum").values())
        (p95,) = values(service, "ringfence_neighbourhood_size_p95").values()
        assert 0 < total <= 6 * most
        assert total / 6 <= p95 <= most
    finally:
        service.stop()


def test_one_decision_in_so_many_has_a_line_with_its_id(start: Start, log: io.StringIO) -> None:
    service = start(log_one_in=1)
    answers = [decide(service, claim(number)) for number in range(3)]
    service.service.stop()
    lines = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "decided"]
    assert [line["decision"] for line in lines] == [answer["decision_id"] for answer in answers]
    assert [line["action"] for line in lines] == [answer["action"] for answer in answers]
    assert all(line["rung"] == "full" and line["degraded"] is None and line["ms"] > 0 for line in lines)


def test_degraded_decisions_have_a_line_once_a_second(start: Start, log: io.StringIO) -> None:
    service = start(log_one_in=1_000_000_000)

    def fails() -> None:
        raise ZeroDivisionError

    hinder_trees(service, fails)
    moments = [1]
    service.service._decision_log = DecisionLog("motor-claims", 1_000_000_000, lambda: moments[-1])
    first = decide(service, claim(1))
    decide(service, claim(2))
    assert service.ask("GET", "/v1/entities/person/1", key="read").status_code in (200, 404)  # a turn after that one
    moments.append(1_000_000_002)
    third = decide(service, claim(3))
    service.service.stop()
    lines = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "decided"]
    assert [line["decision"] for line in lines] == [first["decision_id"], third["decision_id"]]
    assert lines[0]["degraded"] == first["circumstances"]["degraded"]


def test_no_personal_value_and_no_entity_id_is_in_logs_or_metrics(start: Start, log: io.StringIO) -> None:
    service = start(log_one_in=1)

    def quotes() -> None:
        raise ValueError(f"cannot convert {PERSONAL!r}, {TEXT!r} of {PERSON}")

    attributes = {"phone": PERSONAL, "narrative": TEXT, "policy_age_days": 3.0}
    event = claim("planted", entities={"claimant": PERSON, "repair_shop": SHOP}, attributes=attributes)
    decide(service, event)
    hinder_trees(service, quotes)
    answer = decide(service, {**event, "event_id": "c-planted-2"})
    assert answer["degraded"]
    bad = {**event, "event_id": "c-planted-3", "attributes": {**attributes, "policy_age_days": PERSONAL}}
    assert service.ask("POST", "/v1/decisions", bad).status_code == 422
    asked = threading.Event()

    def breaks() -> object:
        asked.set()
        raise KeyError(PERSON)

    from ringfence.serving.queue import Ask

    async def read() -> object:
        return await service.service.submit(Ask.READ, read=breaks).future

    service.run(read())
    assert asked.is_set()
    page = service.ask("GET", "/metrics", key="read").text
    service.service.stop()
    written = log.getvalue()
    assert '"ValueError"' in written
    assert '"KeyError"' in written
    assert answer["decision_id"] in written
    for planted in (PERSONAL, TEXT, PERSON, SHOP, "planted"):
        assert planted not in page
        assert planted not in "\n".join(line for line in written.splitlines() if "frames" not in line)
    for planted in (PERSONAL, TEXT, PERSON, SHOP):
        assert planted not in written

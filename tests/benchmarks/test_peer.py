# SPDX-License-Identifier: Apache-2.0
"""The peer: its windows are what they say, live and offline alike, and it answers as the comparison expects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.peer.model import COLUMNS, N_REASONS, Model, read_history, train
from benchmarks.peer.process import PeerProcess, RedisProcess
from benchmarks.peer.turns import ratios
from benchmarks.peer.velocity import ENTITIES, NAMES, WINDOWS_DAYS, counts_of_history, fill, ms_of
from benchmarks.subject import Subject
from ringfence.simulate import simulate_motor_claims

T0 = datetime(2024, 3, 1, tzinfo=UTC)


def brute_force(claims: pl.DataFrame) -> np.ndarray[Any, Any]:
    """Count the events of (t - span, t] that came no later, one by one."""
    rows = claims.to_dicts()
    found = np.full((len(rows), len(NAMES)), np.nan)
    for at, row in enumerate(rows):
        for place, (entity, days) in enumerate((entity, days) for entity in ENTITIES for days in WINDOWS_DAYS):
            if row[f"{entity}_id"] is not None:
                since = row["claim_time"] - timedelta(days=days)
                found[at, place] = sum(
                    other[f"{entity}_id"] == row[f"{entity}_id"] and other["claim_time"] > since
                    for other in rows[: at + 1]
                )
    return found


@pytest.fixture(scope="module")
def claims() -> pl.DataFrame:
    """120 claims of few entities, in order of time; some exactly a window's length after another."""
    draw = np.random.default_rng(5)
    hours = np.sort(draw.integers(0, 24 * 200, size=118)).tolist()
    hours = sorted([*hours, hours[3] + 7 * 24, hours[3] + 90 * 24])
    columns: dict[str, Any] = {
        "claim_id": [f"c-{number}" for number in range(120)],
        "claim_time": [T0 + timedelta(hours=hour) for hour in hours],
    }
    for entity in ENTITIES:
        columns[f"{entity}_id"] = [None if draw.random() < 0.2 else f"{entity}-{draw.integers(4)}" for _ in range(120)]
    return pl.DataFrame(columns)


def test_offline_counts_are_those_of_a_count_one_by_one(claims: pl.DataFrame) -> None:
    np.testing.assert_array_equal(counts_of_history(claims), brute_force(claims))


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    pytest.importorskip("redis", reason="redis is in the extra bench")
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server; scripts/install_services.sh installs it")
    server = RedisProcess(tmp_path / "redis")
    try:
        server.wait_ready()
        yield server.port
    finally:
        server.stop()


@pytest.mark.services
@pytest.mark.parametrize("pipelines", ["window", "request"])
def test_windows_in_redis_go_on_where_the_history_ended(claims: pl.DataFrame, redis_port: int, pipelines: Any) -> None:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from benchmarks.peer.velocity import add_and_count

    n_history = 70
    with contextlib.closing(Redis(port=redis_port)) as client:
        assert fill(client, claims[:n_history]) > 0

    async def live() -> list[list[float]]:
        async with AsyncRedis(port=redis_port) as client:
            found = []
            for row in claims[n_history:].iter_rows(named=True):
                entities = {entity: row[f"{entity}_id"] for entity in ENTITIES if row[f"{entity}_id"]}
                time_ms = ms_of(row["claim_time"])
                found.append(await add_and_count(client, entities, row["claim_id"], time_ms, pipelines))
            return found

    np.testing.assert_array_equal(np.array(asyncio.run(live())), counts_of_history(claims)[n_history:])


def test_model_learns_from_the_simulated_history_and_says_why(tmp_path: Path) -> None:
    simulate_motor_claims(2_000, 7, tmp_path, fraud_rate=0.05)
    history = read_history(tmp_path)
    train(history, tmp_path)
    model = Model(tmp_path)
    counts = counts_of_history(history)
    rows = [model.row(counts[at].tolist(), event["claim_amount"], event) for at, event in enumerate(history.to_dicts())]
    assert rows[0].shape == (1, len(COLUMNS))
    scores = np.array([model.score(row) for row in rows])
    known = history["is_fraud"].is_not_null().to_numpy()
    fraud = history["is_fraud"].fill_null(0).to_numpy() == 1
    assert scores[known & fraud].mean() > 3 * scores[known & ~fraud].mean()
    reasons = model.reasons(rows[int(np.argmax(scores))])
    assert len(reasons) == N_REASONS
    assert reasons[0][1] >= reasons[1][1] >= reasons[2][1]
    unseen = model.row([float("nan")] * len(NAMES), None, {"vehicle_make": "never seen"})
    assert np.isnan(unseen).all()


@pytest.mark.services
def test_peer_answers_what_it_has_on_record(subject: Subject, tmp_path: Path, redis_port: int) -> None:
    pytest.importorskip("fastapi", reason="fastapi is in the extra bench")
    from benchmarks.loops import Target, closed_loop, open_loop

    folder = tmp_path / "peer"
    peer = PeerProcess(subject.path, folder)
    try:
        peer.wait_ready()
        assert peer.n_filled > 0
        target = Target(peer.token, peer.port, peer.pids)
        found = open_loop(target, subject.events(60), 40.0, tmp_path)
        closed = closed_loop(target, islice(subject.events(100), 60, 100), 4, tmp_path)
        stranger = closed_loop(Target("wrong", peer.port, peer.pids), subject.events(2), 1, tmp_path)
    finally:
        peer.stop()
    assert found["errors"] == closed["errors"] == 0
    assert sum(found["actions"].values()) == 60
    assert closed["decisions_per_s"] > 0
    assert stranger["errors"] == 2
    with contextlib.closing(sqlite3.connect(folder / "decisions.db")) as decisions:
        rows = decisions.execute("SELECT event_id, features, decision FROM decisions").fetchall()
    assert {row[0] for row in rows} == {event["event_id"] for event in subject.events(100)}
    for event_id, features, decision in rows:
        assert json.loads(decision)["event_id"] == event_id
        assert json.loads(features)[0] >= 1.0  # the event itself is in the claimant's window


def test_ratios_say_by_how_much_ringfence_is_better() -> None:
    def run(p99: float | None, per_s: float) -> dict[str, Any]:
        latency = {} if p99 is None else {"p50": 1.0, "p99": p99}
        return {"open": {"latency_ms": latency, "cpu_ms_per_decision": 2.0}, "closed": {"decisions_per_s": per_s}}

    assert ratios(run(5.0, 2_000.0), run(20.0, 500.0)) == {
        "p50": 1.0,
        "p99": 4.0,
        "cpu_ms_per_decision": 1.0,
        "decisions_per_s": 4.0,
    }
    assert ratios(run(5.0, 2_000.0), run(None, 0.0))["p99"] is None

# SPDX-License-Identifier: Apache-2.0
"""The peer's application, one worker of uvicorn: a decision is on disk before it is answered.

Settings come from the environment: `PEER_FOLDER` (model and decisions), `PEER_REDIS_PORT`, `PEER_TOKEN`, and
`PEER_PIPELINES` (see `velocity`). Decisions go into SQLite, one transaction each, in WAL mode with `synchronous=FULL`,
as ringfence's do; windows in Redis are not durable, since they can be made again from the decisions.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from benchmarks.peer.model import Model
from benchmarks.peer.velocity import Pipelines, add_and_count, ms_of

TABLE = "CREATE TABLE IF NOT EXISTS decisions (event_id TEXT PRIMARY KEY, event TEXT, features TEXT, decision TEXT)"


class Attributes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    policy_age_days: float | None = None
    vehicle_age_years: float | None = None
    reported_after_days: float | None = None
    vehicle_make: str | None = None
    claim_type: str | None = None
    region: str | None = None
    narrative: str | None = None
    sex: str | None = None
    phone: str | None = None


class Event(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event_type: Literal["claim"] = "claim"
    event_id: str
    event_time: datetime
    amount: float | None = None
    entities: dict[str, str | list[str]]
    attributes: Attributes


class Reason(BaseModel):
    feature: str
    contribution: float


class Decision(BaseModel):
    event_id: str
    action: Literal["approve", "review"]
    score: float
    reasons: list[Reason]


class Decisions:
    """The table of decisions. One connection, so writers take turns."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(TABLE)
        self._lock = threading.Lock()

    def insert(self, event: Event, features: list[float], decision: Decision) -> None:
        row = (event.event_id, event.model_dump_json(), json.dumps(features), decision.model_dump_json())
        with self._lock, self._connection:
            self._connection.execute("INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        self._connection.close()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    folder = Path(os.environ["PEER_FOLDER"])
    app.state.model = Model(folder)
    app.state.decisions = Decisions(folder / "decisions.db")
    app.state.redis = Redis(host="127.0.0.1", port=int(os.environ["PEER_REDIS_PORT"]))
    app.state.pipelines = cast(Pipelines, os.environ["PEER_PIPELINES"])
    yield
    await app.state.redis.aclose()
    app.state.decisions.close()


app = FastAPI(lifespan=lifespan)
bearer = HTTPBearer()


def require_token(found: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> None:
    if not secrets.compare_digest(found.credentials.encode(), os.environ["PEER_TOKEN"].encode()):
        raise HTTPException(403, "wrong token")


@app.get("/readyz")
async def ready() -> dict[str, Any]:
    await app.state.redis.ping()
    return {"ready": True}


@app.post("/v1/decisions", dependencies=[Depends(require_token)])
async def decide(event: Event) -> Decision:
    state = app.state
    counts = await add_and_count(state.redis, event.entities, event.event_id, ms_of(event.event_time), state.pipelines)
    row = state.model.row(counts, event.amount, event.attributes.model_dump())
    score = state.model.score(row)
    flagged = score >= state.model.threshold
    reasons = state.model.reasons(row) if flagged else []
    decision = Decision(
        event_id=event.event_id,
        action="review" if flagged else "approve",
        score=score,
        reasons=[Reason(feature=name, contribution=share) for name, share in reasons],
    )
    await run_in_threadpool(state.decisions.insert, event, row[0].tolist(), decision)
    return decision

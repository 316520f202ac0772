# SPDX-License-Identifier: Apache-2.0
"""Eight velocity features: events of four entities in two windows, each window a sorted set in Redis.

A key is `entity:id:days`, a member an event id, its score the event's time in ms. A window is (t - span, t]: the event
itself counts. `counts_of_history` computes the same numbers offline, for training.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

ENTITIES: Final = ("claimant", "vehicle", "repair_shop", "household")
WINDOWS_DAYS: Final = (7, 90)
NAMES: Final = tuple(f"{entity}_count_{days}d" for entity in ENTITIES for days in WINDOWS_DAYS)
DAY_MS: Final = 86_400_000
_FILLED_AT_ONCE: Final = 5_000

Pipelines = Literal["window", "request"]  # a round trip for each entity and window, or one for all


def ms_of(time: datetime) -> int:
    return round(time.timestamp() * 1_000)


def keys_of(entities: dict[str, Any]) -> list[tuple[str, int] | None]:
    """Key and span in ms of each feature, in the order of `NAMES`; None where the event names no such entity."""
    return [
        (f"{entity}:{entities[entity]}:{days}", days * DAY_MS) if entities.get(entity) else None
        for entity in ENTITIES
        for days in WINDOWS_DAYS
    ]


async def add_and_count(
    redis: AsyncRedis, entities: dict[str, Any], event_id: str, time_ms: int, pipelines: Pipelines
) -> list[float]:
    """Put an event into its windows and count them; NaN where it names no such entity."""
    keys = keys_of(entities)
    counts = [float("nan")] * len(keys)
    if pipelines == "request":
        pipe = redis.pipeline(transaction=False)
        for one in filter(None, keys):
            _ask(pipe, *one, event_id, time_ms)
        answers = iter((await pipe.execute())[2::4])
        return [float("nan") if one is None else float(next(answers)) for one in keys]
    for number, one in enumerate(keys):
        if one is not None:
            pipe = redis.pipeline(transaction=False)
            _ask(pipe, *one, event_id, time_ms)
            counts[number] = float((await pipe.execute())[2])
    return counts


def _ask(pipe: Any, key: str, span_ms: int, event_id: str, time_ms: int) -> None:
    pipe.zadd(key, {event_id: time_ms})
    pipe.zremrangebyscore(key, "-inf", time_ms - span_ms)
    pipe.zcount(key, f"({time_ms - span_ms}", time_ms)
    pipe.pexpire(key, span_ms)


def counts_of_history(claims: pl.DataFrame) -> NDArray[np.float64]:
    """Count the windows of a history's events.

    Parameters
    ----------
    claims : n rows in ascending order of `claim_time`, with a column `ENTITY_id` for each entity.

    Returns
    -------
    shape (n, 8), in the order of `NAMES`; NaN where the event names no such entity.
    """
    times = claims["claim_time"].dt.timestamp("ms").to_numpy()
    times = times - times.min() + max(WINDOWS_DAYS) * DAY_MS  # so that no window begins below zero
    stride = int(times.max()) + 1
    counts = np.full((len(claims), len(NAMES)), np.nan)
    for place, entity in enumerate(ENTITIES):
        named = np.flatnonzero(claims[f"{entity}_id"].is_not_null().to_numpy())
        codes = claims[f"{entity}_id"].gather(named).rank("dense").to_numpy().astype(np.int64)
        # One ascending list of all entities' times: an entity's begin where the one before can have none.
        lines = codes * stride + times[named]
        order = np.argsort(lines, kind="stable")
        ordered = lines[order]
        for window, days in enumerate(WINDOWS_DAYS):
            before = np.searchsorted(ordered, ordered - days * DAY_MS, side="right")
            first = np.searchsorted(ordered, codes[order] * stride)
            counted = np.arange(len(ordered)) + 1 - np.maximum(before, first)
            counts[named[order], place * len(WINDOWS_DAYS) + window] = counted
    return counts


def fill(redis: Redis, claims: pl.DataFrame) -> int:
    """Put a history's events into the windows that still hold them at its end; return how many entries were made."""
    columns = [f"{entity}_id" for entity in ENTITIES]
    recent = claims.filter(pl.col("claim_time") > pl.col("claim_time").max() - pl.duration(days=max(WINDOWS_DAYS)))
    end_ms = ms_of(recent["claim_time"].max())  # type: ignore[arg-type]  # a column of times
    pipe = redis.pipeline(transaction=False)
    made = 0
    for event_id, time_ms, key, span_ms in _entries(recent.select("claim_id", "claim_time", *columns)):
        if time_ms > end_ms - span_ms:
            pipe.zadd(key, {event_id: time_ms})
            made += 1
            if made % _FILLED_AT_ONCE == 0:
                pipe.execute()
    pipe.execute()
    return made


def _entries(recent: pl.DataFrame) -> Iterator[tuple[str, int, str, int]]:
    for event_id, time, *ids in recent.iter_rows():
        entities = {entity: found for entity, found in zip(ENTITIES, ids, strict=True) if found}
        for one in filter(None, keys_of(entities)):
            yield event_id, ms_of(time), *one

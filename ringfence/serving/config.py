# SPDX-License-Identifier: Apache-2.0
"""What the service may be told, in one frozen struct that `cli.py` fills."""

from __future__ import annotations

from typing import Final

import msgspec

from ringfence.serving.breaker import BreakerSettings
from ringfence.serving.rates import Rate

MEBIBYTE: Final = 1 << 20


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 8473
    max_batch: int = 64  # requests that the engine thread takes at once
    queue_bound: int = 1024  # waiting requests beyond which the answer is 429
    linger_ms: float = 0.0  # that turns of the engine thread begin apart under load; 0: it never waits for company
    body_limit_bytes: int = MEBIBYTE
    batch_body_limit_bytes: int = 16 * MEBIBYTE
    head_limit_bytes: int = 32_768  # request line and headers
    head_timeout_s: float = 10.0  # until they are there
    body_timeout_s: float = 60.0  # from then until the body is
    connections: int = 4_096  # open at once, beyond which the answer is 503; fewer where the system allows few files
    batch_window: int = 128  # lines of one NDJSON request in flight at once
    open_batches: int = 4  # NDJSON requests held in memory at once, beyond which the answer is 429
    rate: Rate | None = None  # of every key that has none of its own; None: no limit
    metrics_open: bool = False  # True: /metrics needs no key
    front: bool = True  # read requests in a process of its own; with TLS the service reads them itself
    follower: bool = True  # run the process that takes snapshots and computes exact reasons
    snapshot_every_records: int = 50_000
    snapshot_every_s: float = 300.0
    commit_retry_s: float = 0.05  # first pause after a failed commit; doubles up to one second
    stuck_commit_ms: float = 250.0  # after which nobody waits for a commit any more; deadlines count before
    most_waiting: int = 100_000  # records that may wait for the ledger under `durability: best_effort`
    deadline_ms: int = 50  # of a request that names none, from its last byte to the answer
    longest_deadline_ms: int = 60_000  # that a request may name
    longest_score_ms: float = 100.0  # or `deadline_ms`, if that is more: no model is waited for any longer
    margin_ms: float = 2.0  # of a deadline, kept for the way back, and for going from one model to the next
    breaker: BreakerSettings = BreakerSettings()  # of each rung that asks a model
    second_looks: bool = True  # score decisions of a lower rung in full afterwards
    warm_s: float = 900.0  # for so long the state of the release from before is kept up to date after a switch
    build_beside: int = 20_000  # records a new state is behind from which on another process replays them
    log_one_in: int = 100  # one decision in so many has a line in the log
    machine_price_per_hour: float | None = None  # what cost per 1,000 decisions is told by; None: it is not told
    traces: bool = False  # send OpenTelemetry traces; needs the extra `otel`
    trace_sample: float = 0.0  # share of the requests without a traceparent that begin a trace, 0 to 1
    row_sample: int = 100  # one approved decision in so many keeps its feature row

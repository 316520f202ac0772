# SPDX-License-Identifier: Apache-2.0
"""Bodies of any bytes to `POST /v1/decisions/batch`: an answer a line, in order, whatever stands beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .conftest import RunningService, claim

GOOD = object()  # stands for a line with a claim of its own
LARGE = 1 << 20  # bytes that a line may have
NDJSON = {"content-type": "application/x-ndjson"}
_numbers = count()
_whole = st.integers(min_value=-(2**70), max_value=2**70)
_json = st.recursive(
    st.none() | st.booleans() | _whole | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_bad = st.sampled_from(
    [
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\x00",
        b"\x0b",
        b"\x0c",
        b"\xef\xbb\xbf{}",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        b"[" * 5_000,
        b'{"attributes":' * 40 + b"1" + b"}" * 40,
        b'{"event_id":"open',
        b'{"event_id":"a","event_time":1749990000000,"amount":1e999}',
        b'{"event_id":"a","event_time":' + b"9" * 5_000 + b"}",
        b'{"event_id":"a","event_id":7.5}',
        b'{"event_id":"' + b"x" * 2_000 + b'"}',
        b"x" * (LARGE + 1),
        b"NaN",
    ]
)
_blank = st.sampled_from([b"", b" ", b"\t", b"  \t "])
# A document of any shape is no claim but by an accident that has not all of its fields.
_line = (
    st.just(GOOD)
    | st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" "))
    | _bad
    | _blank
    | _json.map(lambda value: json.dumps(value).encode())
)
_lines = st.lists(st.tuples(_line, st.sampled_from([b"\n", b"\r\n"])), max_size=12)
FEW = settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def body_of(lines: list[tuple[Any, bytes]], *, ended: bool) -> tuple[bytes, list[tuple[int, str | None]]]:
    """Return the body, and for each line that is to be answered its number and the event that it decides, if one."""
    body, awaited = b"", []
    for number, (line, end) in enumerate(lines, start=1):
        event_id = f"fuzz-{next(_numbers)}" if line is GOOD else None
        written = json.dumps(claim(3, event_id=event_id)).encode() if event_id is not None else line
        body += written + end
        if written.strip(b" \t\r"):
            awaited.append((number, event_id))
    if not ended and lines:
        body = body[: -len(lines[-1][1])]
    return body, awaited


async def in_parts(body: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    ends = sorted({cut % (len(body) + 1) for cut in cuts} | {len(body)})
    for at, end in zip([0, *ends], ends, strict=False):
        yield body[at:end]


def answers(service: RunningService, body: Any) -> list[bytes]:
    response = service.ask("POST", "/v1/decisions/batch", body, headers=NDJSON)
    assert response.status_code == 200, response.text
    assert response.content == b"" or response.content.endswith(b"\n")
    return response.content.splitlines()


@given(lines=_lines, ended=st.booleans(), cuts=st.lists(st.integers(0, 2**24), max_size=8))
@example(
    lines=[(GOOD, b"\n"), (b"\x0c", b"\n"), (GOOD, b"\r\n"), (b'{"event_id":', b"\n")], ended=False, cuts=[1, 2, 3]
)
@example(lines=[(b"x" * (LARGE + 1), b"\n"), (GOOD, b"\n")], ended=False, cuts=[LARGE, LARGE + 1, LARGE + 2])
@FEW
def test_every_line_is_answered_in_order_and_parts_do_not_matter(
    shared: RunningService, lines: list[tuple[Any, bytes]], ended: bool, cuts: list[int]
) -> None:
    body, awaited = body_of(lines, ended=ended)
    before = shared.ledger.last_seq
    first = answers(shared, in_parts(body, cuts))
    read = [json.loads(line) for line in first]
    assert len(read) == len(awaited)
    for answer, (number, event_id) in zip(read, awaited, strict=True):
        if event_id is None:
            assert answer["line"] == number
            assert 400 <= answer["status"] < 500
            assert answer["path"]
        else:
            assert answer["event_id"] == event_id
    decided = [event_id for _, event_id in awaited if event_id is not None]
    after = shared.ledger.last_seq
    assert after == before + 2 * len(decided)  # each its event and its decision, and nothing of the others
    assert answers(shared, body) == first  # the same again, in one piece: nothing is decided twice
    assert shared.ledger.last_seq == after


@given(head=st.binary(max_size=200), tail=st.binary(max_size=200))
@FEW
def test_bytes_of_any_kind_on_other_lines_do_not_touch_a_good_one(
    shared: RunningService, head: bytes, tail: bytes
) -> None:
    event_id = f"beside-{next(_numbers)}"
    body = head + b"\n" + json.dumps(claim(4, event_id=event_id)).encode() + b"\r\n" + tail
    found = [json.loads(line) for line in answers(shared, body)]
    at = sum(1 for line in head.split(b"\n") if line.strip(b" \t\r"))
    assert found[at]["event_id"] == event_id
    assert len(found) == at + 1 + sum(1 for line in tail.split(b"\n") if line.strip(b" \t\r"))
    assert shared.ask("GET", f"/v1/decisions?event_id={event_id}").status_code == 200


def test_a_claim_behind_a_vertical_tab_is_as_bad_in_a_batch_as_alone(shared: RunningService) -> None:
    line = b"\x0b" + json.dumps(claim("tab")).encode()
    assert shared.ask("POST", "/v1/decisions", line).status_code == 400
    assert [json.loads(answer)["status"] for answer in answers(shared, line)] == [400]


@pytest.mark.parametrize("line", [b"\n", b"x\n"])
def test_others_have_the_loop_while_lines_that_need_no_engine_are_walked(shared: RunningService, line: bytes) -> None:
    n_lines = 6_400

    async def work() -> tuple[httpx.Response, int]:
        turns, ended = [0], asyncio.Event()

        async def take_turns() -> None:
            while not ended.is_set():
                turns[0] += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(take_turns())
        headers = {**NDJSON, "authorization": f"Bearer {shared.tokens['admin']}"}
        transport = httpx.ASGITransport(app=shared.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://ringfence") as client:
            response = await client.post("/v1/decisions/batch", content=line * n_lines, headers=headers)
        ended.set()
        await other
        return response, turns[0]

    response, n_turns = shared.run(work())
    assert response.status_code == 200
    assert n_turns >= n_lines // 64

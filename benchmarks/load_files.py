# SPDX-License-Identifier: Apache-2.0
"""The two files between a benchmark and its load generator: requests to send, and what came of each.

Both hold native 64-bit integers, for one machine. Requests: for each its length and its bytes. Results: the time
between the first and the last send slot, and the generator's processor time while it ran, in ns; then for each request,
in order, a `Result` with the length of the answer in the answer's place, and the bytes of the answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_LENGTH: Final = struct.Struct("=q")
_RAN: Final = struct.Struct("=2q")
_RESULT: Final = struct.Struct("=6q")


class Ran(NamedTuple):
    """A load as a whole."""

    elapsed_ns: int  # between the first and the last send slot
    cpu_ns: int  # processor time of the generator, from the first slot to the last answer


class Result(NamedTuple):
    """One request; times are those of `time.perf_counter_ns`, 0 where it never came to that."""

    intended_ns: int
    taken_ns: int  # when the generator turned to it
    sent_ns: int
    done_ns: int
    status: int  # 0: no answer
    answer: bytes  # head and body as they came; empty where it was not kept


def write_requests(path: Path, requests: Iterable[bytes]) -> int:
    """Write requests in the order in which they are due; return how many there were."""
    n = 0
    with path.open("wb") as file:
        for request in requests:
            n += 1
            file.write(_LENGTH.pack(len(request)))
            file.write(request)
    return n


def read_requests(path: Path) -> Iterator[bytes]:
    """Yield what `write_requests` wrote.

    Raises
    ------
    ValueError
        If the file is cut off.
    """
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            (n_bytes,) = _LENGTH.unpack(_whole(head, _LENGTH.size, path))
            yield _whole(file.read(n_bytes), n_bytes, path)


def write_results(path: Path, ran: Ran, results: Iterable[Result]) -> None:
    """Write what a load came to; `results` in the order of the requests."""
    with path.open("wb") as file:
        file.write(_RAN.pack(*ran))
        for result in results:
            file.write(_RESULT.pack(*result[:5], len(result.answer)))
            file.write(result.answer)


def read_results(path: Path) -> tuple[Ran, Iterator[Result]]:
    """Read what `write_results` or the generator in C wrote; the results are read as they are asked for.

    Raises
    ------
    ValueError
        If the file is cut off; for a result, when that one is asked for.
    """
    with path.open("rb") as file:
        ran = Ran(*_RAN.unpack(_whole(file.read(_RAN.size), _RAN.size, path)))
    return ran, _results(path)


def _results(path: Path) -> Iterator[Result]:
    with path.open("rb") as file:
        file.seek(_RAN.size)
        while head := file.read(_RESULT.size):
            *numbers, n_bytes = _RESULT.unpack(_whole(head, _RESULT.size, path))
            yield Result(*numbers, _whole(file.read(n_bytes), n_bytes, path))


def _whole(found: bytes, n_bytes: int, path: Path) -> bytes:
    if len(found) != n_bytes:
        raise ValueError(f"{path} is cut off: {len(found)} bytes where {n_bytes} should be; run the load again")
    return found

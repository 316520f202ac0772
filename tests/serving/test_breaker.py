# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker, as drawn timelines: one call every 100 ms, and what the breaker says after it."""

from __future__ import annotations

import msgspec
import pytest

from ringfence.serving.breaker import MS, Breaker, BreakerSettings, State

STEP_NS = 100 * MS
SETTINGS = BreakerSettings(
    window=6, least_calls=4, failed_share=0.5, slow_share=0.75, slow_ms=20, slow_ms_per_event=1.0, open_ms=300,
    longest_open_ms=1_000, probes=2,
)  # fmt: skip
LETTERS = {State.CLOSED: "c", State.HALF_OPEN: "h", State.OPEN: "o"}


def played(calls: str, settings: BreakerSettings = SETTINGS) -> str:
    """Tell a breaker one call a step: g good, s slow, t timed out, e error, b given up early; `.`: none is made."""
    breaker, states = Breaker(settings), ""
    for step, call in enumerate(calls.replace(" ", "")):
        now_ns = step * STEP_NS
        if call == "e":
            breaker.failed(now_ns)
        elif call in "tb":
            breaker.gave_up(1, (40 if call == "t" else 20) * MS, now_ns)
        elif call in "gs":
            breaker.answered(1, (5 if call == "g" else 30) * MS, now_ns)
        states += LETTERS[breaker.state_at(now_ns)]
    return states


#  a pause is three steps, the next one six; half-open it takes two good calls in a row
@pytest.mark.parametrize(
    ("calls", "states"),
    [
        ("g g g g g g g g", "cccccccc"),
        ("e e e e", "ccco"),  # not before four calls
        ("g g g g e e e", "cccccco"),  # half of the last six: the first call is out of sight
        ("g g g g e e g g g g e e", "cccccccccccc"),  # two of six go on failing, and that is borne
        ("g t g t", "ccco"),  # time-outs are failures
        ("g s s s", "ccco"),  # slow calls open it at three in four
        ("g g s s s s", "cccccc"),  # four of six are not three in four
        ("g e s t", "ccco"),  # one error and one time-out are half
        ("g s s t", "ccco"),  # a time-out is slow as well
        ("b b b b b b", "cccccc"),  # the time was short, not the call long
        ("e e e e . . . .", "cccooohh"),
        ("e e e e . . g g", "cccooohc"),
        ("e e e e . . g e . . . . . .", "cccooohooooooh"),  # twice as long
        ("e e e e . . s", "cccoooo"),  # a slow probe is no good one
        ("e e e e . . b g g", "cccooohhc"),  # a probe that had no time says nothing
        ("e e e e e e e", "cccoooo"),  # an error in the pause is of an earlier call: only the last one is a probe
    ],
)
def test_a_timeline_of_calls_gives_these_states(calls: str, states: str) -> None:
    assert played(calls) == states


def test_pauses_double_up_to_the_longest_and_start_again_after_recovery() -> None:
    breaker, now_ns, pauses = Breaker(SETTINGS), 0, []
    for _ in range(4):
        breaker.failed(now_ns)
    for _ in range(4):
        begun_ns = now_ns
        while breaker.state_at(now_ns) is State.OPEN:
            now_ns += 50 * MS
        pauses.append((now_ns - begun_ns) // MS)
        breaker.failed(now_ns)
    assert pauses == [300, 600, 1_000, 1_000]
    now_ns += 1_000 * MS
    for _ in range(2):
        breaker.answered(1, MS, now_ns)
    assert breaker.state_at(now_ns) is State.CLOSED
    for _ in range(4):
        breaker.failed(now_ns)
    assert breaker.state_at(now_ns + 299 * MS) is State.OPEN
    assert breaker.state_at(now_ns + 300 * MS) is State.HALF_OPEN


def test_calls_before_it_opened_are_forgotten_when_it_closes() -> None:
    assert played("e e e e . . g g e e e") == "cccooohcccc"


def test_a_large_batch_may_take_longer_before_it_is_slow() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(8):
        breaker.answered(64, 84 * MS, 0)
    assert breaker.state_at(0) is State.CLOSED
    for _ in range(8):
        breaker.answered(63, 84 * MS, 0)
    assert breaker.state_at(0) is State.OPEN


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0}, {"window": 1_025}, {"least_calls": 0}, {"failed_share": 0.0}, {"failed_share": 1.01},
        {"slow_share": 0.0}, {"slow_ms": 0.0}, {"slow_ms_per_event": -1.0}, {"open_ms": 0.0}, {"probes": 0},
        {"probing": 1},
    ],
)  # fmt: skip
def test_settings_out_of_bounds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, BreakerSettings)

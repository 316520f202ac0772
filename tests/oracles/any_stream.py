# SPDX-License-Identifier: Apache-2.0
"""A strategy that draws any stream of records: ties, gaps, clocks set back, late events, hubs, revised labels."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.oracles.streams import CHANGE, CLAIMANT, DAY, HOUR, MINUTE, SHOP, START, WITNESS, Happening, Record, Truth

YEAR = 365 * DAY
STEPS = (0, 0, 0, 1, 999, 1_000, MINUTE, 30 * MINUTE, HOUR, DAY, 2 * DAY, 7 * DAY, 8 * DAY, 40 * DAY, -5 * MINUTE, -DAY)
LATE = (0, 0, 0, 0, 1, MINUTE, DAY, 9 * DAY, 2 * YEAR)
TEXTS = (0, 1, 0b1001, 0b1_1111, 2**63 | 0b1011, 2**20, 2**64 - 1)
N_PEOPLE, N_SHOPS = 22, 3  # few enough that everybody meets again, and more people than take part in one event

amounts = st.one_of(st.none(), st.integers(0, 10**6), st.sampled_from([0, 100, 100, -2_500]))
people = st.one_of(st.integers(0, 2), st.integers(0, N_PEOPLE - 1))


@st.composite
def claims(draw: st.DrawFn, time_ms: int) -> Happening:
    """Draw a claim; one in a few names a crowd, some name nobody."""
    most = draw(st.sampled_from([1, 3, 3, N_PEOPLE]))
    links = [(CLAIMANT, who) for who in draw(st.lists(people, max_size=1))]
    links += [(WITNESS, who) for who in draw(st.lists(people, unique=True, max_size=most))]
    links += [(SHOP, shop) for shop in draw(st.lists(st.integers(0, N_SHOPS - 1), max_size=1))]
    values = (float(draw(st.integers(0, 3))), float("nan"))
    return Happening(time_ms, tuple(links), draw(amounts), values=values, text=draw(st.sampled_from(TEXTS)))


@st.composite
def any_stream(draw: st.DrawFn, most: int = 30) -> list[Record]:
    """Draw up to `most` steps of the clock, each of them a record, or a burst of equal claims that makes a hub."""
    records: list[Record] = []
    now = START
    for _ in range(draw(st.integers(1, most))):
        now += draw(st.sampled_from(STEPS))
        time_ms = now - draw(st.sampled_from(LATE))
        what = draw(st.sampled_from(["claim", "claim", "claim", "label", "label", "change", "burst"]))
        events = [i for i, record in enumerate(records) if isinstance(record, Happening)]
        if what == "label" and events:
            records.append(Truth(draw(st.sampled_from(events)), time_ms, draw(st.integers(0, 1))))
        elif what == "change":
            records.append(Happening(time_ms, ((CLAIMANT, draw(people)),), None, CHANGE))
        elif what == "burst":
            records += [draw(claims(time_ms))] * draw(st.sampled_from([2, 5, 17, 34]))
        else:
            records.append(draw(claims(time_ms)))
    return records

# SPDX-License-Identifier: Apache-2.0
"""Labels by outcome equal the brute-force twin, whichever way a history reaches the ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.ledger.loans import HORIZON, HOUR, T0, Bank, default, loan
from tests.oracles.outcome_twin import FRAUD, OutcomeTwin, Seen

N_EVENTS = 90


def drawn_history(seed: int) -> list[Seen]:
    """Loans and defaults of a few people, one of whom signs half of all, at moments that many share."""
    draw = np.random.default_rng(seed)
    events = []
    for i in range(N_EVENTS):
        named = [f"p{k}" for k in draw.choice(9, size=draw.integers(0, 3), replace=False)]
        if draw.random() < 0.5:
            named.append("hub")
        time_ms = T0 + int(draw.integers(30)) * HOUR + int(draw.integers(2))
        is_outcome = bool(draw.random() < 0.25)
        if is_outcome and draw.random() < 0.8:
            named = named[:1]
        events.append((default if is_outcome else loan)(f"e{i}", time_ms, *named))
    return events


def parts_of(events: list[Seen], draw: np.random.Generator, disorder_ms: int) -> list[list[Seen]]:
    """Cut a history into parts that follow in time, but for what is late by up to `disorder_ms`."""
    lateness = draw.integers(0, disorder_ms + 1, len(events))
    order = np.argsort([event.time_ms + int(late) for event, late in zip(events, lateness, strict=True)], kind="stable")
    arriving = [events[i] for i in order]
    cuts = sorted(int(cut) for cut in draw.choice(len(events), size=2, replace=False))
    return [arriving[low:high] for low, high in zip([0, *cuts], [*cuts, len(events)], strict=True)]


def check_step(bank: Bank, after_seq: int, expected: set[object], so_far: dict[str, int]) -> None:
    given = bank.given(after_seq)
    assert len(given) == len(set(given))
    assert set(given) == expected
    standing = bank.standing()
    assert {name: value for name, (value, *_) in standing.items()} == so_far
    assert all(source == ("default" if value == FRAUD else "matured") for value, _, source in standing.values())


@pytest.mark.parametrize(("seed", "disorder_ms"), [(0, 0), (1, 4 * HOUR), (2, 40 * HOUR)])
def test_one_history_in_several_imports(tmp_path: Path, seed: int, disorder_ms: int) -> None:
    bank, twin, seen = Bank(tmp_path / "bank"), OutcomeTwin(HORIZON), list[Seen]()
    draw = np.random.default_rng(seed + 100)
    for part in parts_of(drawn_history(seed), draw, disorder_ms):
        after = bank.ledger.last_seq
        again = [event for event in seen if draw.random() < 0.2]  # files that overlap
        bank.load([*again, *part])
        check_step(bank, after, set(twin.imports(part)), twin.standing)
        seen += part
    assert bank.load(seen).last_seq == 0
    assert any(value == FRAUD for value in twin.standing.values())


@pytest.mark.parametrize(("seed", "disorder_ms"), [(4, 4 * HOUR), (5, 40 * HOUR)])
def test_one_history_event_by_event(tmp_path: Path, seed: int, disorder_ms: int) -> None:
    bank, twin = Bank(tmp_path / "bank"), OutcomeTwin(HORIZON)
    draw, expected = np.random.default_rng(seed + 100), set()
    with bank.ledger.writer(bank.clock) as writer:
        for part in parts_of(drawn_history(seed), draw, disorder_ms):
            for event in part:
                bank.stage(writer, event)
                writer.mature()
                expected |= twin.live(event, bank.clock.now_ms())
                if draw.random() < 0.3:  # groups of several records, and what is not durable yet
                    writer.commit()
        writer.commit()
    check_step(bank, 0, set(expected), twin.standing)
    assert bank.n_live_labels() == len(expected)  # none that merely repeats what stands


@pytest.mark.parametrize(("seed", "disorder_ms"), [(7, 4 * HOUR), (8, 40 * HOUR)])
def test_imports_and_live_events_in_turn(tmp_path: Path, seed: int, disorder_ms: int) -> None:
    bank, twin = Bank(tmp_path / "bank"), OutcomeTwin(HORIZON)
    draw, n_live = np.random.default_rng(seed + 100), 0
    for turn, part in enumerate(parts_of(drawn_history(seed), draw, disorder_ms)):
        after, expected = bank.ledger.last_seq, set()
        if turn % 2:
            with bank.ledger.writer(bank.clock) as writer:
                for event in part:
                    bank.stage(writer, event)
                    writer.mature()
                    expected |= twin.live(event, bank.clock.now_ms())
                    writer.commit()
            n_live += len(expected)
        else:
            bank.load(part)
            expected = twin.imports(part)
        check_step(bank, after, set(expected), twin.standing)
    assert bank.n_live_labels() == n_live

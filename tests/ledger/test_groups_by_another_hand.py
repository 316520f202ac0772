# SPDX-License-Identifier: Apache-2.0
"""However far the commits of another thread lag behind, the ledger ends up as if each turn had committed by itself."""

from __future__ import annotations

import sqlite3
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.groups import Group, write_groups
from ringfence.ledger.schema import connect
from ringfence.ledger.writer import Writer
from ringfence.scenario.batch import FRAUD, LEGIT
from ringfence.scenario.event import LabelNotice
from tests.ledger.claims import decision_on
from tests.ledger.loans import HOUR, T0, Bank, default, loan, loans_scenario
from tests.oracles.outcome_twin import Seen

TABLES = ("records", "identity", "decisions", "standing", "maturing", "awaited", "outcomes")
CUSTOMERS = ("ann", "bob")

#  one turn: (what, hours, customer, how many groups may be left unwritten after it)
Turn = tuple[str, int, str, int]
turns = st.lists(
    st.tuples(
        st.sampled_from(["loan", "loan", "default", "again", "label", "decide", "decide"]),
        st.integers(0, 12),
        st.sampled_from(CUSTOMERS),
        st.integers(0, 5),
    ),
    min_size=4,
    max_size=24,
)


def work(bank: Bank, writer: Writer, drawn: list[Turn], told: list[Any], number: int) -> None:
    """Stage one turn; what it found is told."""
    what, hours, customer, _ = drawn[number]
    time_ms = T0 + (hours + number) * HOUR
    loans = [
        loan(f"e{at}", T0 + (turn[1] + at) * HOUR, turn[2])
        for at, turn in enumerate(drawn[:number])
        if turn[0] == "loan"
    ]
    if what == "default":
        bank.stage(writer, default(f"e{number}", time_ms, customer))
    elif what == "loan" or not loans:
        bank.stage(writer, loan(f"e{number}" if what == "loan" else f"first-{number}", time_ms, customer))
    else:
        _about(bank, writer, loans[hours % len(loans)], what, hours, told)
    writer.mature()
    writer.batch()


def _about(bank: Bank, writer: Writer, old: Seen, what: str, hours: int, told: list[Any]) -> None:
    seq = bank.stage(writer, old)
    notice = LabelNotice(
        event_type="loan", event_id=old.event_id, value=FRAUD if hours % 2 else LEGIT, source="api", known_at_ms=None
    )
    if what == "label":
        writer.stage_label(notice)
    elif what == "decide" and writer.decision_of(seq) is None:
        writer.stage_decision(decision_on(seq, old.event_id))
    found = writer.decision_of(seq)
    told.append((seq, writer.standing_label(notice), None if found is None else found.seq))


def tables_of(bank: Bank) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(bank.directory / "ledger.db")) as connection:
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in TABLES}


@given(drawn=turns)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_groups_that_lag_behind_end_up_as_if_each_had_been_committed_at_once(
    drawn: list[Turn], tmp_path_factory: Any
) -> None:
    folder: Path = tmp_path_factory.mktemp("lag")
    scenario = loans_scenario()
    late, prompt = Bank(folder / "late", scenario), Bank(folder / "prompt", scenario)
    told_late: list[Any] = []
    with late.ledger.writer(late.clock) as writer, closing(connect(late.directory)) as other:
        waiting: deque[Group] = deque()
        with closing(Erasable(late.directory)) as erasable:
            for number, turn in enumerate(drawn):
                work(late, writer, drawn, told_late, number)
                if (group := writer.seal()) is not None:
                    waiting.append(group)
                if len(waiting) > turn[3]:
                    ready = [waiting.popleft() for _ in range(len(waiting) - turn[3])]
                    write_groups(other, erasable, ready)
                    for one in ready:
                        writer.settle(one)
            if waiting:
                write_groups(other, erasable, waiting)
            for one in waiting:
                writer.settle(one)
            assert writer.n_staged == 0
    prompt.take_identity(late)
    told_prompt: list[Any] = []
    with prompt.ledger.writer(prompt.clock) as writer:
        for number in range(len(drawn)):
            work(prompt, writer, drawn, told_prompt, number)
            writer.commit()
    assert told_late == told_prompt
    assert tables_of(late) == tables_of(prompt)
    assert audit_ledger(late.ledger).holds

# SPDX-License-Identifier: Apache-2.0
"""Labels by outcome, drawn one case after the other. Times in hours; the horizon is five of them."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from ringfence.ledger import importer
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.errors import CommitFailedError, LabelRuleChangedError
from ringfence.scenario.batch import FRAUD, LEGIT, NO_LABEL
from ringfence.scenario.event import LabelNotice
from tests.ledger.loans import HORIZON, HOUR, T0, Bank, default, loan, loans_scenario
from tests.oracles.outcome_twin import Given, Seen

FORMAT_1 = {"records", "identity", "decisions", "standing", "maturing", "segments", "meta"}


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "bank")


class Filled(Bank):
    """A bank that is filled by an import, or live and one by one in the order of time."""

    live = False

    def fill(self, events: list[Seen]) -> None:
        if self.live:
            self.tell(*sorted(events, key=lambda event: event.time_ms))
        else:
            self.load(events)


@pytest.fixture(params=["import", "live"])
def fill(request: pytest.FixtureRequest, tmp_path: Path) -> Filled:
    bank = Filled(tmp_path / "filled")
    bank.live = request.param == "live"
    return bank


#  t          0      5 h   5 h + 1 ms
#  loan       L
#  default    at 0: no     at 5 h: yes          at 5 h + 1 ms: no
@pytest.mark.parametrize(("after_ms", "value"), [(0, LEGIT), (1, FRAUD), (HORIZON, FRAUD), (HORIZON + 1, LEGIT)])
def test_an_outcome_counts_strictly_after_its_event_and_up_to_the_horizon(
    fill: Filled, after_ms: int, value: int
) -> None:
    fill.fill([loan("L", T0, "ann"), default("D", T0 + after_ms, "ann"), loan("later", T0 + 9 * HOUR, "bob")])
    known_ms, source = (T0 + after_ms, "default") if value == FRAUD else (T0 + HORIZON + 1, "matured")
    assert fill.standing() == {"L": (value, known_ms, source)}


def test_the_first_of_several_outcomes_tells_and_the_others_say_nothing(fill: Filled) -> None:
    fill.fill([loan("L", T0, "ann"), default("2", T0 + 2 * HOUR, "ann"), default("1", T0 + HOUR, "ann")])
    assert fill.given() == [Given("L", FRAUD, T0 + HOUR, NO_LABEL)]


def test_one_outcome_answers_every_event_of_the_horizon_in_their_order(fill: Filled) -> None:
    loans = [loan(f"L{i}", T0 + i * HOUR, "ann") for i in range(8)]
    fill.fill([*loans, default("D", T0 + 7 * HOUR, "ann")])
    fraud = [label for label in fill.given() if label.value == FRAUD]
    assert [label.event_id for label in fraud] == ["L2", "L3", "L4", "L5", "L6"]
    assert {name for name, (value, *_) in fill.standing().items() if value == LEGIT} == {"L0", "L1"}


def test_any_of_several_entities_of_the_role_is_enough_and_other_roles_are_not(fill: Filled) -> None:
    fill.fill(
        [
            loan("one", T0, "ann", "bob"),
            loan("none", T0, "cid"),
            default("D", T0 + HOUR, "bob", "dan"),
            default("E", T0 + 2 * HOUR, "ann"),
        ]
    )
    assert fill.given() == [Given("one", FRAUD, T0 + HOUR, NO_LABEL)]


def test_an_event_that_names_nobody_stays_unlabelled(fill: Filled) -> None:
    fill.fill([loan("nobody", T0), loan("L", T0, "ann"), default("D", T0 + HOUR), loan("late", T0 + 9 * HOUR, "bob")])
    assert fill.standing() == {"L": (LEGIT, T0 + HORIZON + 1, "matured")}


#  import 1   L at 0, a loan at 9 h: L matures        import 2   a default at 2 h, reported late
def test_an_outcome_reported_after_its_event_matured_takes_its_place(bank: Bank) -> None:
    bank.load([loan("L", T0, "ann"), loan("x", T0 + 9 * HOUR, "bob")])
    assert bank.standing() == {"L": (LEGIT, T0 + HORIZON + 1, "matured")}
    bank.load([default("D", T0 + 2 * HOUR, "ann")])
    assert bank.standing() == {"L": (FRAUD, T0 + 2 * HOUR, "default")}
    assert bank.given()[-1] == Given("L", FRAUD, T0 + 2 * HOUR, LEGIT)
    bank.tell(default("again", T0 + 3 * HOUR, "ann"))
    assert len(bank.given()) == 2
    assert audit_ledger(bank.ledger).holds


def test_a_live_outcome_is_known_when_it_is_recorded(bank: Bank) -> None:
    bank.tell(loan("L", T0, "ann"), loan("x", T0 + 9 * HOUR, "bob"), default("D", T0 + 2 * HOUR, "ann"))
    assert bank.given() == [
        Given("L", LEGIT, T0 + HORIZON + 1, NO_LABEL),
        Given("L", FRAUD, T0 + 9 * HOUR, LEGIT),
    ]
    assert bank.standing()["L"] == (FRAUD, T0 + 9 * HOUR, "default")


def test_of_outcomes_at_one_moment_the_first_known_counts(bank: Bank) -> None:
    bank.tell(loan("x", T0 + 9 * HOUR, "bob"), default("live", T0 + 2 * HOUR, "ann"))
    bank.load([default("imported", T0 + 2 * HOUR, "ann")])
    bank.load([loan("L", T0 + HOUR, "ann")])
    assert bank.given() == [Given("L", FRAUD, T0 + 2 * HOUR, NO_LABEL)]


def test_an_event_that_comes_after_its_outcome_is_labelled_at_once(bank: Bank) -> None:
    bank.tell(default("D", T0 + 2 * HOUR, "ann"), loan("live", T0, "ann"))
    bank.load([loan("imported", T0 + HOUR, "ann"), loan("after", T0 + 3 * HOUR, "ann")])
    assert bank.standing() == {
        "live": (FRAUD, T0 + 2 * HOUR, "default"),
        "imported": (FRAUD, T0 + 2 * HOUR, "default"),
    }


def test_a_decided_event_may_itself_be_the_outcome_of_an_earlier_one(tmp_path: Path) -> None:
    again = loans_scenario(label={"event": "loan", "horizon": "5h", "by": "customer"})
    events = [loan("a", T0, "ann"), loan("b", T0 + 4 * HOUR, "ann"), loan("c", T0 + 11 * HOUR, "ann")]
    for name, bank in (("files", Bank(tmp_path / "files", again)), ("live", Bank(tmp_path / "live", again))):
        bank.load(events) if name == "files" else bank.tell(*events)
        assert bank.standing() == {
            "a": (FRAUD, T0 + 4 * HOUR, "loan"),
            "b": (LEGIT, T0 + 9 * HOUR + 1, "matured"),
        }


#  source of the label on record   court: legit     then a default of the same customer
@pytest.mark.parametrize(("precedence", "value"), [(["court", "default"], LEGIT), (["default", "court"], FRAUD)])
@pytest.mark.parametrize("live", [True, False])
def test_label_precedence_decides_between_outcomes_and_other_sources(
    tmp_path: Path, precedence: list[str], value: int, live: bool
) -> None:
    bank = Bank(tmp_path / "bank", loans_scenario(label_precedence=precedence))
    bank.tell(loan("L", T0, "ann"))
    with bank.ledger.writer(bank.clock) as writer:
        writer.stage_label(LabelNotice(event_type="loan", event_id="L", value=LEGIT, source="court", known_at_ms=None))
        writer.commit()
    outcome = default("D", T0 + HOUR, "ann")
    bank.tell(outcome) if live else bank.load([outcome])
    assert bank.standing()["L"][0] == value


def test_importing_everything_again_adds_nothing(bank: Bank) -> None:
    events = [loan(f"L{i}", T0 + i * HOUR, "ann" if i % 3 else "bob") for i in range(12)]
    events += [default("D", T0 + 6 * HOUR, "ann")]
    bank.load(events)
    before, last_seq = bank.given(), bank.ledger.last_seq
    for again in (events, events[-1:]):
        assert bank.load(again).n_events == 0
    assert (bank.given(), bank.ledger.last_seq) == (before, last_seq)


def test_import_and_live_give_the_same_records_in_the_same_order(tmp_path: Path) -> None:
    # Nothing matures before the end, so both ledgers have one order: then every array is equal, and so are features.
    from ringfence.engine import Catalogue, Engine

    draw = np.random.default_rng(3)
    scenario = loans_scenario(label={"event": "default", "horizon": "90d", "by": "customer"})
    events: list[Seen] = []
    for i in range(150):
        named = [f"p{k}" for k in draw.choice(12, size=draw.integers(0, 3), replace=False)]
        make = default if draw.random() < 0.2 else loan
        events.append(make(f"e{i}", T0 + int(draw.integers(60)) * HOUR, *named))
    # As an import orders them: by time, loans (the first source) before defaults.
    events.sort(key=lambda event: (event.time_ms, event.is_outcome))
    files, live = Bank(tmp_path / "files", scenario), Bank(tmp_path / "live", scenario)
    files.load(events)
    live.take_identity(files)
    live.tell(*events)
    one, other = files.batch(), live.batch()
    assert int((one.label_value == FRAUD).sum()) > 20
    for name in one.__struct_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    engines = [Engine(Catalogue.build(scenario)) for _ in range(2)]
    rows = [engine.observe(batch).tobytes() for engine, batch in zip(engines, (one, other), strict=True)]
    assert rows[0] == rows[1]
    assert engines[0].state_hash() == engines[1].state_hash()


def test_what_is_staged_and_not_committed_is_awaited_still(bank: Bank) -> None:
    bank.tell(loan("L", T0, "ann"))
    with bank.ledger.writer(bank.clock) as writer:
        bank.stage(writer, loan("M", T0 + HOUR, "ann"))
        bank.stage(writer, default("D", T0 + 2 * HOUR, "ann"))
        assert writer.last_seq == 5
    assert bank.given() == []
    bank.tell(default("D", T0 + 2 * HOUR, "ann"))
    assert [label.event_id for label in bank.given()] == ["L"]


def test_a_commit_that_fails_and_is_retried_labels_once(bank: Bank) -> None:
    with bank.ledger.writer(bank.clock) as writer:
        writer._connection.execute("PRAGMA busy_timeout = 10")
        bank.stage(writer, loan("L", T0, "ann"))
        blocker = sqlite3.connect(bank.directory / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CommitFailedError):
            writer.commit()
        bank.stage(writer, default("D", T0 + HOUR, "ann"))
        bank.stage(writer, default("E", T0 + 2 * HOUR, "ann"))
        blocker.execute("ROLLBACK")
        blocker.close()
        writer.commit()
        bank.stage(writer, default("F", T0 + 3 * HOUR, "ann"))
        writer.commit()
    assert bank.given() == [Given("L", FRAUD, T0 + HOUR, NO_LABEL)]


def _killed_import(bank: Bank) -> None:
    name = "_append_import"
    setattr(importer, name, lambda *_, **__: os._exit(9))
    bank.load()


def test_a_killed_import_leaves_the_index_as_it_was(bank: Bank) -> None:
    bank.tell(loan("L", T0, "ann"))
    bank.write([default("D", T0 + HOUR, "ann"), loan("M", T0 + 2 * HOUR, "ann")])
    bank.clock.advance(9 * HOUR)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ringfence.ledger.importer", "tests.ledger.test_outcomes"])
    process = context.Process(target=_killed_import, args=(bank,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert bank.given() == []
    bank.load()
    bank.tell(default("E", T0 + 3 * HOUR, "ann"))
    assert [(label.event_id, label.known_at_ms) for label in bank.given()] == [
        ("L", T0 + HOUR),
        ("M", T0 + 9 * HOUR),
    ]


def test_a_ledger_without_labels_by_outcome_has_the_tables_it_always_had(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "bank", loans_scenario(label=None))
    bank.load([loan("L", T0, "ann")])
    bank.tell(loan("M", T0 + HOUR, "ann"))
    assert bank.tables() == FORMAT_1
    assert Bank(tmp_path / "new").tables() == FORMAT_1 | {"awaited", "outcomes"}


def test_another_outcome_asks_for_a_new_import(bank: Bank) -> None:
    bank.load([loan("L", T0, "ann"), default("D", T0 + 4 * HOUR, "ann")])
    label = {"event": "default", "horizon": "3h", "by": "customer"}
    for other in (None, label, label | {"horizon": "5h", "by": "branch"}):
        changed = Bank(bank.path, loans_scenario(label=other))
        for attempt in (changed.load, changed.tell, changed.ledger.check_derived):
            with pytest.raises(LabelRuleChangedError, match="'default' of the same customer within 18000 s"):
                attempt()
    changed = Bank(bank.path, loans_scenario(label=label))
    changed.clock.advance(9 * HOUR)
    changed.load(replace=True)
    assert changed.standing() == {"L": (LEGIT, T0 + 3 * HOUR + 1, "matured")}

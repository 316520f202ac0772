# SPDX-License-Identifier: Apache-2.0
"""Ticks per entity: which are due by a plain twin, in one import and in several, and what they learn and cannot see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.importer import ImportReport, import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from ringfence.steps.entity_ticks import as_events, due_ticks
from ringfence.workspace import Workspace
from tests.scenario.test_load_ticks import CHURN

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
START_DAY = 19_723  # 2024-01-01
EVERY, N_ACTIVE = 30, 3
Made = tuple[str, int, bool]  # customer, ms, whether it is a cancellation


def drawn(seed: int, n: int = 400, days: int = 500) -> list[Made]:
    """Purchases of 40 customers, and cancellations; some exactly at a tick."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        day = int(rng.integers(START_DAY, START_DAY + days))
        time_ms = day // EVERY * EVERY * DAY_MS if rng.random() < 0.1 else day * DAY_MS + int(rng.integers(DAY_MS))
        found.append((f"c{rng.integers(40)}", time_ms, bool(rng.random() < 0.08)))
    return sorted(found, key=lambda one: one[1])


def due_by_hand(history: list[Made]) -> set[tuple[str, int]]:
    """Every customer at every tick, and all of its past looked at anew."""
    last_ms = max(time_ms for _, time_ms, _ in history)
    found = set()
    for tick in range(last_ms // (EVERY * DAY_MS) + 1):
        at_ms = tick * EVERY * DAY_MS
        for customer in {customer for customer, _, _ in history}:
            past = [(ms, gone) for who, ms, gone in history if who == customer and ms <= at_ms]
            bought = max((ms for ms, gone in past if not gone), default=-1)
            left = max((ms for ms, gone in past if gone), default=-1)
            first_tick = -(-bought // (EVERY * DAY_MS))
            if bought > left and tick < first_tick + N_ACTIVE:
                found.add((customer, at_ms))
    return found


def write(folder: Path, history: list[Made], name: str = "") -> None:
    folder.mkdir(exist_ok=True)
    for kind, gone in (("purchases", False), ("cancellations", True)):
        rows = [(f"{who}-{ms}-{i}", ms, who, f"s{i % 7}") for i, (who, ms, left) in enumerate(history) if left == gone]
        frame = pl.DataFrame(rows, schema=["id", "at", "who", "shop"], orient="row")
        frame.write_csv(folder / f"{kind}{name}.csv")


def scenario_of(**sources: Any) -> Scenario:
    described = CHURN | {"sources": CHURN["sources"] | sources}
    return scenario_from_mapping("churn", described, where="test")


def imported(folder: Path, scenario: Scenario, **more: Any) -> tuple[Ledger, ImportReport]:
    report = import_files(folder / "ledger", scenario, folder, FakeClock(NOW_MS), **more)
    return Ledger.open(folder / "ledger", scenario), report


def ticks_of(ledger: Ledger) -> set[tuple[str, int]]:
    events = ledger.events(0)
    digests = [bytes.fromhex(name.partition("@")[0]) for name in events["event_id"]]
    names = ledger.entity_names(set(digests))
    found = [(names[digest][1], ms) for digest, ms in zip(digests, events["event_time_ms"].to_list(), strict=True)]
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("seed", range(3))
def test_ticks_of_an_import_are_those_that_plain_loops_find(tmp_path: Path, seed: int) -> None:
    history = drawn(seed)
    write(tmp_path, history)
    ledger, report = imported(tmp_path, scenario_of())
    expected = due_by_hand(history)
    assert ticks_of(ledger) == expected
    assert len(expected) > 200
    assert report.n_events == len(history) + len(expected)
    assert report.n_rejected == 0


def test_the_same_import_again_adds_nothing(tmp_path: Path) -> None:
    write(tmp_path, drawn(4))
    ledger, _ = imported(tmp_path, scenario_of())
    before = ledger.last_seq
    ledger, again = imported(tmp_path, scenario_of())
    assert (again.n_events, again.n_labels) == (0, 0)
    assert ledger.last_seq == before


def test_history_in_two_imports_has_the_ticks_of_one(tmp_path: Path) -> None:
    history = drawn(5)
    middle = history[200][1]
    write(tmp_path, [one for one in history if one[1] <= middle])
    imported(tmp_path, scenario_of())
    write(tmp_path, [one for one in history if one[1] > middle], "-later")
    later = scenario_of(purchase="purchases-later.csv", cancellation="cancellations-later.csv")
    ledger, _ = imported(tmp_path, later)
    assert ticks_of(ledger) == due_by_hand(history)
    whole = tmp_path / "whole"
    write(whole, history)
    at_once, _ = imported(whole, scenario_of())
    assert ticks_of(ledger) == ticks_of(at_once)


def test_replace_begins_ticks_anew(tmp_path: Path) -> None:
    write(tmp_path, drawn(6))
    imported(tmp_path, scenario_of())
    history = drawn(7)
    write(tmp_path, history)
    ledger, _ = imported(tmp_path, scenario_of(), replace=True)
    assert ticks_of(ledger) == due_by_hand(history)


def test_no_tick_names_its_entity_in_records_that_cannot_be_erased(tmp_path: Path) -> None:
    write(tmp_path, drawn(8))
    ledger, _ = imported(tmp_path, scenario_of())
    assert all(name.partition("@")[0].isalnum() and len(name) == 43 for name in ledger.events(0)["event_id"])
    assert not any(name.startswith("c") and "-" in name.partition("@")[0] for name in ledger.events(0)["event_id"])


def test_a_tick_is_labelled_by_what_follows_and_sees_only_what_came_before(tmp_path: Path) -> None:
    #  ticks of c1   day 0      30      60      90     every 30 days; buys at day 1 and 40, cancels at day 75
    tick = START_DAY // EVERY * EVERY + EVERY
    history = [
        ("c1", (tick + 1) * DAY_MS, False),
        ("c1", (tick + 40) * DAY_MS, False),
        ("c1", (tick + 75) * DAY_MS, True),
        ("c2", (tick + 300) * DAY_MS, False),
    ]
    write(tmp_path, history)
    scenario = scenario_of()
    ledger, _ = imported(tmp_path, scenario)
    events = ledger.events(0).sort("seq")
    assert [(ms // DAY_MS - tick) for ms in events["event_time_ms"]] == [30, 60, 300]
    labels = dict(ledger.labels(ledger.last_seq).select("event_seq", "value").iter_rows())
    assert [labels.get(seq) for seq in events["seq"]] == [1, 1, None]  # 75 lies within 60 days of 30 and of 60
    catalogue = Catalogue.build(scenario)
    rows = feature_rows(ledger, catalogue, events["seq"].to_numpy()).rows
    bought = rows[:, catalogue.index("customer.purchase.n_events")]
    assert bought.tolist() == [1.0, 2.0, 1.0]  # that of c2 lies at the moment of its tick


def test_churn_by_ticks_goes_from_files_to_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(9)
    history: list[Made] = []
    for number in range(160):  # whoever buys seldom leaves sooner
        every = int(rng.integers(4, 40))
        day = float(rng.integers(0, 60))
        while day < 600:
            history.append((f"c{number}", int((START_DAY + day) * DAY_MS), False))
            if rng.random() < every / 400:
                history.append((f"c{number}", int((START_DAY + day + 5) * DAY_MS), True))
                break
            day += float(rng.exponential(every))
    write(tmp_path, sorted(history, key=lambda one: one[1]))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "churn.yaml").write_text(
        "costs:\n  currency: EUR\n  missed_fraud: {fixed: 100}\n  review: {cost: 5, detects: 0.9}\n"
        "  false_decline: {fixed: 50}\n",
        encoding="utf-8",
    )
    (tmp_path / "ringfence.yaml").write_text(json.dumps({"scenarios": {"churn": CHURN}}), encoding="utf-8")
    where = ["-w", str(tmp_path)]
    assert run(["check", *where]) == Exit.OK
    said = capsys.readouterr()
    assert "one for each customer every 30d, while its newest event is at most 90d old" in said.out
    assert run(["import", *where]) == Exit.OK
    assert run(["train", *where]) == Exit.OK
    output = tmp_path / "scores.parquet"
    assert run(["score", *where, "--from", "2024-06-01", "--output", str(output)]) == Exit.OK
    scores = pl.read_parquet(output)
    assert scores.height > 500
    assert (scores["event_time"].dt.epoch("ms") % (EVERY * DAY_MS) == 0).all()


def test_due_ticks_are_listed_until_they_are_on_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = drawn(10)
    write(tmp_path, history)
    (tmp_path / "ringfence.yaml").write_text(json.dumps({"scenarios": {"churn": CHURN}}), encoding="utf-8")
    where, due = ["-w", str(tmp_path)], tmp_path / "due.ndjson"
    assert run(["import", *where]) == Exit.OK
    last_day = max(ms for _, ms, _ in history) // DAY_MS
    following = (last_day // EVERY + 1) * EVERY
    until = str(np.datetime64(following, "D"))
    ask = ["ticks", *where, "--until", until, "--output"]
    capsys.readouterr()
    assert run([*ask, str(due), "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    events = [json.loads(line) for line in due.read_text().splitlines()]
    later = [*history, ("nobody", following * DAY_MS, False)]
    expected = {who for who, ms in due_by_hand(later) if ms == following * DAY_MS and who != "nobody"}
    assert {event["entities"]["customer"] for event in events} == expected
    assert told["n_ticks"] == len(expected) > 10
    assert {(event["event_type"], event["event_time"]) for event in events} == {("look", following * DAY_MS)}
    assert {event["event_id"].partition("@")[2] for event in events} == {until}
    assert run([*ask, str(tmp_path / "due.csv")]) == Exit.OK
    capsys.readouterr()
    assert run(["import", str(tmp_path / "due.csv"), *where, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["n_events"] == len(expected)
    assert run([*ask, str(due)]) == Exit.OK
    assert due.read_bytes() == b""
    assert "0 ticks due" in capsys.readouterr().out


def test_a_tick_sent_live_is_the_tick_that_an_import_makes(tmp_path: Path) -> None:
    history = drawn(11)
    write(tmp_path, history)
    (tmp_path / "ringfence.yaml").write_text(json.dumps({"scenarios": {"churn": CHURN}}), encoding="utf-8")
    here = Workspace(tmp_path)
    spec = here.scenario()
    import_files(here.ledger_dir(spec), spec, tmp_path, FakeClock(NOW_MS))
    following = (max(ms for _, ms, _ in history) // DAY_MS // EVERY + 1) * EVERY * DAY_MS
    due = due_ticks(here, spec, until_ms=following)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    door = Door(spec, ledger.identity)
    with ledger.writer(FakeClock(following)) as writer:
        for message in as_events(due, spec):
            writer.stage_event(door.admit(message, now_ms=following))
        writer.commit()
    assert due_ticks(here, spec, until_ms=following).is_empty()
    write(tmp_path, [("someone", following, False)], "-later")
    later = scenario_of(purchase="purchases-later.csv", cancellation="cancellations-later.csv")
    report = import_files(here.ledger_dir(spec), later, tmp_path, FakeClock(NOW_MS))
    assert report.n_conflicts == 0
    assert report.n_events == 2  # the purchase, and the tick of whoever made it

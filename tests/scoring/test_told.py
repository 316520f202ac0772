# SPDX-License-Identifier: Apache-2.0
"""Explanations with names: those that may be told, and as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.ledger.erasable import Erasable
from ringfence.ledger.event_ids import event_ids
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.scoring.told import personal_roles, told
from ringfence.scoring.whole import LinkEffect, NeighbourEffect, Whole

SCENARIO = """\
scenarios:
  signups:
    decide: signup
    sources: {signup: signups.csv, login: logins.csv}
    events:
      signup:
        event_id: id
        event_time: at
        entities: {device: device, friend: {column: friend, type: device}}
        attributes: {email: {type: text, personal: true}, ip: category}
        derive:
          mail_domain: {email_domain: email, role: true}
          network: {ip_prefix: {field: ip, bits: 24}, role: true}
      login: {event_id: id, event_time: at, entities: {device: device}}
"""
DAY_MS = 86_400_000


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "ringfence.yaml").write_text(SCENARIO)
    rows = "".join(f"s-{i},2024-03-0{i + 1}T00:00:00Z,d{i},d9,x{i}@mail.example,10.0.0.{i}\n" for i in range(5))
    (tmp_path / "signups.csv").write_text("id,at,device,friend,email,ip\n" + rows)
    (tmp_path / "logins.csv").write_text("id,at,device\nl-1,2024-03-09T00:00:00Z,d1\n")
    scenario = load_scenarios(tmp_path / "ringfence.yaml")["signups"]
    directory = tmp_path / "ledger" / "signups"
    import_files(directory, scenario, tmp_path, FakeClock(1_750_000_000_000))
    return Ledger.open(directory, scenario)


def link(ledger: Ledger, entity_type: str, entity_id: str, *roles: str, change: float = -1.0) -> LinkEffect:
    hi, lo = ledger.identity.entity(entity_type, entity_id)
    digest = hi.to_bytes(8, "big") + lo.to_bytes(8, "big")
    return LinkEffect(entity=digest, roles=roles, change=change, score_without=0.34, by_branch={"gbdt": change})


def whole(*links: LinkEffect, neighbours: tuple[NeighbourEffect, ...] = ()) -> Whole:
    return Whole(
        rung="full",
        score=0.912,
        raw=1.5,
        base=-2.0,
        branches={"gbdt": 1.0, "gnn": 2.5},
        links=links,
        n_links=len(links),
        neighbours=neighbours,
        n_neighbours=len(neighbours),
    )


def past(seq: int, *, gap_ms: int = 3 * DAY_MS, label: str | None = None) -> NeighbourEffect:
    return NeighbourEffect(
        event_seq=seq, event_time_ms=0, gap_ms=gap_ms, seats=("device",), label=label, change=-0.5, score_without=0.0021
    )


def test_a_link_is_named_with_its_role_and_what_the_score_would_be(ledger: Ledger) -> None:
    found = told(whole(link(ledger, "device", "d1", "device", "friend")), ledger)
    assert found.links[0].entity == "device:d1"
    assert found.links[0].sentence == "Without the device and friend d1: 0.91 -> 0.34"
    assert found.without_strongest == found.links[0].sentence
    assert [share.branch for share in found.branches] == ["gnn", "gbdt"]


def test_nothing_is_said_to_be_strongest_where_no_link_raises_the_score(ledger: Ledger) -> None:
    assert told(whole(link(ledger, "device", "d1", "device", change=0.2)), ledger).without_strongest is None
    assert told(whole(), ledger).without_strongest is None


def test_what_was_made_of_something_personal_is_not_told(ledger: Ledger) -> None:
    assert personal_roles(ledger.scenario, ledger.scenario.decided) == {"mail_domain"}
    found = told(
        whole(
            link(ledger, "mail_domain", "mail.example", "mail_domain"),
            link(ledger, "network", "10.0.0.0/24", "network"),
            link(ledger, "device", "nobody", "device"),
        ),
        ledger,
    )
    assert [one.entity.partition(":")[0] for one in found.links] == ["withheld", "network", "erased"]
    assert found.links[1].entity == "network:10.0.0.0/24"
    assert "mail.example" not in str(found)


def test_names_that_were_erased_are_digests(ledger: Ledger) -> None:
    store = Erasable(ledger.directory)
    store.clear()
    store.close()
    found = told(whole(link(ledger, "device", "d1", "device")), ledger)
    assert found.links[0].entity.startswith("erased:")
    assert "d1" not in found.links[0].sentence.split()


def test_earlier_events_are_named_whatever_their_type(ledger: Ledger) -> None:
    seqs = {name: seq for seq, (_, name) in event_ids(ledger, range(1, ledger.last_seq + 1)).items()}
    assert set(seqs) == {*(f"s-{i}" for i in range(5)), "l-1"}
    neighbours = (
        past(seqs["s-1"], label="fraud"),
        past(seqs["l-1"], gap_ms=DAY_MS),
        past(10_000, gap_ms=-DAY_MS, label="legit"),
    )
    found = told(whole(neighbours=neighbours), ledger).neighbours
    assert [(one.event_type, one.event_id) for one in found] == [("signup", "s-1"), ("login", "l-1"), (None, None)]
    assert [one.sentence for one in found] == [
        "Without signup s-1 of its device, 3 days before, known to be fraud: 0.91 -> 0.0021",
        "Without login l-1 of its device, 24 hours before: 0.91 -> 0.0021",
        "Without signup seq 10000 of its device, later, known to be legit: 0.91 -> 0.0021",
    ]
    assert [one.days_before for one in found] == [3.0, 1.0, -1.0]

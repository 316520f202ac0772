# SPDX-License-Identifier: Apache-2.0
"""`keys` and `entity`, and the record of who did what."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.workspace import Workspace

from .conftest import HEADER


def test_keys_are_made_listed_and_revoked(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "desk", "--scopes", "decide+label", "-w", str(payments), "--json"]) == Exit.OK
    token = json.loads(capsys.readouterr().out)["token"]
    stored = Workspace(payments).keys_path
    assert token not in stored.read_text()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert run(["keys", "list", "-w", str(payments), "--json"]) == Exit.OK
    assert [key["name"] for key in json.loads(capsys.readouterr().out)] == ["desk"]
    assert run(["keys", "revoke", "desk", "-w", str(payments)]) == Exit.OK
    assert run(["keys", "list", "-w", str(payments)]) == Exit.OK
    assert "no keys" in capsys.readouterr().out


def test_a_rotated_key_has_two_tokens_until_the_old_one_ends_or_is_revoked(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-w", str(payments), "--json"]
    assert run(["keys", "create", "desk", "--rate", "5", "--until", "2999-01-01", *here]) == Exit.OK
    old = json.loads(capsys.readouterr().out)
    assert old["until"] == "2999-01-01T00:00:00Z"
    assert run(["keys", "rotate", "desk", "--overlap", "12h", *here]) == Exit.OK
    new = json.loads(capsys.readouterr().out)
    assert new["token"] != old["token"]
    assert run(["keys", "list", *here]) == Exit.OK
    listed = json.loads(capsys.readouterr().out)
    assert [key["until"] for key in listed] == [new["old_valid_until"], None]
    assert [(key["valid"], key["rate"], key["burst"]) for key in listed] == [(True, 5, 5)] * 2
    assert run(["keys", "revoke", "desk", "--old", "-w", str(payments)]) == Exit.OK
    assert "revoked 1 old token of desk" in capsys.readouterr().out
    assert run(["keys", "list", "-w", str(payments)]) == Exit.OK
    shown = capsys.readouterr().out
    assert "until revoked" in shown
    assert "5/s, 5 at once" in shown


def test_acts_on_keys_are_on_record_and_a_key_put_in_by_hand_is_found(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-w", str(payments)]
    assert run(["keys", "create", "desk", *here]) == Exit.OK
    assert run(["keys", "rotate", "desk", *here]) == Exit.OK
    assert run(["keys", "create", "gone", *here]) == Exit.OK
    assert run(["keys", "revoke", "gone", *here]) == Exit.OK
    capsys.readouterr()
    assert run(["verify", "audit", "--json", *here]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["acts"]["n_acts"] == 4
    acts = [json.loads(line) for line in Workspace(payments).acts_path.read_text().splitlines()]
    assert [act["act"] for act in acts] == ["key created", "key rotated", "key created", "key revoked"]
    assert all(act["by"] for act in acts)
    assert "rf_" not in Workspace(payments).acts_path.read_text()
    keys = Workspace(payments).keys_path
    keys.write_text(f"{keys.read_text()}eve:admin:{'0' * 64}\n")
    assert run(["verify", "audit", *here]) == Exit.CHECK_FAILED
    assert "'eve' is there, and no act on record made it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["create", "desk", "--rate", "0"], "above 0"),
        (["create", "desk", "--burst", "5"], "give --rate too"),
        (["create", "desk", "--until", "soon"], "--until 'soon' is not a time"),
        (["rotate", "desk", "--overlap", "soon"], "--overlap 'soon' is not a duration"),
        (["rotate", "desk", "--overlap", "367d"], "longer than a year"),
    ],
)
def test_a_key_of_a_senseless_rate_or_time_is_a_usage_error(
    options: list[str], found: str, payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["keys", *options, "-w", str(payments)]) == Exit.USAGE
    assert found in capsys.readouterr().err
    assert not Workspace(payments).keys_path.exists()


def test_key_with_unknown_scope_is_a_usage_error(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "desk", "--scopes", "decide+fly", "-w", str(payments)]) == Exit.USAGE
    assert "'fly'" in capsys.readouterr().err


def test_what_is_held_on_one_entity_is_written_and_that_it_was_is_on_record(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "1,2024-01-01T10:00:00Z,5.00,anna-7,0\n2,2024-01-01T11:00:00Z,6.50,anna-7,1\n3,2024-01-02,7,bert-9,0\n"
    (payments / "payments.csv").write_text(HEADER + rows)
    here = ["-w", str(payments)]
    assert run(["import", *here]) == Exit.OK
    capsys.readouterr()
    assert run(["entity", "export", "card", "anna-7", *here]) == Exit.OK
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["kind"] for line in lines] == ["entity", "event", "event", "label", "label"]
    assert [line["amount"] for line in lines if line["kind"] == "event"] == [5.0, 6.5]
    assert "bert-9" not in said.out
    assert "2 events, 2 labels, 0 decisions" in said.err
    output = payments / "anna.jsonl"
    assert run(["entity", "export", "card", "anna-7", "--output", str(output), "--json", *here]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["n_events"] == 2
    assert output.read_text() == said.out
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    acts = Workspace(payments).acts_path.read_text()
    assert acts.count("entity exported") == 2
    assert lines[0]["digest"] in acts
    assert "anna-7" not in acts
    assert run(["verify", "audit", *here]) == Exit.OK


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["merchant", "7"], "'merchant' is no role of 'payments'; it has: card"),
        (["card", "7", "--json"], "--json tells about a file"),
        (["card", "7", "--output", "ringfence.yaml"], "is there already"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused_before_anything_is_read(
    options: list[str], found: str, payments: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(payments)
    assert run(["entity", "export", *options]) == Exit.USAGE
    assert found in capsys.readouterr().err
    assert not Workspace(payments).acts_path.exists()


PERSONAL = "        attributes: {phone: {type: text, personal: true}, story: text}\n"
ROWS = (
    "id,at,amount,card,fraud,phone,story\n"
    "1,2024-01-01T10:00:00Z,5.00,anna-4711,0,555-0100,\n"
    "2,2024-01-01T11:00:00Z,6.50,anna-4711,1,555-0100,told by ANNA-4711\n"
    "3,2024-01-02T11:00:00Z,7.00,bert-4712,0,555-0200,\n"
)


@pytest.fixture
def told(payments: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Payments with a personal attribute, imported; the source lies in the workspace no more."""
    config = payments / "ringfence.yaml"
    config.write_text(config.read_text().replace("        label:", f"{PERSONAL}        label:"))
    (payments / "payments.csv").write_text(ROWS)
    assert run(["import", "-w", str(payments)]) == Exit.OK
    (payments / "payments.csv").unlink()
    capsys.readouterr()
    return payments


def test_an_erased_entity_is_in_no_file_and_on_record_by_its_digest(
    told: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-w", str(told)]
    assert run(["verify", "audit", "--json", *here]) == Exit.OK
    before = json.loads(capsys.readouterr().out)["report"]
    (told / "reports").mkdir(exist_ok=True)
    (told / "reports" / "ring.html").write_text("<td>card:anna-4711</td>")
    (told / "reports" / "other.html").write_text("<td>card:anna-47110</td>")
    (told / "CARD.md").write_text("As anna-4711 said.")
    asked = ["entity", "erase", "card", "anna-4711", "--reason", "request 2026-17"]
    assert run([*asked, "--json", *here]) == Exit.OK
    done = json.loads(capsys.readouterr().out)
    assert (done["erasure"]["n_names"], done["erasure"]["n_personal"], done["erasure"]["n_events"]) == (1, 2, 2)
    assert (done["removed"], done["quoting"]) == (["reports/ring.html"], ["CARD.md"])
    assert (done["erasure"]["n_quoting"], done["erasure"]["quoting"]) == (1, ["story"])
    (told / "CARD.md").unlink()
    for file in told.rglob("*"):
        assert not file.is_file() or b"555-0100" not in file.read_bytes(), file
        assert not file.is_file() or not file.read_bytes().count(b"anna-4711") or file.name == "other.html", file
    assert run(["verify", "audit", "--json", *here]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["report"] == before
    (act,) = [json.loads(line) for line in Workspace(told).acts_path.read_text().splitlines()]
    assert (act["act"], act["note"]) == ("entity erased", "request 2026-17")
    assert act["about"] == f"payments: card {done['erasure']['digest']}"
    assert run([*asked, *here]) == Exit.OK
    assert "was erased before, and nothing has come since: nothing to do" in capsys.readouterr().out
    assert len(Workspace(told).acts_path.read_text().splitlines()) == 1
    assert run(["entity", "export", "card", "anna-4711", *here]) == Exit.OK
    (entity, *_) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert entity["in_directory"] is False


@pytest.mark.parametrize(
    ("options", "code", "found"),
    [
        (["card", "nobody", "--reason", "request 1"], Exit.BAD_INPUT, "no event of 'payments' names a card of this id"),
        (["merchant", "7", "--reason", "request 1"], Exit.USAGE, "'merchant' is no type of an entity of 'payments'"),
        (["card", "anna-4711", "--reason", "Anna-4711 asked"], Exit.USAGE, "--reason quotes the id"),
        (["card", "anna-4711", "--reason", "  "], Exit.USAGE, "--reason is empty"),
        (["card", "anna-4711"], Exit.USAGE, "--reason"),
    ],
)
def test_an_erasure_that_makes_no_sense_is_refused_and_not_on_record(
    options: list[str], code: Exit, found: str, told: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["entity", "erase", *options, "-w", str(told)]) == code
    assert found in capsys.readouterr().err
    assert not Workspace(told).acts_path.exists()


def test_what_is_older_than_retain_is_dropped_and_doctor_tells_where_it_was_not(
    told: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-w", str(told)]
    assert run(["retain", *here]) == Exit.OK
    assert "has no `retain` in ringfence.yaml: everything is kept" in capsys.readouterr().out
    config = told / "ringfence.yaml"
    config.write_text(config.read_text().replace("decide: payment", "decide: payment\n    retain: 36500d"))
    assert run(["retain", *here]) == Exit.OK
    assert "nothing is older than `retain`" in capsys.readouterr().out
    config.write_text(config.read_text().replace("36500d", "400d"))
    run(["doctor", *here])
    assert "3 personal values are older than `retain` by more than two days" in capsys.readouterr().out
    assert run(["retain", *here]) == Exit.OK
    assert "dropped 2 ids and 3 personal values" in capsys.readouterr().out
    run(["doctor", *here])
    assert "payments: retain: no personal value is kept for longer" in capsys.readouterr().out
    assert run(["verify", "audit", *here]) == Exit.OK
    (act,) = [json.loads(line) for line in Workspace(told).acts_path.read_text().splitlines()]
    assert (act["act"], act["about"]) == ("retention", "payments")
    assert act["note"].startswith("2 ids and 3 personal values of records up to seq ")
    assert run(["retain", *here]) == Exit.OK
    assert len(Workspace(told).acts_path.read_text().splitlines()) == 1

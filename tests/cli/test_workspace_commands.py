# SPDX-License-Identifier: Apache-2.0
"""`init`, and `import` of files that are wrong."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.snapshot import write_snapshot
from ringfence.engine.stats import FAMILIES
from ringfence.ledger.ledger import Ledger
from ringfence.policy.load import default_policy_text
from ringfence.workspace import UnknownScenarioError, Workspace

from .conftest import HEADER, SCENARIO


def test_replaced_ledger_leaves_no_snapshot_of_the_old_one(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (payments / "payments.csv").write_text(f"{HEADER}1,2024-01-01,10,a,0\n2,2024-01-02,10,a,1\n")
    assert run(["import", "-w", str(payments)]) == Exit.OK
    here = Workspace(payments)
    scenario = here.scenario()
    engine = Engine(Catalogue.build(scenario))
    for batch in Ledger.open(here.ledger_dir(scenario), scenario).batches():
        engine.observe(batch)
    write_snapshot(engine, here.state_dir(scenario))
    (payments / "payments.csv").write_text(f"{HEADER}1,2024-01-01,99,b,1\n2,2024-01-02,99,b,1\n")
    assert run(["import", "--replace", "-w", str(payments)]) == Exit.OK
    assert run(["verify", "state", "-w", str(payments)]) == Exit.OK
    capsys.readouterr()
    assert run(["verify", "audit", "-w", str(payments)]) == Exit.OK
    assert "intact: 1 live record and 1 imported segment up to seq" in capsys.readouterr().out


def test_import_under_a_changed_mapping_asks_for_replace(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (payments / "payments.csv").write_text(f"{HEADER}1,2024-01-01,10,a,0\n2,2024-01-02,10,b,1\n")
    assert run(["import", "-w", str(payments)]) == Exit.OK
    (payments / "ringfence.yaml").write_text(SCENARIO.replace("{card: card}", "{card: amount}"))
    assert run(["import", "-w", str(payments)]) == Exit.BAD_INPUT
    assert "import --replace" in capsys.readouterr().err


@pytest.mark.parametrize(("column", "hint"), [("Persons", "Person"), ("ContractXX", "known: ")])
def test_role_that_no_file_knows_is_no_empty_role(
    column: str, hint: str, payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapped = SCENARIO.replace(
        "payment: payments.csv",
        "payment: {files: payments.csv, join: {file: parties.csv, on: id, role: role, value: who}}",
    ).replace("{card: card}", f"{{card: card, person: {{column: {column}, many: true}}}}")
    (payments / "ringfence.yaml").write_text(mapped)
    (payments / "payments.csv").write_text(f"{HEADER}1,2024-01-01,10,a,0\n")
    (payments / "parties.csv").write_text("id,role,who\n1,Person,x\n1,Garage,g\n")
    assert run(["import", "-w", str(payments)]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert f"{column!r} (entities.person)" in said
    assert hint in said
    assert run(["import", "-w", str(payments)]) == Exit.BAD_INPUT  # nothing was half-loaded


def findings(workspace: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What doctor says about the parts of the scenario: health and text by part."""
    capsys.readouterr()
    run(["doctor", "-w", str(workspace), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    return {
        one["what"].removeprefix("payments: "): f"{one['health']} {one['found']}; {one['do']}"
        for one in found
        if one["what"].startswith("payments: ")
    }


def test_doctor_opens_the_sources(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(payments, capsys)["sources"].startswith("BAD ")
    (payments / "payments.csv").write_bytes(b"")
    assert "empty" in findings(payments, capsys)["sources"]
    (payments / "payments.csv").write_text("id,at,amount,crd,fraud\n")
    assert "'card' (entities.card)" in findings(payments, capsys)["sources"]
    assert "did you mean 'crd'" in findings(payments, capsys)["sources"]
    (payments / "payments.csv").write_text(f"{HEADER}1,2024-01-01,10,a,0\n")
    assert findings(payments, capsys)["sources"].startswith("ok payments.csv: every mapped column")
    assert run(["import", "-w", str(payments)]) == Exit.OK
    (payments / "payments.csv").unlink()
    assert findings(payments, capsys)["sources"].startswith("note ")


def test_doctor_compares_the_currencies_of_policy_and_scenario(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is missing" in findings(payments, capsys)["policy"]
    (payments / "policies").mkdir()
    policy = default_policy_text("card-payments")
    Workspace(payments).policy_path("payments").write_text(policy)
    assert findings(payments, capsys)["policy"].startswith("ok ")
    Workspace(payments).policy_path("payments").write_text(policy.replace("currency: EUR", "currency: USD"))
    assert findings(payments, capsys)["policy"].startswith("BAD costs are in USD with 2 digits, amounts in EUR")


@pytest.mark.parametrize("template", ["motor-claims", "card-payments"])
def test_init_writes_a_workspace_that_loads(template: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    assert run(["init", str(folder), "--template", template, "--json"]) == Exit.OK
    written = json.loads(capsys.readouterr().out)["written"]
    assert str(folder / "ringfence.yaml") in written
    here = Workspace(folder)
    assert here.scenario().name == template
    assert here.policy_path(template).is_file()


def test_init_refuses_to_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ringfence.yaml").write_text("mine")
    assert run(["init", str(tmp_path)]) == Exit.BAD_INPUT
    assert "nothing written" in capsys.readouterr().err
    assert (tmp_path / "ringfence.yaml").read_text() == "mine"


def test_scenario_must_be_named_when_there_are_several(tmp_path: Path) -> None:
    one = SCENARIO.split("scenarios:\n")[1]
    (tmp_path / "ringfence.yaml").write_text(SCENARIO + one.replace("  payments:", "  refunds:"))
    here = Workspace(tmp_path)
    assert here.scenario("refunds").name == "refunds"
    with pytest.raises(UnknownScenarioError, match="--scenario"):
        here.scenario()
    with pytest.raises(UnknownScenarioError, match="payments, refunds"):
        here.scenario("claims")


def test_service_does_not_start_without_a_key(
    payments: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGFENCE_KEYS", raising=False)
    assert run(["serve", "-w", str(payments)]) == Exit.BAD_INPUT
    assert "ringfence keys create" in capsys.readouterr().err


def test_bad_rows_are_listed_and_good_ones_loaded(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "1,2024-01-01T10:00:00Z,5.00,a,0\n2,yesterday,5.00,a,0\n3,2024-01-01T11:00:00Z,inf,b,1\n"
    (payments / "payments.csv").write_text(HEADER + rows)
    assert run(["import", "-w", str(payments), "--json"]) == Exit.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["n_events"], report["n_rejected"]) == (1, 2)
    rejects = pl.read_csv(report["rejects"])
    assert rejects["line"].to_list() == [3, 4]
    assert rejects["column"].to_list() == ["at", "amount"]


def test_import_tells_why_rows_were_rejected_and_how_many(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = "".join(f"{number},2024-01-01T10:00:00Z,5,a,0\n" for number in range(50))
    bad = f"50,2024-01-01,5,{'x' * 600},0\n51,yesterday,5,a,0\n52,tomorrow,5,a,0\n"
    (payments / "payments.csv").write_text(HEADER + good + bad)
    assert run(["import", "-w", str(payments)]) == Exit.OK
    said = capsys.readouterr()
    assert "50 events and 50 labels imported" in said.out
    assert f"rejected 3 of 53 rows (5.7 %), each listed with file, line and reason in {payments}" in said.out
    reasons = said.out.split("whole row out:\n")[1].splitlines()
    assert [line.split(": ")[0].strip() for line in reasons] == ["2 x at", "1 x card"]
    assert "warning: 5.7 % of the rows were rejected" in said.err


def test_times_after_the_event_and_missing_amounts_are_warned_of(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attributes = "attributes: {closed: time, ends: {type: time, use: audit_only}}\n        label:"
    (payments / "ringfence.yaml").write_text(SCENARIO.replace("label:", attributes))
    rows = "1,2024-01-01,5,a,0,2024-01-02,2030-01-01\n2,2024-01-01,,a,0,2024-01-01,\n3,2024-01-01,5,a,0,,\n"
    (payments / "payments.csv").write_text(HEADER.strip() + ",closed,ends\n" + rows)
    assert run(["import", "-w", str(payments), "--json"]) == Exit.OK
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["after_event"] == [{"event_type": "payment", "column": "closed", "n": 1, "n_rows": 3}]
    assert report["without_amount"] == [{"event_type": "payment", "column": "amount", "n": 1, "n_rows": 3}]
    assert "1 of 3 payment rows have `closed` later than the event" in said.err
    assert said.err.count("warning: ") == len(report["warnings"]) == 2


def test_file_with_a_header_alone_is_no_success(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (payments / "payments.csv").write_text(HEADER)
    assert run(["import", "-w", str(payments)]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert "payments.csv holds no row" in said
    assert "nothing was imported: there is no row" in said


def test_abort_loads_nothing_when_a_row_is_bad(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (payments / "payments.csv").write_text(HEADER + "1,2024-01-01,5,a,0\n2,never,5,a,0\n")
    assert run(["import", "-w", str(payments), "--on-bad-rows", "abort"]) == Exit.BAD_INPUT
    assert "nothing was imported" in capsys.readouterr().err


def test_import_where_every_row_is_bad_is_no_success(payments: Path) -> None:
    (payments / "payments.csv").write_text(HEADER + "1,never,5,a,0\n")
    assert run(["import", "-w", str(payments)]) == Exit.BAD_INPUT


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("payments.csv", b""),
        ("payments.csv", b"id,at\n1,2024-01-01\n"),
        ("payments.csv", HEADER.encode() + b"\xff\xfe,2024-01-01,5,a,0\n"),
        ("payments.parquet", b"PAR1 and then nothing"),
        ("missing.csv", None),
    ],
    ids=["empty", "columns-missing", "not-utf-8", "truncated-parquet", "no-such-file"],
)
def test_unusable_file_is_named_and_nothing_is_written(
    name: str, content: bytes | None, payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (payments / name).write_bytes(content)
    code = run(["import", str(payments / name), "-w", str(payments)])
    assert code == Exit.BAD_INPUT
    said = capsys.readouterr()
    assert name in said.err or "rejected" in said.out


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("payments.csv", b"id;at;amount;card;fraud\n1;2024-01-01;5;a;0\n", "separated by semicolons"),
        ("payments.csv", b"id\tat\tamount\tcard\tfraud\n", "ends in .tsv"),
        ("payments.tsv", b"id,at,amount,card,fraud\n", "separated by commas"),
        ("payments.xlsx", b"PK\x03\x04\x14\x00\x06\x00", "a spreadsheet"),
        ("payments.csv.gz", b"\x1f\x8b\x08\x00", "gzip"),
    ],
)
def test_file_of_another_kind_is_told_from_a_broken_one(
    name: str, content: bytes, hint: str, payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (payments / name).write_bytes(content)
    assert run(["import", str(payments / name), "-w", str(payments)]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert hint in said
    assert name in said


def test_simulating_an_unknown_world_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "atlantis", "-o", str(tmp_path / "x")]) == Exit.USAGE
    assert "motor-claims" in capsys.readouterr().err


def test_demo_does_not_write_into_a_used_folder(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--once", "-w", str(payments)]) == Exit.USAGE
    assert "not empty" in capsys.readouterr().err


def test_empty_ledger_is_said_plainly(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (payments / "policies").mkdir()
    Workspace(payments).policy_path("payments").write_text(default_policy_text("card-payments"))
    assert run(["train", "-w", str(payments)]) == Exit.BAD_INPUT
    assert "no example to train on" in capsys.readouterr().err
    assert run(["evaluate", "-w", str(payments)]) == Exit.BAD_INPUT
    assert "ringfence train" in capsys.readouterr().err
    assert run(["verify", "parity", "-w", str(payments)]) == Exit.CHECK_FAILED
    assert "nothing to compare" in capsys.readouterr().out
    assert run(["verify", "state", "-w", str(payments)]) == Exit.CHECK_FAILED
    assert "the ledger is empty" in capsys.readouterr().out
    assert run(["release", "list", "-w", str(payments)]) == Exit.OK
    assert "no release yet" in capsys.readouterr().out


def test_training_without_a_policy_names_the_file(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "-w", str(payments)]) == Exit.BAD_INPUT
    assert "policies/payments.yaml" in capsys.readouterr().err


def test_time_that_is_none_is_a_usage_error(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--until", "someday", "-w", str(payments)]) == Exit.USAGE
    assert "--until 'someday'" in capsys.readouterr().err
    window = ["score", "--from", "2024-02-01", "--to", "2024-01-01", "-o", "s.parquet", "-w", str(payments)]
    assert run(window) == Exit.USAGE
    assert "not after" in capsys.readouterr().err


def test_taken_port_is_said_before_anything_is_recovered(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "desk", "-w", str(payments)]) == Exit.OK
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run(["serve", "-w", str(payments), "--port", port]) == Exit.BUSY
    assert "--port" in capsys.readouterr().err


def test_token_is_all_that_keys_create_prints_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ringfence.yaml").write_text(SCENARIO)
    assert run(["keys", "create", "shop", "-w", str(tmp_path)]) == Exit.OK
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert len(told.out.split()) == 1
    assert "shown this once" in told.err
    assert f"Bearer {told.out[:6]}" in told.err


def test_damaged_snapshot_is_named_though_state_is_recovered(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (payments / "payments.csv").write_text(f"{HEADER}1,2024-01-01,10,a,0\n2,2024-01-02,10,a,1\n")
    assert run(["import", "-w", str(payments)]) == Exit.OK
    here = Workspace(payments)
    scenario = here.scenario()
    engine, snapshots = Engine(Catalogue.build(scenario)), []
    for batch in Ledger.open(here.ledger_dir(scenario), scenario).batches(size=2):
        engine.observe(batch)
        snapshots.append(write_snapshot(engine, here.state_dir(scenario)))
    newest = bytearray(snapshots[-1].read_bytes())
    newest[-40] ^= 1
    snapshots[-1].write_bytes(newest)
    capsys.readouterr()
    for n_refused in (1, 2):
        assert run(["verify", "state", "-w", str(payments)]) == Exit.OK
        said = capsys.readouterr().out
        assert ("the snapshot at seq 2 and a fresh replay" in said) == (n_refused == 1)
        assert f"snapshot {snapshots[-1].name} is refused: its checksum does not match" in said
        assert "the file may be deleted" in said
        n_features = len(Catalogue.build(scenario).features)
        assert f"built from ringfence.yaml, as no release is live: {n_features} features" in said
        assert run(["verify", "state", "-w", str(payments), "--json"]) == Exit.OK
        proof = json.loads(capsys.readouterr().out)["proof"]
        assert len(proof["refused"]) == n_refused
        assert (proof["release"], proof["n_features"]) == (None, n_features)
        snapshots[0].write_bytes(b"nothing")


def test_parity_restores_in_the_middle_of_few_records(payments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = "".join(f"{i},2024-01-{i:02d},10,a,0\n" for i in range(1, 21))
    (payments / "payments.csv").write_text(HEADER + days)
    assert run(["import", "-w", str(payments)]) == Exit.OK
    for events in ("300", "8"):
        capsys.readouterr()
        assert run(["verify", "parity", "--events", events, "-w", str(payments), "--json"]) == Exit.OK
        proof = json.loads(capsys.readouterr().out)["proof"]
        assert proof["n_rows"] == min(int(events), 20)
        assert proof["restored_at_seq"] == proof["n_records"] // 2


def checked(workspace: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    (workspace / "policies").mkdir(exist_ok=True)
    Workspace(workspace).policy_path("payments").write_text(default_policy_text("card-payments"))
    capsys.readouterr()
    assert run(["check", "-w", str(workspace)]) == Exit.OK
    told = capsys.readouterr()
    return told.out, told.err


def test_check_says_what_memory_has_room_for_and_warns_where_it_is_too_small(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n = 200_000
    rows = {"id": range(n), "at": ["2024-01-02"] * n, "amount": [10] * n, "card": range(n), "fraud": [0, 1] * (n // 2)}
    pl.DataFrame(rows).write_csv(payments / "payments.csv")
    out, err = checked(payments, capsys)
    room = Catalogue.build(Workspace(payments).scenario()).plan.room
    assert f"4 GiB: room for {room.slots:,} entities, " in out
    assert "has room for" not in err
    (payments / "ringfence.yaml").write_text(f"{SCENARIO.rstrip()}\n    memory: 64 MiB\n")
    room = Catalogue.build(Workspace(payments).scenario()).plan.room
    assert (
        f"memory of 64 MiB has room for {room.slots:,} entities, and the files name 200,000 or more"
        in checked(payments, capsys)[1]
    )


def test_check_warns_of_settings_that_leave_nothing_to_learn_from(
    payments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (payments / "payments.csv").write_text(f"{HEADER}1,2024-01-01,10,a,0\n2,2024-01-02,10,a,1\n")
    off = ", ".join(f"{family}: false" for family in FAMILIES)
    (payments / "ringfence.yaml").write_text(f"{SCENARIO.rstrip()}\n    features: {{{off}}}\n")
    out, err = checked(payments, capsys)
    assert "nothing: every feature family is off" in out
    assert "`train` will refuse" in err
    (payments / "ringfence.yaml").write_text(f"{SCENARIO.rstrip()}\n    features: {{rings: true}}\n")
    assert "no role is marked strong, so nothing ties events into rings" in checked(payments, capsys)[1]
    (payments / "ringfence.yaml").write_text(f"{SCENARIO.rstrip()}\n    rings: {{tie: 5d}}\n")
    assert "`ringfence rings` uses them, features do not" in checked(payments, capsys)[1]
    (payments / "ringfence.yaml").write_text(SCENARIO)
    quiet = checked(payments, capsys)[1]
    assert "rings" not in quiet
    assert "train" not in quiet

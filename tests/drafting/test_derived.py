# SPDX-License-Identifier: Apache-2.0
"""`init --from` proposes `derive:` where columns say more than themselves, and the draft loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.drafting import draft_scenario
from ringfence.workspace import Workspace
from tests.drafting.tables import N, draft_of, imported, payments

RNG = np.random.default_rng(11)
NETWORKS = RNG.integers(0, 40, N)
IPS = [f"10.1.{network}.{host}" for network, host in zip(NETWORKS, RNG.integers(1, 255, N), strict=True)]
MAILS = [f"someone{row}@Mail{domain}.example" for row, domain in enumerate(RNG.integers(0, 30, N))]
PLACES = {name: RNG.uniform(-60.0, 60.0, N).round(4) for name in ("lat", "long", "merch_lat", "merch_long")}


def test_networks_domains_and_ways_are_proposed_with_why_and_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "payments.csv"
    pl.DataFrame(payments(ip=IPS, email=MAILS, **PLACES)).write_csv(table)
    folder = tmp_path / "w"
    assert run(["init", str(folder), "--from", str(table), "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert told["derived"] == {
        "network": ["ip"], "mail_domain": ["email"], "km_between": ["lat", "long", "merch_lat", "merch_long"],
    }  # fmt: skip
    written = (folder / "ringfence.yaml").read_text()
    assert "network: {ip_prefix: {field: ip, bits: 24}, role: true}" in written
    assert "40 networks of " in written
    assert "mail_domain: {email_domain: email, role: true}" in written
    assert "30 domains of 600 emails looked at, 20.0 events each" in written
    assert "km_between: {distance: {from: [lat, long], to: [merch_lat, merch_long]}}" in written
    spec = Workspace(folder).scenario()
    assert {role.name for role in spec.roles} >= {"network", "mail_domain"}
    assert run(["check", "-w", str(folder)]) == Exit.OK
    said = capsys.readouterr()
    assert "yields none" not in said.err
    assert run(["import", "-w", str(folder), "--json"]) == Exit.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["n_events"], report["n_rejected"], report["underived"]) == (N, 0, [])


def test_what_hardly_two_events_share_is_not_proposed(tmp_path: Path) -> None:
    ips = [f"10.{row // 250}.{row % 250}.7" for row in range(N)]
    assert draft_of(tmp_path, payments(ip=ips)).derived == ()


def test_few_domains_are_a_category(tmp_path: Path) -> None:
    mails = [f"someone{row}@mail{row % 3}.example" for row in range(N)]
    draft = draft_of(tmp_path, payments(contact=mails))
    (guess,) = draft.derived
    assert (guess.name, guess.is_role, guess.inputs) == ("mail_domain", False, ("contact",))
    assert "contact" not in [out.column for out in draft.left_out]
    assert imported(draft, tmp_path).n_rejected == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"version": [f"1.{row % 7}.{row % 90}" for row in range(N)]},
        {"note": [f"see me@ {row % 60}" for row in range(N)]},
        {"lat": PLACES["lat"], "long": PLACES["long"]},
        {"lat": PLACES["lat"], "long": PLACES["long"], "far_lat": 40.0 * PLACES["lat"], "far_long": PLACES["long"]},
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_alone(columns: dict[str, list[str]], tmp_path: Path) -> None:
    assert draft_of(tmp_path, payments(**columns)).derived == ()


def test_one_place_and_somebody_who_comes_back_make_journeys(tmp_path: Path) -> None:
    here = {"lat": PLACES["lat"], "long": PLACES["long"]}
    draft = draft_of(tmp_path, payments(**here))
    assert draft.travel == ("lat", "long")
    assert imported(draft, tmp_path).n_rejected == 0
    assert "travel: {place: [lat, long], of: [card]}" in (tmp_path / "ringfence.yaml").read_text()
    travel = Workspace(tmp_path).scenario().travel
    assert travel is not None
    assert travel.roles == ("card",)
    assert draft_of(tmp_path / "two", payments(**PLACES)).travel is None
    few = {"lat": [50.0 + row % 7 for row in range(N)], "long": [8.0 + row % 5 for row in range(N)]}
    (tmp_path / "few").mkdir()
    assert imported(draft_of(tmp_path / "few", payments(**few)), tmp_path / "few").n_rejected == 0  # towns, maybe
    without = {name: values for name, values in payments(**here).items() if name != "card_no"}
    assert draft_of(tmp_path / "nobody", without).travel is None


def test_a_leak_is_not_brought_back_by_deriving_from_it(tmp_path: Path) -> None:
    fraud = payments()["is_fraud"]
    mails = [f"x{row}@{'bad' if value else 'good'}{row % 15}.example" for row, value in enumerate(fraud)]
    draft = draft_of(
        tmp_path, payments(review_email=mails, **{"closed_ip": ["" if not v else "10.0.0.1" for v in fraud]})
    )
    leaks = {leak.column for leak in draft.leaks}
    assert "closed_ip" in leaks
    assert not leaks & {column for guess in draft.derived for column in guess.columns}


def test_networks_of_addresses_that_are_written_as_numbers_are_proposed(tmp_path: Path) -> None:
    numbers = [float((10 << 24) + (network << 8) + row % 250) + 0.5 for row, network in enumerate(NETWORKS)]
    draft = draft_of(tmp_path, payments(ip_address=numbers))
    (guess,) = draft.derived
    assert (guess.name, guess.how, guess.bits, guess.is_role) == ("network", "ip_prefix", 24, True)
    report = imported(draft, tmp_path)
    assert (report.n_events, report.n_rejected, report.underived) == (N, 0, ())
    wider = [int((row % 40 + 1) << 24) + (row % 30 << 16) + row * 256 for row in range(N)]
    (guess,) = draft_of(tmp_path / "wider", payments(ip=wider)).derived
    assert guess.bits == 16


@pytest.mark.parametrize(
    "columns",
    [
        {"visits": [(10 << 24) + row % 40 * 256 for row in range(N)]},  # no address by its name
        {"ip_count": [row % 40 for row in range(N)]},  # too small for addresses
        {"ip": [(row + 1) << 32 for row in range(N)]},  # too large
    ],
)  # fmt: skip
def test_numbers_that_are_no_addresses_are_left_alone(columns: dict[str, list[int]], tmp_path: Path) -> None:
    assert draft_of(tmp_path, payments(**columns)).derived == ()


def test_a_table_of_ranges_says_how_to_look_it_up_and_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [int((10 << 24) + (network << 8) + row % 250) for row, network in enumerate(NETWORKS)]
    pl.DataFrame(payments(ip_address=numbers)).write_csv(tmp_path / "payments.csv")
    bounds = [(10 << 24) + (network << 8) for network in range(40)]
    table = pl.DataFrame(
        {
            "lower_bound_ip_address": bounds,
            "upper_bound_ip_address": [bound + 255 for bound in bounds],
            "country": [["Peru", "Laos", "Mali"][network % 3] for network in range(40)],
        }
    )
    table.write_csv(tmp_path / "countries.csv")
    folder = tmp_path / "w"
    files = [str(tmp_path / name) for name in ("payments.csv", "countries.csv")]
    assert run(["init", str(folder), "--from", *files]) == Exit.OK
    said = capsys.readouterr().err
    assert "countries.csv is not used: it tells country for ranges of ip_address: copy it into the workspace" in said
    table.write_csv(folder / "countries.csv")  # as it says
    entry = said.partition("under `derive:` ")[2].splitlines()[0]
    scenario = folder / "ringfence.yaml"
    text = scenario.read_text()
    edited = text.replace("        derive:\n", f"        derive:\n          {entry}\n")
    assert edited != text
    scenario.write_text(edited)
    assert {"country", "network"} <= {one.name for one in Workspace(folder).scenario().decided.derived}
    assert run(["import", "-w", str(folder), "--json"]) == Exit.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["n_events"], report["n_rejected"], report["underived"]) == (N, 0, [])


def test_ranges_that_cannot_be_looked_up_in_are_told_before_the_import_refuses_them(tmp_path: Path) -> None:
    files = [tmp_path / "payments.csv", tmp_path / "countries.csv"]
    pl.DataFrame(payments(ip=[int((10 << 24) + row) for row in range(N)])).write_csv(files[0])
    bounds = [(10 << 24) + row * 10 for row in range(2_000)]
    turned = {"from_ip": bounds, "to_ip": [b + {7: -1, 90: 10}.get(i, 9) for i, b in enumerate(bounds)]}
    pl.DataFrame({**turned, "country": [["Peru", "Laos", "Mali"][row % 3] for row in range(2_000)]}).write_csv(files[1])
    ((_, why),) = draft_scenario("drafted", files).unused_files
    assert "with faults: 1 x a range whose `from` lies above its `to`; 2 x a range that overlaps another): copy" in why
    assert "CHECK bad_rows: skip, overlaps: narrowest: by these words rows with faults are used as they are" in why
    assert "value: country, bad_rows: skip, overlaps: narrowest}, field: ip}" in why


def test_a_table_that_shares_no_name_or_no_number_is_no_table_of_ranges(tmp_path: Path) -> None:
    payments_file = tmp_path / "payments.csv"
    pl.DataFrame(payments(ip_address=[int((10 << 24) + row) for row in range(N)])).write_csv(payments_file)
    for columns in (
        {"lower_year": [1, 5], "upper_year": [4, 9], "name": ["a", "b"]},
        {"lower_ip": [1, 5], "upper_ip": [4, 9], "country": ["a", "b"]},
        {"lower_ip": [9 << 24, 20 << 24], "upper_ip": [1, 2], "country": ["a", "b"]},
        {"lower_ip": [9 << 24, 20 << 24], "upper_ip": [19 << 24, 30 << 24], "country": ["a", "a"]},
    ):
        pl.DataFrame(columns).write_csv(tmp_path / "other.csv")
        ((_, why),) = draft_scenario("drafted", [payments_file, tmp_path / "other.csv"]).unused_files
        assert why.startswith("neither a long table")

# SPDX-License-Identifier: Apache-2.0
"""Derived values mean what they say, and are the same for a row of a file and for a message."""

from __future__ import annotations

import ipaddress
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.scenario.columns import Columns
from ringfence.scenario.derivations import distance_km, email_domain, entropy, input_text, input_texts, number_of
from ringfence.scenario.door import Door
from ringfence.scenario.errors import LookupFileError
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.ip_address import ip_address, ip_prefix, plain_ipv4
from tests.scenario.derived import lookups_of, signup_scenario

KEY = IdentityKey(bytes(range(32)))
NOW_MS = 1_735_732_800_000
AT_MS = 1_717_200_000_000  # 2024-06-01

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
addresses = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: str(address).upper()),
    st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
    st.ip_addresses(v=4).map(lambda address: f" {int(address)}"),
    st.sampled_from(["1.0.0.255", "10.1.2.3", "192.168.0.1", "2001:DB8::7", "2001:db8::1:0"]),
    st.sampled_from(
        ["1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4:80", "fe80::1%eth0", "::g", "4294967296", "-1", "\x00"]
    ),
    texts,
)
emails = st.one_of(
    st.emails(),
    st.sampled_from(["Anna@Example.COM", "anna@example.com.", "bert@MÜLLER.de", "a@b@example.com", "@x.de", "anna@"]),
    st.sampled_from(["anna@local", "anna@a..de", "anna@exa mple.com", "ANNA"]),
    texts,
)
rows = st.fixed_dictionaries(
    {
        "at": st.integers(1_000_000_000_000, NOW_MS),
        "device": st.none() | st.integers(0, 5),
        "sponsor": st.none() | emails.filter(bool),
        "email": st.none() | emails,
        "nickname": st.none() | texts,
        "lat": st.none() | st.floats(-100, 100),
        "ip": st.none() | addresses,
        "lon": st.none() | st.floats(-200, 200) | st.integers(-200, 200).map(float),
    }
)
SCHEMA: dict[str, Any] = {
    "id": pl.String, "at": pl.Int64, "device": pl.Int64, "sponsor": pl.String, "email": pl.String,
    "nickname": pl.String, "lat": pl.Float64, "ip": pl.String, "lon": pl.Float64,
}  # fmt: skip


def message(row: dict[str, Any], event_id: str = "s-1") -> dict[str, Any]:
    """The API form of a source row."""
    return {
        "event_id": event_id,
        "event_time": row["at"],
        "entities": {"device": row["device"], "sponsor": row["sponsor"]},
        "attributes": {name: row[name] for name in ("email", "nickname", "lat", "ip", "lon")},
    }


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Door, Columns]:
    folder = tmp_path_factory.mktemp("signups")
    scenario = signup_scenario(folder)
    lookups = lookups_of(scenario, folder)
    return Door(scenario, KEY, lookups), Columns(scenario, KEY, lookups)


@settings(max_examples=50, deadline=None)
@given(st.lists(rows, min_size=1, max_size=8))
@example(
    [
        {
            "at": AT_MS, "device": 1, "sponsor": "A@Example.com", "email": "b@example.com", "nickname": "aab",
            "lat": 48.0, "ip": "10.1.2.3", "lon": 11.5,
        }
    ]
)  # fmt: skip
def test_rows_get_the_derived_values_of_messages(doors: tuple[Door, Columns], drawn: list[dict[str, Any]]) -> None:
    door, columns = doors
    ids = [f"s-{i}" for i in range(len(drawn))]
    frame = pl.DataFrame([{"id": i, **row} for i, row in zip(ids, drawn, strict=True)], schema=SCHEMA)
    found = columns.admit(door._scenario.decided, frame, first_row=1)
    assert found.rejects.is_empty()
    for i, row in enumerate(drawn):
        expected = door.admit(message(row, ids[i]), now_ms=NOW_MS)
        own = slice(found.link_start[i], found.link_start[i + 1])
        links = list(zip(found.link_role[own], found.link_lo[own], found.link_hi[own], strict=True))
        assert links == [(link.role, link.lo, link.hi) for link in expected.event.links]
        kept = {name: value for name, value in found.attributes.row(i, named=True).items() if value is not None}
        assert kept == expected.event.attributes
        assert found.values[i].tobytes() == np.array(expected.values).tobytes()
        assert found.payload_digests()[i] == expected.event.payload_digest
        assert tuple(name for name, failed in found.underived.items() if failed[i]) == expected.underived
        assert found.amount_minor[i] == MISSING_AMOUNT


def test_a_context_event_gets_them_too(doors: tuple[Door, Columns]) -> None:
    door, columns = doors
    scenario = door._scenario
    rows = {"id": ["l-1", "l-2"], "at": [AT_MS, AT_MS], "device": [1, 2], "network": ["n", None]}
    frame = pl.DataFrame(rows).with_columns(user=pl.Series(["Anna@Example.com", "anna"]))
    found = columns.admit(scenario.event_type("login"), frame, first_row=0)
    for i, row in enumerate(frame.iter_rows(named=True)):
        raw = {
            "event_type": "login", "event_id": row["id"], "event_time": AT_MS, "attributes": {"user": row["user"]},
            "entities": {name: row[name] for name in ("device", "network")},
        }  # fmt: skip
        expected = door.admit(raw, now_ms=NOW_MS)
        own = slice(found.link_start[i], found.link_start[i + 1])
        assert found.link_role[own].tolist() == [link.role for link in expected.event.links]
        assert found.link_lo[own].tolist() == [link.lo for link in expected.event.links]
        assert found.attributes["odd"][i] == expected.event.attributes["odd"]
        assert found.payload_digests()[i] == expected.event.payload_digest
    named = [scenario.roles[index].name for index in found.link_role.tolist()]
    assert named == ["device", "network", "mail_domain", "device"]


def test_values_and_roles_of_a_signup(doors: tuple[Door, Columns]) -> None:
    door = doors[0]
    row = {
        "at": AT_MS, "device": 1, "sponsor": "A@Example.com", "email": "Bert@Example.com", "nickname": "aabb",
        "lat": 52.52, "ip": "10.1.2.3", "lon": 13.405,
    }  # fmt: skip
    admission = door.admit(message(row), now_ms=NOW_MS)
    assert admission.event.attributes == {
        "nickname": "aabb", "lat": 52.52, "site": "10.1.2.0/24", "country": "inside", "sponsor_domain": "example.com",
        "domain_risk": 0.75, "name_entropy": 1.0, "travel_km": 0.0,
    }  # fmt: skip
    assert admission.personal == {"email": "Bert@Example.com"}
    assert sorted(admission.entity_ids.values()) == [
        ("company", "inside"), ("device", "1"), ("mail_domain", "example.com"), ("network", "10.1.2.0/24"),
        ("sponsor", "A@Example.com"),
    ]  # fmt: skip
    assert admission.underived == ()


def test_a_table_counts_as_of_the_event(doors: tuple[Door, Columns]) -> None:
    row = dict.fromkeys(("device", "sponsor", "nickname", "lat", "ip", "lon")) | {"email": "x@example.com"}
    last_ms = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000) - 1
    found = [
        doors[0].admit(message(row | {"at": at}), now_ms=NOW_MS).event.attributes["domain_risk"]
        for at in (last_ms, last_ms + 1)
    ]
    assert found == [0.25, 0.75]


def test_what_cannot_be_derived_is_missing_and_counted(doors: tuple[Door, Columns]) -> None:
    raw = {
        "event_id": "s", "event_time": AT_MS, "entities": {"sponsor": "nobody"},
        "attributes": {"ip": {"v4": "1.2.3.4"}, "email": "nobody", "lat": 1.0, "lon": "east"},
    }  # fmt: skip
    admission = doors[0].admit(raw, now_ms=NOW_MS)
    assert admission.event.attributes == {"lat": 1.0}
    assert admission.underived == (
        "network", "site", "country", "owner", "mail_domain", "sponsor_domain", "travel_km",
    )  # fmt: skip


def test_derived_values_cannot_be_given(doors: tuple[Door, Columns]) -> None:
    for part, name in (("entities", "network"), ("attributes", "country")):
        with pytest.raises(Exception, match=f"{part}.{name}"):
            doors[0].admit({"event_id": "s", "event_time": AT_MS, part: {name: "x"}}, now_ms=NOW_MS)


def test_another_input_makes_another_payload(doors: tuple[Door, Columns]) -> None:
    row = dict.fromkeys(("device", "sponsor", "nickname", "lat", "email", "lon")) | {"at": AT_MS}
    digests = {
        doors[0].admit(message(row | {"ip": ip}), now_ms=NOW_MS).event.payload_digest
        for ip in ("10.0.0.1", "10.0.0.2", None)
    }
    assert len(digests) == 3  # the first two lie in one network


def test_a_door_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LookupFileError, match="prepare the scenario's lookups"):
        Door(signup_scenario(tmp_path), KEY)


@settings(max_examples=200, deadline=None)
@given(st.ip_addresses(), st.integers(1, 32), st.integers(1, 128))
def test_prefixes_are_those_of_the_standard_library(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int, bits_v6: int
) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    network = ipaddress.ip_network((address, bits if address.version == 4 else bits_v6), strict=False)
    found = ip_prefix(str(address), bits, bits_v6)
    assert found is not None
    assert ipaddress.ip_network(found) == network


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | addresses))
def test_columns_of_plain_addresses_are_read_as_one_by_one(drawn: list[str | None]) -> None:
    numbers = plain_ipv4(pl.Series(drawn, dtype=pl.String)).tolist()
    for text, number in zip(drawn, numbers, strict=True):
        if not math.isnan(number):
            assert ip_address(text or "") == (4, number)
        elif text is not None and text.count(".") == 3 and text == text.strip() and ":" not in text:
            assert ip_address(text) is None


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Anna@Example.COM", "example.com"),
        (" anna@example.com. ", "example.com"),
        ("a@b@example.com", "example.com"),
        ("x@MÜLLER.de", "müller.de"),
        ("@example.com", None),
        ("anna", None),
        ("anna@local", None),
        ("anna@-..de", None),
    ],
)
def test_domain_of_an_email(text: str, domain: str | None) -> None:
    assert email_domain(text) == domain


@pytest.mark.parametrize(("text", "bits"), [("aaaa", 0.0), ("ab", 1.0), ("abcd", 2.0), ("aA", 1.0), ("🦊🦊🐍🐍", 1.0)])
def test_entropy_counts_characters(text: str, bits: float) -> None:
    assert entropy(text) == bits


@pytest.mark.parametrize(
    ("place", "to", "km"),
    [
        ((52.5200, 13.4050), (48.1374, 11.5755), 504.2),  # Berlin to Munich
        ((0.0, 0.0), (0.0, 180.0), math.pi * 6371.0088),
        ((90.0, 12.0), (90.0, -75.0), 0.0),
        ((0.0, 179.5), (0.0, -179.5), 111.195),
    ],
)
def test_distance_follows_the_globe(place: tuple[float, float], to: tuple[float, float], km: float) -> None:
    found = distance_km(*place, *to)
    assert found == pytest.approx(km, abs=0.1)
    assert distance_km(*to, *place) == pytest.approx(found, abs=1e-9)


def test_no_distance_to_a_place_off_the_globe() -> None:
    assert distance_km(90.1, 0.0, 0.0, 0.0) is None
    assert distance_km(0.0, 0.0, 0.0, -180.5) is None


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_written_out(number: float) -> None:
    text = input_text(number)
    assert text is not None
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_000", "0x10", "१", "1,5", "1e", "--1"])
def test_what_is_no_number(text: str) -> None:
    assert number_of(text) is None


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.tuples(st.just(pl.Float64), st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False))),
        st.tuples(st.just(pl.Int64), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1))),
        st.tuples(st.just(pl.Boolean), st.lists(st.none() | st.booleans())),
        st.tuples(st.just(pl.String), st.lists(st.none() | texts)),
    )
)
def test_columns_become_the_texts_of_single_values(drawn: tuple[Any, list[Any]]) -> None:
    found, given_rows = input_texts(pl.Series(drawn[1], dtype=drawn[0]))
    assert found.to_list() == [input_text(value) for value in drawn[1]]
    assert given_rows.tolist() == [value is not None and value != "" for value in drawn[1]]


def test_columns_of_any_type_become_texts() -> None:
    numbers = pl.Series(["1.50", "2", None]).cast(pl.Decimal(10, 2))
    assert input_texts(numbers)[0].to_list() == ["1.5", "2", None]
    kinds = pl.Series(["a", None, ""], dtype=pl.Categorical)
    assert input_texts(kinds)[0].to_list() == ["a", None, None]
    texts_of_lists, given_rows = input_texts(pl.Series([["1.2.3.4"], None]))
    assert (texts_of_lists.to_list(), given_rows.tolist()) == ([None, None], [True, False])


@pytest.mark.parametrize("value", ["\ud800", "x" * 100_001, math.inf, math.nan, 2**64, ["a"], {}, ""])
def test_what_is_no_single_value_gives_no_text(value: object) -> None:
    assert input_text(value) is None


def test_a_domain_is_no_longer_than_names_may_be() -> None:
    assert email_domain("a@" + "x." * 126 + "de") is None
    assert email_domain("a@" + "x." * 125 + "de.") == "x." * 125 + "de"

# SPDX-License-Identifier: Apache-2.0
"""A sign-up with one of every kind of derived value, and its lookup tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.lookup_files import Lookups, prepare_lookups, read_lookup_files, with_digests
from ringfence.scenario.spec import Scenario

COUNTRIES = (
    "lower,upper,country\n16777216,16777471,Australia\n3232235520,3232301055,nowhere\n167772160,184549375,inside\n"
)
NETWORKS = "first,last,owner\n10.0.0.0,10.255.255.255,inside\n2001:db8::,2001:db8::ffff,docs\n"
RISK = "domain,risk,since,until\nexample.com,0.25,,2024-01-01\nexample.com,0.75,2024-01-01,\nmüller.de,1,,\n"
FILES = {"countries.csv": COUNTRIES, "lists/networks.csv": NETWORKS, "risk.csv": RISK}

DERIVE: dict[str, Any] = {
    "network": {"ip_prefix": {"field": "ip", "bits": 24}, "role": True},
    "site": {"ip_prefix": "ip"},
    "country": {
        "lookup": {"file": "countries.csv", "from": "lower", "to": "upper", "value": "country"},
        "field": "ip",
    },
    "owner": {
        "lookup": {"file": "lists/networks.csv", "from": "first", "to": "last", "value": "owner"},
        "field": "ip",
        "role": {"type": "company", "strong": True},
    },
    "mail_domain": {"email_domain": "email", "role": True},
    "sponsor_domain": {"email_domain": "sponsor"},
    "domain_risk": {
        "lookup": {
            "file": "risk.csv", "key": "domain", "value": "risk", "valid_from": "since", "valid_to": "until",
        },
        "field": "mail_domain",
        "type": "number",
    },
    "name_entropy": {"entropy": "nickname"},
    "travel_km": {"distance": {"from": ["lat", "lon"], "to": [52.52, 13.405]}},
}  # fmt: skip


def signup_mapping(derive: dict[str, Any] | None = None) -> dict[str, Any]:
    """The YAML form of the scenario."""
    return {
        "decide": "signup",
        "events": {
            "signup": {
                "event_id": "id",
                "event_time": "at",
                "entities": {"device": "device", "sponsor": "sponsor"},
                "attributes": {
                    "email": {"type": "text", "personal": True},
                    "nickname": "text",
                    "lat": "number",
                },
                "derive": DERIVE if derive is None else derive,
            },
            "login": {
                "event_id": "id",
                "event_time": "at",
                "entities": {"device": "device", "network": "network"},
                "derive": {"mail_domain": {"email_domain": "user", "role": True}, "odd": {"entropy": "user"}},
            },
        },
    }


def signup_scenario(
    folder: Path, derive: dict[str, Any] | None = None, files: dict[str, str] | None = None
) -> Scenario:
    """The scenario, with its lookup files written into `folder`."""
    for name, text in (FILES if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    scenario = scenario_from_mapping("signups", signup_mapping(derive), where="ringfence.yaml")
    return with_digests(scenario, folder)


def lookups_of(scenario: Scenario, folder: Path) -> Lookups:
    return prepare_lookups(scenario, read_lookup_files(scenario, folder))

# SPDX-License-Identifier: Apache-2.0
"""Scenario files: what they mean, and what they are told when they mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import load_scenarios, scenario_from_mapping
from ringfence.scenario.spec import AttributeUse, Durability, Join, RingTicks
from tests.scenario.claims import claim_scenario

DAY_MS = 86_400_000


def test_roles_are_numbered_across_the_scenario_with_the_decided_type_first() -> None:
    described = claim_scenario()
    described["events"] = dict(reversed(described["events"].items()))
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert [(t.name, t.index) for t in scenario.event_types] == [("claim", 0), ("policy_change", 1)]
    assert [(r.name, r.entity_type, r.index) for r in scenario.roles] == [
        ("claimant", "person", 0),
        ("witness", "person", 1),
        ("repair_shop", "repair_shop", 2),
    ]
    assert scenario.role("witness").many
    assert scenario.role("claimant").strong


def test_role_defined_by_a_context_type_serves_the_decided_one() -> None:
    described = claim_scenario(entities={"claimant": "claimant_id"})
    described["events"]["policy_change"]["entities"] = {"claimant": {"column": "person_id", "type": "person"}}
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert scenario.role("claimant").entity_type == "person"


def test_only_features_reach_the_engine() -> None:
    scenario = scenario_from_mapping("motor-claims", claim_scenario(), where="ringfence.yaml")
    by_name = {attribute.name: attribute for attribute in scenario.decided.attributes}
    assert by_name["sex"].use is AttributeUse.AUDIT_ONLY
    assert by_name["phone"].personal
    assert not {"sex", "phone", "birth_date"} & {attribute.name for attribute in scenario.value_attributes}


def test_file_of_the_design_loads(tmp_path: Path) -> None:
    file = tmp_path / "ringfence.yaml"
    file.write_text(
        """
scenarios:
  motor-claims:
    decide: claim
    durability: best_effort
    time_zone: Europe/Berlin
    sources:
      claim: {files: claims.parquet, join: {file: claim_parties.parquet, on: claim_id, role: role, value: party_id}}
      policy_change: [a.csv, b/*.csv]
    events:
      claim:
        event_id: row
        event_time: claim_time
        amount: {field: claim_amount, currency: JPY}
        entities: {claimant: {column: claimant_id, type: person, hub_cap: 50, sequence: true}, country: NO}
        attributes: {vehicle_make: category, age: {type: number, column: "Age"}}
        label: {field: is_fraud, values: {fraud: [Yes, 1], legit: No, unlabelled: [pending]}, delay: 30d,
                absent: {legit_after: 90d}, source: archive}
      policy_change: {event_id: change_id, entities: {claimant: person_id}}
    label_maturity: {investigator: 0d, chargeback: 90d}
    label_precedence: [court, investigator]
    max_lateness: 12h
    retain: 400d
    rings: {every: 28d, active: 90d, tie: 14d, lag: 2d, hub_cap: 30}
    memory: 512 MiB
    features: {label_risk: false}
    windows: [30d, 1d, 90m]
""",
        encoding="utf-8",
    )
    scenario = load_scenarios(file)["motor-claims"]
    assert scenario.durability is Durability.BEST_EFFORT
    assert scenario.windows_ms == (5_400_000, DAY_MS, 30 * DAY_MS)
    assert scenario.memory_bytes == 512 << 20
    assert scenario.sources[0].join == Join(file="claim_parties.parquet", on="claim_id", role="role", value="party_id")
    assert scenario.sources[1].files == ("a.csv", "b/*.csv")
    claim, change = scenario.event_types
    assert (claim.event_id_column, change.event_time_column) == (None, None)
    assert claim.amount is not None
    assert claim.amount.digits == 0
    assert claim.roles[1].column == "NO"  # not the boolean of YAML 1.1
    label = claim.label
    assert label is not None
    assert (label.fraud, label.legit, label.unlabelled) == (("Yes", "1"), ("No",), ("pending",))
    assert (label.delay_ms, label.legit_after_ms, label.source) == (30 * DAY_MS, 90 * DAY_MS, "archive")
    assert scenario.label_maturity_ms == {"investigator": 0, "chargeback": 90 * DAY_MS}
    assert (scenario.label_precedence, scenario.max_lateness_ms) == (("court", "investigator"), DAY_MS // 2)
    assert scenario.retain_ms == 400 * DAY_MS
    assert scenario.features == {"label_risk": False}
    assert scenario.rings == RingTicks(
        every_ms=28 * DAY_MS, active_ms=90 * DAY_MS, tie_ms=14 * DAY_MS, lag_ms=2 * DAY_MS, hub_cap=30
    )
    assert (scenario.role("claimant").hub_cap, scenario.role("country").hub_cap) == (50, 1_000)
    assert [role.name for role in scenario.roles if role.sequence] == ["claimant"]


def test_derived_values_become_attributes_and_roles() -> None:
    described = claim_scenario(
        derive={
            "network": {"ip_prefix": {"field": "ip", "bits": 16}, "role": {"type": "net", "strong": True}},
            "country": {
                "lookup": {"file": "ip_to_country.parquet", "from": "lower", "to": "upper", "value": "country"},
                "field": "ip",
                "use": "audit_only",
            },
            "mail_domain": {"email_domain": "email", "role": True},
            "oddity": {"entropy": "mail_domain"},
        }
    )
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    claim = scenario.decided
    assert [role.name for role in scenario.roles] == ["claimant", "witness", "repair_shop", "network", "mail_domain"]
    assert (scenario.role("network").entity_type, scenario.role("network").strong) == ("net", True)
    assert [column.role for column in claim.given_roles] == ["claimant", "witness", "repair_shop"]
    assert claim.inputs == ("ip", "email")
    assert [one.name for one in claim.derived] == ["network", "country", "mail_domain", "oddity"]
    assert [attribute.name for attribute in claim.attributes if attribute.derived] == ["country", "oddity"]
    assert "oddity" in [attribute.name for attribute in scenario.value_attributes]
    assert "country" not in [attribute.name for attribute in scenario.value_attributes]
    assert claim.derived[3].sentence == "entropy of mail_domain"


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a scenario's YAML form at a dotted path; `...` removes."""

    def change(described: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for step in way:
            described = described.setdefault(step, {})
        if value is ...:
            del described[last]
        else:
            described[last] = value

    return change


LABEL = {"field": "is_fraud", "known_at": "label_time"}
CLAIM = "events.claim"
LOOKUP = {"field": "ip"}
MISTAKES: list[tuple[str, str, Any, str, str]] = [
    # what, where it is put, what is put, the path named, part of the message
    ("an unknown key", "time_zon", "UTC", "time_zon", "did you mean 'time_zone'"),
    ("an unknown event key", f"{CLAIM}.event_tme", "t", f"{CLAIM}.event_tme", "did you mean 'event_time'"),
    ("no decided type", "decide", ..., "decide", "found nothing"),
    ("a decided type that is none", "decide", "clam", "decide", "did you mean 'claim'"),
    ("no events", "events", ..., "events", "found nothing"),
    ("events as a list", "events", [], "events", "a list"),
    ("no event id", f"{CLAIM}.event_id", ..., f"{CLAIM}.event_id", "or `row`"),
    ("an event id that is a number", f"{CLAIM}.event_id", 3, f"{CLAIM}.event_id", "write a text"),
    ("an unknown time zone", "time_zone", "Europe/Berln", "time_zone", "IANA"),
    ("a time zone that is a path", "time_zone", "../../etc/passwd", "time_zone", "IANA"),
    ("an unknown durability", "durability", "requird", "durability", "did you mean 'required'"),
    ("a window without a unit", "windows", [7], "windows[0]", "90d, 12h, 30m or 10s"),
    ("a window in months", "windows", ["3mo"], "windows[0]", "90d, 12h, 30m or 10s"),
    (
        "a word for negative amounts",
        f"{CLAIM}.amount.negative",
        "sometimes",
        f"{CLAIM}.amount.negative",
        "allow, refuse",
    ),
    ("a negative window", "windows", ["-1d"], "windows[0]", "90d"),
    ("an empty window", "windows", ["0d"], "windows[0]", "longer than nothing"),
    ("a window twice", "windows", ["1d", "24h"], "windows", "twice"),
    ("no windows", "windows", [], "windows", "name 1 to"),
    ("a bad lateness", "max_lateness", "soon", "max_lateness", "90d"),
    ("a retention without a unit", "retain", 400, "retain", "90d"),
    ("a retention of hours", "retain", "12h", "retain", "at least 1d"),
    ("a memory without a unit", "memory", "4", "memory", "4 GiB"),
    ("a memory that is none", "memory", "lots", "memory", "4 GiB"),
    ("a memory too small", "memory", "1 MiB", "memory", "64 MiB"),
    ("a bad maturity", "label_maturity", {"court": True}, "label_maturity.court", "90d"),
    ("a source twice in the precedence", "label_precedence", ["a", "a"], "label_precedence", "twice"),
    ("a feature family that is maybe on", "features", {"velocity": "maybe"}, "features.velocity", "true or false"),
    ("an unknown key of rings", "rings", {"evry": "7d"}, "rings.evry", "did you mean 'every'"),
    ("rings without pause", "rings", {"every": "0d"}, "rings", "at least `every: 1s`"),
    ("a tie of nothing", "rings", {"tie": "0d"}, "rings", "at least `tie: 1s`"),
    ("a lag as long as a tick", "rings", {"every": "1d"}, "rings", "shorter than `every`"),
    ("a hub cap of nobody", "rings", {"hub_cap": 0}, "rings.hub_cap", "from 1 to"),
    (
        "a hub cap in words",
        f"{CLAIM}.entities.x",
        {"column": "x", "hub_cap": "many"},
        f"{CLAIM}.entities.x.hub_cap",
        "a whole number",
    ),
    ("segments of nothing", "segments", {"by": []}, "segments.by", "at least one"),
    ("segments without attributes", "segments", {}, "segments.by", "found nothing"),
    ("one name for a list", "segments", {"by": "vehicle_make"}, "segments.by", "write a list"),
    ("an unknown key of segments", "segments", {"bye": ["vehicle_make"]}, "segments.bye", "did you mean 'by'"),
    ("an unknown segment", "segments", {"by": ["vehicle_make", "regin"]}, "segments.by[1]", "declare it"),
    ("a mistyped segment", "segments", {"by": ["vehicle_mak"]}, "segments.by[0]", "did you mean 'vehicle_make'"),
    ("a segment twice", "segments", {"by": ["vehicle_make", "vehicle_make"]}, "segments.by[1]", "each attribute once"),
    ("an entity as a segment", "segments", {"by": ["repair_shop"]}, "segments.by[0]", "a role"),
    ("a number as a segment", "segments", {"by": ["policy_age_days"]}, "segments.by[0]", "categories: vehicle_make"),
    ("a segment for audits only", "segments", {"by": ["sex"]}, "segments.by[0]", "audits only"),
    ("a personal segment", "segments", {"by": ["phone"]}, "segments.by[0]", "a personal attribute"),
    ("a segment that is no text", "segments", {"by": [3]}, "segments.by[0]", "write a text"),
    ("segments of an event type", f"{CLAIM}.segments", {"by": ["x"]}, f"{CLAIM}.segments", "unknown key"),
    ("derived from nothing", f"{CLAIM}.derive", {"x": {"role": True}}, f"{CLAIM}.derive.x", "write one of ip_prefix"),
    ("derived in a word", f"{CLAIM}.derive", {"x": "ip"}, f"{CLAIM}.derive.x", "say how it is made"),
    (
        "derived twice",
        f"{CLAIM}.derive.x",
        {"entropy": "a", "email_domain": "a"},
        f"{CLAIM}.derive.x",
        "found `email_domain` and `entropy`",
    ),
    ("an unknown derivation", f"{CLAIM}.derive.x", {"ip_prefx": "ip"}, f"{CLAIM}.derive.x.ip_prefx", "'ip_prefix'"),
    ("a prefix of a number of bits", f"{CLAIM}.derive.x", {"ip_prefix": 24}, f"{CLAIM}.derive.x.ip_prefix", "a text"),
    (
        "a prefix too long",
        f"{CLAIM}.derive.x",
        {"ip_prefix": {"field": "ip", "bits": 33}},
        f"{CLAIM}.derive.x.ip_prefix.bits",
        "from 1 to 32",
    ),
    (
        "an entropy of a number",
        f"{CLAIM}.derive.x",
        {"entropy": "policy_age_days"},
        f"{CLAIM}.derive.x.entropy",
        "text",
    ),
    ("a domain of many", f"{CLAIM}.derive.x", {"email_domain": "witness"}, f"{CLAIM}.derive.x.email_domain", "several"),
    ("a column of a role", f"{CLAIM}.derive.x", {"email_domain": "shop_id"}, f"{CLAIM}.derive.x.email_domain", "write"),
    ("a role of numbers", f"{CLAIM}.derive.x", {"entropy": "a", "role": True}, f"{CLAIM}.derive.x.role", "a number"),
    (
        "a role with a type of value",
        f"{CLAIM}.derive.x",
        {"email_domain": "a", "role": True, "type": "category"},
        f"{CLAIM}.derive.x.type",
        "write one of both",
    ),
    (
        "an entropy by name",
        f"{CLAIM}.derive.x",
        {"entropy": "a", "type": "category"},
        f"{CLAIM}.derive.x.type",
        "number",
    ),
    ("a field of an entropy", f"{CLAIM}.derive.x", {"entropy": "a", "field": "b"}, f"{CLAIM}.derive.x.field", "lookup"),
    ("the name of an attribute", f"{CLAIM}.derive.phone", {"entropy": "a"}, f"{CLAIM}.derive.phone", "of its own"),
    ("the name of a role", f"{CLAIM}.derive.claimant", {"entropy": "a"}, f"{CLAIM}.derive.claimant", "of its own"),
    ("its own name", f"{CLAIM}.derive.a", {"entropy": "a"}, f"{CLAIM}.derive.a", "of its own"),
    (
        "a derived name with a dot",
        f"{CLAIM}.derive",
        {"a.b": {"entropy": "a"}},
        f"{CLAIM}.derive.a.b",
        "letters, digits",
    ),
    (
        "a derived role with a key too many",
        f"{CLAIM}.derive.x",
        {"email_domain": "a", "role": {"column": "b"}},
        f"{CLAIM}.derive.x.role.column",
        "unknown key",
    ),
    ("one place", f"{CLAIM}.derive.x", {"distance": {"from": ["a", "b"]}}, f"{CLAIM}.derive.x.distance.to", "a place"),
    (
        "half a place",
        f"{CLAIM}.derive.x",
        {"distance": {"from": ["a"], "to": [1, 2]}},
        f"{CLAIM}.derive.x.distance.from",
        "[latitude, longitude]",
    ),
    (
        "a place off the globe",
        f"{CLAIM}.derive.x",
        {"distance": {"from": ["a", "b"], "to": [91, 2]}},
        f"{CLAIM}.derive.x.distance.to[0]",
        "degrees from -90",
    ),
    (
        "two fixed places",
        f"{CLAIM}.derive.x",
        {"distance": {"from": [1, 2], "to": [1, 2]}},
        f"{CLAIM}.derive.x.distance",
        "from the event",
    ),
    (
        "a lookup of nothing",
        f"{CLAIM}.derive.x",
        {"lookup": {"file": "a.csv", "key": "k", "value": "v"}},
        f"{CLAIM}.derive.x.field",
        "name what is looked up",
    ),
    ("half a lookup", f"{CLAIM}.derive.x", LOOKUP | {"lookup": {"value": "v"}}, f"{CLAIM}.derive.x.lookup.file", "CSV"),
    (
        "a lookup without a key",
        f"{CLAIM}.derive.x",
        LOOKUP | {"lookup": {"file": "a.csv", "value": "v"}},
        f"{CLAIM}.derive.x.lookup",
        "neither `key` nor",
    ),
    (
        "half a range",
        f"{CLAIM}.derive.x",
        LOOKUP | {"lookup": {"file": "a.csv", "value": "v", "from": "a"}},
        f"{CLAIM}.derive.x.lookup",
        "half a range",
    ),
    (
        "a lookup outside",
        f"{CLAIM}.derive.x",
        LOOKUP | {"lookup": {"file": "../a.csv", "key": "k", "value": "v"}},
        f"{CLAIM}.derive.x.lookup.file",
        "no `..`",
    ),
    (
        "a lookup at the root",
        f"{CLAIM}.derive.x",
        LOOKUP | {"lookup": {"file": "/etc/a.csv", "key": "k", "value": "v"}},
        f"{CLAIM}.derive.x.lookup.file",
        "no absolute path",
    ),
    ("files of no event type", "sources", {"clam": "a.csv"}, "sources.clam", "did you mean 'claim'"),
    ("no files", "sources", {"claim": []}, "sources.claim", "at least one"),
    (
        "half a join",
        "sources",
        {"claim": {"files": "a", "join": {"file": "b"}}},
        "sources.claim.join.on",
        "a join needs",
    ),
    ("a column for two roles", f"{CLAIM}.entities.driver", "shop_id", f"{CLAIM}.entities.driver", "already uses it"),
    ("a role without a column", f"{CLAIM}.entities.x", {"type": "x"}, f"{CLAIM}.entities.x.column", "found nothing"),
    ("a role with a dot", f"{CLAIM}.entities", {"a.b": "x"}, f"{CLAIM}.entities.a.b", "letters, digits"),
    ("a role that is a number", f"{CLAIM}.entities", {7: "x"}, f"{CLAIM}.entities", "put it in quotes"),
    ("an unknown role key", f"{CLAIM}.entities.x", {"column": "x", "mny": 1}, f"{CLAIM}.entities.x.mny", "'many'"),
    (
        "a role that is perhaps many",
        f"{CLAIM}.entities.x",
        {"column": "x", "many": 1},
        f"{CLAIM}.entities.x.many",
        "true",
    ),
    (
        "two meanings of a role",
        "events.policy_change.entities.claimant",
        {"column": "x", "type": "firm"},
        "events.policy_change.entities.claimant",
        "the same as",
    ),
    (
        "a separator where one id stands",
        f"{CLAIM}.entities.x",
        {"column": "x", "separator": ";"},
        f"{CLAIM}.entities.x.separator",
        "many: true",
    ),
    ("an unknown type", f"{CLAIM}.attributes.x", "numbr", f"{CLAIM}.attributes.x", "did you mean 'number'"),
    ("an attribute without a type", f"{CLAIM}.attributes.x", {"use": "feature"}, f"{CLAIM}.attributes.x.type", "name"),
    (
        "an unknown use",
        f"{CLAIM}.attributes.x",
        {"type": "text", "use": "x"},
        f"{CLAIM}.attributes.x.use",
        "audit_only",
    ),
    (
        "a personal attribute as a feature",
        f"{CLAIM}.attributes.x",
        {"type": "text", "personal": True, "use": "feature"},
        f"{CLAIM}.attributes.x.use",
        "never reaches a model",
    ),
    ("a retention", f"{CLAIM}.attributes.x", {"type": "text", "retain": "9d"}, f"{CLAIM}.attributes.x.retain", "later"),
    ("an amount without a currency", f"{CLAIM}.amount", {"field": "x"}, f"{CLAIM}.amount.currency", "EUR"),
    (
        "an amount in words",
        f"{CLAIM}.amount",
        {"field": "x", "currency": "euro"},
        f"{CLAIM}.amount.currency",
        "ISO 4217",
    ),
    (
        "fractional digits",
        f"{CLAIM}.amount",
        {"field": "x", "currency": "EUR", "digits": 1.5},
        f"{CLAIM}.amount.digits",
        "0 to 8",
    ),
    (
        "a label that is never known",
        f"{CLAIM}.label",
        {"field": "x"},
        f"{CLAIM}.label",
        "neither `known_at` nor `delay`",
    ),
    ("a label known twice", f"{CLAIM}.label", LABEL | {"delay": "1d"}, f"{CLAIM}.label", "both"),
    ("a label without a field", f"{CLAIM}.label", {"delay": "1d"}, f"{CLAIM}.label.field", "found nothing"),
    (
        "a label of an unknown event",
        f"{CLAIM}.label",
        {"event": "x", "horizon": "1d"},
        f"{CLAIM}.label.event",
        "policy_change",
    ),
    ("a context label", "events.policy_change.label", LABEL, "events.policy_change.label", "only the decided"),
    (
        "fraud that is legit",
        f"{CLAIM}.label",
        LABEL | {"values": {"fraud": [1], "legit": [1]}},
        f"{CLAIM}.label.values",
        "one value means one thing",
    ),
    ("a label source of time", f"{CLAIM}.label", LABEL | {"source": "matured"}, f"{CLAIM}.label.source", "reserved"),
    ("an unknown absence", f"{CLAIM}.label", LABEL | {"absent": "legit"}, f"{CLAIM}.label.absent", "legit_after"),
]


@pytest.mark.parametrize(("where", "value", "path", "part"), [pytest.param(*rest, id=what) for what, *rest in MISTAKES])
def test_mistake_is_named_with_its_path_and_what_to_do(where: str, value: Any, path: str, part: str) -> None:
    described = deepcopy(claim_scenario())
    put(where, value)(described)
    with pytest.raises(ScenarioFileError) as refusal:
        scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert refusal.value.path == f"motor-claims.{path}"
    assert refusal.value.file == "ringfence.yaml"
    assert part in str(refusal.value)


def test_segments_keep_their_order_and_know_their_columns() -> None:
    described = claim_scenario()
    described["events"]["claim"]["attributes"]["night"] = "boolean"
    described["segments"] = {"by": ["night", "vehicle_make"]}
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert scenario.segments == ("night", "vehicle_make")
    names = [attribute.name for attribute in scenario.value_attributes]
    assert [names[column] for column in scenario.segment_columns] == ["night", "vehicle_make"]


def test_a_role_named_segment_is_refused_beside_segments() -> None:
    described = claim_scenario(entities={"segment": "segment_id"})
    described["segments"] = {"by": ["vehicle_make"]}
    with pytest.raises(ScenarioFileError, match="give the role another name"):
        scenario_from_mapping("motor-claims", described, where="ringfence.yaml")


@pytest.mark.parametrize("described", [None, [], "claim", 3])
def test_scenario_that_is_no_mapping_is_refused(described: Any) -> None:
    with pytest.raises(ScenarioFileError, match="write names and values"):
        scenario_from_mapping("motor-claims", described, where="ringfence.yaml")


def test_scenario_with_a_capital_name_is_refused() -> None:
    with pytest.raises(ScenarioFileError, match="small letters"):
        scenario_from_mapping("Motor", claim_scenario(), where="ringfence.yaml")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "found nothing"),
        (b"- a\n- b\n", "a list"),
        (b"scenarios:\n", "list at least one"),
        (b"scenarios: {}\n", "one entry per scenario"),
        (b"scenarios: {a: {}}\nbackends: {}\n", "later release"),
        (b"scenario: {}\n", "did you mean 'scenarios'"),
        (b"scenarios:\n  a: {decide: x\n", "line 3"),
        (b"scenarios:\n\t a: 1\n", "line 2"),
        (b"scenarios:\n\t a: 1\n", "found no YAML (character"),
        (b"a: 1\na: 2\n", "stands twice"),
        (b"scenarios: \xff\n", "invalid UTF-8 at byte 11"),
        (b"a: !!python/object/apply:os.system [id]\n", "line 1"),
        (b"a: &x [*x]\n", "unknown key"),
    ],
)
def test_broken_file_is_refused_with_its_place(tmp_path: Path, content: bytes, part: str) -> None:
    file = tmp_path / "ringfence.yaml"
    file.write_bytes(content)
    with pytest.raises(ScenarioFileError) as refusal:
        load_scenarios(file)
    assert str(file) in str(refusal.value)
    assert part in str(refusal.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioFileError, match="No such file"):
        load_scenarios(tmp_path / "ringfence.yaml")

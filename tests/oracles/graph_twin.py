# SPDX-License-Identifier: Apache-2.0
"""The exported graph, slowly: one record at a time, with dictionaries, and labels read from the standing ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl

from ringfence.ledger.event_columns import event_columns
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import EVENT, FRAUD, MISSING_AMOUNT
from ringfence.scenario.spec import AttributeType

Rows = list[dict[str, Any]]


class GraphTwin(NamedTuple):
    events: dict[str, Rows]
    entities: dict[str, Rows]
    edges: dict[tuple[str, str], Rows]
    labels: Rows


def moment(time_ms: float) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC)


def graph_twin(ledger: Ledger, until_ms: int | None) -> GraphTwin:
    """Make the tables of the whole ledger with the cut at `until_ms`, with original ids."""
    scenario = ledger.scenario
    cut_seq = ledger.last_seq if until_ms is None else ledger.seq_at(until_ms)
    cut_ms = float("inf") if until_ms is None else until_ms
    ids = {row["seq"]: row["event_id"] for row in ledger.events(-(2**62)).to_dicts()}
    standing = {row["event_seq"]: row for row in ledger.labels(cut_seq).to_dicts() if row["known_at_ms"] <= cut_ms}
    attributes = scenario.value_attributes
    given = {
        row["seq"]: row
        for row in event_columns(ledger, pl.Series(list(ids), dtype=pl.Int64), attributes).attributes.to_dicts()
    }
    events: dict[str, Rows] = {one.name: [] for one in scenario.event_types}
    entities: dict[str, Rows] = {role.entity_type: [] for role in scenario.roles}
    edges: dict[tuple[str, str], Rows] = {(t.name, c.role): [] for t in scenario.event_types for c in t.roles}
    labels: Rows = []
    place: dict[tuple[str, bytes], int] = {}
    node_of: dict[int, int] = {}
    for one in ledger.batches(size=1):
        seq, time_ms = int(one.seq[0]), int(one.time_ms[0])
        if one.kind[0] != EVENT:
            about = int(one.label_event_seq[0])
            if seq <= cut_seq and time_ms <= cut_ms and one.label_event_time_ms[0] < cut_ms:
                label = int(one.label_value[0] == FRAUD)
                labels.append({"seq": seq, "event": node_of[about], "known_at": moment(time_ms), "label": label})
            continue
        event_type = scenario.event_types[int(one.event_type[0])]
        node = node_of[seq] = len(events[event_type.name])
        row: dict[str, Any] = {"node": node, "seq": seq}
        is_decided = event_type.name == scenario.decide
        if is_decided:
            row["event_id"] = ids[seq]
        row["event_time"] = moment(time_ms)
        if event_type.amount is not None:
            minor = int(one.amount_minor[0])
            row["amount"] = None if minor == MISSING_AMOUNT else minor / 100
        if is_decided:
            stands = standing.get(seq)
            part = "test" if time_ms >= cut_ms else "late" if seq > cut_seq else "train" if stands else "unlabelled"
            known = stands if part == "train" else None
            row["part"] = part
            row["label"] = None if known is None else int(known["value"] == FRAUD)
            row["label_known_at"] = None if known is None else moment(known["known_at_ms"])
            for a in attributes:
                value = given[seq][a.name]
                if value is not None and a.type is AttributeType.TIME:
                    value = moment(value)
                row[f"attribute.{a.name}"] = value
        events[event_type.name].append(row)
        seats: dict[str, int] = {}
        for index, hi, lo in zip(one.link_role.tolist(), one.link_hi.tolist(), one.link_lo.tolist(), strict=True):
            role = scenario.roles[index]
            digest = hi.to_bytes(8, "big") + lo.to_bytes(8, "big")
            nodes = entities[role.entity_type]
            if (role.entity_type, digest) not in place:
                place[role.entity_type, digest] = len(nodes)
                name = ledger.entity_names([digest])[digest][1]
                nodes.append({"node": len(nodes), "key": digest.hex(), "first_seq": seq, "entity_id": name})
            edges[event_type.name, role.name].append(
                {
                    "event": node,
                    "entity": place[role.entity_type, digest],
                    "seat": seats.get(role.name, 0),
                    "seq": seq,
                    "event_time": moment(time_ms),
                }
            )
            seats[role.name] = seats.get(role.name, 0) + 1
    return GraphTwin(events, entities, edges, labels)

# SPDX-License-Identifier: Apache-2.0
"""A small scenario that has one of everything."""

from __future__ import annotations

from typing import Any

NOW_MS = 1_735_732_800_000  # 2025-01-01 12:00 UTC


def claim_scenario(**changes: Any) -> dict[str, Any]:
    """The YAML form of a scenario with one of everything; `changes` replace parts of its decided event type."""
    claim: dict[str, Any] = {
        "event_id": "claim_id",
        "event_time": "claim_time",
        "amount": {"field": "claim_amount", "currency": "EUR"},
        "entities": {
            "claimant": {"column": "claimant_id", "type": "person", "strong": True},
            "witness": {"column": "witness_ids", "type": "person", "many": True},
            "repair_shop": "shop_id",
        },
        "attributes": {
            "policy_age_days": "number",
            "vehicle_make": "category",
            "is_towed": "boolean",
            "narrative": "text",
            "insured_since": "time",
            "sex": {"type": "category", "use": "audit_only"},
            "phone": {"type": "text", "personal": True},
            "birth_date": {"type": "time", "personal": True},
        },
        "label": {"field": "is_fraud", "values": {"fraud": [1], "legit": [0]}, "known_at": "label_time"},
    }
    return {
        "decide": "claim",
        "time_zone": "Europe/Berlin",
        "events": {
            "claim": claim | changes,
            "policy_change": {
                "event_id": "change_id",
                "event_time": "changed_at",
                "entities": {"claimant": "person_id"},
                "attributes": {"kind": "category"},
            },
        },
        "windows": ["1d", "7d", "30d"],
    }


def claim(**changes: Any) -> dict[str, Any]:
    """A claim in API form that the door lets in; `changes` replace its fields, `...` removes one."""
    fields: dict[str, Any] = {
        "event_id": "c-1",
        "event_time": "2024-05-01T12:30:00+02:00",
        "amount": 1234.56,
        "entities": {"claimant": "p-1", "witness": ["p-2", 3], "repair_shop": "s-1"},
        "attributes": {"policy_age_days": 12, "vehicle_make": "VW", "is_towed": True, "narrative": "Rear-ended."},
    }
    return {name: value for name, value in (fields | changes).items() if value is not ...}

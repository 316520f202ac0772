# SPDX-License-Identifier: Apache-2.0
"""The difficulty sheet's hand rules as an insurer would write them into ringfence.yaml, as far as they can be said.

The engine keeps no count of a claimant's claims in a year, nor of what a shop billed, by default: where a rule of the
sheet asks for one, the nearest feature stands in, and two rules are left out. `tests/benchmarks/test_insurer.py` counts
how often each fires where the sheet's own does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

POINTS: Final = 20  # each doubles the odds, until labels say what they are worth
LIMITS: Final = (5_000, 10_000, 25_000)

# name in the sheet -> condition
SAID: Final = {
    "young policy, large amount": "policy_age_days < 30 and amount >= 10000",
    "third claim in a year": "claimant.n_events >= 2 and policy_age_days < 90",  # two claims ever
    "lawyer from the first days": "lawyer.n_events is not null and reported_after_days <= 1 and policy_age_days < 60",
    "alone at night": "claim_type = 'single_vehicle' and (event.hour >= 22 or event.hour < 5) and witness.n = 0",
    "reported late, large amount": "reported_after_days >= 10 and amount >= 10000",
    "injury nobody saw": "doctor.n_events is not null and lawyer.n_events is not null and witness.n = 0 "
    "and amount >= 15000",
    "photograph seen before": "photo.n_events.max >= 1",
    "witness by habit": "witness.n_events.max >= 2",  # ever
    "just under a limit": " or ".join(f"(amount < {limit} and amount >= {0.99 * limit:g})" for limit in LIMITS),
    "contract changed just before": "claimant.policy_change.gap_hours <= 336",  # whatever changed
    "car passed on": "vehicle.gap_hours <= 720 "  # its last claim was another claimant's
    "and (claimant~vehicle.is_new or claimant~vehicle.gap_hours > vehicle.gap_hours)",
    "old car, large amount": "vehicle_age_years >= 15 and amount >= 25000",
    "claimant known for fraud": "claimant.fraud_count >= 1",
}
LEFT_OUT: Final = ("shop of many large bills", "lawyer and doctor together")


def rule_lines() -> str:
    """Return the block `rules:` of the scenario in ringfence.yaml."""
    lines = ["    rules:"]
    for name, condition in SAID.items():
        slug = name.replace(",", "").replace(" ", "-")
        lines.append(f'      - {{name: {slug}, when: "{condition}", points: {POINTS}}}')
    return "\n".join(lines) + "\n"


def add_rules(scenario_file: Path) -> None:
    """Put the rules into the simulated insurer's scenario."""
    text = scenario_file.read_text(encoding="utf-8")
    scenario_file.write_text(text.rstrip("\n") + "\n" + rule_lines(), encoding="utf-8")

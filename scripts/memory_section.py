# SPDX-License-Identifier: Apache-2.0
"""The part of the settings page that says what a memory budget holds."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs


def memory_section() -> list[str]:
    """Return its lines, computed from the templates' scenarios."""
    import tempfile

    from ringfence.engine.catalogue import Catalogue
    from ringfence.engine.memory import BYTES_PER_EVENT, BYTES_PER_PAIR, BYTES_PER_TEXT
    from ringfence.scenario.load import load_scenarios
    from ringfence.scenario.workspace import init_workspace, template_names

    lines = [
        "",
        "## What a memory budget holds",
        "",
        "Of the templates' scenarios, whose default families are on. An entity counts once per role it appears in, and",
        "once more where several roles share its type; a pair is two entities that one event named. Logs of more than",
        "three events and labels an entity inside the longest window come on top, 32 bytes each. Beyond the budget the",
        "longest idle are forgotten ([record 0008](../adr/0008-bounded-memory.md)). With the family `text` a tenth",
        f"of the budget goes to texts, {BYTES_PER_TEXT} bytes each.",
        "",
        "| scenario | bytes an entity | a pair | an event | entities, pairs, events in 1 GiB | in 4 GiB | in 16 GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for template in template_names():
        with tempfile.TemporaryDirectory() as folder:
            init_workspace(Path(folder) / "w", template)
            scenarios = load_scenarios(Path(folder) / "w" / "ringfence.yaml")
        for scenario in scenarios.values():
            cells = []
            for gibibytes in (1, 4, 16):
                catalogue = Catalogue.build(structs.replace(scenario, memory_bytes=gibibytes << 30))
                cells.append(", ".join(f"{n / 1e6:.1f} M" for n in catalogue.plan.room[:3]))
            costs = f"{catalogue.bytes_per_entity} | {BYTES_PER_PAIR} | {BYTES_PER_EVENT}"
            lines.append(f"| {scenario.name} | {costs} | {' | '.join(cells)} |")
    return lines

# SPDX-License-Identifier: Apache-2.0
"""What stands beside an exported graph: what is in each table, and how to read it without looking ahead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ringfence.steps.graph_files import GraphManifest

HOW: Final = (
    "`seq` is the order in which things became known, of events and of labels alike. What has a smaller seq than an "
    "event was known before it; `event_time` alone does not say so, since events are reported late.",
    "An event may see events and links with a smaller seq, and itself without its label. An edge between an earlier "
    "event and an entity may be walked both ways; one of a later event may not be walked at all.",
    "A label may be an input of an event where the label's own seq (`labels.parquet`) is smaller than the event's. "
    "The columns `label` and `label_known_at` say what was known at the cut: they are what to learn, and no input.",
    "Fit everything (weights, scalers, vocabularies, thresholds) on the part `train`. `test` and `late` happened or "
    "were reported after the cut, and have no label here.",
    "Rows of `features.parquet` are as of their event already, with labels as they became known by then, those after "
    "the cut included, as they would be live.",
    "A graph with all its edges, given to a model at once, shows every event what its entities did later.",
)


def graph_readme(manifest: GraphManifest) -> str:
    """Write the page that goes with a graph; Markdown."""
    cut = "the end of the ledger" if manifest.until_ms is None else _iso(manifest.until_ms)
    lines = [
        f"# The graph of {manifest.scenario}",
        "",
        f"Written by ringfence {manifest.ringfence}, split at {cut}. All tables are Parquet, in order of `seq`; `node` "
        "counts from 0 within a table, and is the row number. A later export of the same ledger gives every event and "
        "entity of this one the same number.",
        "",
        "| table | rows | |",
        "|---|---|---|",
    ]
    for one in manifest.events:
        told = "the decided events" if one.decided else "context"
        lines.append(f"| `{one.file}` | {one.n:,} | {told} |")
    lines += [f"| `{one.file}` | {one.n:,} | {one.n_known:,} of them by the cut |" for one in manifest.entities]
    lines += [
        f"| `{e.file}` | {e.n:,} | {e.event_type} → {e.entity_type}{', several an event' if e.many else ''} |"
        for e in manifest.edges
    ]
    lines.append(f"| `labels.parquet` | {manifest.n_labels:,} | what labels said by the cut, each change a row |")
    if manifest.n_later_labels is not None:
        lines.append(f"| `later_labels.parquet` | {manifest.n_later_labels:,} | what they said after it |")
    if manifest.features:
        n = len(manifest.features)
        lines.append(f"| `features.parquet` | {sum(manifest.parts.values()):,} | {n} features as of each event |")
    parts = ", ".join(f"{name} {n:,}" for name, n in manifest.parts.items())
    lines += [
        "",
        f"Decided events by `part`: {parts}; {manifest.n_fraud:,} of the part train are fraud.",
        "",
        "`train`: on record at the cut, with a label known by then. `unlabelled`: on record, label not known. `late`: "
        "happened before the cut, reported after it. `test`: happened at the cut or later.",
        "",
        "## Without looking ahead",
        "",
        *(f"- {sentence}" for sentence in manifest.how),
        "",
    ]
    return "\n".join(lines)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

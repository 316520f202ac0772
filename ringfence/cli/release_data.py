# SPDX-License-Identifier: Apache-2.0
"""What a release was made from, laid out for people."""

from __future__ import annotations

from typing import Any

from ringfence.cli.terminal import table


def data_text(found: dict[str, Any]) -> str:
    """Lay out what `steps.release_data` gathered."""
    examples, calibrated, held, model = (found[name] for name in ("examples", "calibrated", "ledger", "model"))
    rows = [
        ["release", f"{found['release']}, digest {found['digest']}"],
        [
            "examples",
            f"{examples['n']:,}, {examples['n_fraud']:,} of them fraud, from {examples['from'] or 'the first event'}, "
            f"known by {examples['until']}",
        ],
        ["their digest", examples["digest"]],
    ]
    if calibrated is not None:
        rows += [
            [
                "calibrated anew",
                f"models of {calibrated['release']}; on {calibrated['n']:,} events, {calibrated['n_fraud']:,} of them "
                f"fraud, known after {calibrated['after']}",
            ],
            ["their digest", calibrated["data_digest"]],
        ]
        if calibrated["weights"] is not None:
            trained, before, now = (calibrated["weights"][when] for when in ("trained", "before", "now"))
            rows += [
                [f"weight of {name}", f"{now[name]:.4f}, {before[name]:.4f} before, {weight:.4f} at training"]
                for name, weight in trained.items()
            ]
    rows += [
        ["ledger", f"up to seq {held['until_seq']:,}" + (f", chain {held['chain']}" if held["chain"] else "")],
        *[[f"imported {one['first_seq']:,} to {one['last_seq']:,}", one["digest"]] for one in held["segments"]],
        ["features", f"{found['features']['n']:,}, spec {found['features']['spec']}"],
        ["trees", f"{model['n_trees']:,} in all, of {model['n_seeds']} boosters, seed {model['seed']}"],
        *[[f"setting {name}", _written(value)] for name, value in sorted(found["settings"].items())],
        ["policy", found["policy"]],
        *[[f"version of {name}", version] for name, version in sorted(found["versions"].items())],
        *[[name, digest] for name, digest in sorted(found["files"].items())],
    ]
    return table(["what", "found"], rows)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)

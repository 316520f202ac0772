# SPDX-License-Identifier: Apache-2.0
"""What a release was made from: spans, counts, digests, settings and versions, of its manifest and of its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ringfence.cli.options import iso_time
from ringfence.cli.terminal import table

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scoring.release import Release


def data_of(release: Release, ledger: Ledger) -> dict[str, Any]:
    """Gather what a release was made from, as JSON can hold it.

    `ledger` tells what the ledger holds now of the records up to `until_seq`: the digests of imported segments that
    begin by then, and the hash of all live records up to there, null where that one was imported.
    """
    manifest, made = release.manifest, release.manifest.made
    chain = ledger.chain_at(made.until_seq)
    calibrated = None
    if made.calibrated is not None:
        calibrated = {
            **msgspec.to_builtins(made.calibrated),
            "after": iso_time(made.calibrated.after_ms),
            "models_until": iso_time(made.calibrated.models_until_ms),
        }
    return {
        "release": release.id,
        "digest": release.digest,
        "scenario": manifest.scenario,
        "examples": {
            "from": iso_time(made.examples_from_ms),
            "until": iso_time(made.models_until_ms),
            "n": made.n_examples,
            "n_fraud": made.n_fraud,
            "digest": made.data_digest,
        },
        "calibrated": calibrated,
        "ledger": {
            "until_seq": made.until_seq,
            "chain": None if chain is None else chain.hex(),
            "segments": [
                {"first_seq": one.first_seq, "last_seq": one.last_seq, "digest": one.digest}
                for one in ledger.segments()
                if one.first_seq <= made.until_seq
            ],
        },
        "features": {"n": len(release.features), "spec": manifest.spec_hash},
        "model": {"n_trees": made.n_trees, "n_seeds": made.n_seeds, "seed": made.seed},
        "settings": made.settings,
        "policy": manifest.policy,
        "versions": manifest.versions,
        "files": manifest.files,
    }


def data_text(found: dict[str, Any]) -> str:
    """Lay what a release was made from out for people."""
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

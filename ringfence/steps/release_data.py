# SPDX-License-Identifier: Apache-2.0
"""What a release was made from: spans, counts, digests, settings and versions, of its manifest and of its ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scoring.release import Release


def data_of(release: Release, ledger: Ledger) -> dict[str, Any]:
    """Gather what a release was made from, as JSON can hold it.

    `ledger` tells what the ledger holds now of the records up to `until_seq`: the digests of imported segments that
    begin by then, and the hash of all live records up to there, null where that one was imported.
    """
    import msgspec

    manifest, made = release.manifest, release.manifest.made
    chain = ledger.chain_at(made.until_seq)
    calibrated = None
    if made.calibrated is not None:
        calibrated = {
            **msgspec.to_builtins(made.calibrated),
            "after": _iso(made.calibrated.after_ms),
            "models_until": _iso(made.calibrated.models_until_ms),
        }
    return {
        "release": release.id,
        "digest": release.digest,
        "scenario": manifest.scenario,
        "examples": {
            "from": _iso(made.examples_from_ms),
            "until": _iso(made.models_until_ms),
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


def _iso(time_ms: int | None) -> str | None:
    if time_ms is None:
        return None
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

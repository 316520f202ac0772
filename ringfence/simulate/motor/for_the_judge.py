# SPDX-License-Identifier: Apache-2.0
"""What only the judge is given beside the truth of each claim: which shocks there were, and which claims are pairs."""

from __future__ import annotations

import msgspec
import polars as pl

from ringfence.simulate.delivery import Delivery
from ringfence.simulate.motor.shocked import ShockedWorld
from ringfence.simulate.motor.tables import Printer

SHOCKS_FILE = "shocks.json"
PAIRS_FILE = "planted_pairs.parquet"


def write_for_the_judge(world: ShockedWorld, printer: Printer, output: Delivery) -> None:
    """Write `shocks.json` if the world has shocks, and `planted_pairs.parquet` if it has pairs."""
    if world.shocks:
        told = msgspec.json.encode({"shocks": world.told_shocks()})
        output.path(SHOCKS_FILE).write_bytes(msgspec.json.format(told, indent=2) + b"\n")
    if world.pairs is not None:
        pairs = world.pairs.pairs
        pl.DataFrame(
            {
                "pair_id": range(1, len(pairs) + 1),
                "ring_claim_id": printer.ids("claim", pairs[:, 0]),
                "honest_claim_id": printer.ids("claim", pairs[:, 1]),
            }
        ).write_parquet(output.path(PAIRS_FILE))

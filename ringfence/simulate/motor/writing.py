# SPDX-License-Identifier: Apache-2.0
"""Write the motor-claims world to files: what the insurer has, how ringfence reads it, and the truth for the judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from ringfence.simulate.digest import ColumnDigest
from ringfence.simulate.errors import WorldExistsError
from ringfence.simulate.motor.claims import Claims
from ringfence.simulate.motor.for_the_judge import write_for_the_judge
from ringfence.simulate.motor.photos import MAX_PHOTOS
from ringfence.simulate.motor.plans import KINDS, MAX_WITNESSES
from ringfence.simulate.motor.policy_changes import policy_change_tables
from ringfence.simulate.motor.settings import WORLD_VERSION, WorldSettings
from ringfence.simulate.motor.shocked import ShockedWorld, shocked_table
from ringfence.simulate.motor.tables import Printer, claim_table, truth_table
from ringfence.simulate.row_groups import FilesSideBySide, write_tables
from ringfence.simulate.shocks import Shock

Progress = Callable[[int, int], None]
_ENTITY_TYPES: Final = ("person", "household", "vehicle", "shop", "lawyer", "doctor", "broker", "place", "photo")


@dataclass(frozen=True, kw_only=True)
class SimulationReport:
    """What a simulated world holds. Times in UTC milliseconds."""

    output: Path
    version: int
    seed: int
    n_events: int
    n_fraud: int
    n_rings: int  # with at least one claim in the history
    n_labelled: int  # known before the history ends
    n_labelled_fraud: int
    n_policy_changes: int
    starts_ms: int  # inclusive
    ends_ms: int  # exclusive
    digest: str  # of the claims' quantised columns and their truth; equal for equal settings
    shocks: tuple[dict[str, Any], ...] = ()  # name, onset, size, and what else each has
    n_planted_pairs: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output)}


def simulate_motor_claims(
    n_events: int,
    seed: int,
    output: Path,
    progress: Progress | None = None,
    *,
    fraud_rate: float = 0.0056,
    days: int = 730,
    ends: date = date(2025, 1, 1),
    investigated: float = 0.30,
    shocks: Sequence[Shock] = (),
    planted_pairs: int = 0,
    chunk_rows: int = 131_072,
) -> SimulationReport:
    """Write a simulated motor insurer as a workspace that imports as it is.

    Writes `claims.parquet`, `policy_changes.parquet`, `ringfence.yaml` and `policies/motor-claims.yaml`; and for the
    judge alone `truth.parquet` (a row per claim) and `truth_rings.parquet` (who acted in which ring); with shocks also
    `shocks.json`, with planted pairs also `planted_pairs.parquet`.

    Parameters
    ----------
    n_events, seed, fraud_rate, days, ends, investigated, shocks, planted_pairs : see `WorldSettings`.
    output : folder to write to; made where missing.
    progress : called with (claims written, claims in all).
    chunk_rows : rows held and written at a time; the rows do not depend on it.

    Raises
    ------
    WorldSettingError
        If a setting is outside its bounds.
    WorldExistsError
        If `output` already holds a `ringfence.yaml` or `claims.parquet`.
    """
    settings = WorldSettings(
        n_events=n_events, seed=seed, fraud_rate=fraud_rate, days=days, ends=ends, investigated=investigated,
        shocks=tuple(shocks), planted_pairs=planted_pairs,
    )  # fmt: skip
    for name in ("ringfence.yaml", "claims.parquet"):
        if (output / name).exists():
            raise WorldExistsError(output / name)
    (output / "policies").mkdir(parents=True, exist_ok=True)
    world, printer = ShockedWorld(settings), Printer(settings)
    tally = _Tally(world, printer)
    write_tables(output / "policy_changes.parquet", tally.policy_changes(), chunk_rows)
    claims = FilesSideBySide((output / "claims.parquet", output / "truth.parquet"), chunk_rows)
    try:
        for block in world.blocks(world.history):
            tally.add(block)
            table = shocked_table(claim_table(block, printer, world.population, world.ends_ms), block, settings)
            claims.add(table, truth_table(block, printer))
            if progress is not None:
                progress(tally.n, world.n_claims)
    finally:
        claims.close()
    tally.ring_members().write_parquet(output / "truth_rings.parquet")
    write_for_the_judge(world, printer, output)
    files = resources.files("ringfence.simulate.motor") / "workspace"
    (output / "ringfence.yaml").write_bytes((files / "ringfence.yaml").read_bytes())
    (output / "policies" / "motor-claims.yaml").write_bytes((files / "motor-claims.yaml").read_bytes())
    return SimulationReport(
        output=output,
        version=WORLD_VERSION,
        seed=seed,
        n_events=tally.n,
        n_fraud=tally.n_fraud,
        n_rings=tally.n_rings,
        n_labelled=tally.n_labelled,
        n_labelled_fraud=tally.n_labelled_fraud,
        n_policy_changes=tally.n_policy_changes,
        starts_ms=world.starts_ms,
        ends_ms=world.ends_ms,
        digest=tally.digest,
        shocks=world.told_shocks(),
        n_planted_pairs=planted_pairs,
    )


class _Tally:
    """Counts and digests what is written. Keeps only the fraudulent claims' members."""

    def __init__(self, world: ShockedWorld, printer: Printer) -> None:
        self._world, self._printer = world, printer
        shocks = world.settings.shocks
        self._digest = ColumnDigest(f"motor-claims {shocks}" if shocks else "motor-claims", WORLD_VERSION)
        self._members: list[pl.DataFrame] = []
        self.n = self.n_fraud = self.n_labelled = self.n_labelled_fraud = self.n_policy_changes = 0

    def policy_changes(self) -> Iterator[pl.DataFrame]:
        for table in policy_change_tables(self._world, self._printer):
            self.n_policy_changes += table.height
            yield table

    def add(self, claims: Claims) -> None:
        self._digest.add(vars(claims))
        known = claims.known_ms < self._world.ends_ms
        self.n += len(claims)
        self.n_fraud += int((claims.kind > 0).sum())
        self.n_labelled += int(((claims.label >= 0) & known).sum())
        self.n_labelled_fraud += int(((claims.label == 1) & known).sum())
        self._members.append(_members(claims))

    @property
    def digest(self) -> str:
        return self._digest.value

    @property
    def n_rings(self) -> int:
        return sum(part["ring"].n_unique() for part in [pl.concat(self._members)] if part.height)

    def ring_members(self) -> pl.DataFrame:
        """Who acted in which ring, in which role, in how many claims of the history."""
        counted = (
            pl.concat(self._members).group_by("ring", "kind", "entity_type", "role", "entity").len("n_claims")
        ).sort("ring", "role", "entity")
        parts = [counted.filter(entity_type=entity_type) for entity_type in _ENTITY_TYPES]
        ids = pl.concat(
            part.with_columns(entity_id=self._printer.ids(entity_type, part["entity"].to_numpy()))
            for entity_type, part in zip(_ENTITY_TYPES, parts, strict=True)
        )
        return ids.select(
            ring_id=self._printer.ids("ring", ids["ring"].to_numpy()),
            kind=pl.Series(KINDS).gather(ids["kind"]),
            entity_type="entity_type",
            entity_id="entity_id",
            role="role",
            n_claims="n_claims",
        ).sort("ring_id", "role", "entity_id")


def _members(claims: Claims) -> pl.DataFrame:
    fraud = np.flatnonzero(claims.kind > 0)
    parts = [
        ("person", "claimant", claims.claimant),
        ("household", "household", claims.household),
        ("vehicle", "vehicle", claims.vehicle),
        ("shop", "repair_shop", claims.shop),
        ("lawyer", "lawyer", claims.lawyer),
        ("doctor", "doctor", claims.doctor),
        ("broker", "broker", claims.broker),
        ("place", "place", claims.place),
    ]
    parts += [("person", "witness", claims.witness[:, slot]) for slot in range(MAX_WITNESSES)]
    parts += [("photo", "photo", claims.photo[:, slot]) for slot in range(MAX_PHOTOS)]
    frames = [
        pl.DataFrame({"ring": claims.ring[fraud], "kind": claims.kind[fraud], "entity": entity[fraud]}).with_columns(
            entity_type=pl.lit(entity_type), role=pl.lit(role)
        )
        for entity_type, role, entity in parts
    ]
    return pl.concat(frames).filter(pl.col("entity") >= 0)

# SPDX-License-Identifier: Apache-2.0
"""Write the motor-claims world to files: what the insurer has, how ringfence reads it, and the truth for the judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from ringfence.simulate.delivery import Delivery
from ringfence.simulate.digest import ColumnDigest
from ringfence.simulate.errors import WorldExistsError, WorldSettingError
from ringfence.simulate.motor.claims import Claims
from ringfence.simulate.motor.for_the_judge import PAIRS_FILE, SHOCKS_FILE, write_for_the_judge
from ringfence.simulate.motor.photos import MAX_PHOTOS
from ringfence.simulate.motor.plans import KINDS, MAX_WITNESSES, PLANTED
from ringfence.simulate.motor.policy_changes import policy_change_tables
from ringfence.simulate.motor.settings import WORLD_VERSION, WorldSettings, as_date
from ringfence.simulate.motor.shocked import ShockedWorld, shocked_table
from ringfence.simulate.motor.tables import Printer, claim_table, truth_table
from ringfence.simulate.row_groups import FilesSideBySide, write_tables
from ringfence.simulate.shocks import Shock, as_shocks

Progress = Callable[[int, int], None]
_ENTITY_TYPES: Final = ("person", "household", "vehicle", "shop", "lawyer", "doctor", "broker", "place", "photo")
_FILES: Final = (
    "ringfence.yaml", "policies/motor-claims.yaml", "claims.parquet", "policy_changes.parquet", "truth.parquet",
    "truth_rings.parquet", SHOCKS_FILE, PAIRS_FILE,
)  # fmt: skip


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
    n_planted_claims: int = 0  # of all pairs, on top of the claims asked for; `n_events` counts them too
    n_planted_fraud: int = 0  # of their rings; `n_fraud` and `n_rings` count them too

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output)}


def simulate_motor_claims(
    n_events: int,
    seed: int,
    output: Path | str,
    progress: Progress | None = None,
    *,
    fraud_rate: float = 0.0056,
    days: int = 730,
    ends: date | str = date(2025, 1, 1),
    investigated: float = 0.30,
    shocks: Sequence[Shock | str] = (),
    planted_pairs: int = 0,
    chunk_rows: int = 131_072,
) -> SimulationReport:
    """Write a simulated motor insurer as a workspace that imports as it is.

    Writes `claims.parquet`, `policy_changes.parquet`, `ringfence.yaml` and `policies/motor-claims.yaml`; and for the
    judge alone `truth.parquet` (a row per claim) and `truth_rings.parquet` (who acted in which ring); with shocks also
    `shocks.json`, with planted pairs also `planted_pairs.parquet`.

    Parameters
    ----------
    n_events, seed, fraud_rate, days, ends, investigated, shocks, planted_pairs : see `WorldSettings`; a date and a
        shock may be given as text.
    output : folder to write to; made where missing. The files get their names together, once all are complete.
    progress : called with (claims written, claims in all).
    chunk_rows : rows held and written at a time; the rows do not depend on it.

    Raises
    ------
    WorldSettingError
        If a setting is outside its bounds.
    WorldExistsError
        If `output` already holds one of these files, or is itself a file.
    """
    settings = WorldSettings(
        n_events=n_events, seed=seed, fraud_rate=fraud_rate, days=days, ends=as_date(ends),
        investigated=investigated, shocks=as_shocks(shocks), planted_pairs=planted_pairs,
    )  # fmt: skip
    output = Path(output)
    _refuse_what_is_there(output)
    world, printer = ShockedWorld(settings), Printer(settings)
    tally = _Tally(world, printer)
    with Delivery(output) as delivery:
        write_tables(delivery.path("policy_changes.parquet"), tally.policy_changes(), chunk_rows)
        files = (delivery.path("claims.parquet"), delivery.path("truth.parquet"))
        with closing(FilesSideBySide(files, chunk_rows)) as claims:
            for block in world.blocks(world.history):
                tally.add(block)
                table = shocked_table(claim_table(block, printer, world.population, world.ends_ms), block, settings)
                claims.add(table, truth_table(block, printer))
                if progress is not None:
                    progress(tally.n, world.n_claims)
        tally.ring_members().write_parquet(delivery.path("truth_rings.parquet"))
        write_for_the_judge(world, printer, delivery)
        # Last, so that a folder with a ringfence.yaml holds a whole world.
        texts = resources.files("ringfence.simulate.motor") / "workspace"
        delivery.path("policies/motor-claims.yaml").write_bytes((texts / "motor-claims.yaml").read_bytes())
        delivery.path("ringfence.yaml").write_bytes((texts / "ringfence.yaml").read_bytes())
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
        n_planted_claims=world.n_claims - world.history.n,
        n_planted_fraud=tally.n_planted_fraud,
    )


def _refuse_what_is_there(output: Path) -> None:
    for parent in (output, *output.parents):
        if parent.exists():
            if not parent.is_dir():
                raise WorldSettingError("the output", str(output), f"give a folder: {parent} is a file")
            break
    for name in _FILES:
        if (output / name).exists():
            raise WorldExistsError(output / name)


class _Tally:
    """Counts and digests what is written. Keeps only the fraudulent claims' members."""

    def __init__(self, world: ShockedWorld, printer: Printer) -> None:
        self._world, self._printer = world, printer
        shocks = world.settings.shocks
        self._digest = ColumnDigest(f"motor-claims {shocks}" if shocks else "motor-claims", WORLD_VERSION)
        self._members: list[pl.DataFrame] = []
        self.n = self.n_fraud = self.n_planted_fraud = self.n_labelled = self.n_labelled_fraud = (
            self.n_policy_changes
        ) = 0

    def policy_changes(self) -> Iterator[pl.DataFrame]:
        for table in policy_change_tables(self._world, self._printer):
            self.n_policy_changes += table.height
            yield table

    def add(self, claims: Claims) -> None:
        self._digest.add(vars(claims))
        known = claims.known_ms < self._world.ends_ms
        self.n += len(claims)
        self.n_fraud += int((claims.kind > 0).sum())
        self.n_planted_fraud += int((claims.kind == PLANTED).sum())
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

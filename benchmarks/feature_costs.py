# SPDX-License-Identifier: Apache-2.0
"""What features cost a claim: rows with and without them, on warm state of the simulated insurer, one thread.

    python -m benchmarks.feature_costs [--claims 40000] [--write]

For each set of features left out, two engines go on from copies of the same state and take turns at the same batches,
three times over; the cost is the median of the differences between the fastest of each. Families are left out of the
insurer as it ships, and added alone to a row of nothing but the event itself; works
(`ringfence/engine/feature_costs.py`) are left out of the insurer with three of its roles, where no statistic is dropped
for want of columns. Rings are peeked at, in a state that ticks have been computed for; the ticks are timed apart.
`--write` keeps the result where the catalogue and its page find it.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine, Feature
from ringfence.engine import feature_costs as costs
from ringfence.engine.engine import empty_state
from ringfence.engine.state import used, with_tables, with_used
from ringfence.engine.stats import EVENT, FAMILIES, RINGS
from ringfence.engine.ticks import PreparedTick
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import EVENT as EVENT_RECORD
from ringfence.scenario.batch import Batch
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.spec import Scenario
from ringfence.simulate import simulate_motor_claims

BATCH_SIZE: Final = 256  # records
N_TIMED: Final = 64  # batches
N_ROUNDS: Final = 3  # each on fresh copies of the state; the fastest counts, batch by batch
LAST_TICKS: Final = 10  # whose time is stated
THREE_ROLES: Final = ("claimant", "repair_shop", "witness")
FILE: Final = Path(costs.__file__).with_name(costs.COSTS_FILE)
Times = NDArray[np.float64]
Keeps = Callable[[Feature], bool]


def of_families(*names: str) -> Keeps:
    return lambda feature: feature.family in names


def without_family(name: str) -> Keeps:
    """Rings are left out in any case: what they need is computed elsewhere."""
    return lambda feature: feature.family not in (name, RINGS)


def without_work(*names: str) -> Keeps:
    return lambda feature: feature.work not in names and feature.family != RINGS


class World:
    """One cut of the insurer: its ledger in batches, and engines that have folded all but the last of them."""

    def __init__(self, scenario: Scenario, batches: Sequence[Batch]) -> None:
        claims = np.array([self._n_claims(scenario, batch) for batch in batches])
        end = int(np.flatnonzero(claims >= BATCH_SIZE // 10)[-1]) + 1  # behind it nothing but labels
        self.scenario = scenario
        self.before, self.timed = batches[: end - N_TIMED], batches[end - N_TIMED : end]
        self.n_before, self.n_timed = int(claims[: end - N_TIMED].sum()), claims[end - N_TIMED : end]
        self.stopwatch = Stopwatch()
        self.everything = Catalogue.build(scenario)
        self.whole = self.keeping(without_family(RINGS))
        self.nothing = self.keeping(of_families(EVENT))
        # A narrower plan leaves alone what it does not need of a wider one's state. Only without pairs are partners
        # laid out differently, so there are two states to go on from.
        self.warm = self._warmed(Engine(self.whole))
        self.warm_without_pairs = self._warmed(Engine(self.keeping(without_work("pairs", "reverse_pairs"))))

    @staticmethod
    def _n_claims(scenario: Scenario, batch: Batch) -> int:
        return int(((batch.kind == EVENT_RECORD) & (batch.event_type == scenario.decided.index)).sum())

    def keeping(self, keeps: Keeps) -> Catalogue:
        return Catalogue.build(self.scenario, only=[f.name for f in self.everything.features if keeps(f)])

    def _warmed(self, engine: Engine) -> Engine:
        for batch in self.before:
            engine.observe(batch)
        return engine

    @cached_property
    def ticking(self) -> Engine:
        """Warm as well, with rings computed at ticks by `stopwatch`."""
        return self._warmed(Engine(self.everything, compute=self.stopwatch.compute))

    def tick_ns(self) -> float:
        """What ticks as large as the newest take, in nanoseconds a claim."""
        assert self.ticking.seq > 0
        newest = self.stopwatch.ticks_ns[-LAST_TICKS:]
        return sum(newest) / len(newest) * len(self.stopwatch.ticks_ns) / self.n_before

    def _engine(self, catalogue: Catalogue) -> Engine:
        if catalogue.plan.tick_ms:
            warm = self.ticking
        else:
            warm = self.warm if catalogue.plan.has_pairs else self.warm_without_pairs
        return Engine(catalogue, state=with_tables(with_used(empty_state(warm.catalogue), used(warm.state))))

    def saving(self, more: Catalogue, less: Catalogue, *, peeked: bool = False) -> tuple[Times, Times]:
        """Nanoseconds a claim, per timed batch, of two engines that take turns; the fastest of the rounds."""
        spent = np.zeros((2, N_ROUNDS, len(self.timed)))
        catalogues = (more, less)
        for round_number in range(N_ROUNDS):
            order = (0, 1) if round_number % 2 == 0 else (1, 0)
            engines = {e: self._engine(catalogues[e]) for e in order}
            for b, batch in enumerate(self.timed):
                for e in order if b % 2 == 0 else order[::-1]:
                    fold = engines[e].peek if peeked else engines[e].observe
                    began = time.thread_time_ns()
                    fold(batch)
                    spent[e, round_number, b] = time.thread_time_ns() - began
                if peeked:
                    for engine in engines.values():
                        engine.observe(batch)
        with_it, without = spent.min(axis=1) / self.n_timed
        return with_it, without


class Stopwatch:
    """Computes ticks on the spot, as an engine does by itself, and keeps the time of each."""

    def __init__(self) -> None:
        self.ticks_ns: list[int] = []

    def compute(self, work: Callable[[], PreparedTick]) -> Callable[[], PreparedTick]:
        began = time.thread_time_ns()
        tick = work()
        self.ticks_ns.append(time.thread_time_ns() - began)
        return lambda: tick


def median_of(differences: Times) -> tuple[float, float]:
    """Median and half its notch, about 95 % (McGill, Tukey, Larsen 1978)."""
    low, middle, high = np.quantile(differences, [0.25, 0.5, 0.75])
    return round(float(middle), 1), round(float(1.57 * (high - low) / np.sqrt(differences.size)), 1)


def imported(scenario: Scenario, folder: Path, ends_ms: int) -> World:
    directory = folder / f"ledger-{len(scenario.decided.roles)}"
    import_files(directory, scenario, folder, FakeClock(ends_ms))
    return World(scenario, list(Ledger.open(directory, scenario).batches(size=BATCH_SIZE)))


def with_roles(scenario: Scenario, kept: Sequence[str]) -> Scenario:
    event_types = tuple(
        msgspec.structs.replace(event_type, roles=tuple(column for column in event_type.roles if column.role in kept))
        for event_type in scenario.event_types
    )
    return msgspec.structs.replace(scenario, event_types=event_types)


def families_of(world: World) -> tuple[dict[str, costs.Family], dict[str, float]]:
    """Measure every family; also the time of a whole row, of one with the event alone, and of ticks."""
    families = {}
    full, event_only = [], []
    n_features = Counter(feature.family for feature in world.everything.features)
    for name in FAMILIES:
        if name == RINGS:
            continue
        whole, without = world.saving(world.whole, world.keeping(without_family(name)))
        full.append(whole)
        left_out_ns, plus_minus_ns = median_of(whole - without)
        alone_ns = None
        if name != EVENT:
            added, nothing = world.saving(world.keeping(of_families(name, EVENT)), world.nothing)
            event_only.append(nothing)
            alone_ns, _ = median_of(added - nothing)
        families[name] = costs.Family(
            features=n_features[name], left_out_ns=left_out_ns, plus_minus_ns=plus_minus_ns, alone_ns=alone_ns
        )
        print(f"{name:16} {families[name]}", flush=True)
    whole, without = world.saving(world.everything, world.whole, peeked=True)
    with_rings = world.keeping(of_families(EVENT, RINGS))
    added, nothing = world.saving(with_rings, world.nothing, peeked=True)
    left_out_ns, plus_minus_ns = median_of(whole - without)
    families[RINGS] = costs.Family(
        features=n_features[RINGS],
        left_out_ns=left_out_ns,
        plus_minus_ns=plus_minus_ns,
        alone_ns=median_of(added - nothing)[0],
    )
    print(f"{RINGS:16} {families[RINGS]}", flush=True)
    rows = {
        "full_row_ns": median_of(np.concatenate(full))[0],
        "event_only_ns": median_of(np.concatenate(event_only))[0],
        "tick_ns": round(world.tick_ns(), 1),
    }
    return {name: families[name] for name in FAMILIES}, rows


def works_of(world: World, rings: costs.Work) -> dict[str, costs.Work]:
    """Measure every work but rings, which is a family of its own."""
    works = {}
    n_features = Counter(feature.work for feature in world.everything.features)
    for name in costs.WORKS:
        if name == RINGS:
            works[name] = costs.Work(
                features=rings.features, left_out_ns=rings.left_out_ns, plus_minus_ns=rings.plus_minus_ns
            )
            continue
        less = world.keeping(without_work(name))
        whole, without = world.saving(world.whole, less)
        left_out_ns, plus_minus_ns = median_of(whole - without)
        works[name] = costs.Work(features=n_features[name], left_out_ns=left_out_ns, plus_minus_ns=plus_minus_ns)
        print(f"{name:16} {works[name]}", flush=True)
    return works


def machine() -> str:
    """The processor's name, as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def toml_of(found: costs.FeatureCosts) -> str:
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        f"# Written by `{found.measured.command} --write`; read by feature_costs.py.",
    ]
    tables: dict[str, msgspec.Struct] = {"measured": found.measured}
    tables |= {f"families.{name}": family for name, family in found.families.items()}
    tables |= {f"works.{name}": work for name, work in found.works.items()}
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [
            f"{key} = {json.dumps(value)}" for key, value in msgspec.to_builtins(table).items() if value is not None
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        report = simulate_motor_claims(arguments.claims, arguments.seed, folder)
        scenario = load_scenarios(folder / "ringfence.yaml")["motor-claims"]
        scenario = msgspec.structs.replace(scenario, features=dict.fromkeys(FAMILIES, True))
        insurer = imported(scenario, folder, report.ends_ms)
        families, rows = families_of(insurer)
        works = works_of(imported(with_roles(scenario, THREE_ROLES), folder, report.ends_ms), families[RINGS])
    found = costs.FeatureCosts(
        measured=costs.Measured(
            command=f"python -m benchmarks.feature_costs --claims {arguments.claims}",
            machine=machine(),
            claims=arguments.claims,
            timed_claims=int(insurer.n_timed.sum()),
            state_mb=round(insurer.warm.nbytes / 1e6, 1),
            **rows,
        ),
        families=families,
        works=works,
    )
    print(found.measured)
    if arguments.write:
        FILE.write_text(toml_of(found), "utf-8")
        print(f"wrote {FILE.name}; now `make docs`")


if __name__ == "__main__":
    main()

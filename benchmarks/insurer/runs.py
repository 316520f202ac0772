# SPDX-License-Identifier: Apache-2.0
"""All that a work folder holds, gathered for tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from benchmarks.insurer.contenders import CONTENDERS, RUNGS, Result
from benchmarks.insurer.figures import Figures, Mean, mean_of
from benchmarks.insurer.releases import Trained
from benchmarks.insurer.rungs import Rung
from benchmarks.insurer.topology import Pairs
from benchmarks.insurer.unseen import Told
from benchmarks.insurer.work import Work
from benchmarks.insurer.worlds import Split

ByWorld = dict[int, list[Figures]]


@dataclass(frozen=True)
class Runs:
    """Results by contender, and by world; what was not measured is not there."""

    n_events: int
    fraud_rate: float
    worlds: list[int]
    seeds: list[int]
    splits: dict[int, Split] = field(default_factory=dict)
    results: dict[str, list[Result]] = field(default_factory=dict)
    rungs: dict[str, dict[int, list[Rung]]] = field(default_factory=dict)  # rung -> world -> by seed
    trained: list[tuple[int, int, Trained]] = field(default_factory=list)  # world, seed
    unseen: list[Told] = field(default_factory=list)  # a world and seed each
    unseen_without_release: list[Told] = field(default_factory=list)  # a world each
    pairs: list[Pairs] = field(default_factory=list)

    def figures(self, contender: str) -> ByWorld:
        found: ByWorld = {}
        for one in self.results.get(contender, []):
            found.setdefault(one.world, []).append(one.figures)
        return found

    def mean(self, contender: str, name: str) -> Mean | None:
        """Average a figure over a contender's runs; None where it has none."""
        found = self.figures(contender)
        if not found or name not in next(iter(found.values()))[0].values:
            return None
        return mean_of(found, name)

    def gain(self, contender: str, over: str, name: str) -> Mean | None:
        """Average what a contender has more of a figure than another one, over the worlds that both have."""
        first, second = self.figures(contender), self.figures(over)
        both = [world for world in first if world in second]
        if not both or name not in second[both[0]][0].values:
            return None
        return mean_of({w: first[w] for w in both}, name, {w: second[w] for w in both})

    def seconds(self, contender: str) -> tuple[float, float | None]:
        """Return the mean time to learn: by the clock, and of the processor where that was measured."""
        found = self.results[contender]
        spent = [one.processor_s for one in found if one.processor_s is not None]
        return float(np.mean([one.seconds for one in found])), float(np.mean(spent)) if spent else None


def runs_of(work: Work, worlds: Sequence[int], seeds: Sequence[int]) -> Runs:
    """Read what is there of these worlds and seeds."""
    settings = msgspec.json.decode((work.folder / "settings.json").read_bytes())
    runs = Runs(settings["events"], settings["fraud_rate"], list(worlds), list(seeds))
    for world in worlds:
        name = f"world-{world}"
        split = work.folder / name / "base" / "split.json"
        if split.exists():
            runs.splits[world] = msgspec.json.decode(split.read_bytes(), type=Split)
        for contender in CONTENDERS:
            for seed in seeds if contender.is_seeded else (0,):
                found = work.read(work.path(name, f"{contender.key}-{seed}"), Result)
                if found is not None:
                    runs.results.setdefault(contender.key, []).append(found)
        plain = work.read(work.path(name, "unseen-without-release"), Told)
        if plain is not None:
            runs.unseen_without_release.append(plain)
        for seed in seeds:
            rungs = work.read(work.path(name, f"rungs-{seed}"), dict[str, Rung]) or {}
            for rung in RUNGS:
                if rung in rungs:
                    runs.rungs.setdefault(rung, {}).setdefault(world, []).append(rungs[rung])
            trained = work.read(work.path(name, f"training-{seed}"), Trained)
            if trained is not None:
                runs.trained.append((world, seed, trained))
            told = work.read(work.path(name, f"unseen-{seed}"), Told)
            if told is not None:
                runs.unseen.append(told)
    for seed in seeds:
        pairs = work.read(work.path("topology", f"pairs-{seed}"), Pairs)
        if pairs is not None:
            runs.pairs.append(pairs)
    return runs

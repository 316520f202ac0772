# SPDX-License-Identifier: Apache-2.0
"""One live event in process: p50, p99 and p99.9 of `Engine.observe`, a record a call as a quiet service makes them.

    python -m benchmarks.live [--claims 200000] [--events 20000] [--crowds 2000] [--check] [--json]

Two cases, each with the default families and with all of them. *Ordinary*: the last claims of a simulated insurer,
beside the state of all that came before; labels and contract changes between them are observed, and timed apart.
*Crowded*: the worst that an event can ask for. It names 16 entities with a thousand events each; each of them was last
in 16 events with nine links, all to different entities; its text is a boilerplate. Row, update and checks are timed
together; `empty call` is what a call costs in which no record is worked on.

On a busy machine the wall clock's tail is that of waiting for a processor; the thread's own processor time is told
beside it. Ticks are computed by another thread, as in the service, and their calls are told apart: those in which a
tick begins and those in which it takes effect. `--check` ends with exit code 1 where a floor is missed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.subject import steal_seconds
from ringfence.engine import Catalogue, Engine
from ringfence.engine.stats import FAMILIES
from ringfence.engine.ticks import PreparedTick
from ringfence.ledger.assembly import slice_batch
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import EVENT, LABEL, NO_LABEL, Batch
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.spec import Scenario
from ringfence.simulate import simulate_motor_claims

WARM_CALLS: Final = 1_000
N_SETS, N_EVENTS, LAST = 50, 1_000, 16  # sets of 16 entities; events of each before the crowd; those it refers back to
N_MEMBERS: Final = 16
POOL: Final = 40_000  # others per role: each is met a dozen times, none twice by the same crowd
BOILERPLATE: Final = 0x5DEECE66D1234567
FLOORS_US: Final = {"ordinary": {"p50": 60.0, "p99": 250.0}, "crowded": {"p99": 1_000.0}}
QUANTILES: Final = (50, 99, 99.9)


def world(n_claims: int, seed: int, path: Path) -> Scenario:
    """Simulate and import an insurer."""
    report = simulate_motor_claims(n_claims, seed, path)
    scenario = load_scenarios(path / "ringfence.yaml")["motor-claims"]
    import_files(path / "ledger" / scenario.name, scenario, path, FakeClock(report.ends_ms))
    return scenario


def alone(batch: Batch, begin: int = 0) -> list[Batch]:
    """Make a batch of each record from `begin` on, in arrays of its own as the service's are."""
    singles = []
    for i in range(begin, len(batch)):
        one = slice_batch(batch, i, i + 1)
        singles.append(Batch(**{name: np.array(getattr(one, name)) for name in Batch.__struct_fields__}))
    return singles


class Ticks:
    """Computes ticks beside the engine, and knows whether the last call began one or put one into effect."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[PreparedTick] | None = None
        self.happened = ""

    def compute(self, work: Callable[[], PreparedTick]) -> Callable[[], PreparedTick]:
        running = self._running = self._pool.submit(work)
        self.happened = "a tick begins"

        def wait() -> PreparedTick:
            self.happened = "a tick takes effect"
            return running.result()

        return wait

    def wait(self) -> str:
        """Wait as long as a service has time to: until the tick is computed. Return what the last call did."""
        if self._running is not None:
            self._running.result()
        happened, self.happened = self.happened, ""
        return happened


def kind_of(one: Batch, catalogue: Catalogue) -> str:
    if one.kind[0] == LABEL:
        return "a label"
    return "a claim" if one.event_type[0] == catalogue.plan.decided else "a contract change"


class Times:
    """Nanoseconds a call by what it was for, on the wall and on this thread's processor."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[int, int]]] = {}

    def add(self, what: str, wall_ns: int, processor_ns: int) -> None:
        self._found.setdefault(what, []).append((wall_ns, processor_ns))

    def table(self) -> dict[str, dict[str, float]]:
        """Microseconds a call."""
        rows: dict[str, dict[str, float]] = {}
        for what, pairs in sorted(self._found.items()):
            clocks = zip(("", "processor "), np.array(pairs, np.float64).T / 1e3, strict=True)
            rows[what] = {"calls": len(pairs)}
            for clock, us in clocks:
                rows[what] |= {f"{clock}p{q:g}": round(float(np.percentile(us, q)), 1) for q in QUANTILES}
                rows[what][f"{clock}most"] = round(float(us.max()), 1)
        return rows


def timed(engine: Engine, one: Batch) -> tuple[int, int]:
    began_processor, began = time.thread_time_ns(), time.perf_counter_ns()
    engine.observe(one)
    wall_ns = time.perf_counter_ns() - began
    return wall_ns, time.thread_time_ns() - began_processor


def ordinary(engine: Engine, ticks: Ticks, singles: Iterable[Batch]) -> Times:
    times = Times()
    for i, one in enumerate(singles):
        spent = timed(engine, one)
        what = ticks.wait()
        if i >= WARM_CALLS or what:
            times.add(what or kind_of(one, engine.catalogue), *spent)
    return times


def empty_call_us(engine: Engine, one: Batch) -> float:
    """Microseconds of a call without a record: checks, types and arguments, and nothing else."""
    parts = {name: getattr(one, name)[:0] for name in Batch.__struct_fields__}
    empty = Batch(**parts | {"link_start": np.zeros(1, np.int64)})
    spent = np.array([timed(engine, empty)[0] for _ in range(2_000)])
    return round(float(np.median(spent)) / 1e3, 1)


# -- the worst that an event can ask for ------------------------------------------------------------------------------


class Crowds:
    """Events of hubs, in the roles of a scenario that can hold one, with two that can hold many to fill the set."""

    def __init__(self, catalogue: Catalogue, rng: np.random.Generator, after_seq: int, time_ms: int) -> None:
        scenario = self._scenario = catalogue.scenario
        self._decided, self._rng, self._seq, self._time_ms = catalogue.plan.decided, rng, after_seq, time_ms
        columns = [scenario.role(column.role) for column in scenario.decided.roles]
        single = [role.index for role in columns if not role.many]
        many = [role.index for role in columns if role.many]
        filling = [many[i % len(many)] for i in range(N_MEMBERS - len(single))]
        self.roles = np.array(sorted(single + filling), np.uint8)  # of the 16 members of a set
        self._each = np.array(sorted(single + many), np.uint8)  # one of every role
        self._pools = {int(role): rng.permutation(POOL) for role in self._each}
        self._used = 0
        self.hubs = rng.integers(0, 2**63, (N_SETS, N_MEMBERS), np.uint64)
        self._newest: Batch | None = None

    def batch(self, links: list[tuple[NDArray[np.uint8], NDArray[np.uint64]]]) -> Batch:
        """Lay out events that follow the last ones, a millisecond apart."""
        n = len(links)
        rng, scenario = self._rng, self._scenario
        seq = self._seq + 1 + np.arange(n, dtype=np.int64)
        self._seq += n
        self._time_ms += n
        flips = np.uint64(1) << rng.integers(0, 64, (n, len(scenario.text_attributes)), np.uint64)
        made = Batch(
            seq=seq,
            kind=np.full(n, EVENT, np.uint8),
            event_type=np.full(n, self._decided, np.uint8),
            time_ms=self._time_ms - n + 1 + np.arange(n, dtype=np.int64),
            offset_ms=np.zeros(n, np.int32),
            amount_minor=rng.integers(100_000, 120_000, n),
            values=np.zeros((n, len(scenario.value_attributes))),
            link_start=np.cumsum([0, *(len(role) for role, _ in links)]),
            link_role=np.concatenate([role for role, _ in links]),
            link_lo=np.concatenate([lo for _, lo in links]),
            link_hi=np.concatenate([lo for _, lo in links]) ^ np.uint64(1),
            label_event_seq=np.full(n, -1, np.int64),
            label_event_time_ms=np.zeros(n, np.int64),
            label_value=np.full(n, NO_LABEL, np.int8),
            label_replaces=np.full(n, NO_LABEL, np.int8),
            simhash=np.uint64(BOILERPLATE) ^ flips,
        )
        self._newest = made
        return made

    def labels(self) -> Batch:
        """Label the events of the last batch, a twentieth as fraud."""
        about = self._newest
        assert about is not None
        n = len(about)
        self._seq += n
        return msgspec.structs.replace(
            about,
            seq=about.seq + n,
            kind=np.full(n, LABEL, np.uint8),
            time_ms=np.full(n, self._time_ms),
            amount_minor=np.zeros(n, np.int64),
            label_event_seq=about.seq,
            label_event_time_ms=about.time_ms,
            label_value=(self._rng.random(n) < 0.05).astype(np.int8),
            simhash=np.zeros_like(about.simhash),
        )

    def crowd(self, number: int) -> Batch:
        """Return the event that names a whole set."""
        return self.batch([(self.roles, self.hubs[number])])

    def past(self, number: int) -> Batch:
        """Return what makes hubs of a set."""
        return self.batch([(self.roles, self.hubs[number])] * (N_EVENTS - LAST))

    def last_events(self, number: int) -> Batch:
        """Return 16 events of each member of a set, each with nine others, none of whom it meets twice."""
        links = []
        for member in range(N_MEMBERS):
            own_role, own = self.roles[member], self.hubs[number, member]
            for _ in range(LAST):
                self._used += 1
                others = [self._pools[int(role)][self._used % POOL] * 16 + int(role) for role in self._each]
                lo = np.array(others, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
                lo[self._each == own_role] = own
                links.append((self._each, lo))
        order = self._rng.permutation(len(links))  # so that neighbours in time are not neighbours in memory
        return self.batch([links[i] for i in order])


def crowded(engine: Engine, n_crowds: int, seed: int) -> tuple[Times, int]:
    """Time events of crowds; return also the entities and events that a row of them looks at."""
    rng = np.random.default_rng(seed)
    newest_ms = max(int(entry) for entry in engine.state.keys["newest_ms"][: engine.counters["entities"]])
    crowds, times = Crowds(engine.catalogue, rng, engine.seq, newest_ms), Times()
    unread = np.zeros(N_EVENTS, np.bool_)

    def feed(batch: Batch) -> None:
        engine.observe(batch, unread[: len(batch)])
        engine.observe(crowds.labels())

    for number in range(N_SETS):
        feed(crowds.past(number))
    most = 0
    for call in range(n_crowds + N_SETS):
        number = call % N_SETS
        feed(crowds.last_events(number))
        one = alone(crowds.crowd(number))[0]
        if call < N_SETS:
            row = engine.peek(one)[0]
            most = max(most, int(row[engine.catalogue.index("event.others")]))
        spent = timed(engine, one)
        if call >= N_SETS:
            times.add("a crowd", *spent)
    return times, most


# -- the report -------------------------------------------------------------------------------------------------------


def measured(name: str, scenario: Scenario, path: Path, arguments: argparse.Namespace) -> Iterator[Any]:
    """Yield (case, table) for one choice of families."""
    catalogue = Catalogue.build(scenario)
    batches = list(Ledger.open(path / "ledger" / scenario.name, scenario).batches())
    engine, ticks = Engine(catalogue), Ticks()
    engine.compute_ticks_by(ticks.compute)
    is_claim = [(batch.kind == EVENT) & (batch.event_type == catalogue.plan.decided) for batch in batches]
    left, n_records = arguments.events + WARM_CALLS, 0
    tail: list[Batch] = []
    for batch, claims in zip(reversed(batches), reversed(is_claim), strict=True):
        places = np.flatnonzero(claims)[::-1][:left]
        left -= len(places)
        begin = 0 if left else int(places[-1])
        tail = alone(batch, begin) + tail
        n_records += len(batch) - begin
        if not left:
            break
    n_before = sum(map(len, batches)) - n_records
    for batch in batches:
        n = min(len(batch), n_before)
        n_before -= n
        if n:
            engine.observe(slice_batch(batch, 0, n), np.zeros(n, np.bool_))
    state = {"entities": engine.counters["entities"], "state_mb": round(engine.nbytes / 1e6)}
    gc.collect()
    gc.freeze()
    steal = steal_seconds()
    times = ordinary(engine, ticks, tail)
    about = {
        "families": name,
        "features": len(catalogue.names),
        **state,
        "empty_call_us": empty_call_us(engine, tail[0]),
        "load_average_1_min": round(os.getloadavg()[0], 1),
        "stolen_s": round(steal_seconds() - steal, 2),
    }
    yield "ordinary", about | {"times": times.table()}
    worst, most = crowded(engine, arguments.crowds, arguments.seed)
    about |= {"load_average_1_min": round(os.getloadavg()[0], 1), "others_of_a_crowd": most}
    yield "crowded", about | {"times": worst.table()}
    gc.unfreeze()


def missed(case: str, found: dict[str, Any], clock: str) -> list[str]:
    row = found["times"]["a claim" if case == "ordinary" else "a crowd"]
    columns = {quantile: quantile if clock == "wall" else f"{clock} {quantile}" for quantile in FLOORS_US[case]}
    return [
        f"{found['families']}, {case}: {columns[quantile]} {row[columns[quantile]]} µs, the floor is {floor:g} µs"
        for quantile, floor in FLOORS_US[case].items()
        if row[columns[quantile]] >= floor
    ]


def show(case: str, found: dict[str, Any]) -> None:
    facts = ", ".join(f"{name} {value}" for name, value in found.items() if name != "times")
    print(f"\n{case}: {facts}")
    columns = [f"{clock}{q}" for clock in ("", "processor ") for q in (*(f"p{q:g}" for q in QUANTILES), "most")]
    print("| µs a call | calls |" + "".join(f" {column} |" for column in columns))
    print("|---" * (len(columns) + 2) + "|")
    for what, row in found["times"].items():
        print(f"| {what} | {row['calls']:,} |" + "".join(f" {row[column]:,} |" for column in columns), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=200_000, help="claims of the simulated insurer")
    parser.add_argument("--events", type=int, default=20_000, help="the last of them, which are timed")
    parser.add_argument("--crowds", type=int, default=2_000, help="timed calls of the worst case")
    parser.add_argument("--families", choices=("default", "all", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="end with exit code 1 where a floor is missed")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="what floors are held against")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    misses: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        scenario = world(arguments.claims, arguments.seed, Path(folder))
        every = msgspec.structs.replace(scenario, features=dict.fromkeys(FAMILIES, True))
        for name, chosen in (("default", scenario), ("all", every)):
            if arguments.families in (name, "both"):
                for case, found in measured(name, chosen, Path(folder), arguments):
                    misses += missed(case, found, arguments.clock)
                    print(json.dumps({"case": case} | found)) if arguments.json else show(case, found)
    for miss in misses:
        print(f"missed: {miss}", file=sys.stderr)
    if misses and arguments.check:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What rules cost on one event and on history.

python -m benchmarks.rules
"""

from __future__ import annotations

import time

import numpy as np

from ringfence.models.rules import RulesModel
from ringfence.models.seen import Seen
from ringfence.scenario.condition_names import Kind, Known
from ringfence.scenario.spec import Rule

N_RULES, N_ROWS, WIDTH = 50, 1_000_000, 8
CONDITIONS = (
    "a < {n} and b > 1000",
    "c is null or d / a > {n}",
    "not (b between {n} and 500) and a <> 3",
    "k in ('vw', 'audi') and a + b > {n}",
)


def main() -> None:
    names = [*"abcdef", "k", "l"]
    known = {name: Known(at, Kind.CATEGORY if name in "kl" else Kind.NUMBER) for at, name in enumerate(names)}
    rules = [
        Rule(name=f"r{n}", when=CONDITIONS[n % len(CONDITIONS)].format(n=n + 1), points=n + 1) for n in range(N_RULES)
    ]
    model = RulesModel.of(rules, known, WIDTH)
    rows = np.random.default_rng(1).exponential(300.0, (N_ROWS, WIDTH))
    rows[np.random.default_rng(2).random(rows.shape) < 0.1] = np.nan
    for n in (1, 16):
        taken = []
        for low in range(0, 500 * n, n):
            seen = Seen(rows[low : low + n])
            began = time.perf_counter()
            model.raw(seen, seen.rows)
            taken.append((time.perf_counter() - began) / n * 1e6)
        usual, slow = np.quantile(taken, (0.5, 0.99))
        print(f"{N_RULES} rules, {n:2d} events at once: {usual:.1f} µs an event, 99 % below {slow:.1f}")
    began = time.perf_counter()
    for low in range(0, N_ROWS, 65_536):
        model.points(rows[low : low + 65_536])
    print(f"{N_RULES} rules over {N_ROWS:,} events: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()

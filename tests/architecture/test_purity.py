# SPDX-License-Identifier: Apache-2.0
"""Nothing below the command line reads the clock, the environment or a random source, or writes to the terminal."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "ringfence"

CLOCKS = {
    "time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today",
}  # fmt: skip
ENVIRONMENT = {"os.environ", "os.getenv", "os.environb"}
RANDOM = {"uuid.uuid1", "uuid.uuid4", "os.urandom", "secrets", "random"}
STREAMS = {"sys.stdout", "sys.stderr"}
SEEDED = {"Generator", "default_rng", "SeedSequence", "PCG64", "Philox", "BitGenerator"}

# file -> names it may use, and why. Durations are not clocks: time.perf_counter and time.monotonic are free.
ALLOWED: dict[str, dict[str, str]] = {
    "scenario/clock.py": {"time.time_ns": "SystemClock is the clock; it is built in cli and passed down"},
    "scenario/identity.py": {
        "secrets.token_bytes": "the identity key must be unpredictable, and is made once per workspace",
        "os.urandom": "the identity key must be unpredictable, and is made once per workspace",
    },
    "serving/front/process.py": {"sys.stderr": "the entry point of a process of its own, as the follower's is"},
    "serving/follower.py": {"sys.stderr": "the entry point of a process of its own, which no stream can be passed to"},
    "steps/opened.py": {
        "os.environ": "ringfence.open sets, as the command line does, what libraries read when they are loaded"
    },
    "models/network_file.py": {"os.environ": "onnxruntime reports to its makers unless told before it is loaded"},
    "serving/keys.py": {
        "secrets.token_urlsafe": "an API key must be unpredictable",
        "secrets.token_hex": "an API key must be unpredictable",
        "secrets.compare_digest": "compares in constant time; draws nothing",
    },
}


def dotted(node: ast.AST) -> str | None:
    """Spell out `a.b.c`; None for anything that is not a plain dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else None
    return None


def impurities(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of each use of a clock, the environment, an unseeded random source or the terminal."""
    tree = ast.parse(source)
    aliases = {"np": "numpy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func)):
            name = resolve(name, aliases)
            if name == "numpy.random.default_rng" and not (node.args or node.keywords):
                yield node.lineno, "numpy.random.default_rng without a seed"
            elif name in {"print", "input"}:
                yield node.lineno, name
        if isinstance(node, ast.Attribute | ast.Name) and (name := dotted(node)):
            name = resolve(name, aliases)
            head = name.split(".")[0]
            drawn = "." in name and (head in RANDOM or name in RANDOM)
            unseeded = name.startswith("numpy.random.") and name.split(".")[2] not in SEEDED
            if name in CLOCKS | ENVIRONMENT | STREAMS or drawn or unseeded:
                yield node.lineno, name


def resolve(name: str, aliases: dict[str, str]) -> str:
    head, _, tail = name.partition(".")
    head = aliases.get(head, head)
    return f"{head}.{tail}" if tail else head


def test_nothing_below_the_command_line_reads_clock_environment_or_chance() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE)
        if where.parts[0] == "cli":
            continue
        allowed = ALLOWED.get(where.as_posix(), {})
        found += [f"{where}:{line} {name}" for line, name in impurities(path.read_text("utf-8")) if name not in allowed]
    assert found == []


def test_every_exception_is_still_needed() -> None:
    gone = [file for file in ALLOWED if not (PACKAGE / file).is_file()]
    assert gone == []


def test_scan_sees_what_it_should() -> None:
    seen = {
        name
        for _, name in impurities(
            "import time, os, random\nimport numpy as np\nfrom datetime import datetime\nfrom time import time as now\n"
            "time.time()\nos.environ['A']\nrandom.random()\nnp.random.rand(3)\nnp.random.default_rng()\n"
            "datetime.now()\nnow()\nprint(1)\n"
        )
    }
    assert seen == {
        "time.time", "os.environ", "random.random", "numpy.random.rand", "numpy.random.default_rng without a seed",
        "datetime.datetime.now", "print",
    }  # fmt: skip


def test_scan_lets_generators_and_durations_pass() -> None:
    source = "import time\nimport numpy as np\nrng = np.random.default_rng(7)\nt = time.perf_counter()\nrng.normal()\n"
    assert list(impurities(source)) == []

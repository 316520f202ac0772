# SPDX-License-Identifier: Apache-2.0
"""`ringfence.yaml` -> frozen scenarios. Every mistake is named with its file, its path, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ringfence.scenario.calendar import is_time_zone
from ringfence.scenario.dialect import Dialect
from ringfence.scenario.document import read_document
from ringfence.scenario.duration import DAY_MS, SECOND_MS
from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.load_branches import read_branches
from ringfence.scenario.load_dialect import DIALECT_KEYS, read_dialect
from ringfence.scenario.load_events import read_event_types
from ringfence.scenario.load_monotone import read_monotone
from ringfence.scenario.load_rules import read_rules
from ringfence.scenario.load_segments import read_kmeans, read_segments
from ringfence.scenario.load_ticks import read_ticks
from ringfence.scenario.load_travel import read_travel
from ringfence.scenario.lookup_files import with_digests
from ringfence.scenario.node import Node
from ringfence.scenario.spec import Durability, EventType, Join, RingTicks, Scenario, Source

MOST_WINDOWS: Final = 8
DEFAULT_WINDOWS_MS: Final = (86_400_000, 604_800_000, 2_592_000_000, 7_776_000_000)
_SCENARIO_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_MEMORY: Final = re.compile(r"([0-9]{1,9}) ?(MiB|GiB)", re.ASCII)
DEFAULT_MEMORY_BYTES: Final = 4 << 30
LEAST_MEMORY_BYTES: Final = 64 << 20
MOST_MEMORY_BYTES: Final = 1 << 40
_KNOWN: Final = (
    "decide",
    "durability",
    "time_zone",
    "sources",
    "events",
    "windows",
    "max_lateness",
    "label_precedence",
    "label_maturity",
    "retain",
    "rings",
    "memory",
    "features",
    "segments",
    "ticks",
    "travel",
    "monotone",
    "branches",
    "rules",
)


def load_scenarios(path: Path) -> dict[str, Scenario]:
    """Read all scenarios of a workspace from its `ringfence.yaml`.

    Raises
    ------
    ScenarioFileError
        At the first thing that cannot be followed.
    """
    root = Node(str(path), "", read_document(path))
    root.keys(("scenarios",), later=("backends",))
    scenarios = root.required("scenarios", "list at least one scenario under it")
    return {
        node.name: with_digests(
            scenario_from_mapping(node.name, node.value, where=str(path), path=node.path), path.parent
        )
        for node in scenarios.mapping("one entry per scenario, such as `motor-claims:`")
    }


def scenario_from_mapping(name: str, data: Any, *, where: str, path: str | None = None) -> Scenario:
    """Build one scenario from its YAML form; `where` is the file to name in errors.

    Raises
    ------
    ScenarioFileError
        At the first thing that cannot be followed.
    """
    node = Node(where, path if path is not None else name, data)
    if _SCENARIO_NAME.fullmatch(name) is None:
        raise node.error(repr(name), "a scenario's name is made of small letters, digits, - and _, letter first")
    node.keys(_KNOWN)
    decide = node.required("decide", "name the event type that gets decisions, such as `decide: claim`")
    events = node.required("events", "describe at least the decided event type")
    decided = decide.text()
    names = [event.name for event in events.mapping("one entry per event type, such as `claim:`")]
    if decided not in names:
        raise decide.error(repr(decided), f"name one of the event types under `events`; {did_you_mean(decided, names)}")
    ticks = node.get("ticks")
    event_types, roles = read_event_types(events, decide=decided, is_ticked=ticks is not None)
    sources = _sources(node.get("sources"), event_types, _time_zone(node))
    return Scenario(
        name=name,
        decide=decided,
        event_types=event_types,
        roles=roles,
        sources=sources,
        windows_ms=_windows(node),
        time_zone=_time_zone(node),
        durability=_durability(node),
        max_lateness_ms=_duration(node.get("max_lateness"), 86_400_000),
        label_precedence=_precedence(node),
        label_maturity_ms=_maturity(node),
        retain_ms=_retain(node.get("retain")),
        rings=_rings(node.get("rings")),
        memory_bytes=_memory(node.get("memory")),
        features=_features(node),
        segments=read_segments(node.get("segments"), event_types[0]),
        ticks=read_ticks(ticks, event_types, roles, [source.event_type for source in sources]),
        kmeans=read_kmeans(node.get("segments")),
        travel=read_travel(node.get("travel"), event_types[0]),
        monotone=read_monotone(node.get("monotone")),
        branches=read_branches(node.get("branches"), _time_zone(node)),
        rules=read_rules(node.get("rules")),
    )


def _windows(node: Node) -> tuple[int, ...]:
    windows = node.get("windows")
    if windows is None:
        return DEFAULT_WINDOWS_MS
    found = [(item, item.duration()) for item in windows.sequence("such as `windows: [1d, 7d, 30d, 90d]`")]
    for item, span_ms in found:
        if span_ms < SECOND_MS:
            raise item.error(repr(item.value), "a window is longer than nothing: at least 1s")
    spans = [span_ms for _, span_ms in found]
    if not spans or len(spans) > MOST_WINDOWS:
        raise windows.error(f"{len(spans)} windows", f"name 1 to {MOST_WINDOWS}")
    if len(set(spans)) < len(spans):
        raise windows.error("the same window twice", "name each once")
    return tuple(sorted(spans))


def _time_zone(node: Node) -> str:
    zone = node.get("time_zone")
    if zone is None:
        return "UTC"
    if not is_time_zone(zone.text()):
        raise zone.error(repr(zone.value), "name a zone of the IANA database, such as Europe/Berlin or UTC")
    return zone.text()


def _durability(node: Node) -> Durability:
    durability = node.get("durability")
    return Durability.REQUIRED if durability is None else Durability(durability.choice([d.value for d in Durability]))


def _duration(node: Node | None, absent: int) -> int:
    return absent if node is None else node.duration()


def _precedence(node: Node) -> tuple[str, ...]:
    precedence = node.get("label_precedence")
    if precedence is None:
        return ()
    sources = tuple(item.text() for item in precedence.sequence("label sources, the strongest first"))
    if len(set(sources)) < len(sources):
        raise precedence.error("a source twice", "name each once, the strongest first")
    return sources


def _maturity(node: Node) -> dict[str, int]:
    maturity = node.get("label_maturity")
    if maturity is None:
        return {}
    return {item.name: item.duration() for item in maturity.mapping("a duration per label source")}


def _retain(node: Node | None) -> int | None:
    if node is None:
        return None
    retain_ms = node.duration()
    if retain_ms < DAY_MS:
        raise node.error(
            repr(node.value), "names and personal values are kept for at least 1d; leave it out to keep them"
        )
    return retain_ms


def _rings(node: Node | None) -> RingTicks:
    usual = RingTicks()
    if node is None:
        return usual
    node.keys(("every", "active", "tie", "lag", "hub_cap"))
    hub_cap = node.get("hub_cap")
    ticks = RingTicks(
        every_ms=_duration(node.get("every"), usual.every_ms),
        active_ms=_duration(node.get("active"), usual.active_ms),
        tie_ms=_duration(node.get("tie"), usual.tie_ms),
        lag_ms=_duration(node.get("lag"), usual.lag_ms),
        hub_cap=usual.hub_cap if hub_cap is None else hub_cap.whole(1, 1_000_000_000),
    )
    if ticks.every_ms < SECOND_MS:
        raise node.error("ticks without time between them", "write at least `every: 1s`")
    if ticks.tie_ms < 1:
        raise node.error("ties that do not last", "write at least `tie: 1s`")
    if ticks.lag_ms >= ticks.every_ms:
        raise node.error("a lag as long as the time between ticks", "make `lag` shorter than `every`")
    return ticks


def _memory(node: Node | None) -> int:
    if node is None:
        return DEFAULT_MEMORY_BYTES
    found = _MEMORY.fullmatch(node.text())
    if found is None:
        raise node.error(repr(node.value), "write a number and MiB or GiB, such as `memory: 4 GiB`")
    n_bytes = int(found[1]) << (30 if found[2] == "GiB" else 20)
    if not LEAST_MEMORY_BYTES <= n_bytes <= MOST_MEMORY_BYTES:
        raise node.error(repr(node.value), "a budget lies between 64 MiB and 1024 GiB")
    return n_bytes


def _features(node: Node) -> dict[str, bool]:
    features = node.get("features")
    if features is None:
        return {}
    return {item.name: item.flag() for item in features.mapping("true or false per feature family")}


def _sources(node: Node | None, event_types: tuple[EventType, ...], time_zone: str) -> tuple[Source, ...]:
    if node is None:
        return ()
    names = [event_type.name for event_type in event_types]
    sources = []
    for item in node.mapping("files per event type, such as `claim: claims.parquet`"):
        if item.name not in names:
            raise item.error("no such event type", did_you_mean(item.name, names))
        join, dialect = None, Dialect()
        files = item
        if isinstance(item.value, dict):
            item.keys(("files", "join", *DIALECT_KEYS))
            dialect = read_dialect(item, time_zone)
            files = item.required("files", "name a file, a pattern such as claims/*.parquet, or a list of them")
            join = _join(item.get("join"))
        sources.append(Source(event_type=item.name, files=_files(files), join=join, dialect=dialect))
    return tuple(sources)


def _files(node: Node) -> tuple[str, ...]:
    if isinstance(node.value, list):
        files = tuple(item.text() for item in node.sequence("file names"))
        if not files:
            raise node.error("an empty list", "name at least one file")
        return files
    return (node.text(),)


def _join(node: Node | None) -> Join | None:
    if node is None:
        return None
    node.keys(("file", "on", "role", "value"))
    needs = "a join needs file and on; role and value too where it is a long table of who takes part"
    file, on = (node.required(key, needs).text() for key in ("file", "on"))
    if node.get("role") is None and node.get("value") is None:
        return Join(file=file, on=on)
    role, value = (node.required(key, needs).text() for key in ("role", "value"))
    return Join(file=file, on=on, role=role, value=value)

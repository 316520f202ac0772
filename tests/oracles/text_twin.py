# SPDX-License-Identifier: Apache-2.0
"""Near duplicates by comparing with every text that is not forgotten, and simhash by its definition."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.windows import granule_ms, span_text, window_floor_ms
from tests.oracles.streams import DAY, HOUR, Happening, Record, Truth

NAN = float("nan")
MASK = 2**64 - 1


@dataclass
class Told:
    event: int
    time_ms: int
    text: int
    entities: set[tuple[str, int]]


class TextTwin:
    """Observe records one by one; `observe` returns the text features of a decided event by name, else nothing."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.scenario = catalogue.scenario
        longest = self.scenario.windows_ms[-1]
        self.retention_ms = longest + granule_ms(longest) + self.scenario.max_lateness_ms
        self.most = catalogue.plan.room.texts
        self.n_forgotten = 0
        self.told: list[Told] = []
        self.labels: dict[int, int] = {}
        self.newest_ms = -(10**18)
        self.n_records = 0

    def observe(self, record: Record) -> dict[str, float]:
        number = self.n_records
        self.n_records += 1
        row: dict[str, float] = {}
        if isinstance(record, Truth):
            self.labels[record.of] = record.value
            return row
        if self.scenario.event_types[record.kind].name != self.scenario.decide:
            return row
        entities = {(self.scenario.roles[role].entity_type, number) for role, number in record.links[:16]}
        for attribute in self.scenario.text_attributes:
            for stat, value in self._values(record, entities).items():
                row[f"attribute.{attribute.name}.{stat}"] = value
        self.newest_ms = max(self.newest_ms, record.time_ms)
        while self.told and self.told[0].time_ms <= self.newest_ms - self.retention_ms:
            self.told.pop(0)
        if record.text and self.most:
            if len(self.told) == self.most:
                self.told.pop(0)
                self.n_forgotten += 1
            self.told.append(Told(number, record.time_ms, record.text, entities))
        return row

    def _values(self, event: Happening, entities: set[tuple[str, int]]) -> dict[str, float]:
        longest = self.scenario.windows_ms[-1]
        name = span_text(longest)
        names = ("near_duplicates", "near_duplicates_linked", "near_duplicates_unlinked", "near_duplicate_frauds")
        out = {f"{stat}_{name}": NAN for stat in names}
        out |= {f"near_duplicate_hours_{name}": NAN, "near_duplicates_30d": NAN}
        if not event.text:
            return out
        similar = [told for told in self.told if _shares_band(told.text, event.text)][-64:]
        floor = window_floor_ms(event.time_ms, longest)
        near = [
            told
            for told in similar
            if (told.text ^ event.text).bit_count() <= 3 and floor < told.time_ms <= event.time_ms
        ]
        month = window_floor_ms(event.time_ms, 30 * DAY)
        linked = sum(bool(told.entities & entities) for told in near)
        out["near_duplicates_30d"] = float(sum(told.time_ms > month for told in near))
        for stat, value in zip(
            names,
            (len(near), linked, len(near) - linked, sum(self.labels.get(told.event) == 1 for told in near)),
            strict=True,
        ):
            out[f"{stat}_{name}"] = float(value)
        if near:
            out[f"near_duplicate_hours_{name}"] = (event.time_ms - max(told.time_ms for told in near)) / HOUR
        return out


def _shares_band(a: int, b: int) -> bool:
    return any((a >> shift) & 0xFFFF == (b >> shift) & 0xFFFF for shift in (0, 16, 32, 48))


def words_of(text: str) -> list[str]:
    """Runs of anything but ASCII that is neither letter nor digit, and three blocks of punctuation."""
    return re.findall("[^\\x00-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\xbf\\u2000-\\u207f\\u3000-\\u303f]+", text.casefold())


def word_hash(word: str) -> int:
    found = 0xCBF29CE484222325
    for byte in word.encode():
        found = (found ^ byte) * 0x100000001B3 & MASK
    return mixed(found)


def mixed(found: int) -> int:
    found = (found ^ found >> 30) * 0xBF58476D1CE4E5B9 & MASK
    found = (found ^ found >> 27) * 0x94D049BB133111EB & MASK
    return found ^ found >> 31


def simhash_by_definition(text: str | None) -> int:
    words = words_of(text) if text is not None else []
    if len(words) < 8:
        return 0
    singles = [word_hash(word) for word in words]
    hashes = singles + [mixed((a * 0x100000001B3 + b) & MASK) for a, b in itertools.pairwise(singles)]
    found = sum((sum(h >> bit & 1 for h in hashes) * 2 > len(hashes)) << bit for bit in range(64))
    return found or 1

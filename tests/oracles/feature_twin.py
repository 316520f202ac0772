# SPDX-License-Identifier: Apache-2.0
"""The engine's slow readable twin: every feature computed by its name from plain lists of what happened before.

No rings, no prefix sums, no hashing, no incremental state; only the remembered lists are cut by the stated retention.
"""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from dataclasses import dataclass, field

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.windows import granule_ms, span_text, window_floor_ms
from ringfence.scenario.spec import Role
from tests.oracles.link_twin import LinkTwin
from tests.oracles.memory_twin import MemoryTwin, keys_of
from tests.oracles.segment_twin import SegmentTwin
from tests.oracles.streams import DAY, HOUR, Happening, Record, Truth

NAN = float("nan")


@dataclass
class Past:
    """What is known about one entity in one stream, in seq order unless said otherwise."""

    times: list[int] = field(default_factory=list)
    amounts: list[int] = field(default_factory=list)  # only events that have one
    log: list[tuple[int, int | None, int]] = field(default_factory=list)  # remembered (time, amount, new partners)
    labels: list[tuple[int, int, int, int]] = field(default_factory=list)  # (known_at, event, event time, value)
    standing: dict[int, int] = field(default_factory=dict)
    fraud_known: list[int] = field(default_factory=list)
    fraud_times: list[int] = field(default_factory=list)
    partners: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by role, pairs that were new
    born: int = 0  # number of its first record


class FeatureTwin:
    """Observe records one by one; `observe` returns the feature row of a decided event as a dict, else None."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.scenario = catalogue.scenario
        longest = self.scenario.windows_ms[-1]
        self.retention_ms = longest + granule_ms(longest) + self.scenario.max_lateness_ms
        self.pasts: dict[tuple[object, ...], Past] = {}
        self.pair_pasts: dict[tuple[str, str, int, int], Past] = {}
        self.pair_memory = MemoryTwin(catalogue.plan.room.pairs)
        self.standing: dict[int, int] = {}
        self.records: list[Record] = []
        self.forgotten: list[tuple[object, ...]] = []  # by the last record
        room = catalogue.plan.room
        self.links = LinkTwin(self.scenario, most_stored=room.stored, room=room.slots)
        self.segments = SegmentTwin(self.scenario)
        self.prior = math.nan  # of the event whose row is read

    # -- streams ------------------------------------------------------------------------------------------------

    def _decided_roles(self) -> list[Role]:
        return [self.scenario.role(column.role) for column in self.scenario.decided.roles]

    def _pair_keys(self, event: Happening) -> list[tuple[str, str, int, int]]:
        roles = self._decided_roles()
        keys = []
        for i, a in enumerate(roles):
            for b in roles[i + 1 :]:
                for number_a in [number for role, number in event.links if role == a.index]:
                    for number_b in [number for role, number in event.links if role == b.index]:
                        keys.append((a.name, b.name, number_a, number_b))
        return keys

    # -- observing ----------------------------------------------------------------------------------------------

    def observe(self, record: Record) -> dict[str, float] | None:
        number = len(self.records)
        self.records.append(record)
        self.forgotten = []
        if isinstance(record, Truth):
            self._learn(record)
            self.links.learn(record)
            event = self.records[record.of]
            assert isinstance(event, Happening)
            self.segments.learn(record, event)
            return None
        is_decided = self.scenario.event_types[record.kind].name == self.scenario.decide
        row = self.row(record) if is_decided else None
        n_new = self._new_partners(record) if is_decided else {}
        self.forgotten = self.links.touch(record)
        for key in self.forgotten:
            del self.pasts[key]
        for key in keys_of(self.scenario, record):
            if key not in self.pasts:
                self.pasts[key] = Past(born=number)
            self._remember(self.pasts[key], record, n_new.get(key, 0))
        if is_decided:
            self.links.store(number, record)
            pairs = self._pair_keys(record)
            for pair in self.pair_memory.touch(list(dict.fromkeys(pairs)), record.time_ms, self.links.now_ms):
                del self.pair_pasts[pair]
            for pair in pairs:
                if pair not in self.pair_pasts:
                    self.pair_pasts[pair] = Past(born=number)
                    a, b, number_a, number_b = pair
                    self.pasts[self.scenario.decide, a, number_a].partners[b] += 1
                    self.pasts[self.scenario.decide, b, number_b].partners[a] += 1
                self._remember(self.pair_pasts[pair], record, 0)
        assert number == len(self.records) - 1
        return row

    def _new_partners(self, event: Happening) -> dict[tuple[object, ...], int]:
        """Count, per entity of a decided event, the pairs it forms there that were never seen before."""
        counts: dict[tuple[object, ...], int] = defaultdict(int)
        for pair in self._pair_keys(event):
            if pair not in self.pair_pasts:
                a, b, number_a, number_b = pair
                counts[self.scenario.decide, a, number_a] += 1
                counts[self.scenario.decide, b, number_b] += 1
        return counts

    def _remember(self, past: Past, event: Happening, n_new: int) -> None:
        past.times.append(event.time_ms)
        if event.amount is not None:
            past.amounts.append(event.amount)
        past.log.append((event.time_ms, event.amount, n_new))
        past.log.sort(key=lambda entry: entry[0])
        past.log = [entry for entry in past.log if entry[0] > max(past.times) - self.retention_ms]

    def _learn(self, truth: Truth) -> None:
        event = self.records[truth.of]
        assert isinstance(event, Happening)
        if self.scenario.event_types[event.kind].name == self.scenario.decide:
            self.standing[truth.of] = truth.value
        pasts = [self.pasts[key] for key in keys_of(self.scenario, event) if key in self.pasts]
        for past in [past for past in pasts if past.born <= truth.of]:
            replaced = past.standing.get(truth.of)
            if replaced is not None:
                past.labels = [label for label in past.labels if label[1] != truth.of]
                if replaced == 1:
                    past.fraud_known = [label[0] for label in past.labels if label[3] == 1]
                    past.fraud_times = [label[2] for label in past.labels if label[3] == 1]
            past.standing[truth.of] = truth.value
            if truth.value == 1:
                past.fraud_known.append(truth.known_at_ms)
                past.fraud_times.append(event.time_ms)
            newest = max([label[0] for label in past.labels] + [truth.known_at_ms])
            past.labels.append((truth.known_at_ms, truth.of, event.time_ms, truth.value))
            past.labels.sort(key=lambda label: label[0])
            past.labels = [label for label in past.labels if label[0] > newest - self.retention_ms]
        for pair in self._pair_keys(event):
            if pair in self.pair_pasts and self.pair_pasts[pair].born <= truth.of:
                self.pair_pasts[pair].standing[truth.of] = truth.value

    # -- reading ------------------------------------------------------------------------------------------------

    def row(self, event: Happening) -> dict[str, float]:
        overall = (sum(self.standing.values()) + 0.5) / (len(self.standing) + 1.0)
        self.prior = self.segments.rate(event, overall)
        row = self._event_values(event) | self.links.together(event, self.prior) | self.segments.values(event, overall)
        for role in self._decided_roles():
            numbers = [number for r, number in event.links if r == role.index]
            row[f"{role.name}.n"] = float(len(numbers))
            sources = {role.name: (self.scenario.decide, role.name), f"{role.name}.any_role": ("any", role.entity_type)}
            for event_type in self.scenario.event_types:
                if event_type.name != self.scenario.decide:
                    for column in event_type.roles:
                        if column.role == role.name:
                            sources[f"{role.name}.{event_type.name}"] = (event_type.name, role.name)
            for prefix, source in sources.items():
                read = [self._entity_values(self.pasts.get((*source, number), Past()), event) for number in numbers]
                self._put(row, prefix, read, role.many)
            met = [self.links.values(event, role, number, self.prior) for number in numbers]
            self._put(row, role.name, [values for values in met if values], role.many)
        roles = self._decided_roles()
        for i, a in enumerate(roles):
            for b in roles[i + 1 :]:
                pasts = [
                    self.pair_pasts.get(pair, Past()) for pair in self._pair_keys(event) if pair[:2] == (a.name, b.name)
                ]
                read = [self._pair_values(past, event.time_ms) for past in pasts]
                cells = [pair for pair in self._pair_keys(event) if pair[:2] == (a.name, b.name)]
                for values, (_, _, number_a, number_b) in zip(read, cells, strict=True):
                    other_way = self.pair_pasts.get((a.name, b.name, number_b, number_a), Past()).times
                    values["reverse_n_events"] = float(len(other_way))
                    values["reverse_gap_hours"] = (event.time_ms - max(other_way)) / HOUR if other_way else NAN
                self._put(row, f"{a.name}~{b.name}", read, a.many or b.many)
        return {name: row.get(name, NAN) for name in self.catalogue.names}

    @staticmethod
    def _put(row: dict[str, float], prefix: str, read: list[dict[str, float]], many: bool) -> None:
        for stat in read[0] if read else ():
            present = [values[stat] for values in read if not math.isnan(values[stat])]
            if many:
                row[f"{prefix}.{stat}.max"] = max(present, default=NAN)
                row[f"{prefix}.{stat}.mean"] = sum(present) / len(present) if present else NAN
            else:
                row[f"{prefix}.{stat}"] = read[0][stat]

    def _event_values(self, event: Happening) -> dict[str, float]:
        local = datetime.datetime.fromtimestamp((event.time_ms + event.offset_ms) / 1000, datetime.UTC)
        row = {
            "event.amount": NAN if event.amount is None else event.amount / 100,
            "event.hour": float(local.hour),
            "event.weekday": float(local.weekday()),
            "event.weekend": float(local.weekday() >= 5),
            "event.night": float(local.hour < 6),
            "event.month_day": float(local.day),
        }
        for attribute, value in zip(self.scenario.value_attributes, event.values, strict=False):
            row[f"attribute.{attribute.name}"] = value
        return row

    def _rate(self, n_fraud: int, n_known: int) -> float:
        return (n_fraud + self.prior * 10.0) / (n_known + 10.0)

    def _entity_values(self, past: Past, event: Happening) -> dict[str, float]:
        t, amount = event.time_ms, event.amount
        times, amounts = past.times, past.amounts
        mean = 0.0
        for i, paid in enumerate(amounts, start=1):
            mean += (paid - mean) / i
        exact_mean = sum(amounts) / len(amounts) if amounts else NAN
        squares = sum((paid - exact_mean) ** 2 for paid in amounts)
        frauds = sum(past.standing.values())
        out = {
            "is_new": float(not times),
            "n_events": float(len(times)),
            "age_days": (t - min(times)) / DAY if times else NAN,
            "gap_hours": (t - max(times)) / HOUR if times else NAN,
            "mean_gap_hours": (max(times) - min(times)) / (len(times) - 1) / HOUR if len(times) > 1 else NAN,
            "mean_amount": exact_mean / 100,
            "amount_to_mean": _ratio(amount, exact_mean),
            "amount_z": NAN
            if amount is None or len(amounts) < 2 or squares == 0
            else (amount - exact_mean) / math.sqrt(squares / (len(amounts) - 1)),
            "amount_to_last": _ratio(amount, amounts[-1] if amounts else NAN),
            "fraud_count": float(frauds),
            "known_count": float(len(past.standing)),
            "fraud_rate": self._rate(frauds, len(past.standing)),
            "fraud_known_days": (t - max(past.fraud_known)) / DAY if past.fraud_known else NAN,
            "fraud_days": (t - max(past.fraud_times)) / DAY if past.fraud_times else NAN,
            **{f"partners_{other}": float(n) for other, n in past.partners.items()},
        }
        for role in self._decided_roles():
            out.setdefault(f"partners_{role.name}", 0.0)
        out.update(self._recent_values(past, event, mean))
        out.update(self._run_values(past, t))
        return out

    def _recent_values(self, past: Past, event: Happening, mean: float) -> dict[str, float]:
        t, amount = event.time_ms, event.amount
        seen = [entry for entry in past.log if entry[0] <= t]
        newest = seen[-32:]
        out: dict[str, float] = {}
        counts = []
        for span in self.scenario.windows_ms:
            floor, name = window_floor_ms(t, span), span_text(span)
            inside = [paid for time, paid, _ in seen if time > floor]
            out[f"new_partners_{name}"] = float(sum(n_new for time, _, n_new in seen if time > floor))
            paid = [a for a in inside if a is not None]
            near = [a for time, a, _ in newest if time > floor and a is not None]
            labels = [label[3] for label in past.labels if floor < label[0] <= t]
            counts.append(len(inside))
            out[f"count_{name}"] = float(len(inside))
            out[f"amount_sum_{name}"] = sum(paid) / 100
            out[f"amount_mean_{name}"] = sum(paid) / len(paid) / 100 if paid else NAN
            out[f"amount_max_{name}"] = max(near) / 100 if near else NAN
            out[f"amount_to_mean_{name}"] = _ratio(amount, sum(paid) / len(paid) if paid else NAN)
            out[f"large_count_{name}"] = float(sum(a > 3.0 * mean for a in near))
            out[f"fraud_count_{name}"] = float(sum(labels))
            out[f"known_count_{name}"] = float(len(labels))
            out[f"fraud_rate_{name}"] = self._rate(sum(labels), len(labels))
        floor = window_floor_ms(t, self.scenario.windows_ms[-1])
        near = [a for time, a, _ in newest if time > floor and a is not None]
        last = near[-5:]
        out["amount_to_recent_mean"] = _ratio(amount, sum(last) / len(last) if last else NAN)
        out["amount_to_recent_max"] = _ratio(amount, max(near) if near else NAN)
        out["burst"] = counts[0] / counts[-1] if counts[-1] else NAN
        return out

    @staticmethod
    def _run_values(past: Past, t: int) -> dict[str, float]:
        newest_first = past.labels[::-1][:32]
        legit = 0
        while legit < len(newest_first) and newest_first[legit][3] == 0:
            legit += 1
        run = []
        for label in newest_first[legit:]:
            if label[3] == 0:
                break
            run.append(label)
        last = [label[3] for label in past.labels[::-1][:10]]
        return {
            "legit_run": float(legit),
            "fraud_run": float(len(run)),
            "fraud_run_days": (t - run[-1][2]) / DAY if run else NAN,
            "recent_fraud_share": sum(last) / len(last) if last else NAN,
            "known_days": (t - past.labels[-1][2]) / DAY if past.labels else NAN,
        }

    @staticmethod
    def _pair_values(past: Past, t: int) -> dict[str, float]:
        times = past.times
        return {
            "is_new": float(not times),
            "n_events": float(len(times)),
            "gap_hours": (t - max(times)) / HOUR if times else NAN,
            "age_days": (t - min(times)) / DAY if times else NAN,
            "fraud_count": float(sum(past.standing.values())),
            "known_count": float(len(past.standing)),
        }


def _ratio(amount: int | None, base: float) -> float:
    if amount is None or math.isnan(base) or base <= 0:
        return NAN
    return amount / base

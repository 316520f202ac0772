# SPDX-License-Identifier: Apache-2.0
"""Turns a scenario's roles into streams, readers and pairings for the kernels.

A *stream* is a set of entities with state. Each (event type, role) has one. Where several roles of the decided type
share an entity type there is one more per such type, which sees an entity in whatever role, once per event.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine._kernels_table import mix64
from ringfence.engine.memory import Kept, Room
from ringfence.engine.plan import LINK_READER, PAIRING, READER, Plan, gathers_of
from ringfence.engine.sample_features import seat_places, seats_of
from ringfence.engine.windows import granule_ms
from ringfence.scenario.spec import EventType, Role, Scenario

_PAIR_SALT = 1 << 32


def salt_of(number: int) -> np.uint64:
    """Return the constant that keeps one stream's keys apart from another's."""
    return np.uint64(mix64(np.uint64(number + 1)))


class PlanBuilder:
    """Collects what the catalogue lays out; `plan` freezes it. A column below 0 is a feature that is not kept."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        n_types, n_roles = len(scenario.event_types), len(scenario.roles)
        self._stream_of = np.full((n_types, n_roles), -1, np.int64)
        self._any_of = np.full((n_types, n_roles), -1, np.int64)
        self._n_streams = 0
        for event_type in scenario.event_types:
            for column in event_type.roles:
                self._stream_of[event_type.index, scenario.role(column.role).index] = self._n_streams
                self._n_streams += 1
        decided = scenario.decided
        decided_roles = [scenario.role(column.role) for column in decided.roles]
        for entity_type in dict.fromkeys(role.entity_type for role in decided_roles):
            sharing = [role for role in decided_roles if role.entity_type == entity_type]
            if len(sharing) > 1:
                for role in sharing:
                    self._any_of[decided.index, role.index] = self._n_streams
                self._n_streams += 1
        self._readers: list[list[int]] = []  # role, stream, updated, needs
        self._reader_gathers: list[list[tuple[int, int, int]]] = []
        self._pairings: list[tuple[Role, Role]] = []
        self._pairing_gathers: list[list[tuple[int, int, int]]] = []
        self._event_gathers: list[tuple[int, int, int]] = []
        self._numbers: list[tuple[int, int]] = []
        self._text_gathers: list[tuple[int, int, int]] = []
        self._partners: dict[tuple[int, int], int] = {}
        self._reads_partners = False
        self._link_gathers: dict[int, list[tuple[int, int, int]]] = {}
        self._together_gathers: list[tuple[int, int, int]] = []
        self._reads_rings = False
        self._segment_gathers: list[tuple[int, int, int]] = []

    def pairs(self, roles: list[Role], most: int) -> list[tuple[Role, Role]]:
        """Return the unordered pairs of roles in declared order, at most `most`."""
        return [(a, b) for i, a in enumerate(roles) for b in roles[i + 1 :]][:most]

    def partners_of(self, role: Role, roles: list[Role], most: int) -> list[tuple[Role, int]]:
        """Return the roles whose distinct entities `role` counts, each with its column of `State.partners`."""
        counted: list[tuple[Role, int]] = []
        for a, b in self.pairs(roles, most):
            if role in (a, b) and len(counted) < at.MAX_PARTNERS:
                other = b if role is a else a
                self._partners[role.index, other.index] = len(counted)
                counted.append((other, len(counted)))
        return counted

    def contexts_of(self, role: Role) -> list[tuple[EventType, Role]]:
        """Return the context streams that speak about entities of `role`: same role, else same entity type."""
        found: list[tuple[EventType, Role]] = []
        decided = {column.role for column in self.scenario.decided.roles}
        for event_type in self.scenario.event_types:
            if event_type.name == self.scenario.decide:
                continue
            for column in event_type.roles:
                other = self.scenario.role(column.role)
                if other.name == role.name or (other.name not in decided and other.entity_type == role.entity_type):
                    found.append((event_type, other))
        return found

    def _reader(self, role: Role, stream: int, updated: int) -> int:
        self._readers.append([role.index, stream, updated, 0])
        self._reader_gathers.append([])
        return len(self._readers) - 1

    def role_reader(self, role: Role) -> int:
        return self._reader(role, int(self._stream_of[self.scenario.decided.index, role.index]), 0)

    def any_reader(self, role: Role) -> int:
        return self._reader(role, int(self._any_of[self.scenario.decided.index, role.index]), 1)

    def context_reader(self, role: Role, event_type: EventType, context_role: Role) -> int:
        return self._reader(role, int(self._stream_of[event_type.index, context_role.index]), -1)

    def gather(self, reader: int, source: int, column: int, how: int, needs: int) -> None:
        if column < 0:
            return
        self._readers[reader][3] |= needs
        self._reader_gathers[reader].append((source, column, how))
        n_windows = len(self.scenario.windows_ms)
        new_partners = range(at.WINDOWED + at.W_NEW * n_windows, at.WINDOWED + (at.W_NEW + 1) * n_windows)
        if at.PARTNERS <= source < at.PARTNERS + at.MAX_PARTNERS or source in new_partners:
            self._reads_partners = True

    def link_gather(self, role: Role, source: int, column: int, how: int) -> None:
        if column >= 0:
            self._reads_rings |= source >= self.first_ring_stat
            self._link_gathers.setdefault(role.index, []).append((source, column, how))

    @property
    def first_ring_stat(self) -> int:
        """Where the ring statistics begin in a row of link statistics."""
        return at.L_WINDOWED + len(self.scenario.windows_ms)

    def together_gather(self, source: int, column: int) -> None:
        if column >= 0:
            self._reads_rings |= source >= self.first_ring_stat
            self._together_gathers.append((source, column, at.SINGLE))

    def pairing(self, a: Role, b: Role) -> int:
        self._pairings.append((a, b))
        self._pairing_gathers.append([])
        return len(self._pairings) - 1

    def pair_gather(self, pairing: int, source: int, column: int, how: int) -> None:
        if column >= 0:
            self._pairing_gathers[pairing].append((source, column, how))

    def event_gather(self, source: int, column: int) -> None:
        if column >= 0:
            self._event_gathers.append((source, column, at.SINGLE))

    def text_gather(self, attribute: int, source: int, column: int) -> None:
        if column >= 0:
            self._text_gathers.append((attribute * at.N_TEXT_STATS + source, column, at.SINGLE))

    def segment_gather(self, source: int, column: int) -> None:
        if column >= 0:
            self._segment_gathers.append((source, column, at.SINGLE))

    def number(self, role: Role, column: int) -> None:
        if column >= 0:
            self._numbers.append((role.index, column))

    def plan(self, *, n_features: int, room: Room, neighbourhoods: int | None = None) -> Plan:
        """Freeze what was collected. `neighbourhoods`: events sampled per seat; the event store is then kept."""
        scenario = self.scenario
        gathers: list[tuple[int, int, int]] = []
        readers = []
        for reader, rows in zip(self._readers, self._reader_gathers, strict=True):
            if rows:
                readers.append((*reader, len(gathers), len(gathers) + len(rows)))
                gathers += rows
        has_pairs = self._reads_partners or any(self._pairing_gathers)
        pairings = []
        for (a, b), rows in zip(self._pairings, self._pairing_gathers, strict=True):
            partner_a = self._partners.get((a.index, b.index), -1)
            partner_b = self._partners.get((b.index, a.index), -1)
            reverse = any(source in (at.P_REVERSE_COUNT, at.P_REVERSE_GAP) for source, _, _ in rows)
            pairings.append((a.index, b.index, partner_a, partner_b, len(gathers), len(gathers) + len(rows), reverse))
            gathers += rows
        link_readers = []
        for role_index, rows in self._link_gathers.items():
            link_readers.append((role_index, len(gathers), len(gathers) + len(rows)))
            gathers += rows
        has_links = bool(link_readers or self._together_gathers or neighbourhoods)
        kept = Kept(
            partner_columns=self.n_partners if has_pairs else 0,
            pairs=has_pairs,
            links=has_links,
            charts=any(reader[3] & at.NEED_CHARTS for reader in readers),
            rings=self._reads_rings and scenario.rings.every_ms > 0,
            texts=bool(self._text_gathers),
            places=any(reader[3] & at.NEED_PLACES for reader in readers),
            last=at.LAST if (neighbourhoods or 0) <= at.LAST else at.MOST_LAST,
        )
        timelines, is_told = self._timelines() if has_links else ([], np.zeros(self._stream_of.shape, np.bool_))
        amount = scenario.decided.amount
        windows_ms = np.array(scenario.windows_ms, np.int64)
        longest_ms = int(windows_ms[-1]) + granule_ms(int(windows_ms[-1])) if len(windows_ms) else 0
        return Plan(
            decided=scenario.decided.index,
            n_features=n_features,
            windows_ms=windows_ms,
            granules_ms=np.array([granule_ms(int(span)) for span in windows_ms], np.int64),
            retention_ms=longest_ms + scenario.max_lateness_ms,
            max_lateness_ms=scenario.max_lateness_ms,
            minor_per_major=float(10**amount.digits) if amount is not None else 1.0,
            stream_of=self._stream_of,
            any_of=self._any_of,
            salts=np.array([salt_of(stream) for stream in range(self._n_streams)], np.uint64),
            pair_salts=np.array([salt_of(_PAIR_SALT + p) for p in range(len(pairings))], np.uint64),
            readers=np.array(readers, READER) if readers else np.zeros(0, READER),
            pairings=np.array(pairings, PAIRING) if pairings and has_pairs else np.zeros(0, PAIRING),
            gathers=gathers_of(gathers),
            event_gathers=gathers_of(self._event_gathers),
            n_numbers=np.array(self._numbers, np.int64).reshape(-1, 2),
            has_pairs=has_pairs,
            link_readers=np.array(link_readers, LINK_READER) if link_readers else np.zeros(0, LINK_READER),
            together_gathers=gathers_of(self._together_gathers),
            hub_caps=np.array([role.hub_cap for role in scenario.roles], np.int64),
            room=room,
            kept=kept,
            has_links=has_links,
            tick_ms=scenario.rings.every_ms if self._reads_rings else 0,
            tick_lag_ms=scenario.rings.lag_ms,
            has_charts=kept.charts,
            quiet_ms=int(windows_ms[-1]) if len(windows_ms) else 0,
            n_texts=len(scenario.text_attributes) if self._text_gathers else 0,
            month_window=scenario.windows_ms.index(at.MONTH_MS) if at.MONTH_MS in scenario.windows_ms else -1,
            text_gathers=gathers_of(self._text_gathers),
            seats=seat_places(scenario) if neighbourhoods else np.zeros((0, 2), np.int64),
            n_sampled=neighbourhoods or 0,
            timelines=np.array(timelines, np.int64).reshape(-1, 2),
            is_told=is_told,
            segment_columns=np.array(scenario.segment_columns, np.int64),
            segment_gathers=gathers_of(self._segment_gathers),
            has_places=kept.places,
            place_columns=np.array(scenario.place_columns, np.int64),
            travels=np.array([scenario.travels(role) for role in scenario.roles], np.bool_),
        )

    def _timelines(self) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
        """Return (seat, stream) of the context that is sampled with a seat, and the (event type, role) that tell it."""
        found, is_told = [], np.zeros(self._stream_of.shape, np.bool_)
        for number, seat in enumerate(seats_of(self.scenario)):
            role = self.scenario.roles[seat.role_index]
            for event_type, context_role in self.contexts_of(role) if role.sequence else ():
                found.append((number, int(self._stream_of[event_type.index, context_role.index])))
                is_told[event_type.index, context_role.index] = True
        return found, is_told

    @property
    def n_partners(self) -> int:
        return 1 + max(self._partners.values(), default=-1)

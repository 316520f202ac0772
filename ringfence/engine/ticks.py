# SPDX-License-Identifier: Apache-2.0
"""Ticks: rings computed from the engine's own links, frozen when the watermark passes T, in effect a lag later.

    watermark  ----T------------T + lag-----------2T----->
                   |                |
                   frozen: survey   features read it from here on

When a tick is due follows from the records alone, and what it computes from the state alone: replay and service read
the same values at the same seq. The lag is what lets a service compute beside its work. The service puts a digest of
each tick on record when it takes effect; a replay compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine._kernels_ticks import copy_births, count_links, first_young, lay_out, lay_out_links
from ringfence.engine.errors import TickMismatchError
from ringfence.engine.reserved import reserved
from ringfence.engine.state import State
from ringfence.rings import ENTITY, RING, Links, RingSettings, Tick, freeze_for, survey
from ringfence.scenario.spec import Scenario


class Frozen(NamedTuple):
    """What the engine's thread copies when a tick begins, for whichever thread computes it."""

    events: NDArray[np.void]  # STORED, from the first young one on; few others are among them
    first: int  # number of the first of `events` among all that were ever stored
    after_ms: int  # young is later
    born: NDArray[np.int64] | None  # NODE.born and NODE.lives by slot; None while no entity was ever forgotten
    lives: NDArray[np.int32] | None


class PreparedTick(NamedTuple):
    """A tick, and what features will read of it."""

    tick: Tick
    node_rings: NDArray[np.void]  # NODE_RING by slot


class TickEffect(msgspec.Struct, frozen=True, kw_only=True):
    """A tick as it took effect."""

    as_of_ms: int  # T
    effect_seq: int  # the first record that read it
    digest: bytes  # Tick.digest


class RecordedTick(Protocol):
    """What a ledger says of a tick."""

    @property
    def as_of_ms(self) -> int: ...
    @property
    def effect_seq(self) -> int: ...
    @property
    def digest(self) -> bytes: ...


def wrong_ticks(recorded: Iterable[RecordedTick], found: Iterable[TickEffect]) -> list[TickMismatchError]:
    """Hold ticks on record against those that a replay came by; what differs, in the order of the records.

    Parameters
    ----------
    recorded : those that took effect in the part of the ledger that was replayed, under the same spec.
    found : `Engine.take_effects()` after the replay. Those without a record (imported history) are nobody's fault.
    """
    by_time = {effect.as_of_ms: effect for effect in found}
    wrong = []
    for tick in recorded:
        again = by_time.get(tick.as_of_ms)
        if again is None:
            differs = "does not come about in a replay"
        elif again.effect_seq != tick.effect_seq:
            differs = f"takes effect at seq {again.effect_seq} in a replay"
        elif again.digest != tick.digest:
            differs = f"had digest {tick.digest.hex()} and has {again.digest.hex()} in a replay"
        else:
            continue
        wrong.append(TickMismatchError(as_of_ms=tick.as_of_ms, effect_seq=tick.effect_seq, found=differs))
    return wrong


def first_young_event(state: State, number: int, after_ms: int) -> int:
    """Return the number of the first stored event from `number` on that is later than `after_ms`.

    What was too old for one tick is so for the next: whoever goes on from the last answer looks at each event once.
    """
    return int(first_young(state.stored, state.meta[at.N_STORED], number, after_ms))


def frozen_events(state: State, first: int, after_ms: int) -> Frozen:
    """Copy the stored events from number `first` on, and what tells forgotten entities from those now in their slots.

    Labels change rows in place and a full store writes over its oldest, so the copy cannot be left to another thread.
    """
    n_stored, capacity = int(state.meta[at.N_STORED]), state.stored.shape[0]
    begin = first & (capacity - 1)
    n_events = n_stored - first
    n_straight = min(n_events, capacity - begin)
    events: NDArray[np.void] = np.empty(n_events, at.STORED)
    # As bytes: field by field it takes four times as long, and the engine's thread waits for it.
    _bytes_of(events[:n_straight])[:] = _bytes_of(state.stored[begin : begin + n_straight])
    _bytes_of(events[n_straight:])[:] = _bytes_of(state.stored[: n_events - n_straight])
    if int(state.meta[at.KEYS_FORGOTTEN]) == 0:
        return Frozen(events=events, first=first, after_ms=after_ms, born=None, lives=None)
    n_keys = int(state.meta[at.N_KEYS])
    born, lives = np.empty(n_keys, np.int64), np.empty(n_keys, np.int32)
    copy_births(state.nodes, born, lives)
    return Frozen(events=events, first=first, after_ms=after_ms, born=born, lives=lives)


def _bytes_of(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    return rows.view(np.uint8)


def links_of(frozen: Frozen) -> Links:
    """Return young events with their links, at most nine an event, entities keyed by slot and life.

    Entities that are forgotten take no part: nothing can be read of them.
    """
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int32)
    births = nothing if frozen.born is None or frozen.lives is None else (frozen.born, frozen.lives)
    what = frozen.events, frozen.first, frozen.after_ms, *births
    n_events, n_links = count_links(*what)
    links = Links(
        event_key=np.empty(n_events, np.int64),
        event_time_ms=np.empty(n_events, np.int64),
        event_label=np.empty(n_events, np.int8),
        event_decided=np.ones(n_events, np.bool_),
        amount_minor=np.empty(n_events, np.int64),
        link_event=np.empty(n_links, np.int64),
        link_key=np.empty(n_links, np.uint64),
        link_check=np.zeros(n_links, np.uint64),
        link_role=np.empty(n_links, np.uint8),
    )
    lay_out_links(
        *what,
        links.event_key,
        links.event_time_ms,
        links.event_label,
        links.amount_minor,
        links.link_event,
        links.link_key,
        links.link_role,
    )
    return links


def settings_of(scenario: Scenario) -> RingSettings:
    ticks = scenario.rings
    return RingSettings(tick_ms=ticks.every_ms, active_ms=ticks.active_ms, tie_ms=ticks.tie_ms, hub_cap=ticks.hub_cap)


def last_tick(state: State) -> Tick | None:
    if int(state.meta[at.TICK_MS]) == at.NEVER:
        return None
    return Tick(as_of_ms=int(state.meta[at.TICK_MS]), entities=state.tick_entities, rings=state.tick_rings)


def compute_tick(scenario: Scenario, frozen: Frozen, previous: Tick | None, as_of_ms: int) -> Tick:
    """Survey the rings of frozen events: a pure function, for whichever thread has time. The digest is taken along."""
    settings = settings_of(scenario)
    # Each of these takes hundreds of megabytes at millions of events, and nobody needs two of them at a time.
    links = links_of(frozen)
    del frozen
    graph = freeze_for(scenario, links, settings, as_of_ms, consume=True)
    del links
    tick = survey(graph, settings, previous).tick
    _ = tick.digest
    return tick


def without_tick(state: State) -> State:
    """Let go of the last tick: whoever computes the next one holds it, and gives its memory back when that is done."""
    return state._replace(tick_entities=np.zeros(0, ENTITY), tick_rings=np.zeros(0, RING))


def with_tick(state: State, tick: Tick) -> State:
    """Keep a tick as the one that the next refers to; features go on reading the one before."""
    return state._replace(tick_entities=tick.entities, tick_rings=tick.rings)


def prepared(tick: Tick, n_slots: int, spare: NDArray[np.void] | None = None, n_before: int = 0) -> PreparedTick:
    """Lay a tick out by slot, for whichever thread has time. Entities that no active event names read as outside rings.

    Parameters
    ----------
    spare : an array of `n_slots` rows that nobody reads any more, of which the first `n_before` may hold another tick.
        Without one memory is taken anew; giving it back costs the engine's thread milliseconds.
    """
    if spare is None:
        spare, n_before = reserved(n_slots, at.NODE_RING), 0
    lay_out(tick.entities, tick.rings, spare, n_before)
    return PreparedTick(tick=tick, node_rings=spare)

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
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.errors import TickMismatchError
from ringfence.engine.state import State
from ringfence.rings import Links, RingSettings, Tick, freeze_for, readings, survey
from ringfence.scenario.spec import Scenario

_SLOT_BITS: Final = 32 - at.ROLE_BITS


class Frozen(NamedTuple):
    """What the engine's thread copies when a tick begins, for whichever thread computes it."""

    events: NDArray[np.void]  # STORED: 64 bytes each
    number: NDArray[np.int64]  # of each among all that were ever stored
    born: NDArray[np.int64] | None  # NODE.born and NODE.lives by slot; None while no entity was ever forgotten
    lives: NDArray[np.int32] | None


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


def frozen_events(state: State, after_ms: int) -> Frozen:
    """Copy the stored events later than `after_ms`, and what tells forgotten entities from those now in their slots."""
    n_stored, capacity = int(state.meta[at.N_STORED]), state.stored.shape[0]
    oldest = max(0, n_stored - capacity)
    rows = (np.arange(oldest, n_stored) & (capacity - 1)) if oldest else slice(0, n_stored)
    events = state.stored[rows]
    young = events["time_ms"] > after_ms
    n_keys = int(state.meta[at.N_KEYS])
    anyone_left = int(state.meta[at.KEYS_FORGOTTEN]) > 0
    return Frozen(
        events=events[young],
        number=oldest + np.flatnonzero(young),
        born=state.nodes["born"][:n_keys].copy() if anyone_left else None,
        lives=state.nodes["lives"][:n_keys].copy() if anyone_left else None,
    )


def links_of(frozen: Frozen) -> Links:
    """Return stored events with their links, at most nine an event, entities keyed by slot and life.

    Entities that are forgotten take no part: nothing can be read of them.
    """
    events = frozen.events
    held = np.arange(at.STORED_LINKS) < events["n_links"][:, None]
    words = events["links"][held]
    n_events = events.shape[0]
    of_event = np.repeat(np.arange(n_events), events["n_links"])
    key = (words >> np.uint32(at.ROLE_BITS)).astype(np.uint64)
    role = (words & np.uint32((1 << at.ROLE_BITS) - 1)).astype(np.uint8)
    if frozen.born is not None and frozen.lives is not None:
        slot = key.astype(np.int64)
        alive = frozen.number[of_event] >= frozen.born[slot]
        key |= frozen.lives[slot].astype(np.uint64) << np.uint64(_SLOT_BITS)
        of_event, key, role = of_event[alive], key[alive], role[alive]
    return Links(
        event_key=events["seq"].copy(),
        event_time_ms=events["time_ms"].copy(),
        event_label=events["label"].copy(),
        event_decided=np.ones(n_events, np.bool_),
        amount_minor=events["amount"].copy(),
        link_event=of_event,
        link_key=key,
        link_check=np.zeros(key.shape[0], np.uint64),
        link_role=role,
    )


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
    tick = survey(freeze_for(scenario, links_of(frozen), settings, as_of_ms), settings, previous).tick
    _ = tick.digest
    return tick


def with_tick(state: State, tick: Tick) -> State:
    return state._replace(tick_entities=tick.entities, tick_rings=tick.rings)


def put_in_effect(state: State) -> None:
    """Let the last tick be what features read. Entities that no active event names read as outside rings."""
    tick = last_tick(state)
    if tick is None:
        return
    rows = readings(tick)
    spread: NDArray[np.void] = np.zeros(len(rows), at.NODE_RING)
    for name in ("risk", "ring_risk", "founded_ms", "n_entities", "n_events", "grown_entities", "grown_events"):
        spread[name] = rows[name]
    spread["n_known"], spread["n_fraud"], spread["ring"] = rows["n_known"], rows["n_fraud"], tick.entities["ring"] + 1
    slot = (rows["key"] & np.uint64((1 << _SLOT_BITS) - 1)).astype(np.int64)
    life = (rows["key"] >> np.uint64(_SLOT_BITS)).astype(np.int32)
    same = state.nodes["lives"][slot] == life  # others were forgotten since the tick began
    # As bytes: field by field it takes five times as long, and the engine's thread waits for it.
    words = state.node_rings.view(np.int64).reshape(len(state.node_rings), -1)
    words[: int(state.meta[at.N_KEYS])] = 0
    words[slot[same]] = spread.view(np.int64).reshape(len(spread), words.shape[1])[same]

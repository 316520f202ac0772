# SPDX-License-Identifier: Apache-2.0
"""The ticks of one engine, each from its beginning to its effect, without the engine waiting where it need not.

engine's thread   begin: copy ─┐                        ┌─ put in effect: exchange two references
any thread                     └─ compute, then lay out ┘
"""

from __future__ import annotations

from collections.abc import Callable

from ringfence.engine import layout as at
from ringfence.engine.plan import Plan
from ringfence.engine.state import Rows, State
from ringfence.engine.ticks import (
    PreparedTick,
    TickEffect,
    compute_tick,
    first_young_event,
    frozen_events,
    last_tick,
    prepared,
    with_tick,
    without_tick,
)
from ringfence.scenario.spec import Scenario

Compute = Callable[[Callable[[], PreparedTick]], Callable[[], PreparedTick]]


def _at_once(work: Callable[[], PreparedTick]) -> Callable[[], PreparedTick]:
    found = work()
    return lambda: found


class TickTurns:
    """Owned by an engine, and of its thread.

    Parameters
    ----------
    compute : as in Engine.
    """

    def __init__(self, scenario: Scenario, plan: Plan, compute: Compute | None) -> None:
        self.compute = compute if compute is not None else _at_once
        self._scenario, self._plan = scenario, plan
        self._pending: Callable[[], PreparedTick] | None = None
        self._tick: PreparedTick | None = None  # the last one that was waited for
        self._spare: Rows | None = None  # what features read before the tick in effect; the next one goes there
        self._reuses = True  # arrays that no feature reads any more
        self._first_young = 0  # number of a stored event before which none is young enough for a tick
        self._effects: list[TickEffect] = []

    def resume(self, state: State) -> None:
        """Go on from a state. Snapshots hold the last tick, but not what features will read of it."""
        tick = last_tick(state)
        if tick is not None:
            self._first_young = first_young_event(state, 0, tick.as_of_ms - self._scenario.rings.active_ms)
            if int(state.meta[at.EFFECT_MS]) != at.NEVER:
                n_slots = len(state.node_rings)
                self._pending = self.compute(lambda: prepared(tick, n_slots))

    def begin(self, state: State, time_ms: int) -> State:
        """Begin the tick that a record at `time_ms` makes due."""
        state = self.settle(state)
        scenario, plan, meta = self._scenario, self._plan, state.meta
        # After a silence only the latest tick that is due is computed.
        as_of_ms = max(int(meta[at.WATERMARK_MS]), time_ms) // plan.tick_ms * plan.tick_ms
        after_ms = as_of_ms - scenario.rings.active_ms
        self._first_young = first_young_event(state, self._first_young, after_ms)
        frozen = [frozen_events(state, self._first_young, after_ms)]  # to be taken out: see compute_tick
        previous, n_slots, n_before = last_tick(state), len(state.node_rings), int(meta[at.N_KEYS])
        spare, self._spare = self._spare, None
        self._pending = self.compute(
            lambda: prepared(compute_tick(scenario, frozen.pop(), previous, as_of_ms), n_slots, spare, n_before)
        )
        meta[at.TICK_MS] = as_of_ms
        meta[at.NEXT_TICK_MS] = as_of_ms + plan.tick_ms
        meta[at.EFFECT_MS] = as_of_ms + plan.tick_lag_ms
        # To give megabytes back takes milliseconds: from here on only the computation holds the tick before.
        self._tick = None
        return without_tick(state)

    def settle(self, state: State) -> State:
        """Let the tick that is being computed become part of the state: waits for it where it is not ready."""
        if self._pending is None:
            return state
        self._tick, self._pending = self._pending(), None
        return with_tick(state, self._tick.tick)

    def put_in_effect(self, state: State, seq: int) -> State:
        """Let the last tick be what features read, from the record `seq` on."""
        state = self.settle(state)
        assert self._tick is not None  # an effect is due only where a tick was begun or resumed
        tick = self._tick.tick
        self._effects.append(TickEffect(as_of_ms=tick.as_of_ms, effect_seq=seq, digest=tick.digest))
        self._spare = state.node_rings if self._reuses else None
        state.meta[at.EFFECT_MS] = at.NEVER
        # Rows of entities that were forgotten since the tick began carry a life that is over.
        return state._replace(node_rings=self._tick.node_rings)

    def trial(self) -> TickTurns:
        """Return turns that go on from these, settled ones, and leave them and every array of the state as they are."""
        trial = TickTurns(self._scenario, self._plan, None)
        trial._tick, trial._first_young, trial._reuses = self._tick, self._first_young, False
        return trial

    def rehearse(self, state: State) -> None:
        """Compute a tick and forget it: what is compiled for it is compiled then. Changes nothing."""
        if self._plan.tick_ms:
            frozen = frozen_events(state, first_young_event(state, 0, at.NEVER), at.NEVER)
            as_of_ms = int(frozen.events["time_ms"].max(initial=0))
            prepared(compute_tick(self._scenario, frozen, None, as_of_ms), len(state.node_rings))

    def take_effects(self) -> list[TickEffect]:
        """Hand over the ticks that took effect since the last call, in order. Each comes once."""
        effects, self._effects = self._effects, []
        return effects

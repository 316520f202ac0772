# SPDX-License-Identifier: Apache-2.0
"""What a replay's state remembered, and whom it forgot for want of memory."""

from __future__ import annotations

import msgspec

from ringfence.engine.engine import Engine
from ringfence.engine.memory import Room


class Forgotten(msgspec.Struct, frozen=True):
    """How much the state forgot, whoever had been idle the longest first; somebody may have been forgotten twice."""

    entities: int = 0  # places of entities: one takes a place for each role stream that it is in
    pairs: int = 0
    texts: int = 0
    events: int = 0  # through which links are walked

    def __bool__(self) -> bool:
        return any(msgspec.structs.astuple(self))

    @property
    def text(self) -> str:
        """What was forgotten, in words; empty where nothing was."""
        named = msgspec.structs.asdict(self).items()
        return ", ".join(f"{n:,} {what}" for what, n in named if n)


class Usage(msgspec.Struct, frozen=True):
    """What a replay's state remembered; shapes are those of `engine.memory.Room`."""

    room: tuple[int, ...]
    used: tuple[int, ...]
    forgotten: Forgotten = Forgotten()

    @classmethod
    def of(cls, engine: Engine) -> Usage:
        """Read off what an engine remembers now, and all that it forgot up to now."""
        counters, room = engine.counters, engine.catalogue.plan.room
        return cls(
            room=tuple(room),
            used=(counters["entities"], counters["pairs"], engine.n_stored, engine.n_texts),
            forgotten=Forgotten(
                entities=counters["entities_forgotten"],
                pairs=counters["pairs_forgotten"],
                texts=counters["texts_forgotten"],
                events=max(engine.n_stored - room.stored, 0),
            ),
        )

    def joined(self, other: Usage) -> Usage:
        """Say what one replay of the features of two would remember: of each kind, what the one does that has it."""
        return Usage(
            room=tuple(map(max, self.room, other.room)),
            used=tuple(map(max, self.used, other.used)),
            forgotten=Forgotten(*map(max, *(msgspec.structs.astuple(one.forgotten) for one in (self, other)))),
        )

    def holds_in(self, room: tuple[int, ...]) -> bool:
        """Whether a replay with other room remembers the same."""
        fits = all(used <= most for used, most in zip(self.used, room, strict=True))
        return self.room == room or (not self.forgotten and fits)


def room_told(room: Room) -> dict[str, int]:
    """Give a room by the names that `Forgotten` has."""
    return {"entities": room.slots, "pairs": room.pairs, "texts": room.texts, "events": room.stored}

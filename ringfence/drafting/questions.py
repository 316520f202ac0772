# SPDX-License-Identifier: Apache-2.0
"""What a draft asks its reader about the scenario as a whole: which moment is decided, and who identifies whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ringfence.drafting.clock import ClockGuess, OtherMoment
from ringfence.drafting.derived import DerivedGuess
from ringfence.drafting.evidence import span_text
from ringfence.drafting.names import hints, words_of
from ringfence.drafting.partners import Party
from ringfence.drafting.profile import Column
from ringfence.drafting.roles import AttributeGuess, RoleGuess

_FEW_EVENTS: Final = 5.0  # events per entity up to which a role may identify one person or thing
_MOST_NAMED: Final = 4


def decided_moment(event: str, clock: ClockGuess, attributes: Sequence[AttributeGuess], amount: Column | None) -> str:
    """Say what is known then under each column that could be the event's time; `clock.others` is not empty."""
    taken = clock.column.name
    told = [f"CHECK which moment is decided: at {taken}, by a guess, and what is known by then may be learned from"]
    others = {clock.column.name, *(other.column.name for other in clock.others)}
    columns = [guess.column for guess in attributes] + ([amount] if amount is not None else [])
    with_taken = _alike(clock.column, [column for column in columns if column.name not in others])
    for other in clock.others:
        name = other.column.name
        named = event in other.column.words and event not in clock.column.words
        says = f" (its name says {event!r}, as the event is called here)" if named else ""
        told.append(f"`event_time: {name}`{says} decides {_when(other)}")
        if 2 * other.n_earlier >= other.n_both:
            such = f", and whatever else comes only then, such as {with_taken}" if with_taken else ""
            told[-1] += f": nothing of {taken} is known then; leave {taken} out{such}"
        else:
            told[-1] += ": what becomes known up to then may be learned from, too"
    return "; ".join(told)


def strong_roles(roles: Sequence[RoleGuess], parties: Sequence[Party], derived: Sequence[DerivedGuess]) -> str:
    """Say which roles are strong and what that is good for; without any, what is off and who might be."""
    strong = [guess.role for guess in roles if guess.strong]
    if strong:
        return (
            f"strong ({', '.join(strong)}): it identifies one person or thing, so events that share one are tied into "
            "rings; weak roles tie nobody (docs/rings.md)"
        )
    counts = [(guess.role, guess.column.words, guess.column.reuse) for guess in roles]
    counts += [(party.role, words_of(party.value), party.reuse) for party in parties if party.same_as is None]
    told = (
        "CHECK strong: no name here says that it identifies one person or thing, so no role is marked strong: nothing "
        "is tied into rings, `ringfence rings` refuses, and the feature family `rings` stays off (docs/rings.md). Mark "
        "such roles, as in {column: …, strong: true}"
    )
    likely: list[str] = []
    unlikely: list[str] = []
    for role, words, reuse in counts:
        may_be = reuse <= _FEW_EVENTS or hints(words, "people")
        (likely if may_be else unlikely).append(f"{role} ({reuse:,.1f} events each)")
    unlikely += [guess.name for guess in derived if guess.is_role]
    told += f"; by their names and by how often each comes back, rather {', '.join(likely)}" if likely else ""
    return told + (f"; hardly {', '.join(unlikely)}: strangers may share one" if unlikely else "")


def _when(other: OtherMoment) -> str:
    """How another moment lies to the one that was taken, in words."""
    earlier = 2 * other.n_earlier >= other.n_both
    n = other.n_earlier if earlier else other.n_later
    rows = "" if n == other.n_both else f" in {n:,} of {other.n_both:,} rows"
    return f"{span_text(other.apart_ms)} {'earlier' if earlier else 'later'} at the median{rows}"


def _alike(clock: Column, columns: Sequence[Column]) -> str:
    """The columns whose names share a word with a time, other than that it is one: purchase_value, purchase_time."""
    words = {word for word in clock.words if not hints((word,), "time", "numbered") and not word.isdigit()}
    return ", ".join([column.name for column in columns if words & set(column.words)][:_MOST_NAMED])

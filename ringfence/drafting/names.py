# SPDX-License-Identifier: Apache-2.0
"""What the words in a column's name hint at. Hints only: every guess made from them is told with its evidence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

import msgspec

from ringfence.scenario.document import document_from_text

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_ID_AT_AN_END: Final = re.compile(r"^I[Dd](?=[A-Z_ .-])|^id(?=[_ .-])|(?<=[a-z0-9])I[Dd]$|[_ .-][Ii][Dd]s?$|^[Ii][Dd]$")

_LETTERS: Final = str.maketrans({
    "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ø": "o", "Ø": "O", "ł": "l",
})  # fmt: skip
_GLUED: Final = re.compile(r"([a-z]{3,})(nr|nummer|datum|betrag|summe)")  # Kundennr, Rechnungsdatum: two words in one
_FILE: Final = "words.yaml"


class Business(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of decision: the template that is nearest, what it calls its event, and when its labels usually come."""

    template: str
    event: str
    delay_days: int
    words: frozenset[str]


def _known() -> dict[str, Any]:
    text = (files("ringfence.drafting") / _FILE).read_text(encoding="utf-8")
    return document_from_text(text, where=_FILE)


_KNOWN: Final = _known()
_PAIRS: Final = {name: [(one, other) for one, other in _KNOWN[name]] for name in ("after_pairs", "directions")}
_SETS: Final = {name: frozenset(words) for name, words in _KNOWN.items() if name not in ("businesses", *_PAIRS)}
BUSINESSES: Final = tuple(
    Business(template=name, event=of["event"], delay_days=of["delay_days"], words=frozenset(of["words"]))
    for name, of in _KNOWN["businesses"].items()
)


def hints(words: Iterable[str], *sets: str) -> bool:
    """Tell whether any of the words is in one of the named sets of `words.yaml`."""
    known = set(words)
    return any(known & _SETS[name] for name in sets)


def comes_after(words: Iterable[str]) -> bool:
    """Tell whether a name speaks of what follows the event's outcome, rather than of a measure made before."""
    known = set(words)
    told = known & _SETS["after"]
    if told <= {"score", "probability"} and known & _SETS["before"]:
        told = set()
    return bool(told) or any({one, other} <= known for one, other in _PAIRS["after_pairs"])


def are_two_sides(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether two names say the same of two sides: nameOrig and nameDest, sender account and receiver account."""
    if len(one) != len(other):
        return False
    apart = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return len(apart) == 1 and (apart[0] in _PAIRS["directions"] or apart[0][::-1] in _PAIRS["directions"])


def words_of(name: str) -> tuple[str, ...]:
    """The words of a column's name in small letters: `TX_FRAUD`, `isFraud`, `IDPH` and `tx fraud` are taken apart."""
    name = _plain_letters(name)
    at = _ID_AT_AN_END.search(name)
    if at is None:
        return tuple(_taken_apart(name))
    rest = name[: at.start()] + " " + name[at.end() :]
    words = _taken_apart(rest)
    return ("id", *words) if at.start() == 0 and words else (*words, "id")


def business_of(names: Iterable[str]) -> Business | None:
    """The kind of decision that most names speak of; None where fewer than two words do, or two kinds are level."""
    found = [set(words_of(name)) for name in names]
    hits = sorted(
        ((sum(bool(words & kind.words) for words in found), kind) for kind in BUSINESSES), key=lambda h: -h[0]
    )
    (most, kind), (second, _) = hits[0], hits[1]
    return kind if most >= 2 and most > second else None


def plain_name(name: str, taken: Iterable[str] = ()) -> str:
    """A name that may stand in a feature's name: letters, digits and _, letter first, and not taken yet."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", _plain_letters(name)).strip("_")[:56] or "column"
    plain = plain if not plain[0].isdigit() else f"c_{plain}"
    known, number, unique = {name.lower() for name in taken}, 2, plain  # files of columns know no case
    while unique.lower() in known:
        unique, number = f"{plain}_{number}", number + 1
    return unique


def _taken_apart(name: str) -> list[str]:
    words: list[str] = []
    for found in _WORD.findall(name):
        word = found.lower()
        glued = None if word in _SETS["money"] or word in _SETS["time"] else _GLUED.fullmatch(word)
        words += [word] if glued is None else list(glued.groups())
    return words


def _plain_letters(name: str) -> str:
    """A name in letters without marks, where they have such: Währung is Waehrung, opération is operation."""
    if name.isascii():
        return name
    written = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", name).translate(_LETTERS))
    return "".join(sign for sign in written if not unicodedata.combining(sign))

# SPDX-License-Identifier: Apache-2.0
"""What the other columns are: the event's id, who takes part, what is at stake, and what else is known."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl

from ringfence.drafting.evidence import spearman
from ringfence.drafting.names import are_two_sides, hints, plain_name, words_of
from ringfence.drafting.oddities import currencies_of
from ringfence.drafting.profile import SHAPED, Column, Profile, is_clock_time, share_of
from ringfence.scenario.values import LONGEST_CATEGORY

MOST_ROLES: Final = 8
_FEWEST_ENTITIES: Final = 20
_LEAST_REUSE: Final = 1.005  # rows per entity: below it hardly any two events share one
_TOO_MANY: Final = 1_000  # events per entity from which on a role identifies nobody, whatever its name says
_HARDLY_TWICE: Final = 1.05  # rows per event id below which those that come twice are a mistake
_SAME_VALUES: Final = 0.2  # share of the one column's values that the other has too
_FEW_KINDS: Final = 200  # different values without a digit below which words are rather kinds than names
_SPOKEN: Final = r"[a-z\u{e0}-\u{ff}]{3,}.*\s.*[0-9A-Za-z]|\s.*[a-z\u{e0}-\u{ff}]{3,}"  # a cell with words in it
_PEOPLE: Final = (("first",), ("last",), ("name",), ("first", "name"), ("last", "name"), ("full", "name"))
_CODES: Final = {"€": "EUR", "£": "GBP", "$": "USD"}
_MONEY: Final = 3.0  # score from which on a number is taken for the amount


class RoleGuess(msgspec.Struct, frozen=True, kw_only=True):
    """A column taken for entities."""

    role: str
    column: Column
    entity_type: str | None  # shared with another role; None: the role's own
    many: bool
    strong: bool  # it identifies one person or thing
    as_text: bool  # numbers with fractions, to be read as text
    why: str


class AttributeGuess(msgspec.Struct, frozen=True, kw_only=True):
    """A column taken for an attribute."""

    name: str
    column: Column
    type: str
    audit_only: bool = False
    personal: bool = False
    why: str = ""


def event_id_of(profile: Profile, business_event: str) -> tuple[Column | None, str]:
    """The column that numbers the events, with why; None where none is complete and unique."""
    best: tuple[float, Column] | None = None
    doubles = None
    for column in profile.columns:
        numbered = _is_numbered(column)
        if not numbered and not (column.is_unique and column.kind == "text" and hints(column.words, "event")):
            continue
        if column.kind not in ("number", "text") or (column.kind == "number" and not column.is_whole):
            continue
        if not column.is_unique:
            named = hints(column.words, "event") or column.name in (profile.columns[0].name, "id")
            if column.n_missing == 0 and column.reuse < _HARDLY_TWICE and numbered and named:
                doubles = column
            continue
        score = 1.0 + 1.0 * hints(column.words, "event") + 1.0 * (business_event in column.words)
        score += 0.5 * (column.name == profile.columns[0].name) - 0.5 * hints(column.words, "who", "strong")
        if best is None or score > best[0]:
            best = (score, column)
    if best is not None:
        column = best[1]
        why = f"{column.n_distinct:,} different values in {column.n_rows:,} rows"
        rho = spearman(column.values, profile.row) if column.kind == "number" else 0.0
        ordered = f"; it orders the rows (rank correlation {rho:.2f}): never an attribute" if abs(rho) > 0.5 else ""
        return column, why + ordered
    if doubles is not None:
        n = doubles.n_rows - doubles.n_distinct
        rows = f"{n:,} row{'s' if n > 1 else ''}"
        return None, f"{doubles.name} would fit, but names {rows} twice: mend them and put it here"
    return None, "no column names every row differently; the row number does"


def roles_of(profile: Profile, taken: set[str]) -> tuple[list[RoleGuess], list[tuple[Column, str]]]:
    """The columns that name entities, best first, and those that would but are left out, with why."""
    found: list[tuple[float, Column]] = []
    out: list[tuple[Column, str]] = []
    for column in profile.columns:
        if column.name in taken or (score := _who_score(column)) is None:
            continue
        if column.n_given > 1 and column.reuse < _LEAST_REUSE and not _has_other_side(profile, column):
            out.append(
                (column, f"an id, but no two events share one ({column.n_distinct:,} in {column.n_given:,} rows)")
            )
        elif column.n_distinct >= _FEWEST_ENTITIES:
            found.append((score, column))
    found.sort(key=lambda guess: -guess[0])
    kept = [column for _, column in found[:MOST_ROLES]]
    out += [
        (column, f"an id; a scenario with more than {MOST_ROLES} roles learns slowly")
        for _, column in found[MOST_ROLES:]
    ]
    kept.sort(key=lambda column: profile.table.names.index(column.name))
    types = _shared_types(kept)
    roles: list[RoleGuess] = []
    for column in kept:
        role = plain_name(_role_name(column), [guess.role for guess in roles])
        most = column.n_most / max(int(column.given.sum()), 1)
        why = f"{column.n_distinct:,} of them, {column.reuse:,.1f} events each"
        why += f", the busiest has {100 * most:.0f} % of all" if most >= 0.1 else ""
        why += f"; {column.n_missing:,} event{'s' if column.n_missing > 1 else ''} without" if column.n_missing else ""
        if column.reuse < _LEAST_REUSE:
            why += "; hardly any comes back, and it stays as the other side: without it, learning is faster and smaller"
        word = next((word for word in column.words if hints((word,), "strong")), None)
        strong = word is not None and column.reuse < _TOO_MANY and column.kind != "list"
        why += f"; strong, for its name says {word!r}" if strong else ""
        roles.append(
            RoleGuess(
                role=role,
                column=column,
                entity_type=types.get(column.name),
                many=column.kind == "list",
                strong=strong,
                as_text=column.kind == "number" and not column.is_whole,
                why=why,
            )
        )
    return roles, out


def amount_of(profile: Profile, taken: set[str]) -> tuple[Column | None, str]:
    """The column that says what is at stake, with why; None where none does or several do alike."""
    scored = []
    for column in profile.columns:
        if column.name in taken or column.kind != "number" or len(column.counts) == 2:
            continue
        score = 4.0 * hints(column.words, "money") or 2.0 * hints(column.words, "money_perhaps")
        if score == 0.0:
            continue
        score += 1.0 * hints(column.words, "event", "money_event") - 3.0 * hints(column.words, "not_money")
        score += 0.5 * (column.n_distinct > 100) + 0.5 * (not column.is_whole)
        # What is mostly negative is a balance, or stands for nothing.
        score -= 3.0 * bool((column.values[column.given] < 0.0).mean() > 0.3) if column.given.any() else 0.0
        scored.append((score, column))
    scored.sort(key=lambda guess: -guess[0])
    if not scored or scored[0][0] < _MONEY:
        return None, "no column speaks of one amount at stake"
    score, column = scored[0]
    rivals = [other.name for other_score, other in scored[1:] if other_score == score]
    numbered = [rival for rival in rivals if _without_digits(words_of(rival)) == _without_digits(column.words)]
    if numbered or (rivals and score < 4.0):
        return None, f"{column.name}, {', '.join(rivals[:3])} could each be it"
    return column, amount_range(column) + (f"; {', '.join(rivals[:3])} could be it as well" if rivals else "")


def amount_range(column: Column) -> str:
    """The span of an amount, in words."""
    given = column.values[column.given]
    if not len(given):
        return "empty"
    span = (float(given.min()), float(given.max()), float(np.median(given)))
    low, high, median = (f"{value:,.2f}" if abs(value) < 1e15 else f"{value:.3g}" for value in span)
    return f"{low} to {high}, median {median}"


def currency_of(profile: Profile, amount: Column) -> str | None:
    """The currency, where a name or a column that never changes tells it."""
    known = ("EUR", "USD", "GBP", "CHF", "INR", "BRL", "JPY", "CAD", "AUD", "PLN", "SEK", "MXN", "KRW", "TRY")
    for column in profile.columns:
        if column.name == amount.name or (column.kind == "text" and hints(column.words, "currency")):
            told = {word.upper() for word in column.words} if column is amount else set()
            if len(column.counts) == 1 and column.kind == "text":
                told = {column.counts[0][0].strip().upper()}
            named = [code for code in known if code in told]
            if named:
                return named[0]
    named = sorted({_CODES.get(sign, sign) for sign in currencies_of(amount)})
    if len(named) == 1 and named[0] in known:
        return named[0]
    return None


def attribute_of(column: Column, names: set[str]) -> tuple[AttributeGuess | None, str]:
    """What a column is as an attribute; None with why where it can be none."""
    name = plain_name(column.name, names)
    if column.n_distinct == 0:
        return None, "it is empty"
    if column.n_distinct == 1 and column.n_missing == 0:
        return None, "it says the same in every row"
    audit = hints(column.words, "protected")
    why = f"{column.n_missing:,} of {column.n_rows:,} missing" if column.n_missing else ""
    if column.kind in ("list", "other"):
        return None, "a column of lists or structures"
    if column.kind == "boolean" or (column.kind == "number" and {v for v, _ in column.counts} == {"0", "1"}):
        return AttributeGuess(name=name, column=column, type="boolean", audit_only=audit, why=why), ""
    if column.kind == "time":
        personal = hints(column.words, "birth")
        return AttributeGuess(name=name, column=column, type="time", personal=personal, why=why), ""
    if column.kind == "number":
        named = _is_numbered(column) or hints(_without_digits(column.words)[-1:], "kinds", "places")
        is_code = column.is_whole and named
        kind = "category" if is_code else "number"
        if is_code and column.reuse < 2.0:
            return None, f"almost every row has its own ({column.n_distinct:,} in {column.n_given:,})"
        return AttributeGuess(name=name, column=column, type=kind, audit_only=audit, why=why), ""
    if (
        hints(column.words, "personal")
        or column.words in _PEOPLE
        or _is_persons_name(column)
        or (hints(column.words, "birth") and column.reuse < 50)
    ):
        return AttributeGuess(name=name, column=column, type="text", personal=True, why="it names a person"), ""
    if column.n_characters > LONGEST_CATEGORY or (
        column.n_distinct > 100 and (column.n_words >= 4.0 or hints(column.words, "free"))
    ):
        return AttributeGuess(name=name, column=column, type="text", why=why), ""
    if is_clock_time(column):
        return None, "a time of day without its day"
    if column.reuse < 1.5 and column.n_distinct > 50:
        return None, f"almost every row has its own ({column.n_distinct:,} in {column.n_given:,})"
    return AttributeGuess(name=name, column=column, type="category", audit_only=audit, why=why), ""


def _is_numbered(column: Column) -> bool:
    words = column.words
    if not words or (words[0] in ("number", "num", "no", "nr", "n") and len(words) > 1):
        return False  # NumberOfCars counts, PolicyNumber names
    if words[0] == "id" and len(words) > 1:
        return not words[1].isdigit()
    return hints(words[-1:], "numbered")


def _who_score(column: Column) -> float | None:
    """How much speaks for entities; None where the column names none."""
    words = tuple(word for word in column.words if not word.isdigit())
    if column.kind == "list":
        return 1.0
    numbered = _is_numbered(column)
    named = hints(words, "who", "strong")
    if words[-1:] == ("code",) and hints(words[:-1], "places"):
        numbered = False  # of a place: strangers share it
    if not words or (hints(words, "kinds", "places", "free") and not numbered):
        return None
    if column.kind == "number":
        if not (numbered or hints(words[-1:], "who", "strong")) or hints(words[:1], "counts"):
            return None
        if not column.is_whole and not ("ip" in words or words[-1] == "id"):
            return None
    elif column.kind == "text":
        is_code = (
            not hints(words, "personal")
            and column.digits >= 0.8
            and column.n_distinct >= 50
            and column.n_words < 4.0
            and share_of(column, _SPOKEN) < 0.5
        )
        # Somebody's hobby is a kind: the word that says who stands first, and the few values are words.
        is_kind = named and not _names_who(words) and column.digits < 0.2 and column.n_distinct < _FEW_KINDS
        if not (numbered or named or is_code) or is_kind or hints(words, "birth"):
            return None
        if is_clock_time(column) or _is_persons_name(column):
            return None
    else:
        return None
    return 2.0 * hints(words, "strong") + 1.5 * named + 1.0 * numbered + 0.1 * min(column.reuse, 10.0)


def _has_other_side(profile: Profile, column: Column) -> bool:
    """Whether another column names the other side of the event, by names that look alike, and they come back."""
    return any(
        are_two_sides(column.words, other.words) and other.reuse >= _LEAST_REUSE and _look_alike(column, other)
        for other in profile.columns
        if other is not column and _who_score(other) is not None
    )


def _look_alike(one: Column, other: Column) -> bool:
    """Whether two columns of texts are of one making: the usual shape of the one is frequent in the other."""
    if one.kind != "text" or other.kind != "text":
        return False
    shapes = [_shapes(column) for column in (one, other)]
    most = shapes[0].mode()
    return bool(len(most)) and float((shapes[1] == most[0]).mean() or 0.0) >= _SAME_VALUES


def _shapes(column: Column) -> pl.Series:
    """The letters that a name begins with, and whether digits follow: C12 and C987 are of one shape, M7 of another."""
    texts = column.sample.drop_nulls().head(SHAPED).cast(pl.String)
    return texts.str.replace_all("[0-9]+", "0").str.slice(0, 4)


def _is_persons_name(column: Column) -> bool:
    """Whether a column holds names as people bear them: two may bear the same, so they name nobody for certain."""
    words = column.words
    return words[-1:] == ("name",) and hints(words[-2:-1], "people") and column.kind == "text" and column.digits < 0.2


def _names_who(words: tuple[str, ...]) -> bool:
    """Whether a name ends in somebody, or in what numbers or tells sides apart: merchant, merchant_name, nameOrig."""
    return hints(words[-1:], "who", "strong", "numbered")


def _without_digits(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if not word.isdigit())


def _role_name(column: Column) -> str:
    words = [word for word in column.words if not hints((word,), "numbered") or word in ("iban",)]
    return "_".join(words or column.words)


def _shared_types(columns: list[Column]) -> dict[str, str]:
    """Columns that share their values name entities of one type: sender and receiver, claimant and witness."""
    sets = {
        column.name: set(column.sample.drop_nulls().unique().to_list())
        for column in columns
        if column.kind == "text"  # small numbers coincide: customer 7 and terminal 7
    }
    of = {column.name: column for column in columns}
    types: dict[str, str] = {}
    names = list(sets)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            few = min(len(sets[one]), len(sets[other]))
            shared_values = few >= _FEWEST_ENTITIES and len(sets[one] & sets[other]) >= _SAME_VALUES * few
            if shared_values or (are_two_sides(of[one].words, of[other].words) and _look_alike(of[one], of[other])):
                shared = types.get(one) or types.get(other) or _type_name(one, other, set(types.values()))
                types[one] = types[other] = shared
    return types


def _type_name(one: str, other: str, taken: set[str]) -> str:
    """What two columns of the same entities have in common in their names: from_account, to_account -> account."""
    both = [word for word in words_of(one) if word in words_of(other) and not hints((word,), "numbered")]
    return plain_name("_".join(both) or "party", taken)

# SPDX-License-Identifier: Apache-2.0
"""Which column is the truth, which of its values means fraud, and when it becomes known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from ringfence.drafting.evidence import Floats
from ringfence.drafting.names import hints
from ringfence.drafting.profile import Column, Profile
from ringfence.drafting.spelling import NOTHING, UNKNOWN

_ENOUGH: Final = 2.5  # score from which on a column is taken for the label
_MOST_VALUES: Final = 12


class LabelGuess(msgspec.Struct, frozen=True, kw_only=True):
    """The column taken for the label."""

    column: Column
    fraud: tuple[str, ...]
    legit: tuple[str, ...]
    unlabelled: tuple[str, ...]
    n_fraud: int  # rows of the file
    n_legit: int
    truth: Floats  # (sample,) 1 fraud, 0 legit, NaN not known
    why: str
    is_sure: bool  # the values themselves say which of them is fraud

    @property
    def rate(self) -> float:
        """Share of fraud among the labelled rows."""
        n = self.n_fraud + self.n_legit
        return self.n_fraud / n if n else 0.0


def label_of(profile: Profile) -> LabelGuess | None:
    """The column that is most likely the label; None where none is likely enough."""
    guesses = [(score, column) for column in profile.columns if (score := _score(profile, column)) is not None]
    guesses.sort(key=lambda guess: -guess[0])
    if not guesses:
        return None
    score, column = guesses[0]
    if score >= _ENOUGH:
        return meaning_of(column, f"its name and values fit, {_values_text(column)}")
    last = profile.columns[-1]
    binary = [other for _, other in guesses if len(other.counts) == 2]
    if last in binary and _rarer(last) <= 0.5 * last.n_given:
        return meaning_of(last, f"a guess: the last column, {_values_text(last)}; no name says label")
    return None


def meaning_of(column: Column, why: str) -> LabelGuess:
    """Sort the values of a column into fraud, legit and unlabelled."""
    fraud: list[str] = []
    legit: list[str] = []
    unlabelled: list[str] = []
    rest: list[str] = []
    reverse = hints(column.words, "reversed")
    for value, _ in column.counts:
        word = value.strip().lower().replace("_", " ")
        if word in NOTHING or word in UNKNOWN:
            unlabelled.append(value)
        elif _says(word, "legit_values") or word.startswith(("not ", "non", "no ")) or "no fraud" in word:
            (fraud if reverse and word in ("0", "false", "no", "n", "f") else legit).append(value)
        elif _says(word, "fraud_values"):
            (legit if reverse and word in ("1", "true", "yes", "y", "t") else fraud).append(value)
        else:
            rest.append(value)
    is_sure = bool(fraud) and (bool(legit) or not rest)
    known = fraud + legit + rest
    if len(known) == 2 and not (fraud and legit):
        n_of = dict(column.counts)
        fraud, legit, rest = [min(known, key=lambda value: n_of[value])], [], []
        legit = [value for value in known if value not in fraud]
        is_sure = False
    elif fraud and not legit:
        legit, rest = rest, []
    unlabelled += rest
    counts = dict(column.counts)
    missing = [word for word in column.spelling.missing if word not in unlabelled]
    return LabelGuess(
        column=column,
        fraud=tuple(fraud),
        legit=tuple(legit),
        unlabelled=(*unlabelled, *missing),
        n_fraud=sum(counts[value] for value in fraud),
        n_legit=sum(counts[value] for value in legit),
        truth=truth_of(column, fraud, legit),
        why=why,
        is_sure=is_sure,
    )


def known_at_of(profile: Profile, label: LabelGuess, event_ms: Floats | None) -> Column | None:
    """The column that says when the label became known: never before the event, and there for every labelled row."""
    labelled = ~np.isnan(label.truth)
    for column in profile.columns:
        if column.kind != "time" or not hints(column.words, "label_time") or event_ms is None:
            continue
        given = column.given[labelled]
        both = labelled & column.given
        if given.mean() >= 0.99 and bool((column.values[both] >= event_ms[both]).mean() >= 0.99):
            return column
    return None


def _score(profile: Profile, column: Column) -> float | None:
    """How much speaks for the column; None where it cannot be a label."""
    least = 1 if column.n_missing else 2  # a file may say nothing where all is well
    if not least <= len(column.counts) <= _MOST_VALUES or column.kind == "time":
        return None
    words = column.words
    score = 3.0 * hints(words, "label") or 2.0 * hints(words, "label_perhaps") or 1.0 * hints(words, "label_barely")
    if hints(words, "after") and not (words == ("label",) or words == ("chargeback",)):
        score -= 1.5
    if words and words[0] in ("days", "time", "number", "count", "past", "prev", "previous"):
        score -= 2.0
    guess = meaning_of(column, "")
    meant = len(guess.fraud) + len(guess.legit)
    score += 1.0 if meant == 2 else -1.0 if meant > 2 else 0.0
    score += 1.0 if guess.is_sure else 0.0
    score += 0.5 * (guess.rate <= 0.5) + 0.5 * (guess.rate <= 0.2)
    if not guess.fraud or not (guess.legit or column.n_missing):
        return None
    names = [other.name for other in profile.columns]
    return score + 0.5 * (column.name == names[-1]) + 0.25 * (column.name == names[0]) - 2.5 * (not _hinted(column))


def _hinted(column: Column) -> bool:
    if hints(column.words, "label", "label_perhaps", "label_barely", "reversed"):
        return True
    told = {value.strip().lower() for value, _ in column.counts}
    return bool(told & {"fraud", "fraudulent", "legit", "charged off", "default", "churned", "suspicious", "genuine"})


def truth_of(column: Column, fraud: Sequence[str], legit: Sequence[str]) -> Floats:
    """(sample,) 1 where the column has one of the values of fraud, 0 where one of legit, NaN elsewhere."""
    truth = np.full(len(column.values), np.nan)
    if column.kind == "number":
        for values, mark in ((fraud, 1.0), (legit, 0.0)):
            truth[np.isin(column.values, [_number(value) for value in values])] = mark
        return truth
    as_text = [None if value is None else str(value).lower() for value in column.sample.to_list()]
    meaning = {value.lower(): 1.0 for value in fraud} | {value.lower(): 0.0 for value in legit}
    return np.array([np.nan if text is None else meaning.get(text, np.nan) for text in as_text])


def _number(text: str) -> float:
    """A label's value as the number that a column of numbers holds; NaN, which equals nothing, where it is none."""
    try:
        return float({"true": "1", "false": "0"}.get(text.lower(), text.replace(",", ".")))
    except ValueError:
        return float("nan")


def _says(word: str, known: str) -> bool:
    parts = [part for part in word.split() if len(part) > 2]
    return hints((word, word.replace(" ", "-"), *parts), known)


def _rarer(column: Column) -> int:
    return min(n for _, n in column.counts)


def _values_text(column: Column) -> str:
    shown = [f"{value}: {n:,}" for value, n in column.counts[:4]]
    return ", ".join(shown) + (", …" if len(column.counts) > 4 else "")

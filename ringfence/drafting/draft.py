# SPDX-License-Identifier: Apache-2.0
"""From files that nobody described to a scenario that can be argued with: every guess with the numbers behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from ringfence.drafting.clock import ClockGuess, clock_of, counted_text, moments_of, unit_text, with_clock
from ringfence.drafting.decimals import decimal_oddities, decimal_of
from ringfence.drafting.derived import DerivedGuess, derived_of, places_of
from ringfence.drafting.errors import DraftError
from ringfence.drafting.evidence import Floats
from ringfence.drafting.label import LabelGuess, known_at_of, label_of
from ringfence.drafting.leaks import Suspicion, id_suspicion_of, order_auc, suspicion_of
from ringfence.drafting.names import Business, business_of, hints, plain_name
from ringfence.drafting.oddities import currencies_of, odd_words, oddities_of
from ringfence.drafting.partners import Context, Joined, context_of, joined_of, main_of, wide_of
from ringfence.drafting.profile import Column, Profile, profile_table, respelt_number, without_code
from ringfence.drafting.ranges import lookup_of
from ringfence.drafting.roles import (
    AttributeGuess,
    RoleGuess,
    amount_of,
    amount_range,
    attribute_of,
    currency_of,
    event_id_of,
    roles_of,
)
from ringfence.drafting.spelling import NOTHING, UNKNOWN
from ringfence.drafting.table import open_table, with_columns_of
from ringfence.scenario.dialect import Dialect, Steps

DAY_MS: Final = 86_400_000
MOST_ATTRIBUTES: Final = 1_000
_DELAYS_MS: Final = tuple(int(h * 3_600_000) for h in (1, 6, 24, 72, 168, 336, 720, 2160, 4320, 8760))
_USUAL_DELAY_DAYS: Final = 30
_OF_THE_SPAN: Final = 6  # a guessed delay is at most this part of the history, or nothing would be left to train on
_ORDERED_BY_LABEL: Final = 0.65  # ROC-AUC of the row number from which on the order of a file is suspect


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A column that the draft does not use."""

    column: str
    why: str
    is_leak: bool = False
    ask: str = ""  # what only who knows the data can answer


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario to be written down, and what speaks for each part of it."""

    name: str
    event: str
    business: Business | None
    files: tuple[Path, ...]
    main: Profile
    label: LabelGuess | None
    known_at: Column | None
    delay_ms: int
    clock: ClockGuess | None
    event_id: Column | None
    event_id_why: str
    roles: tuple[RoleGuess, ...]
    amount: Column | None
    amount_why: str
    currency: str | None
    attributes: tuple[AttributeGuess, ...]
    derived: tuple[DerivedGuess, ...]
    travel: tuple[str, str] | None  # attributes: latitude and longitude of the one place that an event has
    left_out: tuple[LeftOut, ...]
    told: dict[str, str]  # column -> what to look at, though it is used
    dialect: Dialect
    windows: tuple[str, ...]
    joined: Joined | None
    contexts: tuple[Context, ...]
    unused_files: tuple[tuple[Path, str], ...]
    warnings: tuple[str, ...]

    @property
    def leaks(self) -> tuple[LeftOut, ...]:
        return tuple(out for out in self.left_out if out.is_leak)


def draft_scenario(name: str, paths: list[Path]) -> Draft:
    """Look at files and draft a scenario.

    Parameters
    ----------
    name : of the scenario.
    paths : CSV, JSON lines or Parquet files; the one with the likeliest label holds the decided events.

    Raises
    ------
    DraftError
        If a file cannot be read as a table.
    """
    profiles = [profile_table(open_table(path)) for path in paths]
    for profile in profiles:
        _require_names(profile)
    same: dict[tuple[str, ...], list[Profile]] = {}
    for profile in profiles:
        same.setdefault(tuple(profile.table.names), []).append(profile)
    main, label = main_of([group[0] for group in same.values()])
    files = tuple(profile.table.path for profile in same[tuple(main.table.names)])
    rest = [group[0] for group in same.values() if group[0] is not main]
    wide = wide_of(main, rest) if len(files) == 1 else None
    if wide is not None:
        other = next(profile for profile in rest if profile.table.path == wide.path)
        rest.remove(other)
        main = profile_table(with_columns_of(main.table, other.table, wide.join.on))
        profiles = [main, *rest]
        label = label_of(main)
    business = business_of(main.table.names)
    moments = moments_of(main)
    clock = clock_of(main, moments)
    clock, time_of_day = (None, None) if clock is None else with_clock(main, clock)
    event_ms = None if clock is None else clock.column.values
    truth = None if label is None else label.truth
    known_at = None if label is None else known_at_of(main, label, event_ms)
    event = "event" if business is None else business.event
    event_id, event_id_why = event_id_of(main, event)
    if len(files) > 1 and event_id is not None:
        event_id_why += "; looked at in the first file only"
    taken = {column.name for column in (event_id, known_at) if column is not None}
    taken |= {label.column.name} if label is not None else set()
    taken |= {clock.column.name} if clock is not None else set()
    taken |= {time_of_day.name} if time_of_day is not None else set()

    left_out: list[LeftOut] = []
    told: dict[str, str] = {}
    nearly = {column.name for column in main.columns if column.spelling.nearly and hints(column.words, "money")}
    left_out += [
        LeftOut(column=column.name, why=column.spelling.nearly) for column in main.columns if column.name in nearly
    ]
    taken |= nearly
    roles, no_roles = roles_of(main, taken)
    for guess in list(roles):
        found = id_suspicion_of(guess.column, truth)
        if found is not None:
            roles.remove(guess)
            left_out.append(LeftOut(column=found.column, why=found.why, is_leak=True))
    left_out += [LeftOut(column=column.name, why=why) for column, why in no_roles]
    taken |= {guess.column.name for guess in roles} | {out.column for out in left_out}

    amount, amount_why = amount_of(main, taken)
    currencies = [] if amount is None else currencies_of(amount)
    if amount is not None and len(currencies) > 1:
        amount_why = f"{amount.name} names {', '.join(currencies)} in its cells: convert them into one"
        left_out.append(LeftOut(column=amount.name, why=f"it names {', '.join(currencies)}: convert them into one"))
        taken.add(amount.name)
        amount = None
    as_moments = {
        column.name: (column, how)
        for column, how, is_guessed in moments
        if not is_guessed or main.column(column.name).kind == "time"  # a count of steps stays a number
    }
    times: dict[str, str | Steps] = {}
    attributes: list[AttributeGuess] = []
    names: set[str] = set()
    suspects: list[Suspicion] = []
    coded_names: list[str] = []
    for column in main.columns:
        if column.name in taken:
            continue
        column, how = as_moments.get(column.name, (column, None))
        coded = None if amount is not None and column.name == amount.name else without_code(column)
        column = column if coded is None else coded
        found = suspicion_of(column, truth, event_ms, main.row)
        if found is None and column.kind == "time" and event_ms is not None and _is_the_same(column.values, event_ms):
            found = Suspicion(column=column.name, why="it is the event's time again", is_leak=True)
        if found is not None and found.is_leak:
            suspects.append(found)
            amount = None if amount is not None and amount.name == column.name else amount
            continue
        if found is not None:
            told[column.name] = f"CHECK: {found.why}; {found.ask}" if found.ask else found.why
        if amount is not None and column.name == amount.name:
            continue
        attribute, why = attribute_of(column, names)
        if attribute is None:
            left_out.append(LeftOut(column=column.name, why=why))
            continue
        if len(attributes) >= MOST_ATTRIBUTES:
            left_out.append(LeftOut(column=column.name, why=f"beyond the first {MOST_ATTRIBUTES:,} attributes"))
            continue
        names.add(attribute.name)
        attributes.append(attribute)
        if coded is not None:
            coded_names.append(column.name)
        if attribute.type == "time" and how is not None:
            times[column.name] = how
    left_out += [LeftOut(column=found.column, why=found.why, is_leak=True, ask=found.ask) for found in suspects]

    if clock is not None and clock.how is not None:
        times[clock.column.name] = clock.how
    if known_at is not None and known_at.spelling.how is not None:
        times[known_at.name] = known_at.spelling.how
    used = [a.column for a in attributes] + [c for c in (amount, event_id, known_at) if c is not None]
    used += [guess.column for guess in roles] + ([clock.column] if clock is not None else [])
    numbers = [c for c in used if c.kind == "number"]
    decimal, misfits = decimal_of(numbers)
    attributes = [a for a in attributes if a.column.name not in misfits]
    amount = None if amount is not None and amount.name in misfits else amount
    if amount is not None and amount.spelling.either:
        amount = respelt_number(amount, decimal)
        amount_why = amount_range(amount)
    left_out += [
        LeftOut(column=c, why=f"its decimal sign is not {decimal!r}, as in the other columns") for c in misfits
    ]
    dialect = msgspec.structs.replace(
        main.table.dialect,
        decimal=decimal,
        missing=_missing(used),
        missing_in={name: ("-1",) for name in coded_names if name not in misfits},
        times=times,
        clocks={} if clock is None or time_of_day is None else {clock.column.name: time_of_day.name},
        as_text=tuple(guess.column.name for guess in roles if guess.as_text),
    )
    span_ms = _span_ms(clock)
    joined, contexts, unused = _partners(main, event_id, rest, roles, event, wide)
    known = {guess.column.name: guess.role for guess in roles if not guess.many}
    known |= {attribute.column.name: attribute.name for attribute in attributes}
    forbidden = {out.column for out in left_out if out.is_leak} | {
        c.name for c in (event_id, known_at) if c is not None
    }
    forbidden |= {label.column.name} if label is not None else set()
    derived = derived_of(main, known, forbidden | set(misfits), {guess.role for guess in roles} | names)
    made_of = {column for guess in derived for column in guess.columns}
    left_out = [out for out in left_out if out.column not in made_of]
    ids = [guess.column for guess in roles] + ([event_id] if event_id is not None else [])
    oddities = [text for profile in profiles for text in profile.table.oddities]
    oddities += oddities_of(main, ids, None if clock is None else clock.column)
    oddities += decimal_oddities(numbers, decimal)
    if len(currencies) > 1:
        oddities.append(amount_why)
    if event_id is None and "twice" in event_id_why:
        oddities.append(event_id_why)
    if len(main.columns) > MOST_ATTRIBUTES:
        oddities.append(
            f"{len(main.columns):,} columns: every one is looked up in each event, and training slows down with each; "
            f"at most {MOST_ATTRIBUTES:,} are drafted as attributes"
        )
    return Draft(
        name=name,
        event=event,
        business=business,
        files=files,
        main=main,
        label=label,
        known_at=known_at,
        delay_ms=_delay_ms(business, span_ms, clock),
        clock=clock,
        event_id=event_id,
        event_id_why=event_id_why,
        roles=tuple(roles),
        amount=amount,
        amount_why=amount_why,
        currency=None if amount is None else currency_of(main, amount),
        attributes=tuple(attributes),
        derived=derived,
        travel=_travel(main, forbidden | set(misfits), attributes, roles) if clock is not None else None,
        left_out=tuple(left_out),
        told=told,
        dialect=dialect,
        windows=_windows(clock, span_ms),
        joined=joined,
        contexts=contexts,
        unused_files=unused,
        warnings=(*_warnings(main, label, clock, truth), *oddities),
    )


def _travel(
    main: Profile, forbidden: set[str], attributes: list[AttributeGuess], roles: list[RoleGuess]
) -> tuple[str, str] | None:
    """The attributes that are the place of an event: where there is one place only, and somebody who comes back."""
    numbers = [one for one in attributes if one.type == "number" and not one.personal and not one.audit_only]
    known = {attribute.column.name: attribute.name for attribute in numbers}
    places = places_of(main, forbidden)
    if len(places) != 1 or not any(guess.strong and not guess.many for guess in roles):
        return None
    latitude, longitude = (known.get(column.name) for column in places[0])
    return None if latitude is None or longitude is None else (latitude, longitude)


def _partners(
    main: Profile,
    event_id: Column | None,
    rest: list[Profile],
    roles: list[RoleGuess],
    event: str,
    joined: Joined | None,
) -> tuple[Joined | None, tuple[Context, ...], tuple[tuple[Path, str], ...]]:
    contexts: list[Context] = []
    unused: list[tuple[Path, str]] = []
    for other in rest:
        table = None if joined is not None else joined_of(main, event_id, other, roles)
        if table is not None:
            joined = table
            continue
        context = context_of(roles, other, {event, *(known.name for known in contexts)})
        if context is not None:
            contexts.append(context)
        elif set(other.table.names) < set(main.table.names):
            lacks = sorted(set(main.table.names) - set(other.table.names))
            unused.append((other.table.path, f"the same columns without {', '.join(lacks[:3])}: rows to score, later"))
        elif (ranges := lookup_of(main, other)) is not None:
            unused.append((other.table.path, ranges))
        else:
            unused.append(
                (
                    other.table.path,
                    "neither a long table of (event, role, entity) nor events with a time and a shared entity: "
                    "join what you need to the main file before the import",
                )
            )
    return joined, tuple(contexts), tuple(unused)


def _require_names(profile: Profile) -> None:
    """Refuse a file whose first line is a row: it says what the columns below it say."""
    found = [
        column.name
        for column in profile.columns
        if column.is_texts and column.n_rows > 1 and bool((column.sample == column.name).any())
    ]
    if len(found) >= 2:
        raise DraftError(
            profile.table.path,
            f"a first line that is a row, not names: {', '.join(map(repr, found[:4]))} are values further down",
            "add a line that names the columns",
        )


def _missing(used: list[Column]) -> tuple[str, ...]:
    """The words for nothing; one that no list knows only where no column of words has it as an answer."""
    words = []
    texts = [column for column in used if column.kind == "text"]
    for column in used:
        odd = odd_words(column)
        for word in column.spelling.missing:
            if column.kind == "text" and not word.strip():
                continue
            if word not in odd or not any(bool((other.sample == word).any()) for other in texts):
                words.append(word)
    return tuple(dict.fromkeys(words))


def _is_the_same(values: Floats, event_ms: Floats) -> bool:
    difference = (values - event_ms)[~(np.isnan(values) | np.isnan(event_ms))]
    return len(difference) > 20 and float(np.mean(difference == np.median(difference))) >= 0.99


def _span_ms(clock: ClockGuess | None) -> int | None:
    if clock is None:
        return None
    given = clock.column.values[clock.column.given]
    return int(given.max() - given.min()) if len(given) else 0


def _delay_ms(business: Business | None, span_ms: int | None, clock: ClockGuess | None) -> int:
    if span_ms is None:
        return 0
    usual = (_USUAL_DELAY_DAYS if business is None else business.delay_days) * DAY_MS
    most = max((delay for delay in _DELAYS_MS if delay <= span_ms // _OF_THE_SPAN), default=0)
    return min(usual, most)


def _windows(clock: ClockGuess | None, span_ms: int | None) -> tuple[str, ...]:
    if clock is None or span_ms is None:
        return ("100s", "1000s", "10000s")  # rows, since without a time a row is a second
    days = span_ms / DAY_MS
    if days >= 1_000:
        return ("30d", "90d", "365d", "1095d")
    if days >= 300:
        return ("1d", "7d", "30d", "90d")
    return ("1d", "7d", "14d", "30d") if days >= 60 else ("1h", "1d", "7d") if days >= 8 else ("10m", "1h", "6h", "1d")


def _warnings(
    main: Profile, label: LabelGuess | None, clock: ClockGuess | None, truth: Floats | None
) -> tuple[str, ...]:
    told = []
    if label is None:
        silent = next((c for c in main.columns if hints(c.words, "label") and c.n_distinct <= 1), None)
        if silent is None:
            told.append("no column looks like a label: name it under `label`, or nothing can be trained")
        else:
            says = "says nothing" if not silent.n_distinct else f"says {_only_value(silent)!r}"
            told.append(
                f"{silent.name} {says} in every row: a model needs frauds and legitimate events, so nothing can be "
                "trained from it"
            )
    else:
        if min(label.n_fraud, label.n_legit) == 0 and label.legit:
            told.append(f"{label.column.name} says the same in every row: a model needs frauds and legitimate events")
        elif 0 < label.n_fraud < 30:
            n = f"{label.n_fraud} fraud{'s' if label.n_fraud > 1 else ''}"
            told.append(f"only {n}: every figure will have a wide interval")
        strange = [word for word in label.unlabelled if word.strip().lower() not in NOTHING | UNKNOWN | {""}]
        if strange:
            n_strange = sum(rows for value, rows in label.column.counts if value in strange)
            told.append(
                f"{label.column.name}: {n_strange:,} rows say {', '.join(map(repr, strange[:4]))}, neither fraud nor "
                "legit: they are not learned from; say under `label.values` what they mean"
            )
        if label.rate > 0.5:
            told.append(
                f"{100 * label.rate:.0f} % of the labelled rows count as fraud: are the values the right way round?"
            )
    if clock is None:
        told.append("no column says when events happened, so the order of the file is taken for the order of time")
        auc = order_auc(truth, main.row)
        if auc >= _ORDERED_BY_LABEL:
            told.append(
                f"the file is ordered by its label (the row number alone has ROC-AUC {auc:.3f}): shuffle its rows, or "
                "every split by time compares frauds with legitimate events"
            )
    elif clock.is_guessed and not counted_text(clock):  # a count is argued for where it is read
        how = (
            f"in steps of {unit_text(clock.how)}" if isinstance(clock.how, Steps) else f"{clock.how}".replace("_", " ")
        )
        told.append(f"{clock.column.name} is read {how}, which is a guess: nothing in the file says so")
    return tuple(told)


def _only_value(column: Column) -> str:
    return column.counts[0][0] if column.counts else str(column.sample.drop_nulls()[0])


__all__ = ["Draft", "LeftOut", "draft_scenario", "plain_name"]

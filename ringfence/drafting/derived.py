# SPDX-License-Identifier: Apache-2.0
"""What columns say beside themselves: the network of an address, the domain of a mailbox, the way between places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np
import polars as pl

from ringfence.drafting.names import plain_name
from ringfence.drafting.profile import Column, Profile
from ringfence.scenario.ip_address import ip_address

_FITS: Final = 0.95  # share of the cells looked at that have to be one
_MOST_TEXTS: Final = 5_000  # distinct ones looked at
_FEWEST_ROLE: Final = 20  # values from which on they are a role, and else a category
_LEAST_REUSE: Final = 1.05  # events per value: below it hardly any two share one
_BITS, _BITS_V6 = 24, 48
_MAILBOX: Final = r"^\s*[^@\s]+@([^@\s]+\.[^@\s.]+)\.?\s*$"
_LATITUDE: Final = frozenset(["lat", "latitude"])
_LONGITUDE: Final = frozenset(["long", "lon", "lng", "longitude"])


class DerivedGuess(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `derive:`."""

    name: str
    how: str  # its kind
    inputs: tuple[str, ...]  # names that the scenario knows, or columns
    is_role: bool
    columns: tuple[str, ...]  # of the file
    why: str


def derived_of(
    profile: Profile, known: Mapping[str, str], forbidden: set[str], taken: set[str]
) -> tuple[DerivedGuess, ...]:
    """Propose derived values.

    Parameters
    ----------
    known : column -> the name of the role or attribute that it became; another column goes by its own name.
    forbidden : columns that must teach nothing, directly or not.
    taken : names that are given away.
    """
    taken = set(taken) | set(profile.table.names)
    found = []
    for column in profile.columns:
        if column.kind != "text" or not column.is_texts or column.name in forbidden:
            continue
        for how, base, of, what in (
            ("ip_prefix", "network", _networks, "networks"),
            ("email_domain", "mail_domain", _domains, "domains"),
        ):
            guess = _of_texts(column, how, plain_name(base, taken), of, what, known)
            if guess is not None:
                taken.add(guess.name)
                found.append(guess)
    distance = _distance(profile, known, forbidden, taken)
    return tuple([*found, distance] if distance is not None else found)


def _of_texts(
    column: Column, how: str, name: str, of: Callable[[pl.Series], pl.Series], what: str, known: Mapping[str, str]
) -> DerivedGuess | None:
    counts = column.sample.drop_nulls().value_counts(sort=True).head(_MOST_TEXTS)
    values, n = of(counts.to_series(0)), counts.to_series(1)
    n_looked_at, n_good = int(n.sum()), int(n.filter(values.is_not_null()).sum())
    if not n_looked_at or n_good < _FITS * n_looked_at:
        return None
    n_values = values.drop_nulls().n_unique()
    reuse = n_good / n_values
    if n_values < 2 or reuse < _LEAST_REUSE:
        return None
    is_role = n_values >= _FEWEST_ROLE
    kept = "" if column.name in known else "; the column itself is kept nowhere"
    why = f"{n_values:,} {what} of {len(values):,} {column.name}s looked at, {reuse:,.1f} events each{kept}"
    return DerivedGuess(
        name=name,
        how=how,
        inputs=(known.get(column.name, column.name),),
        is_role=is_role,
        columns=(column.name,),
        why=why,
    )


def _networks(texts: pl.Series) -> pl.Series:
    """The network of each text that is an address as people write it; a plain number may be anything."""
    found: list[str | None] = []
    for text in texts.to_list():
        address = ip_address(text) if "." in text or ":" in text else None
        if address is None:
            found.append(None)
        elif address.version == 4:
            found.append(f"4/{address.number >> (32 - _BITS)}")
        else:
            found.append(f"6/{address.number >> (128 - _BITS_V6)}")
    return pl.Series(found, dtype=pl.String)


def _domains(texts: pl.Series) -> pl.Series:
    return texts.str.extract(_MAILBOX).str.to_lowercase()


def _distance(profile: Profile, known: Mapping[str, str], forbidden: set[str], taken: set[str]) -> DerivedGuess | None:
    """The way between the first two places that have a latitude and a longitude each."""
    places: dict[tuple[str, ...], dict[str, Column]] = {}
    for column in profile.columns:
        if column.kind != "number" or column.name in forbidden:
            continue
        for sign, names, most in (("lat", _LATITUDE, 90.0), ("long", _LONGITUDE, 180.0)):
            rest = tuple(word for word in column.words if word not in names)
            given = column.values[column.given]
            if len(rest) < len(column.words) and len(given) and float(np.abs(given).max()) <= most:
                places.setdefault(rest, {})[sign] = column
    whole = [(place["lat"], place["long"]) for place in places.values() if len(place) == 2]
    if len(whole) < 2:
        return None
    columns = tuple(column.name for place in whole[:2] for column in place)
    one, other = (" ".join(place[0].words) for place in whole[:2])
    return DerivedGuess(
        name=plain_name("km_between", taken),
        how="distance",
        inputs=tuple(known.get(column, column) for column in columns),
        is_role=False,
        columns=columns,
        why=f"the way from {one} to {other}, which no single coordinate tells",
    )

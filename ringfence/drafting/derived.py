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
_BITS_OF_NUMBERS: Final = (24, 16)  # the wider network where hardly any two events share the narrower one
_ADDRESS: Final = frozenset(["ip", "ipv4"])
_FIRST_ADDRESS, _BEYOND_ADDRESSES = 1 << 24, 1 << 32  # 1.0.0.0: below it numbers count something
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
    bits: int = 24  # of a network


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
        if column.name in forbidden:
            continue
        numbered = _of_numbers(column, plain_name("network", taken), known)
        if numbered is not None:
            taken.add(numbered.name)
            found.append(numbered)
        if column.kind != "text" or not column.is_texts:
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


def _of_numbers(column: Column, name: str, known: Mapping[str, str]) -> DerivedGuess | None:
    """Networks of addresses that are written as the number they stand for: only where the name says so."""
    if column.kind != "number" or not _ADDRESS & set(column.words):
        return None
    given = column.values[column.given]
    addresses = given[(given >= _FIRST_ADDRESS) & (given < _BEYOND_ADDRESSES)].astype(np.int64)
    if not len(given) or len(addresses) < _FITS * len(given):
        return None
    for bits in _BITS_OF_NUMBERS:
        n_values = len(np.unique(addresses >> (32 - bits)))
        if n_values >= _FEWEST_ROLE and len(addresses) / n_values >= _LEAST_REUSE:
            reuse = len(addresses) / n_values
            why = f"{n_values:,} networks of {len(addresses):,} addresses looked at, {reuse:,.1f} events each"
            return DerivedGuess(
                name=name,
                how="ip_prefix",
                inputs=(known.get(column.name, column.name),),
                is_role=True,
                columns=(column.name,),
                why=f"{why}; the numbers of {column.name} are taken for IPv4",
                bits=bits,
            )
    return None


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


def places_of(profile: Profile, forbidden: set[str]) -> list[tuple[Column, Column]]:
    """Pairs of columns that are latitude and longitude of one place, by their names and numbers."""
    places: dict[tuple[str, ...], dict[str, Column]] = {}
    for column in profile.columns:
        if column.kind != "number" or column.name in forbidden:
            continue
        for sign, names, most in (("lat", _LATITUDE, 90.0), ("long", _LONGITUDE, 180.0)):
            rest = tuple(word for word in column.words if word not in names)
            given = column.values[column.given]
            if len(rest) < len(column.words) and len(given) and float(np.abs(given).max()) <= most:
                places.setdefault(rest, {})[sign] = column
    return [(place["lat"], place["long"]) for place in places.values() if len(place) == 2]


def _distance(profile: Profile, known: Mapping[str, str], forbidden: set[str], taken: set[str]) -> DerivedGuess | None:
    """The way between the first two places that have a latitude and a longitude each."""
    whole = places_of(profile, forbidden)
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

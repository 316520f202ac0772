# SPDX-License-Identifier: Apache-2.0
"""What single values are turned into by `derive:`. One function a kind, for live events and columns alike.

What a value is made of comes as text, whatever the source held (`input_text`, `input_texts`): a column of a CSV file
has nothing else, and a number written out loses nothing. None stands for missing, and for what cannot be derived.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.factor import factorise
from ringfence.scenario.identity import id_text, id_texts

EARTH_KM: Final = 6371.0088  # mean radius (IUGG)
LONGEST_INPUT: Final = 100_000  # characters
_LONGEST_DOMAIN: Final = 253  # characters (RFC 1035)
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_DOMAIN: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+")


def input_text(value: object) -> str | None:
    """One source value as text: whole numbers as decimals, true and false as such. None where it is no single value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return (id_text(value) or repr(value)) if math.isfinite(value) else None
    if isinstance(value, int):
        return id_text(value)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_INPUT:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def input_texts(values: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    """`input_text` of a column, null where None, and which rows gave something; shape (n,). NaN and "" give nothing."""
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if isinstance(values.dtype, pl.Decimal) and values.dtype.scale:
        values = values.cast(pl.Float64)
    given = values.is_not_null()
    if values.dtype == pl.String:
        given &= (values != "").fill_null(False)
        fits = values.str.len_chars().is_between(1, LONGEST_INPUT).fill_null(False)
        return values.set(~fits, None), given.to_numpy()
    if values.dtype == pl.Boolean:
        return values.cast(pl.String), given.to_numpy()
    if values.dtype.is_float():
        values = values.cast(pl.Float64).fill_nan(None)
        factor = factorise(values)
        texts = pl.Series(values.name, [*(input_text(v) for v in factor.uniques.to_list()), None], dtype=pl.String)
        return texts.gather(np.where(factor.codes < 0, len(factor.uniques), factor.codes)), factor.codes >= 0
    if values.dtype.is_integer() or isinstance(values.dtype, pl.Decimal):
        return id_texts(values)[0], given.to_numpy()
    return pl.Series(values.name, [None] * len(values), dtype=pl.String), given.to_numpy()


def number_of(text: str) -> float | None:
    """The finite number that a text writes out; None where it writes none."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text) + 0.0
    return number if math.isfinite(number) else None


def email_domain(text: str) -> str | None:
    """What stands behind the last @ of an address, in small letters, without a final dot.

    None where there is no local part, or where the domain has fewer than two parts, spaces or other signs. Names in
    other scripts stay as they are written: their ASCII form (xn--…) is another text.
    """
    local, at, domain = text.strip().rpartition("@")
    if not local or not at or len(domain) > _LONGEST_DOMAIN + 1:
        return None
    domain = domain.lower().removesuffix(".")
    return domain if len(domain) <= _LONGEST_DOMAIN and _DOMAIN.fullmatch(domain) is not None else None


def entropy(text: str) -> float:
    """Shannon entropy of the characters of a non-empty text, in bits per character.

    0 for one character repeated, log2(n) for n different ones. Characters are Unicode code points, capitals their own.
    """
    n = len(text)
    if n == 0:
        return 0.0
    # In the order of the counts, so that equal distributions give equal bits.
    return abs(sum(-count / n * math.log2(count / n) for count in sorted(Counter(text).values())))


def distance_km(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float | None:
    """Great-circle distance between two places in degrees; None where one lies off the globe.

    Notes
    -----
    Haversine on the mean sphere: within 0.6 % of the ellipsoid (Sinnott, "Virtues of the haversine", Sky & Telescope
    68, 1984).
    """
    if not (abs(latitude) <= 90.0 and abs(to_latitude) <= 90.0):
        return None
    if not (abs(longitude) <= 180.0 and abs(to_longitude) <= 180.0):
        return None
    phi, to_phi = math.radians(latitude), math.radians(to_latitude)
    half = math.sin((to_phi - phi) / 2) ** 2
    half += math.cos(phi) * math.cos(to_phi) * math.sin(math.radians(to_longitude - longitude) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, half)))

# SPDX-License-Identifier: Apache-2.0
"""Which decimal sign a file has: its columns of numbers have to agree, for a source says one."""

from __future__ import annotations

from ringfence.drafting.profile import Column


def decimal_of(numbers: list[Column]) -> tuple[str | None, list[str]]:
    """The decimal sign of the most columns, and those that have another one; None where plain numbers need no word."""
    signs: dict[str, list[str]] = {}
    for column in numbers:
        spelling = column.spelling
        if not column.is_texts or spelling.either or spelling.any_decimal:
            continue
        if spelling.decimal is not None or not column.is_whole:
            signs.setdefault(spelling.decimal or "plain", []).append(column.name)
    dots = signs.get("plain", []) + signs.get(".", [])
    commas = signs.get(",", [])
    if commas and len(commas) >= len(dots):
        return ",", dots
    # Two columns that need no word among others, whose signs nothing tells apart, are read with a decimal point.
    needed = "." in signs or any(
        column.is_texts and (column.spelling.decimal is not None) and column.name not in commas for column in numbers
    )
    return ("." if needed else None), commas


def decimal_oddities(numbers: list[Column], decimal: str | None) -> list[str]:
    """Name the columns of which nothing says whether their sign is a decimal one."""
    told = []
    for column in numbers:
        cell = column.spelling.either
        if cell and decimal != ",":
            sign, means = (",", "thousands") if "," in cell else (".", "decimals")
            told.append(
                f"{column.name}: in cells such as {cell!r} nothing tells thousands from decimals, and {sign!r} is "
                f'taken for {means}; if that is wrong, write `decimal: ","` beside `files`'
            )
    return told

# SPDX-License-Identifier: Apache-2.0
"""Labels that come with the rows of a file."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.batch import FRAUD, LEGIT, NO_LABEL
from ringfence.scenario.errors import InvalidEventError, did_you_mean
from ringfence.scenario.factor import factorise
from ringfence.scenario.identity import id_text
from ringfence.scenario.rejects import Rejects
from ringfence.scenario.spec import EventType, Label
from ringfence.scenario.times import (
    EVENT_TIME_TO_MS,
    HOW_TO_WRITE,
    NOT_MILLISECONDS,
    look_like_seconds,
    moments_ms,
)


def read_labels(
    event_type: EventType, frame: pl.DataFrame, time_ms: NDArray[np.int64], time_zone: str, rejects: Rejects
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Read what the rows say about themselves.

    Returns
    -------
    value (FRAUD, LEGIT or NO_LABEL) and known_at in ms (0 where there is no label), each of shape (n,).
    """
    label = event_type.label
    value = np.full(frame.height, NO_LABEL, np.int8)
    known_at_ms = np.zeros(frame.height, np.int64)
    if label is None or label.column is None:
        return value, known_at_ms
    value = _label_values(label, _column(frame, label.column, "label.field"), rejects)
    labelled = value != NO_LABEL
    if label.delay_ms is not None:
        known_at_ms = time_ms + label.delay_ms
    elif label.known_at_column is not None:
        column = _column(frame, label.known_at_column, "label.known_at")
        known_at_ms, missing, bad = moments_ms(column, time_zone)
        rejects.add(column.name, bad, HOW_TO_WRITE)
        rejects.add(column.name, missing & labelled, "a label needs the moment at which it became known")
        seconds = look_like_seconds(column) & labelled
        rejects.add(column.name, seconds, NOT_MILLISECONDS)
        known = labelled & ~missing & ~bad & ~seconds
        rejects.add(column.name, known & (known_at_ms < time_ms), "a label is known before its event; check the column")
        rejects.add(column.name, known & (known_at_ms >= EVENT_TIME_TO_MS), "a time lies in the years 1970 to 2199")
    return value, np.where(labelled, known_at_ms, np.int64(0))


def _label_values(label: Label, column: pl.Series, rejects: Rejects) -> NDArray[np.int8]:
    meaning = dict.fromkeys(label.fraud, FRAUD) | dict.fromkeys(label.legit, LEGIT)
    meaning |= dict.fromkeys(label.unlabelled, NO_LABEL)
    if column.dtype.is_float():
        column = column.fill_nan(None)
    factor = factorise(column)
    unknown = 2  # beside FRAUD, LEGIT and NO_LABEL
    codes = [
        next((meaning[text] for text in _spellings(value) if text in meaning), unknown)
        for value in factor.uniques.to_list()
    ]
    value = np.array([*codes, NO_LABEL], np.int8)[factor.codes]
    words = ", ".join(sorted(label.fraud + label.legit))
    rejects.add(
        column.name,
        value == unknown,
        f"the scenario maps {words} to a label; add this value to label.values as fraud, legit or unlabelled",
    )
    return np.where(value == unknown, np.int8(NO_LABEL), value)


def _spellings(value: object) -> list[str]:
    """How the scenario file may write a source value: in CSV, 1 may have become `1.0`, and true `True`."""
    text = id_text(value) or str(value)
    plain = text.removesuffix(".0")
    truth = {"true": "1", "false": "0", "1": "true", "0": "false"}.get(plain.lower())
    return [text, plain, text.lower(), *([truth] if truth is not None else [])]


def _column(frame: pl.DataFrame, name: str, what: str) -> pl.Series:
    if name not in frame.columns:
        raise InvalidEventError(name, "no such column", f"{what} is mapped to it; {did_you_mean(name, frame.columns)}")
    return frame[name]

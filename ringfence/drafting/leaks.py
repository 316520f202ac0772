# SPDX-License-Identifier: Apache-2.0
"""Columns that know too much: each with the numbers that speak against it."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.drafting.evidence import Floats, category_auc, number_auc, roc_auc, span_text, spearman
from ringfence.drafting.names import comes_after, hints
from ringfence.drafting.profile import Column

DETERMINES: Final = 0.97  # ROC-AUC of one column alone from which on it is left out
SUSPECT: Final = 0.90  # and from which on it is told
_ORDERS: Final = 0.99  # rank correlation with the time
MOST_LATER: Final = 0.01  # share of rows after the event from which on a moment is left out
_UNIQUE: Final = 0.95  # share of different whole numbers from which on they number the rows
_FEWEST: Final = 10  # rows of a class without which nothing is concluded
_PURE, _COVERS, _OFTEN = 0.99, 0.3, 30  # a value that is almost only fraud, and the share of all fraud it holds


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """Why a column should not teach a model, or should be looked at."""

    column: str
    why: str
    is_leak: bool  # left out of a draft; otherwise only told
    ask: str = ""  # what only who knows the data can answer


def suspicion_of(column: Column, truth: Floats | None, event_ms: Floats | None, row: Floats) -> Suspicion | None:
    """Hold one column against the label and the time.

    Parameters
    ----------
    truth : (sample,) 1 fraud, 0 legit, NaN not known; None without a label.
    event_ms : (sample,) when the events happened; None where the file does not say.
    row : (sample,) the rows' places in the file.
    """
    found = _tells_label(column, truth)
    if found is not None:
        return Suspicion(column=column.name, why=found, is_leak=True)
    found = _orders(column, event_ms, row)
    if found is not None:
        return Suspicion(column=column.name, why=found, is_leak=True)
    later = _later(column, event_ms)
    if later is not None and later.is_leak:
        return later
    auc = column_auc(column, truth)
    if comes_after(column.words):
        told = "" if np.isnan(auc) else f" (alone it has ROC-AUC {auc:.3f})"
        return Suspicion(
            column=column.name, why=f"its name suggests that it comes after the outcome{told}", is_leak=True
        )
    if auc >= SUSPECT:
        why = f"alone it has ROC-AUC {auc:.3f}: make sure that it is known at the time of the event"
        return Suspicion(column=column.name, why=why, is_leak=False)
    return later


def id_suspicion_of(column: Column, truth: Floats | None) -> Suspicion | None:
    """Hold a column of ids against the label: whom it names may well tell the label, that it names somebody may not."""
    known = _known(truth)
    auc = float("nan")
    if truth is not None and known is not None:
        auc = _given_auc(column, known, truth[known] == 1.0)
    if auc >= DETERMINES:
        why = f"that it is filled almost determines the label (ROC-AUC {auc:.3f})"
        return Suspicion(column=column.name, why=why, is_leak=True)
    if comes_after(column.words):
        why = "its name suggests that it comes after the outcome"
        return Suspicion(column=column.name, why=why, is_leak=True)
    return None


def column_auc(column: Column, truth: Floats | None) -> float:
    """How well the column alone tells the label; missing is a value of its own. NaN where too little is known."""
    known = _known(truth)
    if truth is None or known is None:
        return float("nan")
    is_fraud = truth[known] == 1.0
    if column.kind in ("number", "time") and bool(column.given[known].all()):
        return number_auc(column.values[known], is_fraud)
    if column.kind in ("number", "time"):
        return max(_binned_auc(column.values[known], is_fraud), _given_auc(column, known, is_fraud))
    if column.kind in ("text", "boolean"):
        return category_auc(column.codes[known], is_fraud)
    return _given_auc(column, known, is_fraud)


def order_auc(truth: Floats | None, row: Floats) -> float:
    """How well a row's place in the file alone tells the label; NaN where too little is known."""
    known = _known(truth)
    return float("nan") if truth is None or known is None else number_auc(row[known], truth[known] == 1.0)


def _tells_label(column: Column, truth: Floats | None) -> str | None:
    known = _known(truth)
    if truth is None or known is None:
        return None
    is_open = _only_where_open(column, known)
    if is_open is not None:
        return is_open
    is_fraud = truth[known] == 1.0
    auc = column_auc(column, truth)
    if auc >= DETERMINES:
        return f"it almost determines the label (alone it has ROC-AUC {auc:.3f})"
    given = column.given[known]
    n_fraud, n_given = int((is_fraud & given).sum()), int(given.sum())
    if n_given < 0.9 * len(given):
        if n_given >= 2 * _FEWEST and n_fraud >= 0.95 * n_given and is_fraud.mean() < 0.5:
            return f"it is filled almost only where the label is fraud ({n_fraud:,} of {n_given:,} filled rows)"
        if min(n_fraud, n_given - n_fraud) >= _FEWEST and column.kind not in ("list", "other"):
            inside = given & True
            values, frauds = column.values[known][inside], is_fraud[inside]
            within = number_auc(values, frauds) if column.kind in ("number", "time") else roc_auc(values, frauds)
            if max(within, 1.0 - within) >= DETERMINES:
                return (
                    f"where it is filled ({n_given:,} of {len(given):,} rows) it almost determines the label "
                    f"(ROC-AUC {within:.3f})"
                )
    if column.n_distinct <= 50 and column.kind != "list":
        codes = column.codes[known]
        seen, frauds_of = np.bincount(codes), np.bincount(codes, weights=is_fraud.astype(float))
        pure = (seen >= _OFTEN) & (frauds_of >= _PURE * seen) & (frauds_of >= _COVERS * is_fraud.sum())
        if pure.any() and is_fraud.mean() < 0.5:
            at = int(np.argmax(pure))
            return (
                f"one of its values is almost only fraud ({int(frauds_of[at]):,} of {int(seen[at]):,} rows, "
                f"{100 * frauds_of[at] / is_fraud.sum():.0f} % of all fraud)"
            )
    return None


def _only_where_open(column: Column, known: NDArray[np.bool_]) -> str | None:
    """Whether a column says one thing wherever the label is known, and mostly another where it is not yet."""
    n_open = int((~known).sum())
    if n_open < _OFTEN or n_open < 0.01 * len(known) or column.kind in ("list", "other") or column.n_distinct < 2:
        return None
    codes = column.codes
    seen = np.bincount(codes[known])
    usual = int(np.argmax(seen))
    n_other = int((codes[~known] != usual).sum())
    if seen[usual] < _PURE * known.sum() or n_other < 0.5 * n_open:
        return None
    return (
        f"it says the same in {100 * seen[usual] / known.sum():.0f} % of the rows with a label, and something else in "
        f"{n_other:,} of the {n_open:,} without one: it follows what becomes the label"
    )


def _orders(column: Column, event_ms: Floats | None, row: Floats) -> str | None:
    if column.kind != "number" or column.n_distinct <= 20:
        return None
    order, what = (row, "the order of the rows") if event_ms is None else (event_ms, "the time")
    rho = spearman(column.values, order)
    if abs(rho) >= _ORDERS:
        return f"it orders {what} (rank correlation {rho:.3f})"
    given = column.values[column.given]
    if not column.is_whole or column.n_distinct < _UNIQUE * column.n_given:
        return None
    counts = float(given.max() - given.min()) < 2.0 * column.n_rows
    if counts or hints(column.words[-1:], "numbered"):
        follows = f", and follows {what} (rank correlation {rho:.2f})" if abs(rho) > 0.2 else ""
        return f"it numbers the rows ({column.n_distinct:,} different in {column.n_given:,}){follows}"
    return None


def _later(column: Column, event_ms: Floats | None) -> Suspicion | None:
    """Say in how many rows a moment lies after the event, and by how much; None where it does in none.

    In more than 1 % of the rows it is a leak, whatever its name says: it was written after the event, or made of what
    came later. In fewer it is told, and kept: clocks differ, and people mistype.
    """
    if column.kind != "time" or event_ms is None:
        return None
    both = column.given & ~np.isnan(event_ms)
    by: Floats = (column.values - event_ms)[both]
    by = by[by > 0.0]
    if not len(by):
        return None
    n = int(both.sum())
    why = (
        f"it lies after the event in {len(by):,} of {n:,} rows looked at, by {span_text(float(np.median(by)))} at the "
        f"median and {span_text(float(by.max()))} at most"
    )
    if len(by) > MOST_LATER * n:
        ask = (
            f"in more than {100 * MOST_LATER:g} % of the rows, so it may be written or derived later; keep it only "
            "if it was fixed before the event, as an expiry date is"
        )
        return Suspicion(column=column.name, why=why, is_leak=True, ask=ask)
    ask = f"in at most {100 * MOST_LATER:g} % of the rows, so it is kept; are those mistyped?"
    return Suspicion(column=column.name, why=why, is_leak=False, ask=ask)


def _known(truth: Floats | None) -> NDArray[np.bool_] | None:
    if truth is None:
        return None
    known: NDArray[np.bool_] = ~np.isnan(truth)
    n_fraud = int((truth[known] == 1.0).sum())
    return known if min(n_fraud, int(known.sum()) - n_fraud) >= _FEWEST else None


def _binned_auc(values: Floats, is_fraud: NDArray[np.bool_]) -> float:
    """AUC of a number with gaps: twenty bins of equal mass, and one for what is missing."""
    given = ~np.isnan(values)
    if int(given.sum()) < _FEWEST:
        return 0.5
    edges = np.unique(np.quantile(values[given], np.linspace(0.05, 0.95, 19)))
    codes = np.where(given, np.searchsorted(edges, np.where(given, values, 0.0)) + 1, 0)
    return category_auc(codes.astype(np.int64), is_fraud)


def _given_auc(column: Column, known: NDArray[np.bool_], is_fraud: NDArray[np.bool_]) -> float:
    auc = roc_auc(column.given[known].astype(float), is_fraud)
    return max(auc, 1.0 - auc)

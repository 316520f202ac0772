# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Read one entity, one pair, one event into scratch. Nothing here writes state."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ringfence.engine import layout
from ringfence.engine._kernels_log import first_after, first_after_mark, mark_of, ring_index

# numba freezes module globals when it compiles: plain names, so that each is a constant in the code.
MISSING_AMOUNT, NEVER = layout.MISSING_AMOUNT, layout.NEVER
RECENT, RECENT_MEAN, RECENT_LABELS = layout.RECENT, layout.RECENT_MEAN, layout.RECENT_LABELS
LARGE, LEAST_MEAN, RATE_STRENGTH = layout.LARGE, layout.LEAST_MEAN, layout.RATE_STRENGTH
IS_NEW, COUNT, AGE, GAP, MEAN_GAP = layout.IS_NEW, layout.COUNT, layout.AGE, layout.GAP, layout.MEAN_GAP
AMOUNT_TO_MEAN, AMOUNT_Z, AMOUNT_TO_LAST = layout.AMOUNT_TO_MEAN, layout.AMOUNT_Z, layout.AMOUNT_TO_LAST
AMOUNT_TO_RECENT, AMOUNT_TO_MAX, BURST = layout.AMOUNT_TO_RECENT, layout.AMOUNT_TO_MAX, layout.BURST
MEAN_AMOUNT = layout.MEAN_AMOUNT
FRAUDS, FRAUD_RATE, KNOWN = layout.FRAUDS, layout.FRAUD_RATE, layout.KNOWN
SINCE_FRAUD_KNOWN, SINCE_FRAUD, SINCE_KNOWN_EVENT = (
    layout.SINCE_FRAUD_KNOWN,
    layout.SINCE_FRAUD,
    layout.SINCE_KNOWN_EVENT,
)
FRAUD_RUN, LEGIT_RUN, RUN_AGE = layout.FRAUD_RUN, layout.LEGIT_RUN, layout.RUN_AGE
RECENT_FRAUD_SHARE = layout.RECENT_FRAUD_SHARE
WINDOWED = layout.WINDOWED
W_COUNT, W_SUM, W_MEAN, W_MAX = layout.W_COUNT, layout.W_SUM, layout.W_MEAN, layout.W_MAX
W_TO_MEAN, W_LARGE = layout.W_TO_MEAN, layout.W_LARGE
W_FRAUDS, W_KNOWN, W_RATE = layout.W_FRAUDS, layout.W_KNOWN, layout.W_RATE
W_NEW = layout.W_NEW
NEED_WINDOWS, NEED_RECENT = layout.NEED_WINDOWS, layout.NEED_RECENT
NEED_LABEL_WINDOWS, NEED_LABEL_RUNS = layout.NEED_LABEL_WINDOWS, layout.NEED_LABEL_RUNS
NEED_HISTORY, NEED_MEANS = layout.NEED_HISTORY, layout.NEED_MEANS
P_IS_NEW, P_COUNT, P_GAP, P_AGE = layout.P_IS_NEW, layout.P_COUNT, layout.P_GAP, layout.P_AGE
P_FRAUDS, P_KNOWN = layout.P_FRAUDS, layout.P_KNOWN
P_REVERSE_COUNT, P_REVERSE_GAP = layout.P_REVERSE_COUNT, layout.P_REVERSE_GAP
E_AMOUNT, E_HOUR, E_WEEKDAY, E_WEEKEND = layout.E_AMOUNT, layout.E_HOUR, layout.E_WEEKDAY, layout.E_WEEKEND
E_NIGHT, E_MONTH_DAY, E_VALUES = layout.E_NIGHT, layout.E_MONTH_DAY, layout.E_VALUES
SECOND_MS, MINUTE_MS = layout.SECOND_MS, layout.MINUTE_MS
HOUR_MS, DAY_MS = layout.HOUR_MS, layout.DAY_MS


@njit(cache=True, nogil=True, _nrt=False)
def blank(out):
    # A loop becomes wide stores; `out[:] = np.nan` becomes a general broadcast, which costs more than reading a window.
    for i in range(out.shape[0]):
        out[i] = np.nan


@njit(cache=True, nogil=True, _nrt=False)
def floors_of(time_ms, windows_ms, granules_ms, out):
    # (time_ms - span) // granule * granule, written out: division by a constant is a multiplication, by a variable it
    # costs 20 ns.
    for w in range(windows_ms.shape[0]):
        low_ms = time_ms - windows_ms[w]
        if granules_ms[w] == HOUR_MS:
            out[w] = low_ms // HOUR_MS * HOUR_MS
        elif granules_ms[w] == MINUTE_MS:
            out[w] = low_ms // MINUTE_MS * MINUTE_MS
        else:
            out[w] = low_ms // SECOND_MS * SECOND_MS


@njit(cache=True, nogil=True, _nrt=False)
def read_entity(slot, time_ms, amount, floors, minor_per_major, prior, needs, keys, risk, out):
    # What needs no log. A new entity has counts of 0 and no averages.
    n_windows = floors.shape[0]
    blank(out)
    out[FRAUDS] = 0.0
    out[KNOWN] = 0.0
    out[FRAUD_RATE] = prior
    if slot < 0:
        out[IS_NEW] = 1.0
        out[COUNT] = 0.0
        if needs & NEED_WINDOWS:
            for w in range(n_windows):
                out[WINDOWED + W_COUNT * n_windows + w] = 0.0
                out[WINDOWED + W_SUM * n_windows + w] = 0.0
                out[WINDOWED + W_NEW * n_windows + w] = 0.0
        if needs & NEED_RECENT:
            for w in range(n_windows):
                out[WINDOWED + W_LARGE * n_windows + w] = 0.0
        if needs & NEED_LABEL_WINDOWS:
            for w in range(n_windows):
                out[WINDOWED + W_FRAUDS * n_windows + w] = 0.0
                out[WINDOWED + W_KNOWN * n_windows + w] = 0.0
                out[WINDOWED + W_RATE * n_windows + w] = prior
        if needs & NEED_LABEL_RUNS:
            out[FRAUD_RUN] = 0.0
            out[LEGIT_RUN] = 0.0
        return
    if needs & NEED_HISTORY == 0:
        return
    row = keys[slot]
    n = row["n_events"]
    out[IS_NEW] = 0.0
    out[COUNT] = n
    out[AGE] = (time_ms - row["first_ms"]) / DAY_MS
    out[GAP] = (time_ms - row["newest_ms"]) / HOUR_MS
    if n > 1:
        out[MEAN_GAP] = (row["newest_ms"] - row["first_ms"]) / (n - 1) / HOUR_MS
    n_amounts = row["n_amounts"]
    if n_amounts > 0:
        mean = row["mean"]
        out[MEAN_AMOUNT] = mean / minor_per_major
        if amount != MISSING_AMOUNT:
            if mean > LEAST_MEAN:
                out[AMOUNT_TO_MEAN] = amount / mean
            if n_amounts > 1 and row["deviation"] > 0.0:
                out[AMOUNT_Z] = (amount - mean) / math.sqrt(row["deviation"] / (n_amounts - 1))
            if row["last_amount"] > 0:
                out[AMOUNT_TO_LAST] = amount / row["last_amount"]
    labels = risk[slot]
    n_known = labels["n_known"]
    n_fraud = labels["n_fraud"]
    out[FRAUDS] = n_fraud
    out[KNOWN] = n_known
    out[FRAUD_RATE] = (n_fraud + prior * RATE_STRENGTH) / (n_known + RATE_STRENGTH)
    if labels["last_fraud_known_ms"] != NEVER:
        out[SINCE_FRAUD_KNOWN] = (time_ms - labels["last_fraud_known_ms"]) / DAY_MS
        out[SINCE_FRAUD] = (time_ms - labels["last_fraud_event_ms"]) / DAY_MS


@njit(cache=True, nogil=True, _nrt=False)
def read_events(ring, log, marks, keep, time_ms, amount, floors, minor_per_major, mean, needs, out):
    # Windows over the entity's event log. One walk back over the newest entries serves maxima and short windows;
    # windows that reach further are searched from their marks, which are moved on where `keep`.
    n_windows = floors.shape[0]
    if n_windows == 0:
        return
    size = ring["size"]
    end = size
    if size > 0 and log[ring_index(ring, size - 1)]["time_ms"] > time_ms:
        end = first_after(ring, log, time_ms, size)
    total = np.int64(0)
    n_total = np.int64(0)
    new_total = np.int64(ring["n_new"])
    if end < size:
        new_total = np.int64(log[ring_index(ring, end)]["new_before"])
    if end > 0:
        newest = log[ring_index(ring, end - 1)]
        total = newest["sum_before"]
        n_total = newest["n_before"]
        if newest["amount"] != MISSING_AMOUNT:
            total += newest["amount"]
            n_total += 1
    start = end
    w = 0
    if needs & NEED_RECENT:
        largest = np.int64(MISSING_AMOUNT)
        n_large = 0
        large = LARGE * mean
        recent = np.int64(0)
        n_recent = 0
        stop = max(np.int64(0), end - RECENT)
        i = end - 1
        while i >= stop:
            entry = log[ring_index(ring, i)]
            entry_ms = entry["time_ms"]
            while w < n_windows and entry_ms <= floors[w]:
                _put_recent(out, n_windows, w, largest, n_large, minor_per_major)
                _put_window(
                    out, n_windows, w, log, ring, i + 1, end, total, n_total, new_total, amount, minor_per_major, needs
                )
                w += 1
            if w == n_windows:
                break
            entry_amount = entry["amount"]
            if entry_amount != MISSING_AMOUNT:
                if entry_amount > largest:
                    largest = entry_amount
                if entry_amount > large:
                    n_large += 1
                if n_recent < RECENT_MEAN:
                    recent += entry_amount
                    n_recent += 1
            i -= 1
        for later in range(w, n_windows):
            _put_recent(out, n_windows, later, largest, n_large, minor_per_major)
        if amount != MISSING_AMOUNT:
            if recent > 0:
                out[AMOUNT_TO_RECENT] = amount / (recent / n_recent)
            if largest > 0:
                out[AMOUNT_TO_MAX] = amount / largest
        start = i + 1
    while w < n_windows:
        start = first_after_mark(ring, log, floors[w], start, marks[w])
        if keep and end > 0:
            marks[w] = mark_of(ring, start)
        _put_window(out, n_windows, w, log, ring, start, end, total, n_total, new_total, amount, minor_per_major, needs)
        w += 1
    longest = out[WINDOWED + W_COUNT * n_windows + n_windows - 1]
    if longest > 0.0:
        out[BURST] = out[WINDOWED + W_COUNT * n_windows] / longest


@njit(cache=True, nogil=True, _nrt=False)
def _put_recent(out, n_windows, w, largest, n_large, minor_per_major):
    if largest != MISSING_AMOUNT:
        out[WINDOWED + W_MAX * n_windows + w] = largest / minor_per_major
    out[WINDOWED + W_LARGE * n_windows + w] = n_large


@njit(cache=True, nogil=True, _nrt=False)
def _put_window(out, n_windows, w, log, ring, start, end, total, n_total, new_total, amount, minor_per_major, needs):
    out[WINDOWED + W_COUNT * n_windows + w] = end - start
    paid = np.int64(0)
    n_paid = np.int64(0)
    n_new = np.int64(0)
    if start < end:
        first = log[ring_index(ring, start)]
        n_new = new_total - first["new_before"]
        paid = total - first["sum_before"]
        n_paid = n_total - first["n_before"]
    out[WINDOWED + W_SUM * n_windows + w] = paid / minor_per_major
    out[WINDOWED + W_NEW * n_windows + w] = n_new
    if n_paid > 0 and needs & NEED_MEANS:
        mean = paid / n_paid
        out[WINDOWED + W_MEAN * n_windows + w] = mean / minor_per_major
        if amount != MISSING_AMOUNT and mean > 0.0:
            out[WINDOWED + W_TO_MEAN * n_windows + w] = amount / mean


@njit(cache=True, nogil=True, _nrt=False)
def read_labels(ring, log, marks, keep, time_ms, floors, prior, needs, out):
    # Labels by the time they became known. Runs are counted back from the newest label.
    n_windows = floors.shape[0]
    size = ring["size"]
    if needs & NEED_LABEL_WINDOWS:
        end = size
        if size > 0 and log[ring_index(ring, size - 1)]["time_ms"] > time_ms:
            end = first_after(ring, log, time_ms, size)
        total = np.int64(0)
        if end > 0:
            newest = log[ring_index(ring, end - 1)]
            total = np.int64(newest["fraud_before"]) + newest["value"]
        start = end
        for w in range(n_windows):
            start = first_after_mark(ring, log, floors[w], start, marks[w])
            if keep and end > 0:
                marks[w] = mark_of(ring, start)
            n_known = end - start
            n_fraud = np.int64(0)
            if n_known > 0:
                n_fraud = total - log[ring_index(ring, start)]["fraud_before"]
            out[WINDOWED + W_FRAUDS * n_windows + w] = n_fraud
            out[WINDOWED + W_KNOWN * n_windows + w] = n_known
            out[WINDOWED + W_RATE * n_windows + w] = (n_fraud + prior * RATE_STRENGTH) / (n_known + RATE_STRENGTH)
    if needs & NEED_LABEL_RUNS:
        _read_runs(ring, log, time_ms, out)


@njit(cache=True, nogil=True, _nrt=False)
def _read_runs(ring, log, time_ms, out):
    size = ring["size"]
    n_legit = 0
    n_fraud = 0
    n_seen = 0
    n_seen_fraud = 0
    run_start_ms = np.int64(NEVER)
    in_run = True
    i = size - 1
    stop = max(np.int64(0), size - RECENT)
    if size > 0:
        out[SINCE_KNOWN_EVENT] = (time_ms - log[ring_index(ring, i)]["event_time_ms"]) / DAY_MS
    while i >= stop and (in_run or n_seen < RECENT_LABELS):
        entry = log[ring_index(ring, i)]
        is_fraud = entry["value"] == 1
        if n_seen < RECENT_LABELS:
            n_seen += 1
            if is_fraud:
                n_seen_fraud += 1
        if in_run:
            if is_fraud:
                n_fraud += 1
                run_start_ms = entry["event_time_ms"]
            elif n_fraud == 0:
                n_legit += 1
            else:
                in_run = False
        i -= 1
    # The newest run of frauds, with the legit labels that came after it.
    out[LEGIT_RUN] = n_legit
    out[FRAUD_RUN] = n_fraud
    if n_seen > 0:
        out[RECENT_FRAUD_SHARE] = n_seen_fraud / n_seen
    if n_fraud > 0:
        out[RUN_AGE] = (time_ms - run_start_ms) / DAY_MS


@njit(cache=True, nogil=True, _nrt=False)
def read_pair(slot, reverse_slot, time_ms, pairs, out):
    blank(out)
    out[P_FRAUDS] = 0.0
    out[P_KNOWN] = 0.0
    out[P_REVERSE_COUNT] = 0.0
    if reverse_slot >= 0:
        other_way = pairs[reverse_slot]
        out[P_REVERSE_COUNT] = other_way["n_events"]
        out[P_REVERSE_GAP] = (time_ms - other_way["newest_ms"]) / HOUR_MS
    if slot < 0:
        out[P_IS_NEW] = 1.0
        out[P_COUNT] = 0.0
        return
    row = pairs[slot]
    out[P_IS_NEW] = 0.0
    out[P_COUNT] = row["n_events"]
    out[P_GAP] = (time_ms - row["newest_ms"]) / HOUR_MS
    out[P_AGE] = (time_ms - row["first_ms"]) / DAY_MS
    out[P_FRAUDS] = row["n_fraud"]
    out[P_KNOWN] = row["n_known"]


@njit(cache=True, nogil=True, _nrt=False)
def read_event(time_ms, offset_ms, amount, minor_per_major, values, out):
    local_ms = time_ms + offset_ms
    day = local_ms // DAY_MS
    hour = (local_ms - day * DAY_MS) // HOUR_MS
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    out[E_AMOUNT] = np.nan
    if amount != MISSING_AMOUNT:
        out[E_AMOUNT] = amount / minor_per_major
    out[E_HOUR] = hour
    out[E_WEEKDAY] = weekday
    out[E_WEEKEND] = 1.0 if weekday >= 5 else 0.0
    out[E_NIGHT] = 1.0 if hour < 6 else 0.0
    # Day of the month from days since 1970 (Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
    of_era = (day + 719468) % 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    out[E_MONTH_DAY] = of_year - (153 * month + 2) // 5 + 1
    for v in range(values.shape[0]):
        out[E_VALUES + v] = values[v]


@njit(cache=True, nogil=True, _nrt=False)
def gather(gathers, first, last, stats, row, n_seen):
    # Carry statistics of one entity into the feature row. n_seen counts, per gather, the entities with a value.
    for g in range(first, last):
        how = gathers[g]["how"]
        value = stats[gathers[g]["source"]]
        column = gathers[g]["column"]
        if how == 0:
            row[column] = value
        elif value == value:
            n_seen[g] += 1
            if n_seen[g] == 1:
                row[column] = value
            elif how == 1:
                row[column] = max(row[column], value)
            else:
                row[column] += value


@njit(cache=True, nogil=True, _nrt=False)
def finish_averages(gathers, first, last, row, n_seen):
    for g in range(first, last):
        if gathers[g]["how"] == 2 and n_seen[g] > 1:
            row[gathers[g]["column"]] /= n_seen[g]
        n_seen[g] = 0

# SPDX-License-Identifier: Apache-2.0
"""The same model on parts of the events: entities seen before and never, and the values of attributes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ringfence.reports import Block, Callout, Section, Table, figure, small, whisker
from ringfence.reports.numerals import counted, decimal, share
from ringfence.reports.page import Cell
from ringfence.training.report.content import ReportInput
from ringfence.training.slices import FEW_FRAUDS, Slice

RATIO_AXIS = (0.25, 4.0)
AUC_AXIS = (0.4, 1.0)


def parts(report: ReportInput) -> Section | None:
    main = report.evaluations[0]
    blocks: list[Block] = []
    if main.slices:
        blocks.append(_table("Entities seen before, and never", main.slices, main.roc_auc.value, ()))
    if main.segments:
        caption = "Segments: the largest values of each attribute"
        blocks.append(_table(caption, main.segments, main.roc_auc.value, report.audit_only))
        blocks += _off(main.segments)
    if not blocks:
        return None
    return Section(
        anchor="parts",
        title="For whom it works",
        short="For whom it works",
        note="A model that only recognises old acquaintances fails on new ones, and a good mean can hide a part that "
        "is served badly. Observed to expected is the number of frauds over the sum of scores: 1 is honest, 2 means "
        f"twice as many frauds as promised. Parts with fewer than {FEW_FRAUDS} frauds are set back: their intervals "
        "say how little they show.",
        blocks=blocks,
    )


def _table(caption: str, slices: Sequence[Slice], auc: float, audit_only: Sequence[str]) -> Table:
    rows: list[list[Cell]] = []
    quiet = []
    group = None
    for part in slices:
        if part.group != group:
            group = part.group
            named = small(group, "kept out of the model") if group in audit_only else group
            rows.append([named])
        if part.few_frauds:
            quiet.append(len(rows))
        ratio, area = part.observed_to_expected, part.roc_auc
        rows.append(
            [
                part.name.removeprefix(f"{part.group} "),
                f"{part.n:,}",
                small(f"{part.n_fraud:,}", share(part.fraud_rate.value)),
                figure(ratio.value, ratio.low, ratio.high, lambda value: decimal(value, 2)),
                whisker(ratio.value, ratio.low, ratio.high, axis=RATIO_AXIS, guide=1.0, log=True),
                figure(area.value, area.low, area.high, decimal),
                whisker(area.value, area.low, area.high, axis=AUC_AXIS, guide=auc),
                _precision(part),
            ]
        )
    return Table(
        caption=caption,
        columns=["", "events", "frauds", "observed to expected", "", "ROC-AUC", "", "AP"],
        rows=rows,
        numeric=(1, 2, 3, 5, 7),
        quiet=tuple(quiet),
        note=f"Whiskers: observed to expected from {RATIO_AXIS[0]:g} to {RATIO_AXIS[1]:g} with 1 dotted; ROC-AUC from "
        f"{AUC_AXIS[0]:g} to {AUC_AXIS[1]:g} with that of all events dotted. Average precision (AP) rises with the "
        "fraud rate of the part: compare it only where rates are alike.",
    )


def _precision(part: Slice) -> Cell:
    found = part.average_precision
    return "too few" if part.few_frauds else figure(found.value, found.low, found.high, decimal)


def _off(segments: Sequence[Slice]) -> list[Block]:
    """Name the segments whose calibration is off beyond what chance over so many of them would explain."""
    told = [part for part in segments if np.isfinite(part.observed_to_expected.value)]
    off = [part for part in told if part.observed_to_expected.low > 1.0 or part.observed_to_expected.high < 1.0]
    if not off:
        return []
    expected = 0.05 * len(told)
    lines: list[Cell] = [
        f"{part.group} = {part.name}: {counted(part.n_fraud, 'fraud')} where scores promised "
        f"{part.n_fraud / part.observed_to_expected.value:.1f}"
        if part.n_fraud
        else f"{part.group} = {part.name}: no fraud where scores promised {part.n * part.mean_score:.1f}"
        for part in sorted(off, key=lambda part: -part.n)[:8]
    ]
    lines.append(f"Of {len(told)} segments about {expected:.1f} would stand out by chance alone.")
    return [Callout(tone="note", title="Segments whose interval does not hold 1", lines=lines)]

# SPDX-License-Identifier: Apache-2.0
"""What a recalibrated release says of itself: what changed, on labels that its calibration did not see."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence import __version__
from ringfence.reports import Facts, Figures, Page, Section, Table, figure
from ringfence.reports.numerals import date, share
from ringfence.reports.page import Cell
from ringfence.scoring.release import UNNAMED, Release
from ringfence.training.evaluation import Evaluation, plain, to_builtins
from ringfence.training.following import RULE, SELECTION, Following, card_lines, table_of, verdict_of
from ringfence.training.ranking import Interval
from ringfence.training.report.quality import reliability

FloatArray = NDArray[np.float64]

_SIGMAS: Final = 1.959964
_HEADLINE: Final = ("name", "n", "n_fraud", "average_precision", "roc_auc", "brier_skill", "ece", "calibration_slope")
_SHOWN: Final = (
    ("ece", "expected calibration error", 4),
    ("brier", "Brier score", 5),
    ("calibration_slope", "slope", 2),
)


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One rung on the judged events, under the calibrator of the base and under one that did not see them."""

    name: str  # full | gbdt | rules
    before: Evaluation
    after: Evaluation
    gain: Interval  # of the Brier score, mean per event; above zero: better after

    @property
    def verdict(self) -> str:
        if self.gain.low > 0.0:
            return "better"
        return "worse" if self.gain.high < 0.0 else "no clear difference"


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """What a recalibration was fitted on and what it changed. Times: when labels became known."""

    base: str
    after_ms: int  # exclusive
    until_ms: int  # inclusive
    n: int
    n_fraud: int
    n_fitted: int  # of them, by the calibration that is judged
    n_fitted_fraud: int
    judged_from_ms: int
    methods: dict[str, tuple[str, str]]  # by rung: before, now
    rungs: list[Rung]
    review_price: tuple[float, float]
    weights: Following | None = None  # None: nobody asked for them to follow

    @property
    def order_changed(self) -> bool:
        return self.weights is not None and self.weights.moved


def gain_of(before: FloatArray, after: FloatArray, fraud: NDArray[np.int8]) -> Interval:
    """Return by how much the Brier score falls, with a 95 % interval, paired and normal."""
    gains = (before - fraud) ** 2 - (after - fraud) ** 2
    reach = _SIGMAS * float(gains.std()) / float(np.sqrt(gains.shape[0]))
    return Interval(float(gains.mean()), float(gains.mean()) - reach, float(gains.mean()) + reach)


def headline_of(shift: Shift) -> dict[str, Any]:
    """Gather the figures worth reading first: those of the full score after."""
    built = to_builtins(shift.rungs[0].after)
    return {name: built[name] for name in _HEADLINE}


def metrics_of(base: Release, shift: Shift) -> dict[str, Any]:
    """Take over what the base measured of its models, and put what the calibration changed in its place."""
    text = msgspec.json.encode(base.metrics).replace(base.id.encode(), UNNAMED.encode())
    kept: dict[str, Any] = msgspec.json.decode(text)
    return {
        **kept,
        "headline": headline_of(shift),
        "evaluations": [to_builtins(shift.rungs[0].after)],
        "recalibrated": {
            **{name: value for name, value in plain(shift).items() if name != "rungs"},
            "rungs": [
                {
                    "name": rung.name,
                    "verdict": rung.verdict,
                    "brier_gain": plain(rung.gain),
                    **{
                        when: {name: plain(getattr(found, name)) for name, _, _ in _SHOWN}
                        for when, found in (("before", rung.before), ("after", rung.after))
                    },
                }
                for rung in shift.rungs
            ],
        },
    }


def card_of(base: Release, shift: Shift) -> str:
    """Return the card of the base with a section on what changed; what it measured is told as of before."""
    lines = [
        "## Recalibrated",
        f"The models are those of `{shift.base}`, untouched; what turns their scores into probabilities was fitted "
        f"anew{', with the weights of the stack,' if shift.order_changed else ''} on {_fitted_on(shift)}. Judged on "
        f"those that became known last ({_judged_on(shift)}), by a calibration on the ones before:",
        "",
        "| rung | figure | before | after |",
        "|---|---|---|---|",
    ]
    for rung in shift.rungs:
        for name, title, digits in _SHOWN:
            cells = (_written(getattr(found, name), digits) for found in (rung.before, rung.after))
            lines.append(f"| {rung.name} | {title} | {' | '.join(cells)} |")
    lines += [
        "",
        *[
            f"- rung `{rung.name}`: {rung.verdict} (Brier score lower by {_written(rung.gain, 6)} an event), "
            f"{shift.methods[rung.name][0]} before, {shift.methods[rung.name][1]} now"
            for rung in shift.rungs
        ],
        f"- review price: {shift.review_price[0]:.2f} before, {shift.review_price[1]:.2f} now",
        "- events may have changed their order by the full score, and on no other rung"
        if shift.order_changed
        else "- no order of two events on one rung has changed, so neither have ROC-AUC and average precision",
        "",
        *(() if shift.weights is None else card_lines(shift.weights)),
        "",
    ]
    card = base.card.replace(base.id, UNNAMED).replace("\n## Measured: ", "\n## Measured before this calibration: ")
    card = re.sub(r"(?s)## Recalibrated\n.*?(?=## Made from)", "", card, count=1)  # of the base itself, if it was
    return card.replace("## Made from", "\n".join(lines).rstrip("\n") + "\n\n## Made from", 1)


def page_of(base: Release, shift: Shift) -> str:
    """Write the report: reliability before and after, and the figures beside each other."""
    rungs = [
        Section(
            anchor=rung.name,
            title=f"Rung {rung.name}: {rung.verdict}",
            short=f"Rung {rung.name}",
            note=f"The Brier score is lower by {_written(rung.gain, 6)} an event. Left as {shift.base} scored these "
            "events, right under a calibration that saw only labels known before theirs.",
            blocks=[
                Figures(
                    figures=[
                        msgspec.structs.replace(drawn, title=f"{found.title}: {drawn.title}")
                        for found in (rung.before, rung.after)
                        for drawn in [reliability(found)]
                    ]
                ),
                _table(rung),
            ],
        )
        for rung in shift.rungs
    ]
    facts: list[tuple[str, Cell]] = [
        ("release", UNNAMED),
        ("models of", shift.base),
        ("labels known after, until", f"{_iso(shift.after_ms)}, {_iso(shift.until_ms)}"),
        ("calibrated on", f"{shift.n:,} events, {shift.n_fraud:,} fraud"),
        *[(f"calibrator of {name}", f"{old} before, {new} now") for name, (old, new) in shift.methods.items()],
        ("review price", f"{shift.review_price[0]:.2f} before, {shift.review_price[1]:.2f} now"),
    ]
    return Page(
        over=f"ringfence · recalibration · {date(shift.until_ms)}",
        title=base.scenario.name,
        lede=f"The models are those of {shift.base}, and so is their report; here is what fitting the calibration "
        f"{'and the weights ' if shift.order_changed else ''}anew on {_fitted_on(shift)} changed, judged on those that "
        f"became known last ({_judged_on(shift)}).",
        opening=[Facts(caption="What was done", facts=facts)],
        sections=[*rungs, *_weights(shift)],
        footer=f"Made by ringfence {__version__}. This page is one file: no script, nothing fetched. The same numbers "
        "are in metrics.json beside it, under `recalibrated`.",
    ).html()


def _weights(shift: Shift) -> list[Section]:
    found = shift.weights
    if found is None:
        return []
    return [
        Section(
            anchor="weights",
            title=f"Weights: {'moved' if found.moved else 'left as they were'}",
            short="Weights",
            note=f"{verdict_of(found)[0].upper()}{verdict_of(found)[1:]}. {RULE} {SELECTION}",
            blocks=[table_of(found)],
        )
    ]


def _table(rung: Rung) -> Table:
    rows: list[list[Cell]] = [
        [
            "events, fraud among them",
            *[f"{one.n:,}, {one.n_fraud:,} ({share(one.n_fraud / one.n)})" for one in (rung.before, rung.after)],
        ]
    ]
    for name, title, digits in _SHOWN:
        found = [getattr(one, name) for one in (rung.before, rung.after)]
        rows.append([title, *[figure(*_ends(one), partial(_decimal, digits)) for one in found]])
    return Table(
        caption="All figures with their 95 % intervals",
        columns=["figure", "before", "after"],
        rows=rows,
        numeric=(1, 2),
    )


def _decimal(digits: int, value: float) -> str:
    return f"{value:.{digits}f}"


def _fitted_on(shift: Shift) -> str:
    return (
        f"{shift.n:,} events ({shift.n_fraud:,} fraud) whose labels became known after {_iso(shift.after_ms)} and by "
        f"{_iso(shift.until_ms)}, none of which the models were fitted on"
    )


def _judged_on(shift: Shift) -> str:
    judged = shift.rungs[0].after
    return f"{judged.n:,} events, {judged.n_fraud:,} fraud, known from {_iso(shift.judged_from_ms)}"


def _ends(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def _written(found: Interval, digits: int) -> str:
    if not np.isfinite(found.value):
        return "not defined"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).isoformat(timespec="seconds")

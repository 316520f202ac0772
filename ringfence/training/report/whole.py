# SPDX-License-Identifier: Apache-2.0
"""The whole report, section by section; what was not looked at, or does not exist here, has no section."""

from __future__ import annotations

from ringfence.reports import Page, Section
from ringfence.training.comparisons.section import study_section
from ringfence.training.report.content import ReportInput
from ringfence.training.report.doubts import comparability, examples, leaks
from ringfence.training.report.drivers import drift, drivers
from ringfence.training.report.opening import lede, opening, predicted
from ringfence.training.report.parts import parts
from ringfence.training.report.quality import quality
from ringfence.training.report.timing import timing
from ringfence.training.report.unaided import unaided
from ringfence.training.report.work import actions, capacity


def render(report: ReportInput) -> str:
    """Write the page as HTML text; it needs nothing but itself to be shown."""
    sections: list[Section | None] = [
        predicted(report),
        timing(report),
        quality(report),
        capacity(report),
        unaided(report),
        actions(report) if report.money is not None else None,
        parts(report),
        study_section(report.branches) if report.branches is not None and report.branches.variants else None,
        drivers(report),
        drift(report) if report.drift is not None else None,
        examples(report) if report.cases else None,
        leaks(report) if report.leaks is not None else None,
        comparability(report),
    ]
    return Page(
        over=f"ringfence · evaluation report · {report.date(report.until_ms)}",
        title=report.scenario,
        lede=lede(report),
        opening=opening(report),
        sections=[section for section in sections if section is not None],
        footer=f"Made by ringfence {report.version}. This page is one file: no script, nothing fetched. The same "
        "numbers are in metrics.json beside it.",
    ).html()

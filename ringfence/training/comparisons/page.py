# SPDX-License-Identifier: Apache-2.0
"""The studies of a release on one page: questions, answers, and what each difference was."""

from __future__ import annotations

from collections.abc import Sequence

from ringfence.reports import Callout, Page
from ringfence.reports.numerals import date
from ringfence.training.comparisons.detection import Detection
from ringfence.training.comparisons.detection_section import detection_section
from ringfence.training.comparisons.section import study_section
from ringfence.training.comparisons.study import Study


def studies_page(
    release: str, scenario: str, until_ms: int, studies: Sequence[Study], detection: Detection | None, *, version: str
) -> str:
    """Write the page as HTML text.

    Parameters
    ----------
    until_ms : the cut of the release.
    detection : how its rings were found, in a world whose truth is known.
    """
    sections = [study_section(study) for study in studies]
    if detection is not None:
        sections.append(detection_section(detection))
    return Page(
        over=f"ringfence · studies of {release}",
        title=scenario,
        lede=f"What would have been, had release {release} been made another way. Everything was fitted and scored in "
        f"time, on what was known at its cut, {date(until_ms)}.",
        opening=[Callout(tone=_tone(study.is_good), title=study.title, lines=[study.answer]) for study in studies],
        sections=sections,
        footer=f"Made by ringfence {version}. This page is one file: no script, nothing fetched. The same numbers are "
        "in studies.json beside it.",
    ).html()


def _tone(is_good: bool | None) -> str:
    return "note" if is_good is None else "good" if is_good else "warn"

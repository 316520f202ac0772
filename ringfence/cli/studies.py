# SPDX-License-Identifier: Apache-2.0
"""`evaluate --study` and `--truth`: what was asked, and what came out, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.cli.terminal import show, staged_progress, table

if TYPE_CHECKING:
    from ringfence.scenario.spec import Scenario
    from ringfence.training.comparisons.detection import Detection
    from ringfence.training.comparisons.study import Study
    from ringfence.workspace import Workspace


def studied(
    here: Workspace,
    scenario: Scenario,
    names: list[str],
    *,
    release: str | None,
    truth: Path | None,
    as_json: bool,
) -> None:
    """Run studies of a release and tell what they found."""
    from ringfence.steps.studying import study_release

    with staged_progress() as report:
        found = study_release(here, scenario, names, release=release, truth=truth, progress=report)
    now = [study for study in found.found.studies if study.name in found.made]
    parts = [_told(study) for study in now]
    if truth is not None and found.found.detection is not None:
        parts.append(_rings(found.found.detection))
    show(
        {**found.found.plain(), "made_now": found.made, "page": str(found.page)},
        as_json=as_json,
        text="\n\n".join([*parts, f"page: {found.page}\nall figures: {found.page.with_suffix('.json')}"]),
    )


def _told(study: Study) -> str:
    from ringfence.training.comparisons.study import in_words

    lines = [f"{study.title}: {study.answer}"]
    if study.variants:
        lines.append(f"on {study.n:,} events, {study.n_fraud:,} of them fraud: {study.window}")
        rows = []
        for one in study.variants:
            gain = one.against.get("average_precision")
            value = one.figures["average_precision"].value
            seconds = "" if one.seconds is None else f"{one.seconds:.1f} s"
            rows.append([one.name, f"{value:.3f}", "" if gain is None else in_words(gain), seconds])
        first = study.variants[0].name
        lines += [
            f"  {line}"
            for line in table(["", "average precision", f"{first} minus it (95 %)", "time to fit"], rows).splitlines()
        ]
    return "\n".join([*lines, *study.notes])


def _rings(found: Detection) -> str:
    n, seen = len(found.rings), len(found.found)
    median = "" if found.median_days is None else f", half of them {_within(found.median_days)}"
    ahead = sum(ring.is_ahead_of_labels for ring in found.rings)
    lines = [
        f"Rings: {seen} of {n} found by {found.alerts_per_day} alerts a day{median}; {ahead} before any label "
        "called one of their events fraud"
    ]
    ruled = [ring for ring in found.rings if ring.by_rule is not None]
    if ruled:
        alone = sum(ring.found_ms is not None and not ring.by_rule for ring in ruled)
        lines.append(f"{alone} of {len(ruled)} were found though no rule fired on any of their events")
    rows = [
        [f"{one.days} days", "none" if one.n == 0 else f"{one.share.value:.0%}", f"{one.n}"] for one in found.within
    ]
    lines += [f"  {line}" for line in table(["after the third event", "found", "of"], rows).splitlines()]
    return "\n".join(lines)


def _within(days: float) -> str:
    from ringfence.reports.numerals import days as told

    return f"within {told(days)}" if days > 0.0 else "at their first event"

# SPDX-License-Identifier: Apache-2.0
"""What a release that was made without labels says of itself: what it looks at, what was assumed, what is not known."""

from __future__ import annotations

from typing import Final

import msgspec

from ringfence import __version__
from ringfence.models.rules import POINTS_TO_DOUBLE
from ringfence.reports import Facts, Page, Section, Table
from ringfence.reports.numerals import date
from ringfence.reports.page import Cell
from ringfence.scenario.spec import Rule
from ringfence.scoring.release import UNNAMED

UNKNOWN: Final = (
    "Nothing was measured: without labels nobody knows how much fraud a review will find. The score orders events, and "
    "its mean is the rate that was stated; it is no calibrated probability."
)
NEXT: Final = (
    "Review what it sends, tell what was found (`POST /v1/labels`, or import labels), and train again without "
    "`--assumed-rate` once each of fraud and legit has a few dozen labels."
)


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """What such a release was made from."""

    scenario: str
    decides: str
    rate: float
    n_events: int
    n_labelled: int  # labels on record, which were not looked at
    until_ms: int
    seed: int
    rules: tuple[Rule, ...]
    actions: tuple[str, ...]
    missing: tuple[str, ...]  # roles and attributes that no event gives

    @property
    def facts(self) -> list[tuple[str, Cell]]:
        labels = f"{self.n_labelled:,} on record, not looked at" if self.n_labelled else "none"
        return [
            ("release", UNNAMED),
            ("events", f"{self.n_events:,} `{self.decides}`, known by {date(self.until_ms)}"),
            ("labels", labels),
            ("rate of fraud", f"{self.rate:.4g}, assumed"),
            ("how unusual", "an isolation forest on engine features"),
            ("rules", f"{len(self.rules)}; {POINTS_TO_DOUBLE} points double the odds" if self.rules else "none"),
            ("permitted actions", ", ".join(self.actions)),
            ("missing in every event", ", ".join(self.missing) or "nothing"),
            ("seed", f"{self.seed}"),
        ]


def card_of(assumed: Assumed) -> str:
    """Write the card as Markdown text."""
    lines = [
        f"# {assumed.scenario}",
        "",
        "## Use",
        f"Orders each `{assumed.decides}` event by how unusual it is and by the rules that hold, from the first day. "
        "Not meant for other event types, for declining anybody, or as a ground for an accusation: unusual is not "
        "fraud.",
        "",
        "## Not known",
        UNKNOWN,
        "",
        "## Made from",
        *[f"- {name}: {value}" for name, value in assumed.facts],
        "",
        "## What it looks at",
        "- `anomaly`: minus the logarithm of the share of events that are at least as unusual",
        *[f"- rule `{rule.name}`, {rule.points:+} points: {rule.when}" for rule in assumed.rules],
        "",
        "## Next",
        NEXT,
        "",
    ]
    return "\n".join(lines)


def page_of(assumed: Assumed) -> str:
    """Write the report: one page, no figure that was measured."""
    sections = []
    if assumed.rules:
        rows: list[list[Cell]] = [[rule.name, f"{rule.points:+}", rule.when] for rule in assumed.rules]
        table = Table(caption="Rules, in their order", columns=["rule", "points", "when"], rows=rows, numeric=(1,))
        sections.append(Section(anchor="rules", title="Rules", short="Rules", blocks=[table]))
    return Page(
        over=f"ringfence · without labels · {date(assumed.until_ms)}",
        title=assumed.scenario,
        lede=f"{UNKNOWN} {NEXT}",
        opening=[Facts(caption="What it was made from", facts=assumed.facts)],
        sections=sections,
        footer=f"Made by ringfence {__version__}. This page is one file: no script, nothing fetched.",
    ).html()

# SPDX-License-Identifier: Apache-2.0
"""The page: every table of the difficulty sheet, written from the sheets alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.worlds.plots import claim_panels, network_panels, sheet_of_panels
from benchmarks.worlds.published import FACTS
from benchmarks.worlds.realism import LARGE
from benchmarks.worlds.regression import SPANS
from benchmarks.worlds.rules import RULES
from benchmarks.worlds.sheet import PRECISION, Sheet
from benchmarks.worlds.verdicts import Verdict, verdicts

NAME: Final = "worlds-difficulty.md"
COLUMNS_SHOWN: Final = 12
PLOTS: Final = (
    (
        "worlds-network.svg",
        network_panels,
        "How often entities are named, sizes of rings, gaps between claims, delay of labels",
    ),
    ("worlds-claims.svg", claim_panels, "Amounts, first digits, hours and weekdays of claims"),
)


def write_page(sheets: Sequence[Sheet], folder: Path, *, n_events: int, fraud_rate: float) -> Path:
    """Write the page and its plots into a folder that exists; return the path of the page."""
    page = folder / NAME
    for name, panels, label in PLOTS:
        (folder / name).write_text(sheet_of_panels(panels(sheets), label), encoding="utf-8")
    page.write_text("\n\n".join(_parts(sheets, n_events, fraud_rate)) + "\n", encoding="utf-8")
    return page


def _parts(sheets: Sequence[Sheet], n_events: int, fraud_rate: float) -> list[str]:
    seeds = " ".join(str(sheet.seed) for sheet in sheets)
    return [
        "# How hard the simulated insurers are",
        f"Written by `python -m benchmarks.worlds --events {n_events} --fraud-rate {fraud_rate:g} --seeds {seeds}`; "
        "the worlds are described in [Simulated worlds](worlds.md). Everything is judged by the truth, which no model "
        "sees: models train on the labels that a user would know when the last fifth of the history begins, and are "
        "tested on that fifth. Intervals hold 95 % and are bootstrapped over claims.",
        _worlds(sheets),
        "## Verdict",
        "The ranges were fixed before any graph model was trained on these worlds.",
        _verdicts(verdicts(sheets), sheets),
        "## Single columns",
        "ROC-AUC of each column alone, in the direction in which it is above one half. Categories and parts of the "
        "time by out-of-fold rates before the cut; a frequency counts all claims of the file that name the entity, "
        f"earlier ones only those before. The best {COLUMNS_SHOWN} of {len(sheets[0].columns)}:",
        _columns(sheets),
        "## Fifteen hand rules",
        "Claims after the cut. A rule sees the claim and what happened strictly before it. Limits are such that a rule "
        "flags about one claim in a hundred or fewer: nobody could look into more.",
        _rules(sheets),
        "## Models",
        _models(sheets),
        _inputs(sheets[0]),
        "## Leak hunt",
        "Trees on what must say nothing, trained on the truth before the cut and tested after it. Honest claims are "
        "weighed so that their types mix as the frauds' do: the form of a text follows from what happened. The number "
        "in an id counts where the id is new; to recognise a member again is the task and no leak.",
        _leaks(sheets),
        "## Beside published figures",
        "What others found in real claims and real rings, and the same of these worlds. Sources say what was counted; "
        "a ring in court is a large one, and convicted people are fewer than those involved. The mean amount lies "
        f"above the published ones because these worlds must hold about 8 % of claims above {LARGE:,.0f} EUR.",
        _facts(sheets),
        *(f"![{label}]({name})" for name, _, label in PLOTS),
        "## Realism",
        _realism(sheets),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _seeds(sheets: Sequence[Sheet]) -> list[str]:
    return [f"seed {sheet.seed}" for sheet in sheets]


def _percent(share: float, digits: int = 1) -> str:
    return "–" if share != share else f"{100.0 * share:.{digits}f} %"


def _worlds(sheets: Sequence[Sheet]) -> str:
    rows = [
        ["claims", *(f"{s.n_claims:,}" for s in sheets)],
        ["fraud", *(f"{s.n_fraud:,} ({_percent(s.n_fraud / s.n_claims, 2)})" for s in sheets)],
        ["rings", *(f"{s.n_rings:,}" for s in sheets)],
        ["labels known at the cut, of them fraud", *(f"{s.n_labels:,}, {s.n_label_frauds:,}" for s in sheets)],
        ["claims after the cut, of them fraud", *(f"{s.n_tested:,}, {s.n_fraud_tested:,}" for s in sheets)],
    ]
    return _table(["", *_seeds(sheets)], rows)


def _verdicts(found: Sequence[Verdict], sheets: Sequence[Sheet]) -> str:
    rows = [
        [
            verdict.range.name,
            verdict.range.bounds,
            *(
                verdict.range.text(value) + ("" if met else " **missed**")
                for value, met in zip(verdict.values, verdict.met, strict=True)
            ),
            "met" if verdict.is_met else "**missed**",
        ]
        for verdict in found
    ]
    return _table(["figure", "range", *_seeds(sheets), ""], rows)


def _columns(sheets: Sequence[Sheet]) -> str:
    names = sorted(sheets[0].columns, key=lambda name: -max(sheet.columns.get(name, 0.0) for sheet in sheets))
    rows = [[name, *(f"{sheet.columns[name]:.3f}" for sheet in sheets)] for name in names[:COLUMNS_SHOWN]]
    return _table(["column", *_seeds(sheets)], rows)


def _rules(sheets: Sequence[Sheet]) -> str:
    texts = {rule.name: rule.sentence for rule in RULES} | {"any rule": "**any of the fifteen**"}
    rows = []
    for name, sentence in texts.items():
        catches = [sheet.rules[name] for sheet in sheets]
        rows.append(
            [
                name if name != "any rule" else "",
                sentence,
                " · ".join(_percent(one.flagged, 2) for one in catches),
                " · ".join(_percent(one.caught) for one in catches),
                " · ".join(_percent(one.precision) for one in catches),
            ]
        )
    joint = "; ".join(
        f"seed {s.seed} {_percent(s.rules['any rule'].low)} to {_percent(s.rules['any rule'].high)}" for s in sheets
    )
    head = ["rule", "fires when", "claims flagged", "fraud caught", "precision"]
    order = "Figures by seed: " + ", ".join(str(sheet.seed) for sheet in sheets)
    return f"{order}. Interval of the fraud that any rule catches: {joint}.\n\n" + _table(head, rows)


def _models(sheets: Sequence[Sheet]) -> str:
    rows = []
    for name in sheets[0].models:
        skills = [sheet.models[name] for sheet in sheets]
        rows.append(
            [
                name,
                " · ".join(f"{one.roc_auc:.3f}" for one in skills),
                " · ".join(f"{one.average_precision:.3f}" for one in skills),
                " · ".join(f"{_percent(one.recall)} ({100 * one.low:.0f}–{100 * one.high:.0f})" for one in skills),
            ]
        )
    head = ["", "ROC-AUC", "average precision", f"recall at {100 * PRECISION:.0f} % precision (interval)"]
    notes = (
        "The regression standardises its inputs. LightGBM on the engine's features is for orientation only: it is no "
        "part of the exam. The oracle knows the members of every ring and when they are at work, not which of their "
        "claims are fraud: an entity counts with the share of its other claims within 90 days that belong to the ring, "
        "and a claim scores the sum over its entities. Honest claims of members are its errors."
    )
    return _table(head, rows) + "\n\n" + notes


def _inputs(sheet: Sheet) -> str:
    own = dict.fromkeys(name.split(" = ")[0] for name in sheet.inputs if ": " not in name)
    counts = [name.split(": ") for name in sheet.inputs if ": " in name]
    roles = [role for role, what in counts if what == "earlier claims, ever"]
    others = [f"{role} as {what.split(' as ')[1]}" for role, what in counts if " as " in what]
    return (
        f"The regression reads {len(sheet.inputs)} inputs: **of the claim** {', '.join(own)} (numbers as log1p, "
        f"categories value by value); **counts of strictly earlier moments**, as log1p, for each of "
        f"{', '.join(roles)}: the entity's earlier claims in that role, ever and in the last {' and '.join(_spans())}, "
        f"and how many of its claims were known to be fraud by then; earlier claims of a {', of a '.join(others)}; for "
        "every two of these roles: earlier claims that name both entities. Where a role names several, the largest."
    )


def _spans() -> list[str]:
    return [name for name in SPANS if name != "ever"]


def _leaks(sheets: Sequence[Sheet]) -> str:
    rows = []
    for name, first in sheets[0].leaks.items():
        found = [sheet.leaks[name] for sheet in sheets]
        rows.append([name, str(first.n_columns), *(f"{one.area:.3f} ({one.low:.3f}–{one.high:.3f})" for one in found)])
    return _table(["columns", "number", *_seeds(sheets)], rows)


def _realism(sheets: Sequence[Sheet]) -> str:
    every = [sheet.realism for sheet in sheets]
    rows = [
        [f"claims above {LARGE:,.0f} EUR", *(_percent(one.large_share) for one in every)],
        ["share of the amount of fraud that they carry", *(_percent(one.large_loss) for one in every)],
        ["share of frauds above it", *(_percent(one.large_fraud) for one in every)],
        ["first digits, all amounts: mean absolute deviation from Benford", *(f"{one.benford:.4f}" for one in every)],
        [
            "first digits, amounts in whole tens, as people type them",
            *(f"{one.typed_benford:.4f} ({_percent(one.typed_share, 0)} of claims)" for one in every),
        ],
        ["first digits, fraud", *(f"{one.fraud_benford:.4f}" for one in every)],
        ["claims on Saturday and Sunday", *(_percent(float(one.weekdays[5:].sum())) for one in every)],
        ["claims from 7 to 18 o'clock", *(_percent(float(one.hours[7:18].sum())) for one in every)],
        [
            "fraud from 22 to 5 o'clock",
            *(_percent(float(one.fraud_hours[[22, 23, 0, 1, 2, 3, 4]].sum())) for one in every),
        ],
    ]
    rows += [
        [f"mentions of `{name}` whose id is in another claim", *(_percent(one.reuse[name]) for one in every)]
        for name in every[0].reuse
    ]
    return _table(["", *_seeds(sheets)], rows)


def _facts(sheets: Sequence[Sheet]) -> str:
    rows = []
    for fact in FACTS:
        sources = ", ".join(f"[{name}]({url})" for name, url in fact.sources)
        rows.append([fact.about, f"{fact.published} ({sources})", " · ".join(fact.here(sheet) for sheet in sheets)])
    return _table(["", "published", "here, " + " · ".join(_seeds(sheets))], rows)

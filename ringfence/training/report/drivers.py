# SPDX-License-Identifier: Apache-2.0
"""What moves the score, and whether it moved: importance by family, and drift of features between the windows."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from markupsafe import Markup

from ringfence.reports import Block, Section, Table, bar, histograms, small
from ringfence.reports.cells import code
from ringfence.reports.numerals import compact, counted, share
from ringfence.reports.page import Cell
from ringfence.training.drift import MUCH_DRIFT, SOME_DRIFT, FeatureDrift
from ringfence.training.report.content import FeatureImportance, ReportInput

N_FEATURES_SHOWN = 25
N_OF_A_FAMILY = 3
N_DRIFTED = 8


def drivers(report: ReportInput) -> Section:
    return Section(
        anchor="drivers",
        title="What the model looks at",
        short="What it looks at",
        note="Mean absolute contribution to the log-odds over scored examples, each feature's share of the sum. It "
        "says what moves the score, not what causes fraud; features that say the same share their importance.",
        blocks=[_families(report.importance), _features(report.importance)],
    )


def _families(importance: list[FeatureImportance]) -> Table:
    members: dict[str, list[FeatureImportance]] = defaultdict(list)
    for feature in importance:
        members[feature.family].append(feature)
    total = {family: sum(feature.share for feature in found) for family, found in members.items()}
    largest = max(total.values(), default=1.0) or 1.0
    rows: list[list[Cell]] = []
    for family, whole in sorted(total.items(), key=lambda item: -item[1]):
        told = [feature for feature in members[family][:N_OF_A_FAMILY] if feature.share > 0]
        sentences = Markup("<br>").join(
            Markup("{} <small>{}</small>").format(feature.sentence, share(feature.share)) for feature in told
        )
        rows.append(
            [
                small(family.replace("_", " "), counted(len(members[family]), "feature")),
                share(whole),
                bar(whole / largest),
                sentences or Markup("<small>{}</small>").format("not used"),
            ]
        )
    return Table(
        caption="Importance by feature family, with the sentences of the features that matter most",
        columns=["family", "share", "", "what it asks"],
        rows=rows,
        numeric=(1,),
    )


def _features(importance: list[FeatureImportance]) -> Table:
    shown = [feature for feature in importance[:N_FEATURES_SHOWN] if feature.share > 0]
    largest = max((feature.share for feature in shown), default=1.0)
    return Table(
        caption=f"The {len(shown)} most important features",
        columns=["feature", "what an investigator reads", "share", ""],
        rows=[
            [code(feature.name), feature.sentence, share(feature.share), bar(feature.share / largest)]
            for feature in shown
        ],
        numeric=(2,),
        folded=True,
    )


def drift(report: ReportInput) -> Section:
    found = report.drift
    assert found is not None
    n_some = sum(feature.psi >= SOME_DRIFT for feature in found.features)
    weight = {feature.name: feature.share for feature in report.importance}
    moved = sum(weight.get(feature.name, 0.0) for feature in found.features if feature.psi >= MUCH_DRIFT)
    told = [feature for feature in found.features if feature.psi >= SOME_DRIFT]
    told.sort(key=lambda feature: -weight.get(feature.name, 0.0) * min(feature.psi, MUCH_DRIFT))
    given = [feature for feature in found.features if feature.family == "event"]
    blocks: list[Block] = [
        _drift_table(
            "Features that moved and matter, by importance: filled before, outlined after; the last bin is missing",
            told[:N_DRIFTED],
            weight,
            "Features that count since the beginning of history grow with it, so some drift there is no news.",
        ),
        _drift_table("What events were given, most drifted first", given[:N_DRIFTED], weight, ""),
    ]
    blocks = [block for block in blocks if isinstance(block, Table) and block.rows]
    return Section(
        anchor="drift",
        title="What changed between learning and asking",
        short="Drift",
        note=f"Compared are {found.what} ({found.n_before:,} and {found.n_after:,} events). Of {len(found.features)} "
        f"features {found.n_much} moved much (index from {MUCH_DRIFT:g}) and {n_some - found.n_much} more somewhat "
        f"(from {SOME_DRIFT:g}); those that moved much carry {share(moved)} of the importance.",
        blocks=blocks,
    )


def _drift_table(caption: str, features: list[FeatureDrift], weight: dict[str, float], note: str) -> Table:
    return Table(
        caption=caption,
        columns=["feature", "before and after", "stability index", "", "middle value", "importance"],
        rows=[_drift_row(feature, weight.get(feature.name, 0.0)) for feature in features],
        numeric=(2, 5),
        note=note,
    )


def _drift_row(feature: FeatureDrift, weight: float) -> list[Cell]:
    middle: Cell = "–"
    if feature.is_category:
        middle = Markup("<small>{}</small>").format("a category")
    elif np.isfinite(feature.median_before) and np.isfinite(feature.median_after):
        middle = f"{compact(feature.median_before)} → {compact(feature.median_after)}"
    return [
        Markup("{}<br><small>{}</small>").format(code(feature.name), feature.sentence),
        histograms(feature.before, feature.after),
        small(f"{feature.psi:.2f}", f"by chance {feature.by_chance:.3f}"),
        bar(feature.psi / (2 * MUCH_DRIFT), series=2 if feature.psi >= MUCH_DRIFT else 1),
        middle,
        share(weight),
    ]

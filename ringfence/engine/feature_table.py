# SPDX-License-Identifier: Apache-2.0
"""The catalogue and its measured costs as tables to read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ringfence.engine.feature_costs import WORKS, Work, feature_costs
from ringfence.engine.windows import span_text

if TYPE_CHECKING:
    from ringfence.engine.catalogue import Feature

_HEAD: Final = (
    "| feature | family | meaning | unit | window, rounded to | missing (NaN) when | version | ns |",
    "|---|---|---|---|---|---|---|---|",
)

_HOW: Final = """\
Measured by `{command}` on the simulated insurer, one thread, {machine}: {claims:,} claims, {state_mb:,.0f} MB of \
state, the last {timed_claims:,} claims timed. Nanoseconds of processor time a claim, with the contract changes and \
labels between two claims: medians over batches that engines with and without a feature took turns at, ± 95 %. They \
grow with the state, up to where every entity is a cache miss.

A row with all families but `rings` takes {full_row_ns:,.0f} ns. A row of nothing but the event itself takes \
{event_only_ns:,.0f} ns: entities are looked up and their logs kept all the same. Computing rings at ticks takes \
{tick_ns:,.0f} ns more than reading them, spread over the claims between two ticks.
"""

_FAMILIES: Final = """\
`one_hop`, `neighbour_risk` and `rings` share one walk: leaving out one of them saves little while another is there, \
and each alone costs the whole walk. So do `novelty_gaps`, `velocity` and `label_risk` with the lookup of an entity.
"""

_WORKS: Final = """\
A single statistic cannot be told apart from what is read together with it: what it saves when left out is less than \
the scatter of the measurement. So the statistics that share a walk or a lookup (a *work*) were left out together, on \
the same insurer with the roles claimant, repair_shop and witness, in full detail. The column `ns` of the tables of \
features is a share: what its work saves, divided by the work's values; *below* where even the work does not stand out \
from the scatter. The last feature of a work to go saves all of it; one that joins others costs less than its share.
"""


def features_markdown(features: Iterable[Feature]) -> str:
    """Write a table of features, with everything that is known of each."""
    return "\n".join([*_HEAD, *map(_row, features)]) + "\n"


def _row(feature: Feature) -> str:
    window = "–"
    if feature.window_ms is not None and feature.granule_ms is not None:
        window = f"{span_text(feature.window_ms)}, {span_text(feature.granule_ms)}"
    cells = (
        f"`{feature.name}`", feature.family, feature.sentence, feature.unit, window, feature.missing,
        str(feature.version), _share(feature_costs().works[feature.work]),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def costs_markdown() -> str:
    """Write what families and works cost, on what that was measured, and how to read it."""
    found = feature_costs()
    measured = {name: getattr(found.measured, name) for name in found.measured.__struct_fields__}
    families = [
        f"| {name} | {family.features} | {_saving(family)} "
        f"| {'–' if family.alone_ns is None else _rounded(family.alone_ns)} |"
        for name, family in found.families.items()
    ]
    works = [
        f"| {name} | {WORKS[name]} | {work.features} | {_saving(work)} | {_share(work)} |"
        for name, work in found.works.items()
    ]
    return "\n".join(
        [
            _HOW.format(**measured),
            "| family | features | left out, it saves, ns | alone, it adds, ns |\n|---|---|---|---|",
            *families,
            "",
            _FAMILIES,
            _WORKS,
            "| work | what it is | features | left out, it saves, ns | ns a feature |\n|---|---|---|---|---|",
            *works,
            "",
        ]
    )


def _saving(work: Work) -> str:
    if work.is_told_apart:
        return f"{work.left_out_ns:,.0f} ± {work.plus_minus_ns:,.0f}"
    return f"below {work.most_ns:,.0f}"


def _share(work: Work) -> str:
    return _rounded(work.value_ns) if work.is_told_apart else f"below {_rounded(work.value_ns)}"


def _rounded(value_ns: float) -> str:
    return f"{value_ns:,.0f}" if value_ns >= 10 else f"{value_ns:.1f}"

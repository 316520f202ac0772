# SPDX-License-Identifier: Apache-2.0
"""The evaluation report for a terminal: what `report.html` says first, in plain text, from the same metrics.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ringfence.cli.reservations import reservation_lines
from ringfence.cli.shortfalls import shortfalls
from ringfence.cli.terminal import table
from ringfence.steps.figures import figure_of

if TYPE_CHECKING:
    from ringfence.scoring.release import Release

_FIGURES: Final = {
    "average_precision": "average precision",
    "roc_auc": "ROC-AUC",
    "brier": "Brier score",
    "brier_skill": "Brier skill (0: the base rate)",
    "ece": "calibration error",
    "calibration_slope": "calibration slope (1 is right)",
}
_WIDTH: Final = 100
_MOST_STRONG: Final = 5
_PLACEHOLDERS: Final = ", on placeholder costs"


def text_report(release: Release) -> str:
    """Lay out warnings, figures, findings, alert capacity, money and families of features; lines are at most 100 wide.

    A part that a release does not know, as it is older or was not measured, is left out.
    """
    metrics = release.metrics
    parts = [
        [f"{release.manifest.scenario}: {release.id}", *_made(release)],
        reservation_lines(release, with_money=True),
        [f"warning: {one}" for one in shortfalls(release)],
        *[_figures(one) for one in metrics.get("evaluations") or []],
        _leaks(metrics.get("leaks") or {}),
        _rates(metrics.get("base_rate") or {}, release),
        _capacity(metrics),
        _money(metrics.get("money") or {}),
        _families(metrics.get("importance") or []),
        ["not comparable with", *(f"  {line}" for line in metrics.get("not_comparable") or [])],
        [f"report: {release.path / 'report.html'}", f"all figures: {release.path / 'metrics.json'}"],
    ]
    return "\n\n".join("\n".join(_folded(line) for line in part) for part in parts if part)


def _folded(line: str) -> str:
    """Break a sentence that is wider than a page at blanks; tables keep their lines, links and paths stay whole."""
    if len(line) <= _WIDTH:
        return line
    from textwrap import wrap

    inner = line[: len(line) - len(line.lstrip())]
    return "\n".join(wrap(line, _WIDTH, subsequent_indent=f"{inner}  ", break_long_words=False, break_on_hyphens=False))


def _made(release: Release) -> list[str]:
    from ringfence.reports.numerals import counted

    made = release.manifest.made
    if made.assumed_rate is not None:
        return [f"from {counted(made.n_examples, 'event')} without labels: nothing was measured"]
    return [f"learnt from {counted(made.n_examples, 'example')}, {made.n_fraud:,} of them fraud"]


def _figures(one: dict[str, Any]) -> list[str]:
    from ringfence.reports.numerals import counted

    rows = []
    for name, title in _FIGURES.items():
        value, low, high = figure_of(one.get(name))
        interval = "" if low is None or high is None else f"{low:.3f} .. {high:.3f}"
        rows.append([f"  {title}", "none" if value is None else f"{value:.3f}", interval])
    title = f"{one['title']}: {counted(one['n'], 'event')}, {one['n_fraud']:,} fraud"
    return [title, *table(["", "value", "95 % interval"], rows).splitlines()]


def _leaks(found: dict[str, Any]) -> list[str]:
    from ringfence.reports.numerals import counted

    if not found:
        return []
    lines = [f"  {one['column']}: {one['sentence']}" for one in found["suspicions"]]
    head = ["leak hunt: possible leaks, nothing was left out", *lines] if lines else ["leak hunt: no leak found"]
    rows = [["  all columns together, out of fold", f"{found['model_auc']['value']:.3f}"]]
    rows += [[f"  {one['name']}", f"{one['roc_auc']['value']:.3f}"] for one in found["strongest"][:_MOST_STRONG]]
    if "n_alone" in found:  # releases before it measured single columns on other events than all together
        of = f"{counted(found['n_alone'], 'event')}, {found['n_alone_fraud']:,} fraud"
        head += table([f"  columns alone, on the same {of}", "ROC-AUC"], rows).splitlines()
    return head


def _rates(found: dict[str, Any], release: Release) -> list[str]:
    from ringfence.reports.numerals import date, row, share

    stretches = found.get("stretches") or []
    if len(stretches) < 2:
        return []
    day = row if release.scenario.decided.event_time_column is None else date
    rows = [
        [f"  {day(one['from_ms'])}", f"{one['n']:,}", share(one["fraud_rate"]), _between(one["low"], one["high"])]
        for one in stretches
    ]
    broke = found.get("broke")
    title = (
        "fraud rate of what it learnt from: no break"
        if broke is None
        else f"fraud rate of what it learnt from: breaks at about {day(broke['at_ms'])}"
    )
    return [title, *table(["  from", "examples", "fraud rate", "95 % interval"], rows).splitlines()]


def _capacity(metrics: dict[str, Any]) -> list[str]:
    from ringfence.reports.numerals import money, share

    evaluations, found = metrics.get("evaluations") or [], metrics.get("money") or {}
    if not evaluations:
        return []
    saved = {one["alerts_per_day"]: one["saved_per_day"]["value"] for one in found.get("at_capacity") or []}
    rows = []
    for one in evaluations[0]["capacity"]:
        alerts = one["alerts_per_day"]
        value, low, high = figure_of(one["recall"])
        worth = saved.get(alerts)
        rows.append(
            [
                f"  {alerts:,}{' *' if alerts == metrics.get('reviews_per_day') else ''}",
                "" if value is None else share(value),
                "" if low is None or high is None else _between(low, high),
                share(one["precision"]["value"]),
                "" if worth is None else money(worth),
            ]
        )
    currency = f", {found['currency']}" if found else ""
    head = ["  alerts a day", "frauds found", "95 % interval", "precision", f"saved a day{currency}"]
    own = "; *: the policy's reviews a day" if metrics.get("reviews_per_day") is not None else ""
    return [f"alert capacity{own}{_on(found)}", *table(head, rows).splitlines()]


def _money(found: dict[str, Any]) -> list[str]:
    from ringfence.reports.numerals import money, n_days

    if not found:
        return []
    saved = found["saved"]
    rows = [
        [
            f"  {one['action']}",
            f"{one['n_fraud']:,}",
            f"{one['n_legit']:,}",
            money(one["fraud_cost"] + one["legit_cost"]),
        ]
        for one in found["actions"]
    ]
    return [
        f"policy {found['policy']}: saves {money(saved['value'], found['currency'])} ({money(saved['low'])} .. "
        f"{money(saved['high'])}) in {n_days(found['n_days'])} against approving all{_on(found)}",
        *table(["  action", "frauds", "legit events", f"cost, {found['currency']}"], rows).splitlines(),
    ]


def _on(money: dict[str, Any]) -> str:
    return _PLACEHOLDERS if money.get("costs_are_placeholders") else ""


def _families(importance: list[dict[str, Any]]) -> list[str]:
    from ringfence.reports.numerals import share

    total: dict[str, list[float]] = {}
    for one in importance:
        total.setdefault(one["family"], []).append(one["share"])
    if not total:
        return []
    rows = [
        [f"  {family}", f"{len(found):,}", share(sum(found))]
        for family, found in sorted(total.items(), key=lambda item: -sum(item[1]))
    ]
    return ["what it looks at", *table(["  family", "features", "share"], rows).splitlines()]


def _between(low: float, high: float) -> str:
    return f"{100 * low:.1f} .. {100 * high:.1f} %"

# SPDX-License-Identifier: Apache-2.0
"""`check`: what will be learned from what, and what had better not be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from ringfence.cli.exits import Exit
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time
from ringfence.cli.shortfalls import size_text
from ringfence.cli.terminal import remark, show

if TYPE_CHECKING:
    from ringfence.drafting import Outlook
    from ringfence.engine.catalogue import Catalogue
    from ringfence.scenario.spec import Brought, Scenario

_DAY_MS = 86_400_000
_MOST_NAMED = 8
_FITTED = 0.7  # of the rows, before the suggested split of a file without times


def check(workspace: WorkspaceOption = HERE, scenario: ScenarioOption = None, as_json: JsonOption = False) -> None:
    """Say what will be learned from what: events, entities, features, label and split; and warn of leaks.

    Reads ringfence.yaml and the policy, looks at the files of the decided event type, and tries their first 20,000 rows
    as an import would. Writes nothing. Ends with exit code 1 if no row would be let in; warnings do not count.
    """
    from ringfence.drafting import outlook_of
    from ringfence.engine.catalogue import Catalogue
    from ringfence.ledger.errors import SourceMissingError
    from ringfence.policy.load import load_policy
    from ringfence.scenario.clock import SystemClock
    from ringfence.scoring.route import Router
    from ringfence.training.brought import columns_of, read_brought
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    chosen = [here.scenario(scenario)] if scenario is not None else list(here.scenarios.values())
    told, texts, warnings, notes, n_bad = {}, [], [], [], 0
    for spec in chosen:
        policy, catalogue = load_policy(here.policy_path(spec)), Catalogue.build(spec)
        Router(policy, catalogue, where=str(here.policy_path(spec)))
        families = Counter(feature.family for feature in catalogue.features)
        outlook: Outlook | None = None
        if spec.ticks is not None:
            warnings.append(f"{spec.name}: ticks make its {spec.decide} events, so only ringfence.yaml was checked")
        elif spec.sources:
            try:
                outlook = outlook_of(spec, here.path)
            except SourceMissingError as missing:
                warnings.append(f"{spec.name}: {missing.file}: {missing.found}; only ringfence.yaml was checked")
        else:
            warnings.append(f"{spec.name}: no `sources`, so only ringfence.yaml was checked")
        for place, one in enumerate(spec.branches):
            columns_of(catalogue, place, one)
        read_brought(spec, here.path)
        found = [*_of_settings(spec, catalogue), *_of_memory(spec, catalogue, outlook)]
        found += _warnings(spec, outlook, SystemClock().now_ms())
        notes += [f"{spec.name}: {text}" for text in _notes(spec)]
        n_bad += outlook is not None and outlook.n_tried > 0 and outlook.n_rejected == outlook.n_tried
        warnings += [f"{spec.name}: {text}" for text in found]
        told[spec.name] = _as_dict(spec, outlook, families, catalogue, found)
        texts.append("\n".join(_lines(spec, outlook, families, catalogue)))
    show({"scenarios": told}, as_json=as_json, text="\n\n".join(texts))
    for warning in warnings:
        remark(f"warning: {warning}")
    for note in notes:
        remark(note)
    if n_bad:
        raise typer.Exit(Exit.CHECK_FAILED)


def _lines(spec: Scenario, outlook: Outlook | None, families: Counter[str], catalogue: Catalogue) -> list[str]:
    from ringfence.reports.numerals import counted

    decided = spec.decided
    rows = [("events", _events(spec, outlook)), *_roles(spec, outlook)]
    derived = {one.name: one.sentence for one in decided.derived}
    for attribute in decided.attributes:
        if attribute.derived:
            rows.append((f"derived {attribute.name}", f"{attribute.type.value}; {derived[attribute.name]}"))
    if decided.amount is not None:
        rows.append(("amount", f"{decided.amount.column}, in {decided.amount.currency}"))
    by_type: dict[str, list[str]] = {}
    for attribute in decided.given_attributes:
        kind = (
            "personal" if attribute.personal else attribute.type.value if attribute.is_feature else "for fairness only"
        )
        by_type.setdefault(kind, []).append(attribute.name)
    rows += [(f"{kind}", f"{len(names)}: {_named(names)}") for kind, names in by_type.items()]
    if spec.travel is not None:
        place = f"{spec.travel.latitude} and {spec.travel.longitude}"
        rows.append(("travel", f"of {_named(list(spec.travel.roles))}, by {place}"))
    rows.append(("label", _label(spec, outlook)))
    total = sum(families.values())
    spans = ", ".join(_span(window) for window in spec.windows_ms)
    named = ", ".join(f"{n} {family}" for family, n in families.items())
    rows.append(
        ("learns", f"{counted(total, 'feature')}: {named}" if total else "nothing: every feature family is off")
    )
    rows += [(f"branch {one.name}", _brought(one)) for one in spec.branches]
    if spec.monotone:
        rows.append(("monotone", _named([f"{name} {way}" for name, way in _monotone(spec, catalogue).items()])))
    if spec.rules:
        rows.append(("rules", f"{len(spec.rules)}: {_named([f'{rule.name} {rule.points:+}' for rule in spec.rules])}"))
    rows.append(("windows", spans))
    rows.append(("memory", _memory(spec, catalogue)))
    context = [event_type.name for event_type in spec.event_types if event_type.name != spec.decide]
    if context:
        rows.append(("context", f"{', '.join(context)}: never decided, only teach"))
    if outlook is not None:
        rows += _found(spec, outlook)
    width = max(len(what) for what, _ in rows)
    return [f"{spec.name}: decides {spec.decide}", *(f"  {what:<{width}}  {text}" for what, text in rows)]


def _brought(one: Brought) -> str:
    from ringfence.reports.numerals import counted

    stated = "nobody says until when it was trained" if one.trained_until_ms is None else "trained until "
    when = (iso_time(one.trained_until_ms) or "")[:10]
    return (
        f"{one.file}, {counted(len(one.features), 'feature')} to {one.output.value.replace('_', '-')}; {stated}{when}"
    )


def _monotone(spec: Scenario, catalogue: Catalogue) -> dict[str, str]:
    from ringfence.engine.monotone_features import monotone_features

    return {name: way.value for name, way in monotone_features(spec, catalogue.features).items()}


def _found(spec: Scenario, outlook: Outlook) -> list[tuple[str, str]]:
    from ringfence.reports.numerals import counted

    rows = [("tried", f"{outlook.n_tried - outlook.n_rejected:,} of the first {outlook.n_tried:,} rows are let in")]
    if outlook.unused:
        rows.append(("not read", _named(list(outlook.unused))))
    if outlook.split_ms is not None:
        split = _to_the_ms(outlook.split_ms)  # a date alone is its midnight: `train` would count other labels
        rows.append(
            (
                "split",
                f"by time, such as ringfence train --until {split}: "
                f"{counted(outlook.n_fraud_known, 'fraud')} known by then, "
                f"{outlook.n_fraud_after:,} after it, of {outlook.n_looked_at:,} rows looked at",
            )
        )
    else:
        rows.append(("split", _row_split(outlook) if spec.decided.event_time_column is None else "by time"))
    return rows


def _to_the_ms(time_ms: int) -> str:
    text = iso_time(time_ms) or ""
    return f"{text[:-1]}.{time_ms % 1000:03}Z" if time_ms % 1000 else text


def _row_split(outlook: Outlook) -> str:
    at = int(_FITTED * outlook.files[0][1])
    if len(outlook.files) > 1 or at < 1:
        return "by the order of the rows, a second each from 1970-01-01T00:00:00Z on"
    return (
        f"by the order of the rows, a second each, such as ringfence train --until {iso_time(1000 * at - 1000)}: "
        f"the first {at:,} rows"
    )


def _events(spec: Scenario, outlook: Outlook | None) -> str:
    decided = spec.decided
    if spec.ticks is not None:
        every, active = _span(spec.ticks.every_ms), _span(spec.ticks.active_ms)
        return f"one for each {spec.ticks.role} every {every}, while its newest event is at most {active} old"
    by = "in file order" if decided.event_time_column is None else f"at {decided.event_time_column}"
    named = "numbered by row" if decided.event_id_column is None else f"named by {decided.event_id_column}"
    if outlook is None:
        return f"{named}, {by}"
    n = sum(rows for _, rows in outlook.files)
    files = _named([Path(path).name for path, _ in outlook.files])
    span = f", {iso_time(outlook.first_ms)} to {iso_time(outlook.last_ms)}" if outlook.first_ms is not None else ""
    return f"{n:,} rows of {files}, {named}, {by}{span}"


def _roles(spec: Scenario, outlook: Outlook | None) -> list[tuple[str, str]]:
    if not spec.decided.roles:
        return [("entities", "none: nothing is learned about who comes back")]
    known = {} if outlook is None else {role.role: role for role in outlook.roles}
    rows = []
    for column in spec.decided.roles:
        role, seen = spec.role(column.role), known.get(column.role)
        words = [word for word, is_so in (("many", role.many), ("strong", role.strong)) if is_so]
        words += [f"of type {role.entity_type}"] if role.entity_type != role.name else []
        count = "" if seen is None or not seen.n_entities else f"{seen.n_entities:,}, {seen.reuse:,.1f} events each"
        if spec.ticks is not None and spec.ticks.role == column.role:
            rows.append((f"entity {column.role}", "whoever is active"))  # its column is of no file
            continue
        made = next((one.sentence for one in spec.decided.derived if one.name == role.name), column.column)
        text = "; ".join(part for part in (made, count, ", ".join(words)) if part)
        rows.append((f"entity {column.role}", text))
    return rows


def _label(spec: Scenario, outlook: Outlook | None) -> str:
    label = spec.decided.label
    if label is None:
        return "none: nothing can be trained"
    if label.outcome is not None:
        outcome = label.outcome
        span = _span(outcome.horizon_ms)
        rule = (
            f"fraud when {outcome.event_type} of the same {outcome.role} follows within {span}, known from then on; "
            f"legit when the {span} have passed without one"
        )
        if outlook is None or not outlook.n_fraud + outlook.n_legit:
            return rule
        return (
            f"{rule}: {outlook.n_fraud:,} fraud ({_percent(outlook)}), {outlook.n_legit:,} legit, {outlook.n_silent:,} "
            f"not settled by the end of the files, of {outlook.n_looked_at:,} rows looked at"
        )
    known = f"known at {label.known_at_column}"
    if label.delay_ms is not None:
        known = f"known {_span(label.delay_ms)} after the event" if label.delay_ms else "known at once"
    if outlook is None:
        return f"{label.column}, {known}"
    return (
        f"{label.column}, {known}: {outlook.n_fraud:,} fraud ({_percent(outlook)}), {outlook.n_legit:,} legit, "
        f"{outlook.n_silent:,} silent of {outlook.n_looked_at:,} rows looked at"
    )


def _percent(outlook: Outlook) -> str:
    return f"{100.0 * outlook.n_fraud / max(outlook.n_fraud + outlook.n_legit, 1):.2g} %"


def _warnings(spec: Scenario, outlook: Outlook | None, now_ms: int) -> list[str]:
    if outlook is None:
        return []
    told = [
        f"{'likely leak' if found.is_leak else 'look at'} {found.column}: {found.why}" for found in outlook.suspicions
    ]
    for bad in outlook.rejected:
        what = f"{bad.column or 'the row'} is {bad.found}: {bad.reason}"
        told.append(f"{bad.n:,} of {outlook.n_tried:,} rows would be rejected, {what}")
    told += outlook.lookup_faults
    told += [f"of the rows tried, {odd.told}" for odd in outlook.underived]
    label = spec.decided.label
    if label is not None and label.column is not None and not outlook.n_fraud:
        told.append(f"no row looked at has a value of {label.column} that means fraud")
    if label is not None and label.column is not None and not outlook.n_legit and label.legit_after_ms is None:
        told.append(f"no row looked at has a value of {label.column} that means legit")
    outcome = None if label is None else label.outcome
    if outcome is not None and outcome.event_type not in [source.event_type for source in spec.sources]:
        told.append(f"no source of {outcome.event_type}, which labels: every {spec.decide} of the files would be legit")
    if outcome is not None and outlook.n_legit and not outlook.n_fraud:
        told.append(
            f"no {outcome.event_type} of the same {outcome.role} follows any row looked at: do both columns hold the "
            "same ids, and do both times tell the same clock?"
        )
    if outlook.last_ms is not None and outlook.last_ms > now_ms:
        told.append(f"events up to {iso_time(outlook.last_ms)} lie in the future: the import rejects them")
    first_ms, last_ms = outlook.first_ms, outlook.last_ms
    span_ms = None if first_ms is None or last_ms is None else last_ms - first_ms
    if outcome is not None and span_ms is not None and span_ms < 2 * outcome.horizon_ms:
        told.append("the history is shorter than two horizons: hardly any event is settled before its end")
    delay_ms = 0 if label is None else label.delay_ms or 0
    if span_ms is not None and span_ms < 2 * delay_ms:
        told.append("the history is shorter than two label delays: hardly any label is known before its end")
    return told


def _memory(spec: Scenario, catalogue: Catalogue) -> str:
    from ringfence.training.memory_use import room_told

    room = room_told(catalogue.plan.room)
    named = [f"{n:,} {what}" for what, n in room.items() if n]
    return (
        f"{size_text(spec.memory_bytes)}: room for {', '.join(named)}; beyond it whoever is idle longest is forgotten"
    )


def _of_settings(spec: Scenario, catalogue: Catalogue) -> list[str]:
    told = []
    if not catalogue.features:
        told.append("`features` switches every family off that would have a feature: `train` will refuse")
    if spec.travel is not None and not spec.features.get("novelty_gaps", True):
        told.append("`travel` is asked for, but `novelty_gaps` is off, the family that tells how far and how fast")
    if spec.features.get("rings", False) and not any(role.strong for role in spec.roles):
        names = ", ".join(role.name for role in spec.roles)
        told.append(
            "`features: {rings: true}`, but no role is marked strong, so nothing ties events into rings; mark the "
            f"roles that identify one person or thing ({names})"
        )
    return told


def _of_memory(spec: Scenario, catalogue: Catalogue, outlook: Outlook | None) -> list[str]:
    """Warn where the entities counted need more places than there are; what was not counted is left out."""
    if outlook is None:
        return []
    types: dict[str, list[int]] = {}
    for seen in outlook.roles:
        types.setdefault(spec.role(seen.role).entity_type, []).append(seen.n_entities)
    # A place for each role; where roles share a type, one more for each entity, in whatever role.
    needed = sum(sum(counts) + (max(counts) if len(counts) > 1 else 0) for counts in types.values())
    room = catalogue.plan.room.slots
    if needed <= room:
        return []
    return [
        f"memory of {size_text(spec.memory_bytes)} has room for {room:,} entities, and the files name {needed:,} or "
        "more: whoever is idle longest will be forgotten, and count as new when they come back; raise `memory`, if not "
        "all of them can be done without"
    ]


def _notes(spec: Scenario) -> list[str]:
    from ringfence.scenario.spec import RingTicks

    if spec.rings != RingTicks() and not spec.features.get("rings", False):
        return [
            "`rings` has settings, but the feature family of that name is off: `ringfence rings` uses them, features "
            "do not; they do with `features: {rings: true}`"
        ]
    return []


def _as_dict(
    spec: Scenario, outlook: Outlook | None, families: Counter[str], catalogue: Catalogue, warnings: list[str]
) -> dict[str, Any]:
    from ringfence.training.memory_use import room_told

    label = spec.decided.label
    return {
        "decide": spec.decide,
        "roles": [column.role for column in spec.decided.roles],
        "attributes": {attribute.name: attribute.type.value for attribute in spec.decided.attributes},
        "label": None if label is None else label.column or msgspec.to_builtins(label.outcome),
        "features": dict(families),
        "monotone": _monotone(spec, catalogue),
        "rules": [rule.name for rule in spec.rules],
        "memory": {"budget_bytes": spec.memory_bytes, "room": room_told(catalogue.plan.room)},
        "files": None if outlook is None else msgspec.to_builtins(outlook),
        "warnings": warnings,
        "notes": _notes(spec),
    }


def _span(span_ms: int) -> str:
    for sign, size in (("d", _DAY_MS), ("h", 3_600_000), ("m", 60_000)):
        if span_ms % size == 0:
            return f"{span_ms // size}{sign}"
    return f"{span_ms // 1_000}s"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more

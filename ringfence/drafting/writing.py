# SPDX-License-Identifier: Apache-2.0
"""A draft as a commented `ringfence.yaml`. What only its reader can know stands under the word CHECK."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import wrap
from typing import Final

from ringfence.drafting.clock import counted_text, since_text, unit_text
from ringfence.drafting.draft import DAY_MS, Draft
from ringfence.drafting.names import plain_name
from ringfence.drafting.partners import Context
from ringfence.drafting.questions import decided_moment, strong_roles
from ringfence.drafting.roles import attribute_of
from ringfence.scenario.dialect import Dialect, Steps

_WIDTH: Final = 118
_CHECK: Final = "CHECK"
_PLAIN: Final = re.compile(r"(?:\.{0,2}/)?[A-Za-z_](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_])?", re.ASCII)
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_RESERVED: Final = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n"])


def yaml_of(draft: Draft, *, directory: Path) -> str:
    """Write the scenario file of a draft whose workspace is `directory`."""
    return _written(draft, directory).text()


def checks_of(draft: Draft, *, directory: Path) -> list[str]:
    """What the file asks its reader under CHECK, each with the line that it is about, if it stands beside one."""
    return _written(draft, directory).checks


def _written(draft: Draft, directory: Path) -> _Lines:
    main = draft.main.table
    lines = _Lines()
    names = ", ".join(path.name for path in draft.files)
    lines.note(
        f"Drafted from {names}: {main.n_rows:,} rows, {len(main.names)} columns. Every line is a guess, argued for "
        "beside it. CHECK marks what the data cannot say. Then: ringfence check, import, train."
    )
    lines.checks.clear()
    for warning in draft.warnings:
        lines.note(f"Warning: {warning}.")
    lines.add("scenarios:")
    with_time = draft.clock is not None
    lines.add(f"  {draft.name}:")
    lines.add(f"    decide: {draft.event}", "the event type that gets a decision")
    lines.add("    time_zone: UTC", "of times that carry no offset" if with_time else "")
    lines.add("    sources:")
    _source(lines, draft, directory)
    lines.add("    events:")
    lines.add(f"      {draft.event}:")
    event_id = "row" if draft.event_id is None else scalar(draft.event_id.name)
    lines.add(f"        event_id: {event_id}", draft.event_id_why)
    if draft.clock is not None:
        if draft.clock.others:
            lines.note(decided_moment(draft.event, draft.clock, [*draft.attributes], draft.amount), 8)
        lines.add(f"        event_time: {scalar(draft.clock.column.name)}", draft.clock.why)
    else:
        lines.note("event_time: no column says when; row after row, a second each, in the order of the file", 8)
    _amount(lines, draft)
    _entities(lines, draft)
    _attributes(lines, draft)
    _derived(lines, draft)
    _left_out(lines, draft)
    _label(lines, draft)
    for context in draft.contexts:
        _context(lines, context, draft)
    if draft.travel is not None:
        who = ", ".join(guess.role for guess in draft.roles if guess.strong and not guess.many)
        place = ", ".join(scalar(name) for name in draft.travel)
        lines.add(f"    travel: {{place: [{place}], of: [{who}]}}", "how far, and how fast, since it was seen last")
    rows = "" if with_time else ": rows, where a row is a second"
    lines.add(f"    windows: [{', '.join(draft.windows)}]", f"spans that counts, sums and rates look back over{rows}")
    return lines


def scalar(text: str) -> str:
    """A text as YAML, in quotes where it needs them."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return json.dumps(text, ensure_ascii=False)


def path_text(path: Path, directory: Path) -> str:
    """A file as seen from the workspace: relative where it lies inside or beside it, absolute elsewhere."""
    full, home = path.resolve(), directory.resolve()
    if full.is_relative_to(home):
        return full.relative_to(home).as_posix()
    beside = home.parent
    return f"../{full.relative_to(beside).as_posix()}" if full.is_relative_to(beside) else full.as_posix()


class _Lines:
    """Lines with comments beside them, or above them where both together are too wide."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.checks: list[str] = []

    def add(self, line: str, comment: str = "") -> None:
        if comment and len(line) + len(comment) + 4 <= _WIDTH:
            pad = " " * max(2, 40 - len(line))
            self.checks += [f"{line.strip()}  # {comment}"] if _CHECK in comment else []
            wide = len(line) + len(pad) + len(comment) + 2 > _WIDTH
            self._lines.append(f"{line}{'  ' if wide else pad}# {comment}")
            return
        if comment:
            self.note(comment, len(line) - len(line.lstrip()))
        self._lines.append(line)

    def note(self, comment: str, indent: int = 0, hang: str = "") -> None:
        self.checks += [comment] if _CHECK in comment else []
        parts = wrap(comment, _WIDTH - indent - 2, initial_indent=hang, subsequent_indent=2 * hang)
        self._lines += [f"{' ' * indent}# {part}" for part in parts]

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _source(lines: _Lines, draft: Draft, directory: Path) -> None:
    paths = [scalar(path_text(path, directory)) for path in draft.files]
    files = paths[0] if len(paths) == 1 else f"[{', '.join(paths)}]"
    said = _dialect(draft.dialect)
    joined = draft.joined
    if not said and joined is None:
        lines.add(f"      {draft.event}: {files}")
    else:
        lines.add(f"      {draft.event}:")
        lines.add(f"        files: {files}")
        for key, value, why in said:
            if key == "times" and draft.clock is not None and counted_text(draft.clock):
                lines.note(f"CHECK how long a step is: {counted_text(draft.clock)}", 8)
            lines.add(f"        {key}: {value}", why)
        if joined is not None:
            join = joined.join
            file = scalar(path_text(joined.path, directory))
            if join.role is None or join.value is None:
                lines.add(f"        join: {{file: {file}, on: {scalar(join.on)}}}", "more columns of the same events")
            else:
                on, role, value = (scalar(name) for name in (join.on, join.role, join.value))
                lines.add(
                    f"        join: {{file: {file}, on: {on}, role: {role}, value: {value}}}",
                    "a long table of who takes part in which event",
                )
    for context in draft.contexts:
        path = scalar(path_text(context.profile.table.path, directory))
        times = context.profile.table.dialect
        said = _dialect(
            times if context.clock.how is None else _with_time(times, context.clock.column.name, context.clock.how)
        )
        if said:
            inside = ", ".join(f"{key}: {value}" for key, value, _ in said)
            lines.add(f"      {context.name}: {{files: {path}, {inside}}}", f"only teaches; {context.why}")
        else:
            lines.add(f"      {context.name}: {path}", f"only teaches; {context.why}")
    for unused, why in draft.unused_files:
        lines.note(f"not used: {unused.name}: {why}", 6)


def _with_time(dialect: Dialect, column: str, how: str | Steps) -> Dialect:
    return Dialect(separator=dialect.separator, encoding=dialect.encoding, times={column: how})


def _dialect(dialect: Dialect) -> list[tuple[str, str, str]]:
    said = []
    if dialect.separator is not None:
        said.append(("separator", json.dumps(dialect.separator), "between the fields"))
    if dialect.encoding != "utf-8":
        said.append(("encoding", dialect.encoding, "the file is not UTF-8"))
    if dialect.header > 1:
        said.append(
            ("header", str(dialect.header), "the line that names the columns; what stands above is passed over")
        )
    if dialect.decimal is not None:
        said.append(("decimal", json.dumps(dialect.decimal), "of its numbers; other signs in them are passed over"))
    words = ""
    if dialect.missing:
        words = ", ".join(json.dumps(word, ensure_ascii=False) for word in dialect.missing)
    if dialect.missing_in:
        codes = [f"{scalar(name)}: [{', '.join(found)}]" for name, found in dialect.missing_in.items()]
        all_of = [f'"*": [{words}]'] if dialect.missing else []
        why = "-1 is their only negative number, and stands for nothing by a guess"
        said.append(("missing", f"{{{', '.join(all_of + codes)}}}", why))
    elif dialect.missing:
        said.append(("missing", f"[{words}]", "words that stand for nothing"))
    if dialect.as_text:
        said.append(("as_text", f"[{', '.join(scalar(name) for name in dialect.as_text)}]", "numbers that are names"))
    if dialect.times:
        told = ", ".join(f"{scalar(name)}: {_how(how)}" for name, how in dialect.times.items())
        said.append(("times", f"{{{told}}}", "how moments are written"))
    if dialect.clocks:
        told = ", ".join(f"{scalar(day)}: {scalar(clock)}" for day, clock in dialect.clocks.items())
        said.append(("clocks", f"{{{told}}}", "days whose time of day has a column of its own"))
    return said


def _how(how: str | Steps) -> str:
    if isinstance(how, Steps):
        since = f", since: {since_text(how)}" if how.since_ms else ""
        return f"{{unit: {unit_text(how)}{since}}}"
    return how if "%" not in how else json.dumps(how)


def _amount(lines: _Lines, draft: Draft) -> None:
    if draft.amount is None:
        lines.note(f"amount: {draft.amount_why}", 8)
        return
    values = draft.amount.values[draft.amount.given]
    negative = ", negative: allow" if len(values) and values.min() < 0 else ""
    currency = draft.currency or "EUR"
    why = draft.amount_why if draft.currency else f"CHECK the currency: the data does not name it; {draft.amount_why}"
    lines.add(f"        amount: {{field: {scalar(draft.amount.name)}, currency: {currency}{negative}}}", why)


def _entities(lines: _Lines, draft: Draft) -> None:
    parties = () if draft.joined is None else draft.joined.parties
    if not draft.roles and all(party.same_as for party in parties):
        if any(guess.is_role for guess in draft.derived):
            return
        lines.note("entities: no column names somebody or something that comes back", 8)
        return
    lines.note(strong_roles(draft.roles, parties, draft.derived), 8)
    lines.add("        entities:")
    for guess in draft.roles:
        given = "" if guess.entity_type is None else f", type: {guess.entity_type}"
        given += ", many: true" if guess.many else ""
        given += ", strong: true" if guess.strong else ""
        column = scalar(guess.column.name)
        lines.add(f"          {guess.role}: " + (f"{{column: {column}{given}}}" if given else column), guess.why)
    for party in parties:
        if party.same_as is not None:
            lines.note(f"{party.role}: {party.value} of the joined table says what the column {party.same_as} says", 10)
        else:
            many = ", many: true" if party.many else ""
            lines.add(f"          {party.role}: {{column: {scalar(party.value)}{many}}}", f"joined; {party.why}")


def _attributes(lines: _Lines, draft: Draft) -> None:
    if not draft.attributes:
        return
    lines.add("        attributes:")
    for guess in draft.attributes:
        settings = []
        if guess.name != guess.column.name:
            settings.append(f"column: {scalar(guess.column.name)}")
        if guess.personal:
            settings.append("personal: true")
        if guess.audit_only:
            settings.append("use: audit_only")
        value = f"{{type: {guess.type}, {', '.join(settings)}}}" if settings else guess.type
        why = "; ".join(part for part in (draft.told.get(guess.column.name, ""), guess.why) if part)
        why = (
            f"for fairness reports; take the use away to learn from it; {why}".rstrip("; ") if guess.audit_only else why
        )
        lines.add(f"          {guess.name}: {value}", why)


def _derived(lines: _Lines, draft: Draft) -> None:
    if not draft.derived:
        return
    lines.add("        derive:")
    for guess in draft.derived:
        names = [scalar(name) for name in guess.inputs]
        match guess.how:
            case "ip_prefix":
                made = f"ip_prefix: {{field: {names[0]}, bits: {guess.bits}}}"
            case "distance":
                made = f"distance: {{from: [{names[0]}, {names[1]}], to: [{names[2]}, {names[3]}]}}"
            case _:
                made = f"{guess.how}: {names[0]}"
        role = ", role: true" if guess.is_role else ""
        lines.add(f"          {guess.name}: {{{made}{role}}}", guess.why)


def _left_out(lines: _Lines, draft: Draft) -> None:
    if not draft.left_out:
        return
    lines.note("Left out, with why. A leak makes every figure a lie; move a line up only where you know better.", 8)
    for out in sorted(draft.left_out, key=lambda out: not out.is_leak):
        ask = f". CHECK: {out.ask}" if out.ask else ""
        lines.note(f"{'leak? ' if out.is_leak else ''}{out.column or '(no name)'}: {out.why}{ask}", 8, "  ")


def _label(lines: _Lines, draft: Draft) -> None:
    label = draft.label
    if label is None:
        lines.note(
            "CHECK label: no column looks like one. It is written so, or named by a later event (docs/training.md):", 8
        )
        lines.note("label: {field: is_fraud, values: {fraud: [1], legit: [0]}, delay: 30d}", 8)
        return
    lists = {"fraud": label.fraud, "legit": label.legit, "unlabelled": label.unlabelled}
    values = ", ".join(f"{name}: [{', '.join(map(_value, found))}]" for name, found in lists.items() if found)
    known = (
        f"known_at: {scalar(draft.known_at.name)}" if draft.known_at is not None else f"delay: {_span(draft.delay_ms)}"
    )
    absent = "" if label.legit else f", absent: {{legit_after: {_span(draft.delay_ms)}}}"
    why = label.why + f"; {100 * label.rate:.2g} % fraud ({label.n_fraud:,} of {label.n_fraud + label.n_legit:,})"
    n_silent = label.column.n_rows - label.n_fraud - label.n_legit
    why += f", {n_silent:,} rows say nothing" if n_silent else ""
    if not label.is_sure and label.legit:
        fraud, legit = (", ".join(map(_value, values)) for values in (label.fraud, label.legit))
        why = f"CHECK which value means fraud: the rarer one is taken, {fraud}, and {legit} for legit; {why}"
    lines.note(why, 8)
    if draft.known_at is not None:
        lines.note(f"the truth is known at {draft.known_at.name}: there for every label, never before its event", 8)
    elif draft.clock is None:
        lines.note("without a time no delay can be said: labels count as known at once", 8)
    else:
        lines.note(
            f"CHECK delay: how long until the truth is known. {_span(draft.delay_ms)} is a guess"
            + ("" if draft.business is None else f", usual for {draft.business.template}"), 8
        )  # fmt: skip
    lines.add(f"        label: {{field: {scalar(label.column.name)}, values: {{{values}}}, {known}{absent}}}")


def _context(lines: _Lines, context: Context, draft: Draft) -> None:
    lines.add(f"      {context.name}:")
    lines.add("        event_id: row")
    lines.add(f"        event_time: {scalar(context.clock.column.name)}", context.clock.why)
    roles = ", ".join(f"{role}: {scalar(column.name)}" for role, column in context.roles)
    lines.add(f"        entities: {{{roles}}}", "the same roles as above")
    taken = {context.clock.column.name, *(column.name for _, column in context.roles)}
    names: set[str] = set()
    found = []
    for column in context.profile.columns:
        if column.name not in taken and column.kind in ("text", "boolean") and not column.spelling.missing:
            attribute, _ = attribute_of(column, names)
            if attribute is not None and not attribute.personal and not attribute.audit_only:
                names.add(attribute.name)
                found.append(f"{attribute.name}: {attribute.type}" if attribute.name == column.name else "")
    if any(found):
        lines.add(f"        attributes: {{{', '.join(entry for entry in found if entry)}}}")


def _value(text: str) -> str:
    return text if _WHOLE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _span(span_ms: int) -> str:
    if span_ms == 0:
        return "0d"
    return f"{span_ms // DAY_MS}d" if span_ms % DAY_MS == 0 else f"{span_ms // 3_600_000}h"


__all__ = ["path_text", "plain_name", "scalar", "yaml_of"]

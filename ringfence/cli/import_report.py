# SPDX-License-Identifier: Apache-2.0
"""What `import` tells: how much was loaded, why rows were left out, and what is odd about those let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from ringfence.ledger.importer import ImportReport
    from ringfence.scenario.lookup_faults import Faults

WORTH_A_WARNING: Final = 0.01  # share of rows rejected
_REASONS_TOLD: Final = 5


def summary(report: ImportReport) -> str:
    """Say what an import did, with the most frequent reasons of its rejects."""
    lines = [
        f"{counted(report.n_events, 'event')} and {counted(report.n_labels, 'label')} imported, "
        f"{report.n_duplicates:,} already there, {report.n_rejected:,} rejected, in {report.seconds:.1f} s"
    ]
    if report.n_events:
        lines[0] += f" (seq {report.first_seq:,} to {report.last_seq:,})"
    if report.n_rejected:
        lines.append(
            f"rejected {report.n_rejected:,} of {counted(report.n_rows, 'row')} ({_share(report)}), each listed with "
            f"file, line and reason in {report.rejects_path}; one bad cell leaves the whole row out:"
        )
        width = len(f"{report.reasons[0].n:,}")
        lines += [
            f"  {reason.n:>{width},} x {reason.column + ': ' if reason.column else ''}{reason.reason}"
            for reason in report.reasons[:_REASONS_TOLD]
        ]
        if len(report.reasons) > _REASONS_TOLD:
            lines.append(f"  and {counted(len(report.reasons) - _REASONS_TOLD, 'other reason')}")
    return "\n".join(lines)


def warnings(report: ImportReport) -> list[str]:
    """Say what the reader should look into before trusting the history."""
    told = []
    if report.n_conflicts:
        told.append(
            f"{counted(report.n_conflicts, 'row')} with an event_id that came before with another payload; if "
            "ringfence.yaml maps the files differently than it did then, begin the ledger anew: ringfence import "
            "--replace"
        )
    if report.n_rejected > WORTH_A_WARNING * report.n_rows:
        told.append(f"{_share(report)} of the rows were rejected; mend them before training on the rest")
    for odd in report.after_event:
        told.append(
            f"{odd.n:,} of {odd.n_rows:,} {odd.event_type} rows have `{odd.column}` later than the event: unless that "
            "moment was fixed beforehand, as an expiry date is, it tells the model the future; take the attribute out, "
            "or give it `use: audit_only`"
        )
    for odd in report.without_amount:
        told.append(
            f"{odd.n:,} of {odd.n_rows:,} {odd.event_type} rows have no `{odd.column}`: costs count the policy's "
            "typical amount for them"
        )
    told += [f"{faults.told}; each is listed in {report.lookup_rejects_path}" for faults in report.lookup_faults]
    told += [odd.told for odd in report.underived]
    for odd in report.skipped:
        told.append(
            f"{odd.n:,} of {odd.n_rows:,} {odd.event_type} rows have a `{odd.column}` that never was: the clocks of "
            "`time_zone` went forward over it; it is read as that much after the change. Correct `time_zone`, or write "
            "the offset"
        )
    for odd in report.doubled:
        told.append(
            f"{odd.n:,} of {odd.n_rows:,} {odd.event_type} rows have a `{odd.column}` that was twice: the clocks of "
            "`time_zone` went back over it; the earlier moment is taken. Write the offset where it matters"
        )
    told += [f"{file} holds no row, at most a header" for file in report.empty_files]
    return told


def as_dict(report: ImportReport) -> dict[str, Any]:
    """The report for programs."""
    return {
        "n_events": report.n_events,
        "n_labels": report.n_labels,
        "n_duplicates": report.n_duplicates,
        "n_rejected": report.n_rejected,
        "n_conflicts": report.n_conflicts,
        "n_late": report.n_late,
        "rejects": str(report.rejects_path) if report.n_rejected else None,
        "reject_reasons": msgspec.to_builtins(report.reasons),
        "without_amount": msgspec.to_builtins(report.without_amount),
        "after_event": msgspec.to_builtins(report.after_event),
        "underived": msgspec.to_builtins(report.underived),
        "lookup_faults": {faults.where: _faults(faults) for faults in report.lookup_faults},
        "lookup_rejects": None if report.lookup_rejects_path is None else str(report.lookup_rejects_path),
        "skipped_times": msgspec.to_builtins(report.skipped),
        "doubled_times": msgspec.to_builtins(report.doubled),
        "warnings": warnings(report),
        "first_seq": report.first_seq,
        "last_seq": report.last_seq,
        "seconds": report.seconds,
    }


def _faults(faults: Faults) -> dict[str, Any]:
    return {
        "file": faults.file,
        "n_rows": faults.n_rows,
        "n_bad": faults.n_bad,
        "kinds": {kind.what: len(kind.rows) for kind in faults.kinds},
    }


def counted(n: int, what: str) -> str:
    """Write a number with its noun: 1 row, 2 rows."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _share(report: ImportReport) -> str:
    share = 100.0 * report.n_rejected / report.n_rows
    return f"{share:.1f} %" if share >= 0.1 else f"{share:.2g} %"

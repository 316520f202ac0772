# SPDX-License-Identifier: Apache-2.0
"""What the ledger refuses, one class per cause."""

from __future__ import annotations

from pathlib import Path

from ringfence.errors import RingfenceError


class LedgerError(RingfenceError):
    """Anything that goes wrong between a record and its file."""


class ActLogDamagedError(LedgerError):
    """The record of administrative acts is not what was written."""

    def __init__(self, path: Path, found: str) -> None:
        self.path, self.found = path, found
        super().__init__(
            f"{path}: {found}; restore it from a backup, or move it away, which `ringfence verify audit` will tell"
        )


class LedgerLockedError(LedgerError):
    """Another process holds the writer lock."""

    def __init__(self, path: Path, holder_pid: int | None) -> None:
        self.path = path
        self.holder_pid = holder_pid
        who = f"process {holder_pid}" if holder_pid else "another process"
        super().__init__(
            f"{who} is writing to the ledger (lock {path}); a ledger has one writer: stop the service or the import "
            f"that holds it, or send the records to that service"
        )


class LedgerDamagedError(LedgerError):
    """A file of the ledger is missing, unreadable or not what was written."""

    def __init__(self, path: Path, found: str, do: str = "restore the workspace from a backup") -> None:
        self.path = path
        self.found = found
        super().__init__(f"{path}: {found}; {do}")


class NotScrubbedError(LedgerError):
    """What was deleted is gone from the tables, and its bytes may still be in the file."""

    def __init__(self, path: Path, found: str) -> None:
        self.path, self.found = path, found
        super().__init__(
            f"what was dropped can no longer be read, and its bytes may still be in {path}: {found}; run the same "
            f"command again, with the service stopped if this goes on"
        )


class UnknownEntityError(LedgerError):
    """No event names this entity. Its id is not repeated: messages end up in logs, which nobody erases."""

    def __init__(self, scenario: str, entity_type: str) -> None:
        self.scenario, self.entity_type = scenario, entity_type
        super().__init__(
            f"no event of {scenario!r} names a {entity_type} of this id, and none is in its directory; check type and "
            f"spelling: ids are told apart by case, and nothing was erased"
        )


class LedgerSchemaError(LedgerError):
    """The scenario file no longer fits the records that are in the ledger."""

    def __init__(self, scenario: str, what: str, stored: list[str], found: list[str]) -> None:
        self.scenario = scenario
        self.stored = stored
        self.found = found
        super().__init__(
            f"the ledger of {scenario!r} was written with the {what} {stored}, ringfence.yaml now says {found}; "
            f"add new ones at the end, or run `ringfence import --replace` while there are no live records"
        )


class DerivedChangedError(LedgerError):
    """The records in the ledger have derived values of another making than the scenario's."""

    def __init__(self, scenario: str, value: str, found: str, do: str) -> None:
        self.scenario = scenario
        self.value = value
        self.found = found
        super().__init__(f"the ledger of {scenario!r} was filled with {found} {value!r} in ringfence.yaml; {do}")


class LabelRuleChangedError(LedgerError):
    """The records in the ledger were labelled by another outcome than the scenario's, or by none."""

    def __init__(self, scenario: str, stored: str, found: str) -> None:
        self.scenario = scenario
        self.stored = stored
        self.found = found
        super().__init__(
            f"the ledger of {scenario!r} was filled while {stored} labelled its events, and in ringfence.yaml {found} "
            f"does; run `ringfence import --replace`, or, where there are live records, keep the label as it was or "
            f"begin a new workspace"
        )


class CommitFailedError(LedgerError):
    """Nothing of the group is durable yet. It is kept, and the next commit retries it unchanged."""

    def __init__(self, path: Path, first_seq: int, last_seq: int, found: str) -> None:
        self.path = path
        self.first_seq = first_seq
        self.last_seq = last_seq
        self.found = found
        super().__init__(
            f"records {first_seq}..{last_seq} could not be written to {path}: {found}; they are kept and written "
            f"first at the next commit: free the disk or end the process that locks the file"
        )


class PayloadConflictError(LedgerError):
    """The same (event type, event_id) came before with another payload."""

    def __init__(self, event_type: str, event_id: str, seq: int) -> None:
        self.event_type = event_type
        self.event_id = event_id
        self.seq = seq
        super().__init__(
            f"{event_type} {event_id!r} is known (seq {seq}) with another payload; send a changed event under a new "
            f"event_id, or the same payload again"
        )


class UnknownEventError(LedgerError):
    """A label or a decision names an event that the ledger does not hold."""

    def __init__(self, event_type: str, event_id: str) -> None:
        self.event_type = event_type
        self.event_id = event_id
        super().__init__(f"no {event_type} {event_id!r} in the ledger; send the event first, then its label")


class LabelFromFutureError(LedgerError):
    """A label claims to be known later than now."""

    def __init__(self, event_id: str, known_at_ms: int, recorded_at_ms: int) -> None:
        self.event_id = event_id
        self.known_at_ms = known_at_ms
        self.recorded_at_ms = recorded_at_ms
        super().__init__(
            f"label for {event_id!r} is known at {known_at_ms} ms, later than now ({recorded_at_ms} ms) by more than "
            f"five minutes; send it when it is known, or leave known_at out"
        )


class AlreadyDecidedError(LedgerError):
    """An event is decided once; the first decision stands."""

    def __init__(self, event_seq: int, seq: int) -> None:
        self.event_seq = event_seq
        self.seq = seq
        super().__init__(f"event at seq {event_seq} was decided at seq {seq}; return that decision")


class AlreadyPendingError(LedgerError):
    """An event waits for the nightly batch once."""

    def __init__(self, event_seq: int, seq: int) -> None:
        self.event_seq = event_seq
        self.seq = seq
        super().__init__(f"event at seq {event_seq} waits for the batch since seq {seq}; return that answer")


class SpoolForeignError(LedgerError):
    """Records that were answered before they were durable do not follow those of the ledger."""

    def __init__(self, path: Path, seq: int, ledger_seq: int) -> None:
        self.path, self.seq, self.ledger_seq = path, seq, ledger_seq
        super().__init__(
            f"{path}: its record {seq} does not follow record {ledger_seq} of the ledger, as where the ledger was "
            f"restored from a backup; restore the newer ledger, or move the file away and lose what it holds"
        )


class SpoolWaitsError(LedgerError):
    """Records lie in the spool that only the service can append, with the feature rows beside them."""

    def __init__(self, path: Path, seq: int) -> None:
        self.path, self.seq = path, seq
        super().__init__(
            f"{path}: records from {seq} on were answered while the ledger could not be written, and wait; "
            f"start `ringfence serve` once, which appends them, then stop it and try again"
        )


class SpoolHoldsNamesError(LedgerError):
    """Records that wait for the ledger hold names and personal values, which nothing can be erased from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"{folder}: records were answered while the ledger could not be written, and hold ids and personal values "
            f"until it takes them; see to the ledger, or start `ringfence serve` once where none runs, then try again"
        )


class ImportFailedError(LedgerError):
    """An import that loads nothing, because a file as a whole is unusable."""

    def __init__(self, file: Path | str, found: str, do: str) -> None:
        self.file = str(file)
        self.found = found
        self.do = do
        super().__init__(f"{file}: {found}; {do}; nothing was imported")


class SourceMissingError(ImportFailedError):
    """A source names a file, or a pattern, that matches nothing."""


class SourceUnreadableError(ImportFailedError):
    """A source file is empty, truncated, not UTF-8, or not the format its name says."""


class SourceColumnsError(ImportFailedError):
    """A source file lacks columns that the scenario names."""


class RejectedRowsError(ImportFailedError):
    """There are bad rows, and the caller wants none."""


class ReplaceRefusedError(LedgerError):
    """`import --replace` would delete records that exist nowhere else."""

    def __init__(self, scenario: str, n_live: int) -> None:
        self.scenario = scenario
        self.n_live = n_live
        super().__init__(
            f"the ledger of {scenario!r} holds {n_live} live events, labels or decisions, which no file can bring "
            f"back; `import --replace` is for a ledger without them: import without --replace, or begin a new workspace"
        )

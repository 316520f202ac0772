# SPDX-License-Identifier: Apache-2.0
"""What the engine refuses to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ringfence.errors import RingfenceError
from ringfence.scenario.errors import ConditionError


class EngineError(RingfenceError):
    """Any refusal of the engine."""


class SequenceError(EngineError):
    """Records were handed over twice or out of order."""

    def __init__(self, *, engine_seq: int, found_seq: int) -> None:
        self.engine_seq = engine_seq
        self.found_seq = found_seq
        super().__init__(
            f"the engine has folded the ledger up to seq {engine_seq}, but the next record has seq {found_seq}; "
            "hand over records in ascending seq, each once"
        )


class AlreadyFoldedError(SequenceError):
    """A neighbourhood was asked for of an event that is folded: it would see itself and what came after."""

    def __init__(self, *, engine_seq: int, found_seq: int) -> None:
        self.engine_seq = engine_seq
        self.found_seq = found_seq
        EngineError.__init__(
            self,
            f"the neighbourhood of the event with seq {found_seq} was asked for, but the engine has folded the ledger "
            f"up to seq {engine_seq}: the event would see itself and what came after it; ask before it is folded, or "
            "let `observe_sampled` or `sampled_rows` do both in turn",
        )


class BatchShapeError(EngineError):
    """A batch does not fit the catalogue that the engine was built from."""

    def __init__(self, *, what: str, found: object, expected: object) -> None:
        self.what = what
        self.found = found
        self.expected = expected
        super().__init__(
            f"batch field {what} has shape {found}, this catalogue needs {expected}; "
            "build batches and engine from the same scenario"
        )


class UnknownFeatureError(EngineError):
    """A feature, family or role that this catalogue does not have."""

    def __init__(self, *, what: str, found: str, known: tuple[str, ...]) -> None:
        self.found = found
        self.known = known
        super().__init__(f"unknown {what} {found!r}; this scenario has {', '.join(known)}")


class TooManyWindowsError(EngineError):
    """More windows than one row of state can serve."""

    def __init__(self, *, found: int, most: int) -> None:
        self.found = found
        super().__init__(f"the scenario names {found} windows, at most {most} are supported; shorten `windows`")


class TooManyRolesError(EngineError):
    """More roles than a stored link can tell apart."""

    def __init__(self, *, found: int, most: int) -> None:
        self.found = found
        super().__init__(
            f"the scenario names {found} roles, features of one hop can tell {most} apart; name fewer roles, or write "
            "`features: {one_hop: false, neighbour_risk: false}`"
        )


class RuleFeatureError(EngineError):
    """A rule names what is no feature, or compares what cannot be compared."""

    def __init__(self, *, scenario: str, number: int, rule: str, error: ConditionError) -> None:
        self.number, self.rule, self.at, self.found = number, rule, error.at, error.found
        super().__init__(
            f"ringfence.yaml: {scenario}.rules[{number - 1}].when, rule {rule!r}, character {error.at + 1}: "
            f"found {error.found}; {error.do}"
        )


class KMeansFeatureError(EngineError):
    """A feature on which k-means can find no segments."""

    def __init__(self, *, scenario: str, found: str, do: str) -> None:
        super().__init__(f"scenario {scenario!r}: segments.kmeans.on names {found}; {do}")
        self.scenario = scenario
        self.found = found
        self.do = do


class MonotoneFeatureError(EngineError):
    """A feature in which the score cannot be held to one direction."""

    def __init__(self, *, scenario: str, name: str, found: str, do: str) -> None:
        super().__init__(f"scenarios.{scenario}.monotone.{name}: found {found}; {do}")
        self.scenario = scenario
        self.name = name
        self.found = found
        self.do = do


class SampleSizeError(EngineError):
    """More events per seat than an entity refers back to, or none, or no number."""

    def __init__(self, *, found: object, most: int) -> None:
        self.found = found
        super().__init__(
            f"neighbourhoods of {found!r} events per seat were asked for; write a whole number from 1 to {most}"
        )


class TickMismatchError(EngineError):
    """A tick on record, and the same tick computed again, differ."""

    def __init__(self, *, as_of_ms: int, effect_seq: int, found: str) -> None:
        self.as_of_ms = as_of_ms
        self.effect_seq = effect_seq
        at = datetime.fromtimestamp(as_of_ms / 1000, tz=UTC).isoformat(timespec="seconds")
        super().__init__(
            f"the tick of {at}, on record as in effect from seq {effect_seq}, {found}; features of rings that were "
            "answered from it cannot be made again: run `ringfence verify audit`, and compare ringfence and lock file "
            "with those that wrote it"
        )


class NoSamplingError(EngineError):
    """A neighbourhood was asked of a catalogue that samples none."""

    def __init__(self) -> None:
        super().__init__(
            "this catalogue samples no neighbourhoods; build it with `Catalogue.build(scenario, neighbourhoods=16)`"
        )


class TooManySamplesError(EngineError):
    """Samples that would take more disk than is allowed or free."""

    def __init__(self, *, n: int, each: int, allowed: int, fits: int, is_cap: bool) -> None:
        self.n = n
        self.fits = fits
        what = "are allowed" if is_cap else "are free on the disk"
        do = "raise the cap, or draw fewer" if is_cap else "make room, or draw fewer"
        super().__init__(
            f"samples of {n:,} events take {n * each:,} bytes ({each:,} each), {allowed:,} {what}: "
            f"{fits:,} events would fit; {do}"
        )


class SampleFilesError(EngineError):
    """A directory of samples that cannot be written or read."""

    def __init__(self, *, path: Path, reason: str, do: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"samples {path.name}: {reason}; {do}")


class SnapshotError(EngineError):
    """A snapshot that cannot be trusted."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"snapshot {path.name} is refused: {reason}; an older one or a full replay takes its place, and the file "
            "may be deleted"
        )


class SpineOrderError(EngineError):
    """Questions are not in the order in which one replay can answer them."""

    def __init__(self, *, row: int) -> None:
        self.row = row
        super().__init__(
            f"the spine is out of order at row {row}: sort it by the last seq that each row sees, then by time"
        )

# SPDX-License-Identifier: Apache-2.0
"""What training refuses to do, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ringfence.errors import RingfenceError


class NoExamplesError(RingfenceError):
    """There is no event with a label known by the cut."""

    def __init__(self, n_events: int, n_labels: int, until_ms: int | None) -> None:
        self.n_events = n_events
        self.n_labels = n_labels
        self.until_ms = until_ms
        super().__init__(
            f"no example to train on: {n_events} decided events are in the span and {n_labels} labels are known by "
            f"{'now' if until_ms is None else _iso(until_ms)}, but no event has both; move --until to a time when "
            "labels are known, move --examples-from back, or check `label` in ringfence.yaml; without any label, say "
            "`--assumed-rate RATE`"
        )


class NoEventsError(RingfenceError):
    """There is no event to look at."""

    def __init__(self, decides: str, until_ms: int | None) -> None:
        self.decides, self.until_ms = decides, until_ms
        until = "" if until_ms is None else f" by {_iso(until_ms)}"
        super().__init__(
            f"no {decides} event is on record{until}; run `ringfence import`, move --until, or move --examples-from "
            "back"
        )


class UnlabelledBaseError(RingfenceError):
    """A release that was made without labels has no calibration that could be renewed."""

    def __init__(self, release: str) -> None:
        self.release = release
        super().__init__(
            f"{release} was made without labels, so there is nothing to calibrate anew; now that labels are known, run "
            "`ringfence train` without --assumed-rate"
        )


class NoFeaturesError(RingfenceError):
    """Every feature family is switched off."""

    def __init__(self, scenario: str, families: tuple[str, ...]) -> None:
        self.scenario = scenario
        self.families = families
        super().__init__(
            f"{scenario} has no feature to learn from: `features` in ringfence.yaml switches every family off that "
            f"would have one; set one of them to true: {', '.join(families)}"
        )


class OneClassError(RingfenceError):
    """All examples carry the same label."""

    def __init__(self, n_examples: int, n_fraud: int, needed: int) -> None:
        self.n_examples = n_examples
        self.n_fraud = n_fraud
        n_legit = n_examples - n_fraud
        super().__init__(
            f"{n_examples} examples hold {n_fraud} fraud and {n_legit} legit labels; at least {needed} of each are "
            "needed to fit and to calibrate a model; widen the span, or set `label.absent: {legit_after: …}` when only "
            "fraud is ever reported"
        )


class NoFoldsError(RingfenceError):
    """The examples cannot be cut in time so that something is learnt before something else is scored."""

    def __init__(self, n_examples: int, n_fraud: int) -> None:
        self.n_examples = n_examples
        self.n_fraud = n_fraud
        super().__init__(
            f"{n_examples} examples with {n_fraud} frauds leave no time split with both labels on each side: fraud and "
            "legit events lie in different periods, or all at one moment; widen the span of examples"
        )


class TooFewNewLabelsError(RingfenceError):
    """Too little became known since a release was made to calibrate it anew."""

    def __init__(
        self,
        release: str,
        after_ms: int,
        until_ms: int | None,
        n_fraud: int,
        n_legit: int,
        needed: int,
        *,
        is_part: bool = False,
    ) -> None:
        self.release = release
        self.n_fraud, self.n_legit, self.needed = n_fraud, n_legit, needed
        until = "now" if until_ms is None else _iso(until_ms)
        where = " in the earlier or the later part of these labels, of which one fits and one judges" if is_part else ""
        super().__init__(
            f"{release} cannot be calibrated anew: of events that it was not fitted on, {n_fraud} fraud and {n_legit} "
            f"legit labels became known after its cut ({_iso(after_ms)}) and by {until}{where}; at least {needed} of "
            "each are needed; move --until, wait for labels, or train"
        )


class BroughtFileError(RingfenceError):
    """The file of a network that was trained elsewhere cannot be read."""

    def __init__(self, where: str, file: str, found: str, do: str) -> None:
        self.where, self.file, self.found, self.do = where, file, found, do
        super().__init__(f"{where}: {file}: found {found}; {do}")


class BroughtFeatureError(RingfenceError):
    """A feature that a network trained elsewhere cannot be fed."""

    def __init__(self, where: str, found: str, do: str) -> None:
        self.where, self.found, self.do = where, found, do
        super().__init__(f"{where}: found {found}; {do}")


class ExportPlaceError(RingfenceError):
    """A release is to be exported to where something is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"{folder} is not an empty folder; nothing is written over it: name another one, or clear it")


class NoTreesToExportError(RingfenceError):
    """A release that was made without labels, and has no trees to hand on."""

    def __init__(self, release: str) -> None:
        super().__init__(
            f"release {release}: found no trees, since it was made without labels, expected those that an export hands "
            "on; train with labels first, or name another release"
        )
        self.release = release


class ExportDifferenceError(RingfenceError):
    """What was exported does not score as the release does."""

    def __init__(self, release: str, rung: str, what: str, difference: float, most: float) -> None:
        self.release, self.rung, self.what = release, rung, what
        self.difference, self.most = difference, most
        super().__init__(
            f"{release}, rung {rung}: what was exported differs from the release by {difference:.2e} in {what}, at "
            f"most {most:.0e} is rounding, so nothing was written; please report this with the versions of onnx and "
            "onnxruntime"
        )


class EmptyWindowError(RingfenceError):
    """The window to score holds no decided event."""

    def __init__(self, event_type: str, from_ms: int, to_ms: int | None) -> None:
        self.from_ms = from_ms
        self.to_ms = to_ms
        super().__init__(
            f"no {event_type!r} event between {_iso(from_ms)} (inclusive) and "
            f"{'the end of the ledger' if to_ms is None else _iso(to_ms) + ' (exclusive)'}; check --from and --to"
        )


def _iso(time_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).isoformat()


class MissingExtraError(RingfenceError):
    """A library that only some trainings need is not installed."""

    def __init__(self, library: str, extra: str, *, what: str = "training a graph network") -> None:
        self.library = library
        self.extra = extra
        super().__init__(
            f"{what} needs {library}, which is not installed; run: pip install 'ringfence[{extra}]' "
            "(serving does not need it)"
        )


class UnknownBranchError(RingfenceError):
    """A branch that a training is to leave out, and that does not exist."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        super().__init__(f"no branch is called {name!r}; beside the trees there are {', '.join(known)}")


class DeviceError(RingfenceError):
    """A device that this machine does not have."""

    def __init__(self, device: str, available: tuple[str, ...]) -> None:
        self.device = device
        self.available = available
        super().__init__(
            f"device {device!r} is not available here; found {', '.join(available)}; use one of them, or auto"
        )


class ExportMismatchError(RingfenceError):
    """The exported graph does not compute what the trained network does."""

    def __init__(self, difference: float, most: float, n: int) -> None:
        self.difference = difference
        self.most = most
        super().__init__(
            f"the exported network differs from the trained one by {difference:.2e} in log-odds on {n} events, at most "
            f"{most:.0e} is rounding; please report this with the versions of torch, onnx and onnxruntime"
        )


class TruthFileError(RingfenceError):
    """A file that should say what is true of a world does not."""

    def __init__(self, where: str, found: str, wanted: str) -> None:
        self.where = where
        super().__init__(f"truth file {where}: {found}; needed is {wanted}, as `ringfence simulate` writes it")


class UnknownStudyError(RingfenceError):
    """A study that does not exist."""

    def __init__(self, wanted: str, known: Sequence[str]) -> None:
        self.wanted = wanted
        super().__init__(f"there is no study {wanted!r}; there are: {', '.join(known)}, or all")

# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a scenario file, an event, a label, or a workspace."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.errors import RingfenceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ringfence.scenario.lookup_faults import Faults

_LONGEST_FOUND = 80
_MOST_NAMES = 20


class ScenarioFileError(RingfenceError):
    """A scenario file says something that ringfence cannot follow."""

    def __init__(self, file: str | Path, path: str, found: str, do: str) -> None:
        self.file, self.path, self.found, self.do = str(file), path, found, do
        super().__init__(f"{file}: {path or 'the file'}: found {found}; {do}")


class InvalidEventError(RingfenceError):
    """An event or a label that does not fit the scenario. `path` is a JSON path such as `$.entities.claimant`."""

    def __init__(self, path: str, found: str, do: str) -> None:
        self.path, self.found, self.do = path, found, do
        super().__init__(f"{path}: found {found}; {do}")


class ConditionError(RingfenceError):
    """A rule's condition that cannot be followed. `at` is the 0-based place in its text."""

    def __init__(self, text: str, at: int, found: str, do: str) -> None:
        self.text, self.at, self.found, self.do = text, at, found, do
        super().__init__(f"{shown(text)}, character {at + 1}: found {found}; {do}")


class LookupFileError(RingfenceError):
    """A lookup file that is missing, unreadable, or contradicts itself. `row` counts from 1, without the header."""

    def __init__(self, file: str | Path, where: str, found: str, do: str, *, row: int | None = None) -> None:
        self.file, self.where, self.found, self.do, self.row = str(file), where, found, do, row
        place = f"{file}, row {row:,}" if row is not None else str(file)
        super().__init__(f"{place}: looked up by derive.{where}: found {found}; {do}")


class LookupRowsError(LookupFileError):
    """A lookup file has rows that cannot be followed: how many of which kind, the first of each, what lets them be.

    Parameters
    ----------
    listed_in : the file that lists each of them; None where nothing was written.
    """

    def __init__(self, faults: Faults, listed_in: Path | None = None) -> None:
        self.faults, self.listed_in = faults, listed_in
        stopping = [kind for kind in faults.kinds if not kind.is_followed]
        n = sum(len(kind.rows) for kind in stopping)
        settings = " and ".join(dict.fromkeys(f"`{kind.setting}`" for kind in stopping))
        lines = [f"  {kind.told}; {kind.do}" for kind in stopping]
        lines += [f"  {faults.rounded}"] if faults.rounded else []
        lines += [f"each is listed in {listed_in}"] if listed_in is not None else []
        found = f"{n:,} of {faults.n_rows:,} rows that cannot be followed"
        do = f"mend them, or write {settings} under `lookup` (docs/derived-values.md):\n" + "\n".join(lines)
        super().__init__(faults.file, faults.where, found, do, row=min(kind.rows[0] for kind in stopping))


class BatchFormError(RingfenceError):
    """An array of a batch has another number of dimensions than its field."""

    def __init__(self, what: str, found: tuple[int, ...], n_dimensions: int) -> None:
        self.what, self.found = what, found
        super().__init__(
            f"batch field {what}: found an array of shape {found}, expected {n_dimensions} dimensions; "
            "hand over what the fields of Batch say"
        )


class IdentityKeyError(RingfenceError):
    """The secret that turns entity ids into digests is missing, damaged or readable by others."""


class WorkspaceExistsError(RingfenceError):
    """A file that `init` would write is already there."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = tuple(files)
        names = ", ".join(str(file) for file in self.files)
        super().__init__(f"nothing written: {names} already there; choose an empty directory or move them away")


class UnknownTemplateError(RingfenceError):
    """No workspace template has this name."""

    def __init__(self, found: str, known: Iterable[str]) -> None:
        self.found, self.known = found, tuple(known)
        super().__init__(f"no template {found!r}; {did_you_mean(found, self.known)}")


def shown(value: object) -> str:
    """Describe a found value in at most 80 characters that can always be printed."""
    if value is None:
        return "null"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)}"
    text = repr(value[:_LONGEST_FOUND] if isinstance(value, str) else value)
    text = text.encode("ascii", "backslashreplace").decode() if not _printable(text) else text
    return text if len(text) <= _LONGEST_FOUND else text[: _LONGEST_FOUND - 1] + "…"


def withheld(value: object) -> str:
    """Describe a personal value without showing it: errors end up in logs, which nobody erases."""
    kind = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}.get(type(value))
    return "null" if value is None else f"{kind or 'a structure'} (personal, not shown)"


def _printable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Name the closest known words, or all of them when none is close."""
    names = sorted(known)
    close = get_close_matches(found, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return "nothing may stand here"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return "known: " + ", ".join(names[:_MOST_NAMES]) + more

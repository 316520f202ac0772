# SPDX-License-Identifier: Apache-2.0
"""What a step refuses to do, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ringfence.errors import RingfenceError


class NoTimeError(RingfenceError):
    """Something was given as a time that is none."""

    def __init__(self, name: str, found: object) -> None:
        self.name, self.found = name, found
        super().__init__(
            f"{name} {found!r} is not a time; give a date, a datetime, ISO 8601 (2018-07-25T13:00:00Z), or whole "
            "milliseconds since 1970"
        )


class TwoReleasesError(RingfenceError):
    """A release was named together with `as_live`, which takes the release that was live."""

    def __init__(self, release: str) -> None:
        self.release = release
        super().__init__(f"as_live takes the release that was live at each event; leave out release={release!r}")


class SpineFileError(RingfenceError):
    """A spine file that cannot be read as a table."""

    def __init__(self, path: Path, found: str, do: str) -> None:
        self.path, self.found, self.do = path, found, do
        super().__init__(f"spine {path}: {found}; {do}")


class SpineColumnsError(RingfenceError):
    """A spine that does not tell who or when, or tells it twice."""

    def __init__(self, lacks: str, found: Sequence[str], do: str) -> None:
        self.lacks, self.found, self.do = lacks, tuple(found), do
        listed = ", ".join(self.found[:12]) + (", …" if len(self.found) > 12 else "")
        super().__init__(f"the spine has to say {lacks}; found the columns {listed or '(none)'}; {do}")


class SpineRowsError(RingfenceError):
    """Rows of a spine that cannot be read; nothing is computed for the others."""

    def __init__(self, cells: Sequence[str], n_bad: int, n_rows: int) -> None:
        self.cells, self.n_bad, self.n_rows = tuple(cells), n_bad, n_rows
        listed = "".join(f"\n  {cell}" for cell in self.cells)
        super().__init__(f"{n_bad:,} of {n_rows:,} rows of the spine cannot be read (row 1 is the first one):{listed}")


class SpineWarning(UserWarning):
    """A spine that can be read, and probably does not ask what was meant."""


class ChosenEventsError(RingfenceError):
    """Events whose neighbourhoods cannot be sampled."""

    def __init__(self, what: str, found: str, do: str) -> None:
        self.what, self.found, self.do = what, found, do
        super().__init__(f"neighbourhoods of {what}: found {found}; {do}")


class NoTicksError(RingfenceError):
    """Ticks of a scenario that has none."""

    def __init__(self, scenario: str) -> None:
        super().__init__(
            f"scenario {scenario!r} has no `ticks`: its decided events come from files and messages; write "
            "`ticks: {role: customer, every: 30d}` in ringfence.yaml to have them made"
        )
        self.scenario = scenario


class UnknownDecisionError(RingfenceError):
    """No decision of that id is on record."""

    def __init__(self, decision_id: str) -> None:
        self.decision_id = decision_id
        super().__init__(f"no decision {decision_id!r} in the ledger; use the decision_id of an answer, such as d-1042")


class GraphFolderError(RingfenceError):
    """A folder that is no graph, or cannot become one."""

    def __init__(self, directory: Path, found: str, do: str) -> None:
        self.directory, self.found, self.do = directory, found, do
        super().__init__(f"graph folder {directory}: {found}; {do}")


class NoCutError(RingfenceError):
    """Labels after the cut were asked for where there is no cut."""

    def __init__(self) -> None:
        super().__init__("later labels are those that became known after the cut, and there is none; name it: --until")

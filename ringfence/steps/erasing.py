# SPDX-License-Identifier: Apache-2.0
"""Erase one entity from a workspace: what the ledger holds in the clear, reports that quote it; and list the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from ringfence.ledger.erasable import ERASABLE
from ringfence.ledger.erasure import Erasure, erase_entity
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.quoted import is_quoted, quoting_files
from ringfence.ledger.schema import DATABASE
from ringfence.ledger.segments import SEGMENTS
from ringfence.workspace import Workspace

SHORTEST_IN_FILES: Final = 4  # characters: a shorter id stands in many a file without meaning anybody


class WorkspaceErasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased in a workspace, and what still quotes the id."""

    erasure: Erasure
    removed: tuple[str, ...]  # files under reports/ that quoted it, relative to the workspace
    quoting: tuple[str, ...]  # other files that do; theirs to change who made them

    @property
    def text(self) -> str:
        """The result in sentences."""
        done = self.erasure
        who = f"{done.entity_type} {done.digest[:12]}"
        if not done.was_due:
            lines = [f"{who} was erased before, and nothing has come since: nothing to do"]
        else:
            lines = [
                f"erased {who}: {_count(done.n_names, 'id')}, {_count(done.n_personal, 'personal value')}; "
                f"{_count(done.n_events, 'event')} {'names' if done.n_events == 1 else 'name'} it by its digest alone"
            ]
        lines += [f"removed {name}, which quoted it; it can be made again" for name in self.removed]
        if done.n_quoting:
            lines.append(
                f"the id is quoted on record by {_count(done.n_quoting, 'event')}, in {', '.join(done.quoting)}: what "
                "is chained stays; mark such attributes `personal`"
            )
        lines += [f"{name} quotes the id, and was left as it is" for name in self.quoting]
        return "\n".join(lines)


def require_silent(reason: str, entity_id: str) -> None:
    """Insist that a reason says something, and not the id that is to be erased.

    Raises
    ------
    ValueError
        If it does not; the id is not repeated.
    """
    if not reason.strip():
        raise ValueError("is empty; say why, such as the number of the request")
    if is_quoted(entity_id, reason):
        raise ValueError("quotes the id, and would stay on record; name the request, not the entity")


def erase(
    here: Workspace, ledger: Ledger, entity_type: str, entity_id: str, *, at_ms: int, record: Callable[[str], None]
) -> WorkspaceErasure:
    """Erase an entity from a scenario's ledger, then look at every file of the workspace that is not the ledger's own.

    Ids of fewer than four characters are not looked for in files: they stand there without meaning anybody.

    Parameters
    ----------
    record : as for `erase_entity`.

    Raises
    ------
    UnknownEntityError, LedgerLockedError, NotScrubbedError
        As `erase_entity`.
    """
    done = erase_entity(ledger, entity_type, entity_id, at_ms=at_ms, record=record)
    if len(entity_id) < SHORTEST_IN_FILES:
        return WorkspaceErasure(erasure=done, removed=(), quoting=())
    # The records were looked at event by event, decoded; what was deleted beside them is overwritten.
    folders = [folder for folder in (here.path / "ledger").glob("*") if folder.is_dir()]
    own = {
        folder / f"{name}{end}" for folder in folders for name in (DATABASE, ERASABLE) for end in ("", "-wal", "-shm")
    }
    leave_out = frozenset({*own, *(folder / SEGMENTS for folder in folders)})
    removed: list[Path] = []
    quoting: list[Path] = []
    for file in quoting_files(here.path, entity_id, leave_out):
        if file.is_relative_to(here.reports_dir):
            file.unlink(missing_ok=True)
            removed.append(file)
        else:
            quoting.append(file)
    return WorkspaceErasure(
        erasure=done,
        removed=tuple(str(file.relative_to(here.path)) for file in removed),
        quoting=tuple(str(file.relative_to(here.path)) for file in quoting),
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"

# SPDX-License-Identifier: Apache-2.0
"""Which of several labels about one event stands."""

from __future__ import annotations

from typing import Final, NamedTuple

from ringfence.scenario.batch import NO_LABEL

MATURED: Final = "matured"


class Standing(NamedTuple):
    """The label that holds for an event at some seq."""

    value: int  # FRAUD or LEGIT
    source: str
    known_at_ms: int
    label_seq: int


class Precedence:
    """Order of label sources: listed ones first to last, then all others as equals, then `matured`."""

    def __init__(self, strongest_first: tuple[str, ...]) -> None:
        self._rank = {source: rank for rank, source in enumerate(strongest_first)}
        self._unlisted = len(strongest_first)

    def rank(self, source: str) -> int:
        """Return the rank of a source; smaller is stronger."""
        if source == MATURED:
            return self._unlisted + 1
        return self._rank.get(source, self._unlisted)

    def outcome(self, source: str, standing: Standing | None) -> tuple[bool, int]:
        """Say what a new label from `source` does to the one that stands.

        Returns
        -------
        (stands, replaces): a label of equal or higher rank takes the place of the standing one, the later word of
        equals wins; a weaker one is kept on record and changes nothing. `replaces` is NO_LABEL for the first.
        """
        if standing is None:
            return True, NO_LABEL
        return self.rank(source) <= self.rank(standing.source), standing.value

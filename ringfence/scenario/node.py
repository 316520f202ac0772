# SPDX-License-Identifier: Apache-2.0
"""A value in a scenario file that knows where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ringfence.scenario.duration import duration_ms
from ringfence.scenario.errors import ScenarioFileError, did_you_mean, shown


class Node:
    """One value, its file, and its dotted path."""

    __slots__ = ("file", "name", "path", "value")

    def __init__(self, file: str, path: str, value: Any, name: str = "") -> None:
        self.file, self.path, self.value, self.name = file, path, value, name

    def error(self, found: str, do: str) -> ScenarioFileError:
        return ScenarioFileError(self.file, self.path, found, do)

    def keys(self, known: Sequence[str], *, later: Iterable[str] = ()) -> None:
        """Insist on a mapping with none but the known keys."""
        if not isinstance(self.value, dict):
            raise self.error(shown(self.value), f"write names and values here: {', '.join(known)}")
        for key in self.value:
            if key in later:
                raise self._child(key).error(f"`{key}`", "this comes with a later release; remove it for now")
            if key not in known:
                raise self._child(key).error(f"an unknown key {key!r}", did_you_mean(str(key), known))

    def get(self, key: str) -> Node | None:
        """The value under `key`, or None where it is absent or null."""
        value = self.value.get(key)
        return None if value is None else self._child(key)

    def required(self, key: str, do: str) -> Node:
        child = self.get(key)
        if child is None:
            raise self._child(key).error("nothing", do)
        return child

    def mapping(self, example: str) -> list[Node]:
        """The entries of a non-empty mapping, as nodes with names."""
        if not isinstance(self.value, dict) or not self.value:
            raise self.error(shown(self.value), f"write {example}")
        for key in self.value:
            if not isinstance(key, str):
                raise self.error(f"the key {key!r}", "names are texts; put it in quotes")
        return [self._child(key) for key in self.value]

    def sequence(self, example: str) -> list[Node]:
        if not isinstance(self.value, list):
            raise self.error(shown(self.value), f"write a list: {example}")
        return [Node(self.file, f"{self.path}[{i}]", value) for i, value in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.error(shown(self.value), "write a text")
        return self.value

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.error(shown(self.value), "write true or false")
        return self.value

    def whole(self, least: int, most: int) -> int:
        """A whole number, both bounds inclusive."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not least <= self.value <= most:
            raise self.error(shown(self.value), f"write a whole number from {least} to {most}")
        return self.value

    def duration(self) -> int:
        try:
            return duration_ms(self.value)
        except ValueError as error:
            raise self.error(shown(self.value), str(error)) from None

    def choice(self, known: Sequence[str]) -> str:
        if not isinstance(self.value, str) or self.value not in known:
            raise self.error(shown(self.value), did_you_mean(str(self.value), known))
        return self.value

    def _child(self, key: Any) -> Node:
        child = Node(self.file, f"{self.path}.{key}" if self.path else str(key), None, str(key))
        child.value = self.value.get(key)
        return child

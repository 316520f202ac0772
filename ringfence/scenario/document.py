# SPDX-License-Identifier: Apache-2.0
"""YAML as people mean it: `on`, `no` and dates stay text, a key that stands twice is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ringfence.scenario.errors import ScenarioFileError


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of booleans, no dates, no base-60 numbers, no duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r}, which stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_DROPPED = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _DROPPED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(tag, re.compile(pattern), list(first))


_resolve("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("tag:yaml.org,2002:int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789")


def read_document(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises
    ------
    ScenarioFileError
        If it cannot be read, is not YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioFileError(path, "", error.strerror or "an error", "check that the file is there") from None
    except UnicodeDecodeError as error:
        raise ScenarioFileError(path, "", f"invalid UTF-8 at byte {error.start}", "save it as UTF-8") from None
    return document_from_text(text, where=str(path))


def document_from_text(text: str, *, where: str) -> dict[str, Any]:
    """Read YAML text that holds one mapping; `where` is the file to name in errors.

    Raises
    ------
    ScenarioFileError
        If it is not YAML, or holds something else.
    """
    try:
        data = yaml.load(text, _Loader)
    except yaml.constructor.ConstructorError as error:
        raise ScenarioFileError(where, _at(error), error.problem or "a mistake", "mend the YAML there") from None
    except yaml.MarkedYAMLError as error:
        found = f"no YAML ({(error.problem or 'a mistake').removeprefix('found ')})"
        raise ScenarioFileError(where, _at(error), found, "mend it there") from None
    except yaml.YAMLError as error:
        raise ScenarioFileError(where, "", f"no YAML ({str(error).splitlines()[0]})", "mend it") from None
    except RecursionError:
        raise ScenarioFileError(where, "", "endless nesting", "mend the YAML") from None
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise ScenarioFileError(where, "", found, "write names and values, such as `name: value`")
    return data


def _at(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""

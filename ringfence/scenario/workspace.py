# SPDX-License-Identifier: Apache-2.0
"""The first files of a workspace, from a commented template."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ringfence.scenario.errors import UnknownTemplateError, WorkspaceExistsError

_TEMPLATES: Final = Path(__file__).parent / "templates"
_IGNORED: Final = """\
# Data, for backups and not for git. Text files beside this one belong in git.
ledger/
state/
releases/
reports/
keys.txt
"""


def template_names() -> tuple[str, ...]:
    """The templates that `init_workspace` knows, by name."""
    return tuple(sorted(folder.name for folder in _TEMPLATES.iterdir() if (folder / "ringfence.yaml").is_file()))


def init_workspace(directory: Path, template: str) -> list[Path]:
    """Write `ringfence.yaml`, `policies/<scenario>.yaml`, empty `rules/` and `lists/`, and a `.gitignore`.

    Returns
    -------
    The files written, sorted.

    Raises
    ------
    UnknownTemplateError
        If no template has this name.
    WorkspaceExistsError
        If any of the files is there already; nothing is written then.
    """
    if template not in template_names():
        raise UnknownTemplateError(template, template_names())
    source = _TEMPLATES / template
    texts = {directory / file.relative_to(source): _text(file) for file in source.rglob("*.yaml")}
    texts |= {directory / folder / ".gitkeep": "" for folder in ("rules", "lists")}
    texts[directory / ".gitignore"] = _IGNORED
    there = sorted(file for file in texts if file.exists())
    if directory.exists() and not directory.is_dir():
        there = [directory]
    if there:
        raise WorkspaceExistsError(there)
    for file, text in sorted(texts.items()):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return sorted(texts)


def _text(template: Path) -> str:
    """A template's text without our licence line: what it becomes belongs to its user."""
    return template.read_text(encoding="utf-8").removeprefix("# SPDX-License-Identifier: Apache-2.0\n")

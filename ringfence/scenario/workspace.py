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
keys.txt*
acts.jsonl*
"""


def template_names() -> tuple[str, ...]:
    """The templates that `init_workspace` knows, by name."""
    return tuple(sorted(folder.name for folder in _TEMPLATES.iterdir() if (folder / "ringfence.yaml").is_file()))


def template_file(template: str, name: str) -> str:
    """The text of one file of a template, such as `CARD.md`."""
    return _text(_TEMPLATES / template / name)


def init_workspace(directory: Path, template: str) -> list[Path]:
    """Write a template: `ringfence.yaml`, `policies/<scenario>.yaml`, and stubs of `CARD.md` and `RISKS.md`.

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
    files = [*source.rglob("*.yaml"), *source.rglob("*.md")]
    return write_workspace(directory, {file.relative_to(source).as_posix(): _text(file) for file in files})


def require_room(directory: Path) -> None:
    """Refuse a folder that is a workspace already, before anything is looked at.

    Raises
    ------
    WorkspaceExistsError
        If it holds a `ringfence.yaml`, or is a file.
    """
    if (directory / "ringfence.yaml").exists():
        raise WorkspaceExistsError([directory / "ringfence.yaml"])
    if directory.exists() and not directory.is_dir():
        raise WorkspaceExistsError([directory])


def write_workspace(directory: Path, files: dict[str, str]) -> list[Path]:
    """Write files, by path within `directory`, with empty `rules/` and `lists/`, and a `.gitignore`.

    Returns
    -------
    The files written, sorted.

    Raises
    ------
    WorkspaceExistsError
        If any of the files is there already; nothing is written then.
    """
    texts = {directory / name: text for name, text in files.items()}
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

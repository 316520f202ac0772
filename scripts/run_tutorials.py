# SPDX-License-Identifier: Apache-2.0
"""Run docs/tutorials/*.md, and pages that stand `ALONE`, as a reader would, and write what was shown into each page.

    .venv/bin/python scripts/run_tutorials.py [PAGE]...    such as neighbourhoods; a chapter needs those before it

A page is plain Markdown; its fences say what to do with them:

    console   `$ command` is run, what follows is what it shows; `ringfence` and `python` without a new process.
              A line `…` stands for lines that are left out; `ringfence serve … &` runs until `kill %1`.
    python    is run, all blocks of a page in one namespace; a fence `text` right after it holds what it shows.
    diff      changes the file that its first line names, `--- path`; the lines before must be there, once.
    yaml      must stand in a file of the workspace.
    sh        is not run: how to begin, the same on every page.

Pages run in the order of `CHAPTERS`; each begins in a copy of the folder that the page named there left behind.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "tutorials"
CHAPTERS: dict[str, str | None] = {
    "first-model": None,
    "reading-the-report": "first-model",
    "rule-of-thumb": "first-model",
    "notebook-to-service": "first-model",
    "credit-applications": None,
}
# Pages elsewhere that begin in an empty folder.
ALONE = (ROOT / "docs" / "neighbourhoods.md", ROOT / "docs" / "graph-export.md")
SHOWN_FOLDER = "~/ringfence/out"
_COMPILES = "the first run on a machine compiles"  # what a command says that waits for it
PORT = 8473
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)
RUN = frozenset({"console", "python", "diff", "yaml", "sh", "text"})


class TutorialError(Exception):
    """A page does not work: where, and what was found."""


class Block(NamedTuple):
    kind: str
    text: str
    start: int  # of `text` in the page
    end: int
    follows: bool  # nothing but an empty line stands between it and the block before


class Output(NamedTuple):
    """What one command or Python block showed, and where the page shows it."""

    start: int
    end: int
    shown: str
    found: str

    @property
    def kept(self) -> str:
        """What was found, without what the page leaves out."""
        lines, shown = self.found.splitlines(), self.shown.splitlines()
        if "…" not in shown:
            return "".join(f"{line}\n" for line in lines)
        at = shown.index("…")
        after = len(shown) - at - 1
        if len(lines) <= at + after:
            raise TutorialError(f"nothing to leave out of:\n{self.found}")
        kept = [*lines[:at], "…", *(lines[-after:] if after else [])]
        return "".join(f"{line}\n" for line in kept)


ACTIONS = re.compile(r"\bN (?:approve|challenge|decline|review)(?:, N (?:approve|challenge|decline|review))*")


def shape(text: str) -> str:
    """Return a text without what may differ on another machine or day: numbers, ids, widths, the rows of a frame."""
    text = re.sub(r"(?<=╡\n)(?:│.*\n)+", "", text)
    text = re.sub(r"\b[rd]-[0-9a-f]{6,}", "ID", text)
    text = re.sub(r"[0-9](?:[0-9,.:T+]|-(?=[0-9])|Z\b)*", "N", text)
    text = ACTIONS.sub("N actions", re.sub(r"[─═━]+", "─", text))
    return "\n".join(re.sub(r"[ +-]*\bN\b", " N", re.sub(r" +", " ", line)).rstrip() for line in text.splitlines())


def blocks_of(page: str) -> list[Block]:
    """Take a page apart.

    Raises
    ------
    TutorialError
        If a fence has a word that nothing is done with.
    """
    blocks: list[Block] = []
    before = 0
    for match in FENCE.finditer(page):
        if match[1] not in RUN:
            raise TutorialError(f"a fence says {match[1]!r}; one of {', '.join(sorted(RUN))} is known")
        follows = bool(blocks) and not page[before : match.start()].strip()
        blocks.append(Block(match[1], match[2], match.start(2), match.end(2), follows))
        before = match.end()
    return blocks


class Reader:
    """Somebody who does what a page says, in a folder.

    Parameters
    ----------
    folder : stands for `out/` in a clone; made when it is not there.
    port : where the service listens instead of at 8473.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port = folder, port
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._service: subprocess.Popen[str] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        docs = folder.parent / "docs"
        if not docs.exists():
            docs.symlink_to(ROOT / "docs")

    def read(self, page: str) -> list[Output]:
        """Do what a page says; return what it showed.

        Raises
        ------
        TutorialError
            If a command fails that is not shown to fail, or a file is not as the page says.
        """
        blocks = blocks_of(page)
        found: list[Output] = []
        with _within(self.folder):
            try:
                for i, block in enumerate(blocks):
                    after = blocks[i + 1] if i + 1 < len(blocks) and blocks[i + 1].follows else None
                    found += self._do(block, after)
            finally:
                self._end_service()
        return found

    def _do(self, block: Block, after: Block | None) -> Iterator[Output]:
        if block.kind == "console":
            yield from self._console(block)
        elif block.kind == "python":
            said = self._python(block.text)
            if after is not None and after.kind == "text":
                yield Output(after.start, after.end, after.text, said)
            elif said:
                raise TutorialError(f"shows something that the page does not:\n{block.text}\n{said}")
        elif block.kind == "diff":
            _change(block.text)
        elif block.kind == "yaml":
            _require_in_a_file(block.text)

    def _console(self, block: Block) -> Iterator[Output]:
        parts = list(re.finditer(r"^\$ (.*(?:(?<=\\)\n.*)*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE))
        if not parts or parts[0].start() != 0:
            raise TutorialError(f"no command at the beginning of:\n{block.text}")
        for part in parts:
            command = part[1].replace("\\\n", " ")
            code, said = self._command(command)
            if code != 0 and "ringfence: " not in part[2]:
                raise TutorialError(f"{command}\nends with code {code}:\n{said}")
            yield Output(block.start + part.start(2), block.start + part.end(2), part[2], self._as_shown(said))

    def _command(self, command: str) -> tuple[int, str]:
        words = shlex.split(command)
        if command == "kill %1":
            return 0, self._end_service()
        if words[:2] == ["ringfence", "serve"] and words[-1] == "&":
            return 0, self._serve(words[1:-1])
        if words[0] == "ringfence":
            return self._ringfence(words[1:])
        if words[0] == "python" and words[1].endswith(".py"):
            with _heard() as said:
                runpy.run_path(words[1], run_name="__main__")
            return 0, said.getvalue()
        done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def _ringfence(self, words: list[str]) -> tuple[int, str]:
        from ringfence.cli.application import run

        target = Path(words[-1]) if words[-2:-1] == [">"] else None
        with _heard() as said:
            code = int(run(words[:-2] if target else words))
        if target is None:
            return code, said.getvalue()
        target.write_text(said.getvalue(), "utf-8")
        return code, ""

    def _serve(self, words: list[str]) -> str:
        command = [sys.executable, "-m", "ringfence.cli", *words, "--port", str(self._port)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with Path("service.log").open("ab") as log:
            self._service = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
            )
        out = self._service.stdout
        line = out.readline() if out is not None else ""
        if not line:
            raise TutorialError(f"the service did not start:\n{Path('service.log').read_text('utf-8')[-2_000:]}")
        return line

    def _end_service(self) -> str:
        service, self._service = self._service, None
        if service is not None:
            service.terminate()
            service.communicate(timeout=30)
        return ""

    def _python(self, code: str) -> str:
        tree = ast.parse(code.replace(f":{PORT}", f":{self._port}"))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        with _heard() as said:
            exec(compile(tree, "<tutorial>", "exec"), self._names)
            if isinstance(last, ast.Expr):
                shown = eval(compile(ast.Expression(last.value), "<tutorial>", "eval"), self._names)
                if shown is not None:
                    print(repr(shown))
        return self._as_shown(said.getvalue())

    def _as_shown(self, text: str) -> str:
        text = text.replace(str(self.folder.resolve()), SHOWN_FOLDER).replace(f":{self._port}", f":{PORT}")
        # Whether the machine compiles for long is no business of a page.
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if _COMPILES not in line)


def _change(diff: str) -> None:
    head, *lines = diff.splitlines()
    path = Path(head.removeprefix("--- "))
    old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    text = path.read_text("utf-8")
    if text.count(old) != 1:
        raise TutorialError(f"{path} holds these lines {text.count(old)} times:\n{old}\nit is:\n{text}")
    path.write_text(text.replace(old, new), "utf-8")


def _require_in_a_file(excerpt: str) -> None:
    wanted = textwrap.dedent(excerpt)
    files = [*Path().glob("*/ringfence.yaml"), *Path().glob("*/policies/*.yaml")]
    if not any(wanted in _dedented(path.read_text("utf-8"), excerpt) for path in files):
        raise TutorialError(f"stands in none of {', '.join(map(str, files))}:\n{excerpt}")


def _dedented(text: str, excerpt: str) -> str:
    """Take from every line of a file what stands before the excerpt's first line there."""
    first = excerpt.splitlines()[0].strip()
    deep = next((len(line) - len(line.lstrip()) for line in text.splitlines() if line.strip() == first), 0)
    return "".join(f"{line.removeprefix(' ' * deep)}\n" for line in text.splitlines())


@contextlib.contextmanager
def _heard() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def begun(name: str, clones: Path) -> Path:
    """Return the folder in which a page begins: empty, or a copy of what the page before it left behind."""
    folder, before = clones / name / "out", CHAPTERS[name]
    if before is not None:
        shutil.copytree(clones / before / "out", folder)
    return folder


def written_anew(page: str, outputs: list[Output]) -> str:
    """Return a page that shows what was found."""
    for output in sorted(outputs, reverse=True):
        page = page[: output.start] + output.kept + page[output.end :]
    return page


def main() -> None:
    from ringfence.cli.live import free_port
    from ringfence.steps.kernel_cache import use_kernel_cache

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does
    use_kernel_cache(os.environ)  # before anything imports numba
    with tempfile.TemporaryDirectory() as clones:
        begins = {PAGES / f"{name}.md": partial(begun, name, Path(clones)) for name in CHAPTERS}
        begins |= {path: partial(Path, clones, path.stem, "out") for path in ALONE}
        for path, begin in begins.items():
            if sys.argv[1:] and path.stem not in sys.argv[1:]:
                continue
            page = path.read_text("utf-8")
            outputs = Reader(begin(), free_port()).read(page)
            path.write_text(written_anew(page, outputs), "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

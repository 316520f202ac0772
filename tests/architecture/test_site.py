# SPDX-License-Identifier: Apache-2.0
"""What `make site` looks for in the site that it built."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("check_site", ROOT / "scripts" / "check_site.py")
assert spec is not None
assert spec.loader is not None
check_site = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_site)

GOOD = """<html><head><link rel="stylesheet" href="_static/a.css?v=1"><script src="_static/a.js"></script></head>
<body id="top"><a href="#top">up</a> <a href="b/c.html#here">c</a> <a href="https://example.com/">out</a></body></html>"""


def test_every_page_stands_in_the_tree_of_the_site() -> None:
    given = ast.parse((ROOT / "docs" / "conf.py").read_text())
    said = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in given.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id in {"TREE", "BELOW"}
    }
    named = {page for pages in said["TREE"].values() for page in pages}
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")]
    told = {page.relative_to(ROOT).with_suffix("").as_posix() for page in pages} - {"docs/index"}
    assert told <= named
    for above, below in said["BELOW"].items():
        folder = (ROOT / above).parent
        stands = {page.name for pattern in below for page in folder.glob(f"{pattern}.md")} | {"README.md"}
        assert {page.name for page in folder.glob("*.md")} <= stands


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in {
        "index.html": GOOD,
        "b/c.html": '<h1 id="here">c</h1><a href="../index.html">up</a>',
        "_static/a.css": "body { background: url('dot.png') }",
        "_static/a.js": "// see https://example.com/\nfetch('searchindex.js')",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_site_that_stands_alone_has_no_faults(site: Path) -> None:
    assert check_site.faults(site) == []


@pytest.mark.parametrize(
    ("markup", "fault"),
    [
        ('<a href="gone.html">x</a>', "index.html -> gone.html: no such file"),
        ('<a href="b/c.html#gone">x</a>', "index.html -> b/c.html#gone: no such anchor"),
        ('<img src="gone.png">', "index.html -> gone.png: no such file"),
        ('<link rel="preconnect" href="//fonts.example.com">', "index.html loads //fonts.example.com"),
        ('<script src="https://example.com/a.js"></script>', "index.html loads https://example.com/a.js"),
        ("<script>import('https://example.com/a.mjs')</script>", "index.html loads https://example.com/a.mjs"),
        ("<style>@import 'https://example.com/a.css';</style>", "index.html loads https://example.com/a.css"),
        ('<p style="background: url(https://example.com/a.png)">', "index.html loads https://example.com/a.png"),
    ],
)
def test_fault_is_told(site: Path, markup: str, fault: str) -> None:
    (site / "index.html").write_text(GOOD.replace("</body>", f"{markup}</body>"))
    assert check_site.faults(site) == [fault]


def test_style_and_script_that_load_from_elsewhere_are_told(site: Path) -> None:
    (site / "_static" / "a.css").write_text("@font-face { src: url(https://fonts.example.com/a.woff2) }")
    (site / "_static" / "a.js").write_text('fetch("https://example.com/count")')
    assert check_site.faults(site) == [
        "_static/a.css loads https://fonts.example.com/a.woff2",
        "_static/a.js loads https://example.com/count",
    ]

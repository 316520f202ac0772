# SPDX-License-Identifier: Apache-2.0
"""How Sphinx makes a site of the pages in this repository: `make site`.

The repository is the source folder, so that a page has one place, and a link that works here works there. Pages are
plain Markdown; the tree of the sidebar stands below, and a page that it forgets fails the build, as a link does that
leads nowhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
FRONT = "docs/index"
TREE = {
    "Begin": ["docs/tutorials/README", "docs/quickstart", "docs/notebooks/first-model"],
    "Use": [
        "docs/python",
        "docs/neighbourhoods",
        "docs/gnn",
        "docs/sequence",
        "docs/onnx",
        "docs/tracking",
        "docs/graph-export",
        "docs/derived-values",
        "docs/texts-and-rules",
        "docs/policy",
        "docs/api",
        "docs/serving",
        "docs/runbook",
        "docs/threat-model",
        "docs/erasing",
        "docs/explanations",
        "docs/rings",
    ],
    "Understand": [
        "The front page </README>",
        "docs/architecture",
        "docs/training",
        "docs/report",
        "docs/feature-families",
        "docs/engine-speed",
        "docs/imbalance",
        "docs/worlds",
        "docs/worlds-files",
        "docs/worlds-difficulty",
        "docs/insurer",
        "examples/card-payments-handbook/README",
        "examples/motor-claims-network/README",
        "examples/vehicle-claims/README",
        "examples/signups-ecommerce/README",
        "examples/tabular/README",
    ],
    "Look up": ["docs/reference/*"],
    "Change": ["CONTRIBUTING", "docs/adr/README", "CHANGELOG"],
}
BELOW = {  # what stands in the tree under a page
    "docs/tutorials/README": [
        "first-model",
        "reading-the-report",
        "rule-of-thumb",
        "notebook-to-service",
        "credit-applications",
    ],
    "docs/adr/README": ["0*"],
}

project = "ringfence"
project_copyright = "The ringfence developers, Apache-2.0"
root_doc = FRONT
include_patterns = ["*.md", "docs/**.md", "docs/notebooks/*.ipynb", "examples/*/README.md"]
templates_path = ["site"]
extensions = ["myst_parser"]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
myst_heading_anchors = 6  # as on the forges: #a-heading
suppress_warnings = ["myst.header"]  # examples begin where they like
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = "ringfence"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_center": [],
    "navbar_persistent": ["search-button"],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"**": ["tree.html"]}
html_static_path = ["site/wide.css"]
html_css_files = ["wide.css"]
pygments_style = "default"


class NotebookParser(MystParser):
    """A Jupyter notebook with its outputs, read as the page that it shows."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        super().parse(page_of(json.loads(inputstring)), document)


def page_of(notebook: dict[str, Any]) -> str:
    """Return the Markdown of a notebook: its text, its code, and what that showed."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            shown = output["text"] if "text" in output else output["data"]["text/plain"]
            parts.append(f"```text\n{''.join(shown).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def with_tree(app: Sphinx, name: str, content: list[str]) -> None:
    """Append the sidebar's tree, which a reader of the plain page has no use for."""
    if name == FRONT:
        content[0] += "".join(_toctree(pages, caption) for caption, pages in TREE.items())
    elif name in BELOW:
        content[0] += _toctree([f"{Path(name).parent}/{page}" for page in BELOW[name]], None)


def _toctree(pages: list[str], caption: str | None) -> str:
    head = [":hidden:", ":glob:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(
        ["", "```{toctree}", *head, "", *(page if "<" in page else f"/{page}" for page in pages), "```", ""]
    )


def write_front_door(app: Sphinx, error: Exception | None) -> None:
    """Let the site's own folder lead to its front page."""
    if error is None and app.builder.format == "html":
        page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={FRONT}.html">'
        page += f'<title>ringfence</title><a href="{FRONT}.html">ringfence</a>\n'
        (Path(app.outdir) / "index.html").write_text(page, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_source_parser(NotebookParser)
    app.connect("source-read", with_tree)
    app.connect("build-finished", write_front_door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

# SPDX-License-Identifier: Apache-2.0
"""Look at a built site: every link and anchor within it leads somewhere, and no page asks another host for anything.

    .venv/bin/python scripts/check_site.py site

A reader may follow a link to another host; the page itself must not load a script, a style, a font or a picture from
one: it has to work offline, and nobody else should learn who reads it. Ends with exit code 1 and a line per fault.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_LOADS: Final = {"script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src", "video": "src"}
_STYLE: Final = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
_CODE: Final = re.compile(r"""(?:fetch|import|importScripts)\(\s*['"`]((?:https?:)?//[^'"`]+)""")


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self._in: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in = tag
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and "href" in given and given.get("rel") not in ("canonical", "alternate"):
            self.loads.append(given["href"])
        elif tag in _LOADS and _LOADS[tag] in given:
            self.loads.append(given[_LOADS[tag]])
        self.loads += _loaded_by_style(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in == "style":
            self.loads += _loaded_by_style(data)
        elif self._in == "script":
            self.loads += _CODE.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._in = None


def faults(site: Path) -> list[str]:
    """Return what is wrong with a site, a line each; empty if all is well."""
    paths = [path.resolve() for path in _pages(site)]
    pages = {path: Page(path.read_text("utf-8")) for path in paths}
    found = []
    for path, page in pages.items():
        here = path.relative_to(site.resolve())
        found += [f"{here} loads {load}" for load in page.loads if _is_foreign(load)]
        inside = [link for link in (*page.links, *page.loads) if not _is_foreign(link)]
        found += [f"{here} -> {link}: {why}" for link in inside if (why := _lost(path, link, pages)) is not None]
    for path in sorted(site.rglob("*.css")):
        loads = _loaded_by_style(path.read_text("utf-8"))
        found += [f"{path.relative_to(site)} loads {load}" for load in loads if _is_foreign(load)]
    for path in sorted(site.rglob("*.js")):
        found += [f"{path.relative_to(site)} loads {load}" for load in _CODE.findall(path.read_text("utf-8"))]
    return found


def _pages(site: Path) -> list[Path]:
    # What lies in _static is the theme's; the HTML in there are templates.
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts)


def _loaded_by_style(text: str) -> list[str]:
    return [address or imported for address, imported in _STYLE.findall(text)]


def _is_foreign(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "mailto")


def _lost(path: Path, link: str, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "no such file"
    anchor = unquote(parts.fragment)
    return "no such anchor" if anchor and target in pages and anchor not in pages[target].anchors else None


def main() -> None:
    site = Path(sys.argv[1])
    found = faults(site)
    if found or not (site / "index.html").is_file():
        raise SystemExit("\n".join(found) or f"{site} holds no index.html")
    print(f"{len(_pages(site))} pages in {site}: every link within leads somewhere, nothing is loaded from elsewhere")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A written page, taken apart: nothing of single events stays in it, and its drawings stand alone."""

from __future__ import annotations

from xml.etree import ElementTree

from ringfence.reports import Card, CardLine, Cards, Chart, Figure, Figures, Page, Section, Table, linear_axis, whisker
from ringfence.reports.written import drawings, without_examples
from tests.reports.markup import Read

SVG = "{http://www.w3.org/2000/svg}"


def card(title: str) -> Card:
    return Card(title=title, over="2024-05-01", figures=[("score", "3 %")], lines=[CardLine(text="a <reason> & more")])


def page() -> Page:
    def draw(width: float) -> str:
        chart = Chart(linear_axis("x <1>", 0.0, 1.0), linear_axis("y", 0.0, 1.0), title="Gain & loss", width=width)
        return chart.line([0.0, 1.0], [0.0, 1.0]).svg()

    cards = Cards(title="Hits", text="of all", style="hit", cards=[card("claim-7"), card("claim-8")], empty="none")
    table = Table(caption="t", columns=["a", "b"], rows=[["x", whisker(1.0, 0.5, 1.5, axis=(0.0, 2.0), guide=1.0)]])
    drawn = Figure(
        title="Gain & loss: 3 < 4", text="What it shows.", draw=draw, legend=[("s1", "one <1>"), ("s0", "chance")]
    )
    wide = Figure(title="Again", text="", draw=draw, wide=True, table=table)
    return Page(
        over="over",
        title="title",
        lede="lede",
        opening=[],
        sections=[
            Section(anchor="first", title="First", short="First", blocks=[Figures(figures=[drawn, wide]), table]),
            Section(anchor="examples", title="Cases", short="Examples", note="of single events", blocks=[cards, table]),
            Section(anchor="stray", title="Stray", short="Stray", note="after it", blocks=[cards]),
            Section(anchor="last", title="Last", short="Last", blocks=[]),
        ],
        footer="footer",
    )


def test_cards_and_the_section_of_single_events_are_cut_out_and_the_rest_stays() -> None:
    whole = page().html()
    left = without_examples(whole)
    assert "claim-7" in whole
    assert "claim-" not in left
    assert "reason" not in left
    assert "#examples" not in left
    assert "of single events" not in left
    for kept in ('href="#first"', 'href="#stray"', 'id="last"', "after it", "footer"):
        assert kept in left
    assert Read.of(left).open_tags == []


def test_page_without_single_events_stays_as_it_is() -> None:
    left = without_examples(page().html())
    assert without_examples(left) == left
    assert without_examples("no <b>page</b>, and &lt;no end") == "no <b>page</b>, and &lt;no end"


def test_each_drawing_is_a_file_with_caption_and_legend() -> None:
    found = drawings(page().html())
    assert list(found) == ["gain-loss", "gain-loss-2"]  # of the wide one, that for broad screens; no cells of tables
    first, second = (ElementTree.fromstring(one) for one in found.values())
    texts = [one.text for one in first.iter(f"{SVG}text")]
    assert texts[:3] == ["Gain & loss: 3 < 4", "one <1>", "chance"]
    assert "x <1>" in texts
    assert "--s1" in str(first.findtext(f"{SVG}style"))
    assert len(list(first.iter(f"{SVG}polyline"))) == 1
    left, top, width, height = (float(part) for part in first.attrib["viewBox"].split())
    assert (left, top) < (0.0, 0.0)
    assert (width, height) > (460.0, 300.0)
    assert float(second.attrib["width"]) > 940.0

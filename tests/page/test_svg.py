"""Laws of a figure on a page: escaped, in the page's colours, with ids of its own and words for who cannot see it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from recorded_study import HOSTILE

from kdrec.page.svg import INK, draw
from kdrec.page.words import cut
from kdrec.plots import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def paint(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "o-", color=BLUE)
    axes.text(0, 0.5, f"{cut(HOSTILE)} & $x$ \x1b[2J", color=INK)
    axes.set_title(cut("日本 \x07"))


def one(name: str = "one") -> str:
    return draw(name, (300.0, 200.0), paint, title=HOSTILE, text="what\x00 it shows")


def test_a_figure_is_xml_in_which_names_are_text() -> None:
    root = ET.fromstring(one())
    assert root.find("title").text == HOSTILE  # type: ignore[union-attr]
    assert [node for node in root.iter() if node.tag in ("script", "style", "metadata")] == []
    words = "".join(root.itertext())
    assert "1=1 --<script>" in words
    assert "$x$" in words
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", words)


def test_a_figure_is_an_image_with_a_name_and_a_description() -> None:
    root = ET.fromstring(one())
    assert root.get("role") == "img"
    ids = {node.get("id"): node.tag for node in root.iter() if node.get("id")}
    assert [ids[name] for name in root.attrib["aria-labelledby"].split()] == ["title", "desc"]


def test_colours_and_fonts_are_those_of_the_page() -> None:
    svg = one()
    assert "var(--blue)" in svg
    assert "currentColor" in svg
    assert "font-family" not in svg
    assert not re.search(f"{BLUE}|{INK}", svg, re.IGNORECASE)


def test_two_figures_of_a_page_share_no_id_and_every_reference_is_to_ones_own() -> None:
    first, second = one(), one("two")
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'href="#([^"]+)"', first)) | set(re.findall(r"url\(#([^)]+)\)", first))
    assert used
    assert used <= ids[0]


def test_the_same_figure_is_the_same_bytes() -> None:
    assert one() == one()

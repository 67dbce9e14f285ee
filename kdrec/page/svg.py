"""A matplotlib figure as a part of a page: bare SVG in the page's colours and font, with words for who cannot see.

Figures are drawn in stand-in colours, each of which becomes a CSS variable here, so that a page is dark or light
without drawing twice. Everything goes through an XML parser, and leaves it escaped.
"""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from kdrec.page.words import printable
from kdrec.plots import BLUE, SKY, STYLE, VERMILLION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINE, CARD, CALM = "#101112", "#707172", "#c0c1c2", "#fefdfc", "#dedfdd"
VARIABLES: Final[Mapping[str, str]] = {
    INK: "currentColor",
    "#000000": "currentColor",  # of figures that are drawn for a white page as well
    "#e6e6e6": "var(--line)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    CARD: "var(--card)",
    CALM: "var(--calm)",
    BLUE.lower(): "var(--blue)",
    SKY.lower(): "var(--sky)",
    VERMILLION.lower(): "var(--vermillion)",
}
"""What a colour of a figure is called in the style sheet; any other stays as it is."""
DARK, LIGHT = "#010101", "#fefefe"
"""Ink on a coloured tile, dark page or light: plain black is left unsaid by matplotlib, and the page would fill it."""
PAGE_STYLE: Final[dict[str, Any]] = {
    **STYLE,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.labelcolor": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
}
GROWTH: Final = 1.3
"""How far a figure may be stretched to fill its place."""
_POINTS: Final = 72
_LENGTHS: Final = ("d", "x", "y", "width", "height", "transform", "points")
_XLINK: Final = "{http://www.w3.org/1999/xlink}href"


def draw(
    name: str, size: tuple[float, float], paint: Callable[[Figure], None], *, title: str, text: str, wide: bool = False
) -> Markup:
    """Paint a figure and give it as inline SVG.

    Parameters
    ----------
    name : str
        A word that no other figure of the page has: the head of its ids.
    size : tuple of float
        Width and height in CSS pixels at its natural size.
    paint : callable
        Fills the figure.
    title, text : str
        What it is, and what it shows, for who cannot see it.
    wide : bool
        Keep the natural width, to be scrolled to, where the screen is narrower.

    Returns
    -------
    Markup
        The same bytes for the same figure.
    """
    import matplotlib
    from matplotlib.figure import Figure

    width, height = size
    out = BytesIO()
    with matplotlib.rc_context({**PAGE_STYLE, "svg.hashsalt": f"kdrec {name}"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's fonts draw it, not matplotlib's
        figure = Figure(figsize=(width / _POINTS, height / _POINTS), layout="constrained")
        paint(figure)
        figure.savefig(out, format="svg", metadata={"Date": None})
    return Markup(_adopted(out.getvalue(), name, title, text, wide=wide))


def _adopted(svg: bytes, name: str, title: str, text: str, *, wide: bool) -> str:
    root = ET.fromstring(printable(svg.decode()))  # matplotlib passes on signs that no XML may hold
    used = {_reference(value) for node in root.iter() for value in node.attrib.values()}
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        node.attrib = {key.replace(_XLINK, "href"): _value(key, value, name) for key, value in node.attrib.items()}
        if node.get("id", "").removeprefix(f"{name}-") not in used:
            node.attrib.pop("id", None)
        if node.get("transform", "").startswith("rotate(-0 "):
            del node.attrib["transform"]
    _flatten(root)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    style = f"width:{width:g}px" if wide else f"max-width:{width * GROWTH:g}px"
    labelled = f"{name}-title {name}-text"
    root.attrib = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-labelledby": labelled, "style": style}
    for place, (tag, words) in enumerate((("title", title), ("desc", text))):
        node = ET.Element(tag, {"id": f"{name}-{'text' if place else 'title'}"})
        node.text = printable(words)
        root.insert(place, node)
    return re.sub(r"\s*\n\s*", "\n", ET.tostring(root, encoding="unicode"))


def _flatten(node: ET.Element) -> None:
    """Leave out what says nothing here: groups without a property, metadata, and a style sheet for all of a page."""
    children: list[ET.Element] = []
    for child in node:
        _flatten(child)
        if child.tag == "g" and not child.attrib:
            children.extend(child)
        elif child.tag not in ("metadata", "style") and (child.tag != "defs" or len(child)):
            children.append(child)
    node[:] = children


def _reference(value: str) -> str | None:
    """The id that an attribute points to."""
    found = re.search(r"url\(#([^)]+)\)|^#([\w-]+)$", value)
    return (found[1] or found[2]) if found else None


def _value(key: str, value: str, name: str) -> str:
    """An attribute with ids of its own, the page's colours, the page's font and no more digits than a screen has."""
    if key == "id":
        return f"{name}-{value}"
    if key == _XLINK:
        return value.replace("#", f"#{name}-", 1)
    if key in _LENGTHS:
        return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
    value = value.replace("url(#", f"url(#{name}-")
    if key != "style":
        return value
    value = re.sub(r"#[0-9a-fA-F]{6}\b", lambda colour: VARIABLES.get(colour[0].lower(), colour[0]), value)
    return re.sub(r"font-family: [^;]*; ?", "", re.sub(r"font: (?:(\w+) )?([\d.]+px) [^;]*", _font, value))


def _font(found: re.Match[str]) -> str:
    """Size and weight of a font in one property, as matplotlib before 3.11 writes it."""
    return f"font-size: {found[2]}" + (f"; font-weight: {found[1]}" if found[1] else "")

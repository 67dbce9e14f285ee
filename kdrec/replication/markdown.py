"""Markdown and the spelling of numbers: plain text, one way for each kind."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from kdrec.findings.intervals import Mean

DASH: Final = "–"  # noqa: RUF001  a dash in a table is a dash
WIDTH: Final = 130
"""Letters of a line of prose."""


def table(header: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """A table whose first `words` columns are words and the rest numbers, aligned to the right."""
    rules = ["---"] * words + ["--:"] * (len(header) - words)
    lines = [header, rules, *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def signed(value: float, digits: int = 2) -> str:
    """A difference; a dash where it is not known.

    >>> signed(0.126), signed(-0.001), signed(float("nan"))
    ('+0.13', '+0.00', '–')
    """
    return DASH if math.isnan(value) else f"{round(value, digits) + 0.0:+.{digits}f}"


def plain(value: float, digits: int = 2) -> str:
    """A number; a dash where it is not known."""
    return DASH if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def ends(mean: Mean) -> str:
    """The 90 % interval of a mean."""
    return f"{signed(mean.lo90)} to {signed(mean.hi90)}" if mean.known else DASH


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "task"), counted(1200, "trial")
    ('1 task', '1,200 trials')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def picture(name: str, alt: str) -> str:
    """A figure beside the page, with the sentence for those who do not see it."""
    return f"![{alt}](replication/{name})"


def filled(text: str) -> str:
    """Paragraphs and list items set to one width; headings, tables and pictures as they are."""
    return "\n\n".join(_block(block) for block in text.split("\n\n"))


def _block(block: str) -> str:
    if block.startswith(("#", "|", "!")):
        return block
    items = re.split(r"\n(?=- )", block)
    hang = "  " if block.startswith("- ") else ""
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()), WIDTH, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
        )
        for item in items
    )

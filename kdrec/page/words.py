"""Numbers and names as a report spells them."""

from __future__ import annotations

import math
from typing import Final

from kdrec.page.sheet import Difference
from kdrec.types import Gain

MISSING: Final = "–"  # noqa: RUF001
MAX_NAME: Final = 36
"""Longer names are cut in figures; tables hold them whole."""


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign.

    >>> signed(-0.001), signed(0.5)
    ('+0.00', '+0.50')
    """
    return f"{round(value, digits) + 0.0:+.{digits}f}" if math.isfinite(value) else MISSING


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def interval(gain: Gain) -> str:
    """The 80 % interval of a gain."""
    return f"80 %: {signed(gain.lo80)} to {signed(gain.hi80)}"


def beside_noise(difference: Difference | None) -> str:
    """A difference and the noise it has to stand out of."""
    if difference is None:
        return MISSING
    return f"{signed(difference.points)} ± {difference.half_width:.2f}"


def printable(text: str) -> str:
    r"""Text without the signs that no page and no XML may hold; line breaks stay.

    >>> printable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return "".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in text)


def cut(name: str) -> str:
    """A name that fits beside a figure."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def count(number_: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "cell"), count(1200, "trial")
    ('1 cell', '1,200 trials')
    """
    return f"{number_:,} {noun}{'' if number_ == 1 else 's'}"


def listed(names: list[str], most: int = 4) -> str:
    """Names in a sentence, the first few of many.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], 2)
    ('a, b and c', 'a, b and 1 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)

"""Refusals that nouns share, each one sentence: what was expected, what came."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Final

from kdrec.errors import BadArgument

MOST_NESTED: Final = 50
"""How deeply the values of a TOML file may be nested: a dotted key of 1,800 letters is 900 tables."""


def one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Refuse a word that is not among `known`."""
    known = tuple(known)
    if value not in known:
        raise BadArgument(f"{name} must be one of {', '.join(known)}, got {value!r}")


def number(name: str, value: object, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Refuse what is no finite number between `low` (itself excluded with `open_low`) and `high`."""
    if not is_finite(value) or not (low < value if open_low else low <= value) or value > high:  # type: ignore[operator]
        left = "(" if open_low else "["
        right = "]" if math.isfinite(high) else ")"
        raise BadArgument(f"{name} must be in {left}{low:g}, {high:g}{right}, got {shown(value)}")


def is_finite(value: object) -> bool:
    """Whether a value is a number that a float can hold."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits, as JSON may hold
        return False


def shown(value: object) -> str:
    """A value as it was given, cut where it would fill the screen."""
    text = "a whole number too large to print" if isinstance(value, int) and value.bit_length() > 1024 else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def count(name: str, value: object, low: int = 1) -> None:
    """Refuse what is no whole number of at least `low`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise BadArgument(f"{name} must be a whole number of at least {low}, got {shown(value)}")


def is_unicode(text: str) -> bool:
    """Whether a text can be written: JSON may spell half a surrogate pair, which no encoding has."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def as_floats(noun: object, *names: str) -> None:
    """Give 1 and 1.0 one spelling, and so one hash."""
    for name in names:
        object.__setattr__(noun, name, float(getattr(noun, name)) + 0.0)  # -0.0 is 0.0


def as_flags(noun: object, *names: str) -> None:
    """Read 0 and 1, as tables spell them, as false and true; None is not known."""
    for name in names:
        value = getattr(noun, name)
        if value is None or isinstance(value, bool):
            continue
        if not isinstance(value, int) or value not in (0, 1):
            raise BadArgument(f"{name} must be 0 or 1, got {shown(value)}")
        object.__setattr__(noun, name, bool(value))


def decoded_toml(text: str) -> dict[str, Any]:
    """The table that a TOML text spells; the reason alone when it spells none that TOML promises to keep exactly."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise BadArgument("its values are nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and whole numbers of thousands of digits
        raise BadArgument(str(error)) from None
    if _is_deep(table):
        raise BadArgument("its values are nested too deeply")
    if not _in_64_bits(table):
        raise BadArgument("a whole number is beyond the 64 bits of TOML")
    return table


def _is_deep(table: dict[str, Any]) -> bool:
    """Whether tables stand in each other more often than whoever reads or writes them can follow."""
    level: list[Any] = [table]
    for _ in range(MOST_NESTED):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        level = [value for value in level if isinstance(value, (dict, list))]
    return bool(level)


def _in_64_bits(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_in_64_bits, value.values()))
    if isinstance(value, list):
        return all(map(_in_64_bits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(kind: str, value: object) -> None:
    """Refuse a name that could not be a folder, an experiment and a table cell at once."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or len(value) > 80:
        raise BadArgument(
            f"{kind} must be a name of letters, digits, '.', '_' and '-' (at most 80 characters), got {value!r}"
        )

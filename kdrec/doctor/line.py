"""One line of an examination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "look", "broken"]
"""Nothing to do; worth a look, and kdrec works; something has to be put right."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What was looked at, how it is, what was found, and what to do about it (nothing, where it is ok)."""

    part: str
    state: State
    found: str
    advice: str = ""


def ok(part: str, found: str) -> Line:
    """Nothing to do."""
    return Line(part=part, state="ok", found=found)


def look(part: str, found: str, advice: str) -> Line:
    """Works, and may not be as it is meant."""
    return Line(part=part, state="look", found=found, advice=advice)


def broken(part: str, found: str, advice: str) -> Line:
    """Something of kdrec does not work until this is put right."""
    return Line(part=part, state="broken", found=found, advice=advice)

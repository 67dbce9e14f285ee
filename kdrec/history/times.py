"""How long a run took, in seconds: from a span in the words of another tool, or from its start and its end.

What is not understood is handed back as it came, so that whoever reads the table refuses it with its line and column.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Any, Final

from kdrec.config import NUMBER_TEXT

_CLOCK: Final = re.compile(
    r"(?:(-?\d+) ?days?,? )?\+?(\d+):(\d\d):(\d\d(?:\.\d+)?)", re.ASCII
)  # pandas', Python's, and a stop watch's
_ISO: Final = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.ASCII)
_WORD: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|sec|min|m|h|d)\s*", re.ASCII)  # MLflow's and W&B's pages
_UNITS: Final = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_EPOCHS: Final = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0))
"""From what size on a number of an epoch counts nano-, micro- or milliseconds: seconds reach 1e11 in the year 5138."""


def seconds_of(cell: Any) -> Any:
    """A span of time in seconds: ``0 days 00:01:12.5``, ``1:00:03``, ``P0DT0H1M12.5S``, ``1m 12.5s``, a timedelta."""
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    text = cell.strip() if isinstance(cell, str) else ""
    form = _CLOCK.fullmatch(text) or (_ISO.fullmatch(text) if text[1:] else None)
    if form is not None:
        days, hours, minutes, seconds = (float(part or 0) for part in form.groups())
        return 86_400 * days + 3600 * hours + 60 * minutes + seconds
    words = _WORD.findall(text)
    if words and not _WORD.sub("", text):
        return sum(float(size) * _UNITS[unit] for size, unit in words)
    return cell


def seconds_between(start: Any, end: Any) -> Any:
    """Seconds from one moment to another; where one of them is none, both as a text that is no number.

    A moment is an ISO 8601 text, a datetime, or the seconds, milli-, micro- or nanoseconds since 1970.
    """
    if _is_empty(start) or _is_empty(end):
        return None
    first, last = _moment(start), _moment(end)
    if first is None or last is None or (first.tzinfo is None) != (last.tzinfo is None):
        return f"{start} to {end}"
    return (last - first).total_seconds()


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in ("", "nat", "nan"))


def _moment(cell: Any) -> datetime | None:
    if isinstance(cell, datetime):
        return cell
    text = str(cell).strip()
    try:
        if not NUMBER_TEXT.fullmatch(text):
            return datetime.fromisoformat(text.removesuffix(" UTC") + "+00:00" * text.endswith(" UTC"))
        size = float(text)
        if not math.isfinite(size):
            return None
        per_second = next(per for least, per in _EPOCHS if abs(size) >= least)
        return datetime(1970, 1, 1) + timedelta(seconds=size / per_second)
    except (ValueError, OverflowError):
        return None

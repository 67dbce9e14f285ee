"""What was found in an installation, for a person: pure functions to rich renderables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kdrec.doctor import Line
from kdrec.layout import FittingTable

if TYPE_CHECKING:  # retention loads torch, and an examination has to do without where torch is broken
    from kdrec.retention import Found, Total

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_STYLES: Final = {"ok": "green", "look": "yellow", "broken": "bold red"}


def retention_text(found: Found) -> Group:
    """Files of a home by what becomes of them, and what that frees."""
    parts: list[RenderableType] = []
    if found.items:
        table = _table("", "files", why="why", numbers=("number", "size"))
        for (fate, kind, reason), total in found.groups().items():
            table.add_row(fate, kind, f"{total.files:,}", _size(total.bytes), Text(reason))
        parts.append(table)
        parts += [Text(f"{item.path} is left: {item.reason}") for item in found.items if item.fate == "left"]
    return Group(*parts, Text(_freed(found)))


def doctor_text(lines: Sequence[Line]) -> Group:
    """An examination, line by line, and what it comes to."""
    table = _table("", "", why="found, and what to do")
    for line in lines:
        words = Text(line.found)
        if line.advice:
            words.append(f"\n→ {line.advice}", style="bold")
        table.add_row(Text(line.state, style=_STYLES[line.state]), line.part, words)
    n_broken = sum(line.state == "broken" for line in lines)
    n_look = sum(line.state == "look" for line in lines)
    return Group(table, Text(f"{n_broken or 'nothing'} broken, {n_look or 'nothing'} to look at"))


def _freed(found: Found) -> str:
    gone, goes = found.total("gone"), found.total("goes")
    if gone.files:
        return f"{_files(gone)} of {found.home.root} deleted"
    if goes.files:
        return f"{_files(goes)} of {found.home.root} can go; --delete deletes them"
    return f"nothing in {found.home.root} can go"


def _files(total: Total) -> str:
    return f"{total.files:,} file{'' if total.files == 1 else 's'}, {_size(total.bytes)},"


def _size(n_bytes: int) -> str:
    """Bytes in the unit a person would choose.

    >>> [_size(n) for n in (0, 999, 4096, 240_000_000)]
    ['0 B', '999 B', '4.1 kB', '240.0 MB']
    """
    power = min((len(str(n_bytes)) - 1) // 3, len(_UNITS) - 1)
    return f"{n_bytes / 1000**power:.{int(power > 0)}f} {_UNITS[power]}"


def _table(*words: str, why: str, numbers: Sequence[str] = ()) -> Table:
    table = FittingTable()
    for word in words:
        table.add_column(word, no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    table.add_column(why, overflow="fold")
    return table

"""Tables that fit the screen they are shown on: no number is cut and no word broken, however narrow it is.

A table of which every name and number fits is a table, its prose wrapped at words. Where one does not fit, each row
becomes a short paragraph: its names, then the other cells with the heads of their columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

PROSE: Final = 16
"""Columns of the screen that prose gets at least before its table is given up, if it is as long as that."""

INDENT: Final = 2


class FittingTable(Table):
    """A table of names (columns that never wrap), numbers (to the right) and prose (to the left), in this order or not.

    Cells are texts; a row of a narrow screen opens with the names that stand first in it.
    """

    def __init__(self) -> None:
        super().__init__(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, or its rows as paragraphs."""
        for tight in (False, True):
            gap = 2 if tight else 3
            widths = _shared(self.columns, options.max_width - gap * (len(self.columns) - 1))
            if widths is not None:
                self.collapse_padding = tight
                for column, width in zip(self.columns, widths, strict=True):
                    column.width = width
                yield from super().__rich_console__(console, options)
                return
        yield from self._paragraphs(options.max_width)

    def _paragraphs(self, width: int) -> Iterable[Text | Padding]:
        if self.title:
            yield Text(str(self.title), style="bold")
        n_names = max(1, next((at for at, c in enumerate(self.columns) if not c.no_wrap), len(self.columns)))
        for row, *given in zip(self.rows, *(column.cells for column in self.columns), strict=True):
            cells = [_text(cell) for cell in given]
            style = row.style or ""
            yield Text(" ", style).join(cell for cell in cells[:n_names] if cell.plain)
            for line in _lines(_headed(self.columns[n_names:], cells[n_names:]), width - INDENT):
                yield Padding(line, (0, 0, 0, INDENT), style=style)


def _shared(columns: Sequence[Column], width: int) -> list[int] | None:
    """Widths of columns that together take at most `width`, or None where one would cut or break something."""
    natural = [max(_widest(column), cell_len(str(column.header))) for column in columns]
    needed = [_needed(column, whole) for column, whole in zip(columns, natural, strict=True)]
    if sum(needed) > width:
        return None
    widths = list(natural)
    for at in sorted(range(len(widths)), key=lambda at: needed[at] - natural[at]):
        widths[at] = max(needed[at], widths[at] - max(0, sum(widths) - width))
    return widths


def _needed(column: Column, natural: int) -> int:
    """The least width in which a column is still whole; its head may always wrap at words."""
    head = _longest_word([Text(str(column.header))])
    if column.no_wrap or _is_number(column):
        return max(head, _widest(column))
    return max(head, _longest_word(map(_text, column.cells)), min(natural, PROSE))


def _headed(columns: Sequence[Column], cells: Sequence[Text]) -> list[Text]:
    """Cells that say something, numbers under the head of their column; one without a head belongs to its neighbour."""
    parts: list[Text] = []
    for column, cell in zip(columns, cells, strict=True):
        if not cell.plain:
            continue
        if not _is_number(column):
            parts.append(cell)
        elif column.header or not parts:
            parts.append(Text.assemble(f"{column.header} ", cell))
        else:
            parts[-1] = Text.assemble(parts[-1], " ", cell)
    return parts


def _lines(parts: Sequence[Text], width: int) -> Iterable[Text]:
    """Parts side by side, none of them divided between lines if it fits on one."""
    line = Text()
    for part in parts:
        if line.plain and line.cell_len + 2 + part.cell_len > width:
            yield line.append(",")
            line = Text()
        line = Text.assemble(line, ", ", part) if line.plain else part
    if line.plain:
        yield line


def _is_number(column: Column) -> bool:
    return column.justify == "right"


def _widest(column: Column) -> int:
    return max((cell_len(line) for cell in column.cells for line in _text(cell).plain.splitlines()), default=0)


def _longest_word(texts: Iterable[Text]) -> int:
    return max((cell_len(word) for text in texts for word in text.plain.split()), default=0)


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))

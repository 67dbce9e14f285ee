"""What commands print: tables and JSON in which no word of a file can speak to the terminal."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from kdrec.errors import spelled as spelled

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


WIDE: Final = 10_000
"""Columns of a file or a pipe, where no screen has to be fitted."""


class OneSentenceParser(argparse.ArgumentParser):
    """A parser that answers wrong words by one sentence and exit code 2, and leaves the usage to `--help`."""

    def error(self, message: str) -> NoReturn:
        """End the command."""
        self.exit(2, spelled(f"kdrec: {message}; see {self.prog} --help\n"))


def show(renderable: RenderableType, console: Console | None = None, *, by_line: bool = False) -> None:
    """Print for a person; a control sign in the name of a task must not speak to the terminal.

    With `by_line`, a row of a table is one line wherever no terminal shows it, so that other programs can read it.
    """
    from rich.console import Console as Screen
    from rich.segment import Segment, Segments

    console = console or Screen()
    if by_line and not console.is_terminal and "COLUMNS" not in os.environ:
        console = Screen(width=WIDE)
    drawn = (Segment(spelled(text), style) for text, style, control in console.render(renderable) if not control)
    console.print(Segments(drawn), end="")


def show_json(value: Any) -> None:
    """Print JSON for a program."""
    typer.echo(spelled(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)))

"""What commands print: tables and JSON in which no word of a file can speak to the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from kdrec.errors import spelled as spelled

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def show(renderable: RenderableType, console: Console | None = None) -> None:
    """Print for a person; a control sign in the name of a task must not speak to the terminal."""
    from rich.console import Console as Screen
    from rich.segment import Segment, Segments

    console = console or Screen()
    drawn = (Segment(spelled(text), style) for text, style, control in console.render(renderable) if not control)
    console.print(Segments(drawn), end="")


def show_json(value: Any) -> None:
    """Print JSON for a program."""
    typer.echo(spelled(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)))

"""What commands print: tables and JSON in which no word of a file can speak to the terminal."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(renderable: RenderableType) -> None:
    """Print for a person; a control sign in the name of a task must not speak to the terminal."""
    from rich.console import Console
    from rich.segment import Segment, Segments

    console = Console()
    drawn = (Segment(spelled(text), style) for text, style, control in console.render(renderable) if not control)
    console.print(Segments(drawn), end="")


def show_json(value: Any) -> None:
    """Print JSON for a program."""
    typer.echo(spelled(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)))


def spelled(text: str) -> str:
    """Text with its control signs spelled as JSON spells them; line breaks stay."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda sign: f"\\u{ord(sign[0]):04x}", text)

"""Options that several commands take, with the one help that each has."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show results and errors, and nothing on the way.")]
Text = Annotated[
    list[str] | None,
    typer.Option(metavar="COL", help="Text column of the file; two for pairs, or for a question and its context."),
]
Label = Annotated[
    str | None, typer.Option(metavar="COL", help="Column of the labels, of lists of tags, or of the answers.")
]
HistoryChoice = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|own|none",
        help="An exported CSV or Parquet history alone; 'own': yours without kdrec's; 'none'. [yours and kdrec's]",
    ),
]

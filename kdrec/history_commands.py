"""The commands of `kdrec history`: words to calls of `kdrec.history`, for `kdrec.cli` to offer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdrec.options import AsJson
from kdrec.terminal import show as printed
from kdrec.terminal import show_json

if TYPE_CHECKING:
    from kdrec.types import History


def sync(
    ctx: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="Read all again; forget trials no longer there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring new trials from the MLflow store into the local history."""
    from kdrec import history, question

    new = question.sync(ctx.obj, always=True, full=full)
    _tell_size(history.load(ctx.obj), new, as_json)


def show(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", help="Show the last N trials; 0 shows all.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the finished trials, the newest last."""
    from kdrec import question, report

    past = question.history_for(question.OWN, ctx.obj)
    if as_json:
        show_json([trial.to_row() for trial in past])
    else:
        printed(report.history_table(past, limit=limit or None))


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv|FILE.parquet")],
    as_json: AsJson = False,
) -> None:
    """Write the history as a CSV or Parquet table."""
    from kdrec import history, question, report

    question.sync(ctx.obj)
    past = history.load(ctx.obj)  # under the names that were recorded
    history.write_table(past, file)
    if as_json:
        show_json({"file": str(file), **_size(past)})
    else:
        typer.echo(f"{file} holds {report.history_line(past)}")


def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv|FILE.parquet")],
    as_json: AsJson = False,
) -> None:
    """Add the trials of an exported table to the local history."""
    from kdrec import history

    new = history.add(ctx.obj, history.read_table(file))
    _tell_size(history.load(ctx.obj), new, as_json)


def _tell_size(past: History, new: int, as_json: bool) -> None:
    """How many trials came, and what the history holds now."""
    from kdrec import report

    if as_json:
        show_json({"new": new, **_size(past)})
    else:
        typer.echo(f"{new} new; the history holds {report.history_line(past)}")


def _size(past: History) -> dict[str, int]:
    return {"trials": len(past), "tasks": len(past.tasks()), "students": len(past.students())}

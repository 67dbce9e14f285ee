"""The commands of `kdrec history`: words to calls of `kdrec.history`, for `kdrec.cli` to offer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdrec.errors import BadArgument
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
        printed(report.history_table(past, limit=limit or None), by_line=True)


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
    mapping: Annotated[
        str | None,
        typer.Option(metavar="mlflow|optuna|wandb|MAP.toml", help="What the columns of another tool's table mean."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COLUMN", help="With --mapping: the column of task, student, seed, val_score..."),
    ] = None,
    knob: Annotated[
        list[str] | None, typer.Option(metavar="NAME=COLUMN", help="With --mapping: a knob that was turned.")
    ] = None,
    constant: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="With --mapping: what all rows share.")
    ] = None,
    factor: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="With --mapping: what a number is multiplied by, val_score=100."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv|FILE.parquet", help="Write the table in kdrec's form, and add nothing."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add the trials of an exported table, or of another tool's by a mapping, to the local history."""
    from kdrec import history, report

    added = history.Added(columns=column or (), knobs=knob or (), constants=constant or (), factors=factor or ())
    if mapping is None and any(added.parts.values()):
        raise BadArgument("--column, --knob, --constant and --factor add to a mapping: they need --mapping")
    meant = None if mapping is None else history.chosen(mapping, added, file.name, history.columns_of(file))
    taken = history.take(file, meant)
    left = {"failed": taken.n_failed, "repeated": taken.n_repeated}
    if out is not None:
        history.write_table(taken.history, out)
        if as_json:
            show_json({"file": str(out), **_size(taken.history), "left_out": left})
        else:
            typer.echo(f"{out} holds {report.history_line(taken.history)}{_told(left)}")
        return
    new = history.add(ctx.obj, taken.history)
    past = history.load(ctx.obj)
    if as_json:
        more = {} if meant is None else {"left_out": left, "knobs": _knobs(taken.history)}
        show_json({"new": new, **_size(past), **more})
    else:
        knobs = f"; the knobs are {', '.join(_knobs(taken.history))}" if meant is not None else ""
        typer.echo(f"{new} new{_told(left)}{knobs}; the history holds {report.history_line(past)}")


def mapping(
    name: Annotated[str, typer.Argument(metavar="mlflow|optuna|wandb")],
) -> None:
    """Print a mapping that comes with kdrec, to be filled in: kdrec history mapping optuna > my.toml."""
    from kdrec.history import ready

    typer.echo(ready.text_of(name), nl=False)


def _told(left: dict[str, int]) -> str:
    """The rows that were left out, where there are any."""
    told = [f"{count} {why}" for why, count in left.items() if count]
    n_rows = sum(left.values())
    return f", {n_rows} row{'s' * (n_rows > 1)} left out ({', '.join(told)})" if told else ""


def _knobs(past: History) -> list[str]:
    """Names of the knobs that stand in a history, kdrec's own or another tool's."""
    return sorted({name for trial in past for name in trial.config.to_dict()})


def _tell_size(past: History, new: int, as_json: bool) -> None:
    """How many trials came, and what the history holds now."""
    from kdrec import report

    if as_json:
        show_json({"new": new, **_size(past)})
    else:
        typer.echo(f"{new} new; the history holds {report.history_line(past)}")


def _size(past: History) -> dict[str, int]:
    return {"trials": len(past), "tasks": len(past.tasks()), "students": len(past.students())}

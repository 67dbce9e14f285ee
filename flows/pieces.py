"""A study cut into the pieces that workers do: teachers, and the cells that wait for them.

Torch is loaded where a piece is done and nowhere else, so that the parent of the workers stays small; it has `Outcome`
and `Told` in place of the nouns of `kdrec.trial`, which come with torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from flows import ranks
from kdrec import catalog, tasks
from kdrec.autotune import EPOCHS_EXPECTED, expected_evaluations
from kdrec.errors import BadArgument, did_you_mean
from kdrec.home import Home
from kdrec.search import SearchStep
from kdrec.studies import Cell, Study
from kdrec.tracking import patiently
from kdrec.types import KDConfig, Suggestion, Trial

STUDIES: Final = Path(__file__).parent / "studies"

ROWS_UNKNOWN: Final = 5000
"""Training rows taken for granted where the study sets no limit; only the order of work and first ETA depend on it."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One teacher or one cell of a study: what a worker takes at once.

    `units` evaluations or trials are expected, each of about `cost` in layers x rows x epochs. `ranks` processes train
    one model together.
    """

    role: Literal["teacher", "cell"]
    study: Study
    home: Home
    task: str
    model: str
    teacher: str
    units: int
    cost: float
    ranks: int = 1

    @property
    def name(self) -> str:
        """As it is called on the screen and in Prefect, such as ``trec/small``."""
        return f"{self.task}/{self.model}"

    @property
    def needs(self) -> str | None:
        """Name of the piece that has to be done before."""
        return f"{self.task}/{self.teacher}" if self.role == "cell" else None


@dataclass(frozen=True, kw_only=True)
class Told:
    """How far a piece has come, or (`notice`) what is amiss with it though it goes on."""

    piece: str
    done: int
    expected: int
    message: str
    notice: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A searched cell, as `kdrec.report` shows it; `run_id` is its run in MLflow, the parent of its trials'."""

    cell: Cell
    trials: tuple[Trial, ...]
    path: tuple[SearchStep, ...]
    best: KDConfig
    run_id: str
    suggestion: Suggestion | None = None


def find_study(name: str) -> Study:
    """A study by the path of its file, or by the name of a file under `flows/studies`."""
    path = Path(name)
    return Study.load(path if path.suffix == ".toml" or len(path.parts) > 1 else STUDIES / f"{name}.toml")


def check(study: Study) -> None:
    """Refuse a study that names an unknown task or student, before anything is started."""
    for task in study.tasks:
        known_as = study.aliases.get(task, task)
        if task not in study.data and known_as not in tasks.known():
            raise BadArgument(f"unknown task {known_as!r}{did_you_mean(known_as, tasks.known())}")
    for student in study.students:
        catalog.teacher_of(student)


def cut(study: Study, home: Home, cells: Iterable[Cell] | None = None, ranks: int = 1) -> tuple[Piece, ...]:
    """The pieces of these cells (default: all of the study): teachers first, each kind from the heaviest down."""
    cells = study.cells() if cells is None else tuple(cells)
    pairs = dict.fromkeys((cell.task, catalog.teacher_of(cell.student)) for cell in cells)
    teachers = [_teacher(study, home, task, teacher) for task, teacher in pairs]
    students = [_cell(study, home, cell) for cell in cells]
    return tuple(replace(piece, ranks=ranks) for kind in (teachers, students) for piece in sorted(kind, key=_weight))


def do(piece: Piece, tell: Callable[[Told], None]) -> Outcome | None:
    """Do one piece here, in this process, or have it trained by several and find here what they made."""
    from transformers.utils import logging

    from kdrec import trial

    logging.disable_progress_bar()  # bars of several workers would tear the study's own table

    def told(done: int, expected: int, message: str, notice: bool) -> None:
        tell(Told(piece=piece.name, done=done, expected=expected, message=message, notice=notice))

    def heard(progress: trial.Progress) -> None:
        if piece.ranks == 1 or progress.notice:  # the rest was told as it was made
            told(progress.done, progress.expected, progress.message, progress.notice)

    def done() -> Outcome | None:
        if piece.ranks > 1:
            ranks.train(piece.study, piece.task, piece.model, piece.home, piece.ranks, told)
        if piece.role == "teacher":
            trial.prepare_teacher(piece.study, piece.task, piece.model, piece.home, heard)
            return None
        found = trial.run_cell(piece.study, Cell(task=piece.task, student=piece.model), piece.home, heard)
        return Outcome(
            cell=found.cell,
            trials=found.trials,
            path=found.path,
            best=found.best,
            run_id=found.run_id,
            suggestion=found.suggestion,
        )

    return patiently(done, lambda message: told(0, 0, message, True))  # what a piece has finished, it finds again


def _weight(piece: Piece) -> float:
    return -piece.units * piece.cost


def _work(model: str) -> float:
    """Cost of an example in whole layers; of the last one, only the position that the head reads is computed."""
    return catalog.card(model).n_layers - 0.75


def _teacher(study: Study, home: Home, task: str, teacher: str) -> Piece:
    training = study.teacher_for(task)
    rows = study.rows_for(task)
    cost = _work(teacher) * (rows.teacher or rows.train or ROWS_UNKNOWN) / training.evaluations_per_epoch
    units = expected_evaluations(training)
    return Piece(
        role="teacher", study=study, home=home, task=task, model=teacher, teacher=teacher, units=units, cost=cost
    )


def _cell(study: Study, home: Home, cell: Cell) -> Piece:
    grid = len(study.space.configs())
    configs = 1 + {"full": grid, "listed": len(study.configs)}.get(study.search, min(grid, 11))
    epochs = study.training_for(cell).epochs or EPOCHS_EXPECTED
    rows = study.rows_for(cell.task)
    return Piece(
        role="cell",
        study=study,
        home=home,
        task=cell.task,
        model=cell.student,
        teacher=catalog.teacher_of(cell.student),
        units=configs * len(study.seeds),
        cost=_work(cell.student) * ((rows.train or ROWS_UNKNOWN) + (rows.transfer or 0)) * epochs,
    )

"""A suggestion handed over: a study file that runs exactly the suggested configuration and the proposed next trials.

What a study needs beyond an answer (rows, how teacher and student are trained) is taken from another study file, from
the trials that the answer rests on, or left to the defaults of a study. In the last case it is another experiment than
the answer's, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import tomli_w

from kdrec import catalog, tasks
from kdrec.errors import BadArgument
from kdrec.history import shipped_provenance
from kdrec.studies import Cell, OwnData, RowLimits, Study
from kdrec.tracking import CellMade
from kdrec.training import Budget, StudentTraining, TeacherTraining
from kdrec.types import History, KDConfig, Suggestion, check_name, trainable

HEAD: Final = """\
# Runs what kdrec suggested for {cell}: the suggestion itself, then the next trials in their order.
#   python -m flows.study {name}
"""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """How the trials of a cell that an answer rests on were made; `told` is the sentence that says whence this is."""

    rows: RowLimits
    training: StudentTraining
    teacher: TeacherTraining
    budget: Budget
    told: str


def basis_of(answer: Suggestion, past: History, cells: Sequence[CellMade]) -> Basis | None:
    """How the trials of the very task and student of an answer were made; None where nothing tells.

    Parameters
    ----------
    answer : Suggestion
    past : History
        What it rests on. Trials of one's own count; those that come with kdrec, where there are none.
    cells : sequence of CellMade
        Searches of this task and student in the store, the earliest first: the last one of the same rows counts.
    """
    mine = [trial for trial in past if (trial.task, trial.student) == (answer.task, answer.student)]
    own = [trial for trial in mine if not trial.is_shipped]
    known = {trial.features.data for trial in own} | {None}
    for cell in reversed(cells):
        if own and answer.evidence.get("n_own_trials") and cell.data in known:
            return _of_cell(cell)
    provenance = shipped_provenance()
    facts = provenance.of(answer.task) if provenance and mine and not own else None
    if facts is None or answer.student not in facts.training:
        return None
    return _as_recorded(facts.rows, facts.training[answer.student], "the trials of this very task that come with kdrec")


def experiment_note(study: Study, basis: Basis | None) -> str:
    """What a study handed over takes its rows, training and teacher from, in one sentence."""
    if basis is not None:
        return basis.told
    return (
        f"the study handed over takes all rows of {study.tasks[0]} and calibrates teacher and students anew, because "
        "no trials of this very task tell how they were made: it is another experiment than the answer's; its "
        "scores and seconds may differ (--like STUDY.toml gives it rows and training)"
    )


def _of_cell(cell: CellMade) -> Basis | None:
    """As a study of the store asked for it; of an earlier version's run, what is recorded of its trials."""
    source = f"the trials of {cell.task}/{cell.student} in your store"
    if cell.settings is None:
        return _as_recorded(cell.rows, cell.training, source)
    parts = {name: _tuples(cell.settings.get(name, {})) for name in ("rows", "training", "teacher", "budget")}
    try:
        return Basis(
            rows=RowLimits(**parts["rows"]),
            training=StudentTraining(**parts["training"]),
            teacher=TeacherTraining(**parts["teacher"]),
            budget=Budget(**parts["budget"]),
            told=f"the study handed over has rows, training and teacher of {source}",
        )
    except (TypeError, BadArgument):  # written by another version
        return _as_recorded(cell.rows, cell.training, source)


def _as_recorded(rows: Mapping[str, int], training: Mapping[str, float], source: str) -> Basis:
    """From the numbers of rows and the resolved training of trials; how their teacher was trained is not known."""
    unsaid = {"epochs"} if training.get("n_steps") else set()
    names = {f.name for f in fields(StudentTraining)} - unsaid
    given: dict[str, Any] = {name: value for name, value in training.items() if name in names}
    student = StudentTraining(**given)
    limits = {split: rows[split] for split in ("train", "validation", "test") if rows.get(split, 0) >= 10}
    return Basis(
        rows=RowLimits(**limits),
        training=student,
        teacher=TeacherTraining(max_length=student.max_length),
        budget=Budget(),
        told=f"the study handed over has rows and training of {source}; how their teacher was trained is not recorded, "
        "so it is trained anew and may be another",
    )


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def study_of(
    answer: Suggestion,
    name: str,
    past: History,
    *,
    own: OwnData | None = None,
    like: Study | None = None,
    basis: Basis | None = None,
) -> Study:
    """The study that runs a suggestion and its next trials.

    Parameters
    ----------
    answer : Suggestion
        Its task and student make the one cell of the study.
    name : str
        Name of the study.
    past : History
        Tells which seed makes every next trial a new one.
    own : OwnData, optional
        The user's own file, with absolute paths, when the task is one.
    like : Study, optional
        Where rows and training are taken from.
    basis : Basis, optional
        Where they are taken from without `like`; the defaults of a study otherwise.

    Raises
    ------
    BadArgument
        When a study cannot name the task or the student.
    """
    check_name("name of a study (the name of its file)", name)
    upcoming = [trainable(trial.config) for trial in answer.next]
    return listing(
        Cell(task=answer.task, student=answer.student),
        name,
        tuple(dict.fromkeys([trainable(answer.config), *upcoming])),
        seeds=(_seed(answer, upcoming, past),),
        own=own,
        like=like,
        basis=basis,
    )


def listing(
    cell: Cell,
    name: str,
    configs: tuple[KDConfig, ...],
    *,
    seeds: tuple[int, ...],
    own: OwnData | None = None,
    like: Study | None = None,
    basis: Basis | None = None,
) -> Study:
    """The study that runs these configurations on one cell; other parameters and refusals as of `study_of`."""
    data = {cell.task: own} if own else {t: d for t, d in (like.data if like else {}).items() if t == cell.task}
    aliases = {} if own or like is None else {t: known for t, known in like.aliases.items() if t == cell.task}
    if not data and aliases.get(cell.task, cell.task) not in tasks.known():
        raise BadArgument(
            f"a study cannot be written for {cell.task!r}: its rows are not known here; name a task of the "
            "catalogue, a file, or --like a study that has its [data]"
        )
    catalog.teacher_of(cell.student)
    study = Study(
        name=name,
        tasks=(cell.task,),
        students=(cell.student,),
        search="listed",
        configs=configs,
        seeds=seeds,
        data=data,
        aliases=aliases,
    )
    if like is None and basis is None:
        return study
    if like is None:
        assert basis is not None
        parts = {name: getattr(basis, name) for name in ("rows", "teacher", "training", "budget")}
        return replace(study, **parts)
    return replace(
        study,
        rows=like.rows_for(cell.task),
        teacher=like.teacher_for(cell.task),
        training=like.training_for(cell),
        budget=like.budget,
    )


def write(study: Study, path: Path, notes: Sequence[str] = ()) -> None:
    """Write a study file that reads back as `study`, with `notes` as comments; a file that is there stays as it is."""
    if path.suffix != ".toml":
        raise BadArgument(f"a study file ends in .toml, got {str(path)!r}")
    lines = [line for note in notes for line in wrap(" ".join(note.split()), 110)]
    comments = "".join(f"# {line}\n" for line in lines)
    text = HEAD.format(cell=study.cells()[0], name=path) + comments + "\n" + tomli_w.dumps(_sparse(study))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadArgument(f"{path} is there already, and is not written over; name another file") from None


def _seed(answer: Suggestion, upcoming: Sequence[KDConfig], past: History) -> int:
    """The first seed with which no next trial was made yet: a trial that is found again tells nothing new."""
    used = {
        trial.seed
        for trial in past
        if (trial.task, trial.student) == (answer.task, answer.student) and trial.config in upcoming
    }
    return next(seed for seed in range(len(used) + 1) if seed not in used)


def _sparse(study: Study) -> dict[str, Any]:
    """What a file has to say: keys that differ from a study's defaults."""
    table = study.to_dict()
    bare = Study(name=study.name, tasks=study.tasks, students=study.students).to_dict()
    for key in ("space", "rows", "teacher", "training", "budget"):
        table[key] = {name: value for name, value in table[key].items() if value != bare[key].get(name)}
    plain = asdict(KDConfig())
    table["configs"] = [
        {name: value for name, value in config.items() if name != "scale_soft_loss" or value != plain[name]}
        for config in table["configs"]
    ]
    return {key: value for key, value in table.items() if value not in ({}, [])}

"""A suggestion handed over: a study file that runs exactly the suggested configuration and the proposed next trials.

What a study needs beyond an answer (rows, how teacher and student are trained) is taken from another study file, or
left to the defaults of a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import tomli_w

from kdrec import catalog, tasks
from kdrec.errors import BadArgument
from kdrec.studies import Cell, OwnData, Study
from kdrec.types import History, KDConfig, Suggestion, check_name, trainable

HEAD: Final = """\
# Runs what kdrec suggested for {cell}: the suggestion itself, then the next trials in their order.
#   python -m flows.study {name}
"""


def study_of(
    answer: Suggestion, name: str, past: History, *, own: OwnData | None = None, like: Study | None = None
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
        Where rows and training are taken from; the defaults of a study otherwise.

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
    )


def listing(
    cell: Cell,
    name: str,
    configs: tuple[KDConfig, ...],
    *,
    seeds: tuple[int, ...],
    own: OwnData | None = None,
    like: Study | None = None,
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
    if like is None:
        return study
    return replace(
        study,
        rows=like.rows_for(cell.task),
        teacher=like.teacher_for(cell.task),
        training=like.training_for(cell),
        budget=like.budget,
    )


def write(study: Study, path: Path) -> None:
    """Write a study file that reads back as `study`; a file that is there is never written over."""
    if path.suffix != ".toml":
        raise BadArgument(f"a study file ends in .toml, got {str(path)!r}")
    text = HEAD.format(cell=study.cells()[0], name=path) + "\n" + tomli_w.dumps(_sparse(study))
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

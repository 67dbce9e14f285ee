"""What is to be distilled: one cell with one configuration, suggested or given, as a study of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kdrec import handover, question, recommend
from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.question import Asked
from kdrec.studies import Cell, OwnData, Study
from kdrec.types import DEFAULT_CONFIG, Suggestion, trainable

STUDY: Final = "distill"
"""Name of these studies, and so of the experiment that holds the trials they make."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A study of one cell and one listed configuration, and why it is this one."""

    study: Study
    why: str

    @property
    def cell(self) -> Cell:
        """The one cell."""
        (cell,) = self.study.cells()
        return cell


def order(
    asked: Asked,
    student: str,
    home: Home,
    *,
    knobs: Mapping[str, Any] | None = None,
    n_seeds: int = 1,
    like: Study | None = None,
) -> Order:
    """Settle what is distilled.

    Parameters
    ----------
    asked : Asked
        A task of the catalogue or of `like`, or a file.
    student : str
        Name of a student.
    home : Home
        Whose history a suggestion rests on, beside the trials that come with kdrec.
    knobs : mapping, optional
        Values of `KDConfig`; what is not named, or None, stays as in the default. Without any, the recommender is
        asked.
    n_seeds : int
        How many students are trained, with the seeds from 0.
    like : Study, optional
        Where rows and training are taken from, and the data of its tasks.

    Raises
    ------
    BadArgument
        For a task whose rows are not known, and for `alpha = 0`, which teaches nothing.
    """
    if n_seeds < 1:
        raise BadArgument(f"seeds is how many students to train, at least 1, got {n_seeds}")
    given = {name: value for name, value in (knobs or {}).items() if value is not None}
    own, past = _own(asked, like), question.history_for(None, home)
    if own is not None and not asked.is_file:
        known_as, texts = asked.task, (own.text,) if isinstance(own.text, str) else own.text
        asked = Asked(task=own.path, text=texts, label=own.label, unlabelled=own.unlabelled)
    elif like is not None and str(asked.task) in like.aliases and asked.task not in past.tasks():
        known_as, asked = asked.task, Asked(task=like.aliases[str(asked.task)])
    else:
        known_as = None
    found = question.understand(asked, student, past, home).features
    features = replace(found, task=known_as or found.task)
    answer = None
    if not given:
        answer = recommend.suggest(question.without_namesakes(past, features), features, student)
    config = trainable(answer.config) if answer else replace(DEFAULT_CONFIG, **given)
    if config.is_baseline:
        raise BadArgument(
            "alpha must be above 0 to distil: alpha = 0 is the labels-only baseline, which is made anyway"
        )
    cell = Cell(task=features.task, student=student)
    study = handover.listing(cell, STUDY, (config,), seeds=tuple(range(n_seeds)), own=own, like=like)
    return Order(study=study, why=_why(answer))


def _own(asked: Asked, like: Study | None) -> OwnData | None:
    """The user's own data, where the task is a file or `like` describes it."""
    if not asked.is_file:
        return like.data.get(str(asked.task)) if like else None
    text = asked.text[0] if len(asked.text) == 1 else asked.text
    return OwnData(path=str(Path(str(asked.task)).resolve()), text=text, label=str(asked.label))


def _why(answer: Suggestion | None) -> str:
    if answer is None:
        return "given by the user"
    n_trials, n_tasks = answer.evidence.get("n_trials", 0), answer.evidence.get("n_tasks", 0)
    n_shipped = answer.evidence.get("n_shipped_trials", 0)
    safe = ", the safe default" if answer.config == DEFAULT_CONFIG else ""
    trials, tasks = (f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in ((n_trials, "trial"), (n_tasks, "task")))
    return f"suggested from {trials} of {tasks}, {n_shipped} of them kdrec's own{safe}"

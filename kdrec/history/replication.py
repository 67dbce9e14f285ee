"""The trials that come with kdrec: our own replication of arXiv 2401.06356, as two data files beside this module.

`replication.csv` is a history in the documented exchange form, `replication.json` says how it was made. Both are
written by `python -m kdrec.replication ship`. Where they are absent, nothing is shipped and nothing changes.

A user's own measurements come first. Three things may not be mixed, because a difference of two scores would then be
one of two data sets, of two trainings or of two objectives, and no longer of two configurations:

1. A task of the user's that only shares its *name* with a shipped one: all shipped trials of that name are left out.
2. A task and student (a cell) that the user has trials of: shipped trials of that cell are left out. Its other students
   still speak: the level of each cell is learned by itself.
3. Trials of other knobs, or of values outside the default space (with t_llg): then nothing that is shipped is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from kdrec.history.exchange import read_table
from kdrec.history.provenance import Provenance
from kdrec.space import DEFAULT_SPACE, canonical
from kdrec.types import TEACHERS, Configuration, History, KDConfig, TaskFeatures

FOLDER: Final = Path(__file__).parent
TABLE: Final = "replication.csv"
FACTS: Final = "replication.json"

_SAME_DATA: Final = ("family", "n_train", "n_classes", "label_entropy")
"""What two sets of rows under one name agree in if they are one data set."""


def shipped() -> History:
    """The trials that come with kdrec; empty where the file is absent."""
    return _table(FOLDER / TABLE)


def shipped_provenance() -> Provenance | None:
    """How the shipped trials were made; None where the file is absent."""
    path = FOLDER / FACTS
    return Provenance.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def with_shipped(
    own: History, *, searched: Iterable[Configuration] = (), asked: TaskFeatures | None = None, student: str = ""
) -> History:
    """What an answer rests on: shipped trials, then one's own, by the three rules at the head of this module.

    Parameters
    ----------
    own : History
        The user's trials.
    searched : iterable of Configuration
        Space of a search that will be advised; it has to be part of the default space, too.
    asked : TaskFeatures, optional
        Task asked about, whose own rows may not be those that are shipped under its name.
    student : str
        Student of a search that will make its own trials of the asked task: its shipped ones are left out at once, not
        only when the first of its own is done.
    """
    if not comparable([trial.config for trial in own]) or not comparable(searched):
        return own
    about = {trial.task: trial.features for trial in own}
    if asked is not None:
        about[asked.task] = asked
    cells = {(trial.task, trial.student) for trial in own}
    if asked is not None and student:
        cells.add((asked.task, student))
    kept = (
        trial
        for trial in shipped()
        if (trial.task, trial.student) not in cells
        and (trial.task not in about or same_data(about[trial.task], trial.features))
    )
    return History((*kept, *own))


def without_namesakes(past: History, asked: TaskFeatures) -> History:
    """A history without shipped trials of a task that has only its name from the one asked about."""
    return History(
        tuple(t for t in past if not (t.is_shipped and t.task == asked.task and not same_data(asked, t.features)))
    )


def comparable(configs: Iterable[Configuration]) -> bool:
    """Whether configurations lie in the space that the shipped trials are of."""
    return all(isinstance(config, KDConfig) and canonical(config) in _space() for config in configs)


def same_data(one: TaskFeatures, other: TaskFeatures) -> bool:
    """Whether nothing that is known of the rows of two tasks of one name differs.

    >>> same_data(TaskFeatures(task="a", n_train=500), TaskFeatures(task="a", n_train=3000))
    False
    >>> same_data(TaskFeatures(task="a", n_train=500), TaskFeatures(task="a", family="pair"))
    True
    """
    pairs = ((getattr(one, name), getattr(other, name)) for name in _SAME_DATA)
    return all(a is None or b is None or _alike(a, b) for a, b in pairs)


def _alike(a: str | float, b: str | float) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-3)


@lru_cache(maxsize=1)
def _space() -> frozenset[KDConfig]:
    guarded = replace(DEFAULT_SPACE, teachers=TEACHERS)  # one more value of a knob says nothing against the others
    return frozenset({*guarded.configs(), canonical(KDConfig(alpha=0.0))})


@lru_cache(maxsize=4)
def _table(path: Path) -> History:
    return read_table(path) if path.is_file() else History()

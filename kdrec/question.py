"""What a user asks a suggestion for: a task named in one of four ways becomes features, and a history is found for it.

A task is a word of the history, a word of the catalogue, a table of one's own, or its features alone. The store is
opened only when something in it is new, so that an answer from a synced history loads no MLflow; nothing large is
fetched for an answer, so tokens are counted only where the teacher's tokenizer is on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kdrec import catalog, history, resolution, tasks
from kdrec.errors import BadArgument, DataError, StoreError, did_you_mean
from kdrec.home import Home
from kdrec.inputs import text_of
from kdrec.sources import resolve
from kdrec.sources.hub import HubReference
from kdrec.sources.package import PackageReference
from kdrec.tasks.tables import EXTENSIONS
from kdrec.types import METRICS, History, Metric, Task, TaskFeatures, TeacherTraining, Trial

if TYPE_CHECKING:
    from kdrec.tracking import CellMade

OWN: Final = "own"
"""The history without the trials that come with kdrec."""
SAMPLE: Final = 2000
"""About how many training rows are tokenised for their mean length."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A task as it was typed."""

    task: str | None = None
    text: tuple[str, ...] = ()
    label: str | None = None
    features: Path | None = None
    unlabelled: str | None = None
    """A file of rows without labels, or `EMPTY_LABELS`."""

    def __post_init__(self) -> None:
        if self.task is None and self.features is None:
            raise BadArgument("a suggestion needs a task, a CSV, TSV, JSONL or Parquet file, or --features FILE.json")
        if (self.text or self.label) and not self.looks_like_file:
            raise BadArgument(f"--text and --label name columns of a file, got {self.task or str(self.features)!r}")
        if self.unlabelled is not None and not self.looks_like_file:
            raise BadArgument(
                f"--unlabelled names more rows of a file, got {self.task or str(self.features)!r}; rows without labels "
                "of a task of the catalogue are those that a study's rows.train leaves over"
            )
        if self.is_file and (not self.text or self.label is None):
            raise self.lack_of_columns()

    @property
    def is_file(self) -> bool:
        """Whether the task is a table, existing or not, with columns of it."""
        return self.looks_like_file and bool(self.text or self.label or self.unlabelled)

    @property
    def looks_like_file(self) -> bool:
        """Whether the task's name is that of a file; a task of a history may have such a name as well."""
        if self.task is None or self.features is not None:
            return False
        return Path(self.task).suffix.lower() in EXTENSIONS or len(Path(self.task).parts) > 1

    def lack_of_columns(self) -> BadArgument:
        """What to say of a file without its columns."""
        return BadArgument(f"a file needs --text COL and --label COL to say which columns of {self.task} to read")


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What is known of a task asked for, and the metric that its scores are of (None where only its past is known).

    `read` is what a file of one's own was read as.
    """

    features: TaskFeatures
    metric: Metric | None
    read: tasks.ReadReport | None = None
    n_validation: int | None = None
    """Rows of its validation split, where they are known."""

    @property
    def resolution(self) -> float | None:
        """Points that one validation row is; None where it is not known, and of words, of which a row has several."""
        if self.n_validation is None or self.features.family == "tokens":
            return None
        return resolution.step(self.n_validation)


def features_of(asked: Asked, student: str, past: History, home: Home) -> TaskFeatures:
    """What is known of the task asked for, and of the student it is distilled into; see `understand`."""
    return understand(asked, student, past, home).features


def check_metric(wanted: str, found: Understood) -> None:
    """Refuse a metric that the scores are not of: a history holds each task's main metric and no other."""
    task = found.features.task
    if wanted not in METRICS:
        raise BadArgument(f"unknown metric {wanted!r}{did_you_mean(wanted, METRICS)}")
    if found.metric is None:
        raise BadArgument(
            f"the metric of task {task!r} is not known here: a history does not record it, and scores are of each "
            "task's main metric; leave --metric out"
        )
    if wanted != found.metric:
        raise BadArgument(f"the scores of task {task!r} are {found.metric}, and a history holds no {wanted} of it")


def understand(asked: Asked, student: str, past: History, home: Home) -> Understood:
    """What is known of the task asked for, and of the student it is distilled into.

    Parameters
    ----------
    asked : Asked
        The task as typed.
    student : str
        A student of the cards or of the history.
    past : History
        Names tasks and students that no catalogue has.
    home : Home
        Where a catalogue task is fetched to.

    Returns
    -------
    Understood
        Features, and the main metric of a task of the catalogue or of a file.

    Raises
    ------
    BadArgument
        When the student or the task is unknown, or a feature is.
    DataError
        When a file cannot be used.
    """
    sizes = _sizes(student, past)
    if asked.features is not None:
        given = read_features(asked.features, asked.task)
        own = {name: size for name, size in sizes.items() if getattr(given, name) is None}
        return Understood(features=replace(given, **own), metric=None)  # type: ignore[arg-type]
    known = tasks.known().get(str(asked.task))
    metric = known.metric if known else None
    read = None
    n_validation = None
    if asked.is_file:
        assert asked.task is not None
        assert asked.label is not None
        task = tasks.load_file(Path(asked.task), text=asked.text, label=asked.label, unlabelled=asked.unlabelled)
        found, metric, n_validation = _measured(task, student, home), task.metric, len(task.validation)
        read = tasks.ReadReport.of(task, file=asked.task, text=asked.text, label=asked.label)
    elif asked.task in past.tasks():
        found = _remembered(asked.task, student, past, sizes["teacher_params"])
        n_validation = _validation_of(asked.task, past)
    elif asked.task in tasks.known():
        task = tasks.load(str(asked.task), home)
        found, n_validation = _measured(task, student, home), len(task.validation)
    elif asked.looks_like_file:
        raise asked.lack_of_columns()
    else:
        near = did_you_mean(str(asked.task), {*tasks.known(), *past.tasks()})
        raise BadArgument(f"unknown task {asked.task!r}{near}")
    features = replace(found, **sizes)  # type: ignore[arg-type]
    return Understood(features=features, metric=metric, read=read, n_validation=n_validation)


def _validation_of(task: str, past: History) -> int | None:
    """Validation rows behind a task of the history, where all of its trials came with kdrec and so tell them."""
    provenance = history.shipped_provenance()
    facts = provenance.of(task) if provenance else None
    if facts is None or not all(trial.is_shipped for trial in past if trial.task == task):
        return None
    return facts.rows["validation"]


def notes_on_resolution(found: Understood) -> list[str]:
    """A sentence where the validation split is too small to show what configurations differ by."""
    said = None if found.n_validation is None else resolution.cannot_show(found.n_validation)
    return [said] if said else []


def remembered(task: str, student: str, past: History) -> TaskFeatures:
    """What the history knows of one of its tasks, whatever its name looks like, and of the student asked about."""
    sizes = _sizes(student, past)
    return replace(_remembered(task, student, past, sizes["teacher_params"]), **sizes)  # type: ignore[arg-type]


def read_features(path: Path, name: str | None = None) -> TaskFeatures:
    """Read meta-features from a JSON object; `name` is the task's name when the file gives none."""
    try:
        values = json.loads(text_of(path))
    except ValueError as error:
        raise DataError(f"{path} is not a JSON file: {error}") from None
    except RecursionError:
        raise DataError(f"{path} is not a JSON file that can be read: nested too deeply") from None
    except FileNotFoundError:
        raise DataError(f"no features file at {path}") from None
    if not isinstance(values, dict):
        raise DataError(f"{path} must hold one JSON object of features, got {type(values).__name__}")
    if name is not None and values.setdefault("task", name) != name:
        raise BadArgument(f"{path} describes the task {values['task']!r}, not {name!r}")
    return TaskFeatures.from_dict(values)


def history_for(choice: str | None, home: Home) -> History:
    """The history to answer from: `none`, `own`, an exported table, or (by default) `own` and what comes with kdrec.

    Data sets that share a name have names of their own (`history.told_apart`). One's own is the home's, synced when
    stale. It is not mixed with trials that mean something else; see
    `kdrec.history.replication`.
    """
    if choice == "none":
        return History()
    if choice is not None and choice != OWN:
        return history.told_apart(history.read_table(Path(choice))).history
    sync(home)
    own = history.told_apart(history.load(home)).history
    return own if choice == OWN else history.with_shipped(own)


def without_namesakes(past: History, asked: TaskFeatures) -> History:
    """The history without trials that came with kdrec for another task of the same name as the one asked about."""
    return history.without_namesakes(past, asked)


def notes_on_shipped(choice: str | None, past: History) -> list[str]:
    """A sentence where trials that come with kdrec could have been used and were not, because they do not compare."""
    if choice is not None or not history.shipped() or history.comparable(trial.config for trial in past):
        return []
    return ["the trials that come with kdrec were left out: those of your history turn other knobs, or to other values"]


def notes_on_transfer(asked: TaskFeatures) -> list[str]:
    """A sentence where rows without labels were spoken of, of which the history tells nothing yet."""
    if not asked.n_transfer:
        return []
    return [
        f"{asked.n_transfer:,} rows without labels can be learned from; what they bring is not known yet, and the "
        "answer does not count on them"
    ]


def cells_made(task: str, student: str, past: History, home: Home) -> tuple[CellMade, ...]:
    """How one's own trials of a cell were made, as far as the home's store tells; nothing where there are none."""
    if all(trial.is_shipped for trial in past if (trial.task, trial.student) == (task, student)):
        return ()
    from kdrec.tracking import Store

    try:
        return Store.existing(home).cells_made(task, student)
    except StoreError:
        return ()


def sync(home: Home, *, always: bool = False, full: bool = False) -> int:
    """Bring new trials from the store into the local history, and say how many.

    Unless told to look `always`, the store is left alone when nothing can have changed in it. With `full`, all of it is
    read again, and trials that are no longer in it are forgotten.
    """
    if not (always or full or history.changed(home)):
        return 0
    from kdrec.tracking import Store

    return history.sync(home, Store.open(home).trials, full=full)


def fetch(names: Sequence[str], home: Home) -> Iterator[tuple[str, str]]:
    """Bring tasks and models to this machine, verified; yields each name with what came.

    Without names: everything that comes from the package index.
    """
    known, cards = tasks.known(), catalog.cards()
    every = [*known, *cards]
    for name in names:
        if name not in every:
            raise BadArgument(f"unknown task or model {name!r}{did_you_mean(name, every)}")
    indexed = [name for name, task in known.items() if task.source_kind == "pypi"]
    indexed += [name for name, card in cards.items() if card.source.startswith("pypi:") and card.role == "teacher"]
    for name in names or indexed:
        if name in known:
            task = tasks.load(name, home)
            rows = f"{len(task.train)} training, {len(task.validation)} validation and {len(task.test)} test rows"
            yield name, f"{rows}, {len(task.labels)} labels"
        else:
            yield name, str(resolve(cards[name].source, home))


def students(past: History) -> list[str]:
    """Names of all students known."""
    return sorted({card.name for card in catalog.students()} | set(past.students()))


def _sizes(student: str, past: History) -> dict[str, int | None]:
    """Parameters of the student and of its teacher, from the cards or else from the history."""
    cards = catalog.cards()
    card = cards.get(student)
    if card is not None and card.teacher is not None:
        return {"student_params": card.n_params, "teacher_params": cards[card.teacher].n_params}
    for trial in reversed(past.trials):
        if trial.student == student:
            return {name: getattr(trial.features, name) for name in ("student_params", "teacher_params")}
    if card is not None:
        own = sorted(other.name for other in cards.values() if other.teacher == student)
        raise BadArgument(f"{student!r} is a teacher, a student was expected; its students are {', '.join(own)}")
    raise BadArgument(f"unknown student {student!r}{did_you_mean(student, students(past))}")


def _remembered(task: str, student: str, past: History, teacher_params: int | None) -> TaskFeatures:
    """Features of a task of the history; the teacher's measures are kept only if it is this student's teacher."""
    rows = [trial for trial in past if trial.task == task]

    def nearness(trial: Trial) -> tuple[bool, bool]:
        return trial.student == student, trial.features.teacher_params == teacher_params

    best = max(reversed(rows), key=nearness)
    if any(nearness(best)):
        return best.features
    return replace(best.features, teacher_score=None, teacher_nll=None, teacher_ece=None)


def _measured(task: Task, student: str, home: Home) -> TaskFeatures:
    """Features of the rows, with the mean number of tokens where the teacher's tokenizer is on this machine."""
    card = catalog.cards().get(student)
    teacher = catalog.card(card.teacher) if card is not None and card.teacher is not None else None
    if teacher is None or not _is_here(teacher.source, home):
        return tasks.features(task)
    step = max(1, len(task.train) // SAMPLE)
    tokenizer = resolve(teacher.source, home) / "tokenizer.json"
    encoded = tasks.encode(task.train.every(step), task, tokenizer, TeacherTraining().max_length, home)
    return tasks.features(task, mean_tokens=float(encoded.lengths_N.mean()))


def _is_here(reference: str, home: Home) -> bool:
    """Whether a source was fetched before (so that verifying it is all that is left to do)."""
    scheme, _, rest = reference.partition(":")
    if scheme == "pypi":
        return PackageReference.parse(rest).folder(home).is_dir()
    if scheme == "hub":
        return (home.root / "sources" / "hub" / f"{HubReference.parse(rest, 'model').key}.json").is_file()
    return True

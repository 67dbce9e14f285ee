"""A student on the test split, beside its teacher: scores, agreement, calibration, classes, and where it fails.

Pure functions of logits and rows; who computed the logits is not asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kdrec.metrics import Grade, answer_f1
from kdrec.tasks import grader
from kdrec.tasks.qa import best_answers
from kdrec.types import Encoded, Split, Task

Logits = npt.NDArray[np.float32]
NOTHING: Final = "no answer"


@dataclass(frozen=True, kw_only=True)
class Class:
    """One class on the test split; precision, recall and F1 in percent."""

    label: str
    n: int
    precision: float
    recall: float
    f1: float
    teacher_f1: float


@dataclass(frozen=True, kw_only=True)
class Miss:
    """How often the student takes one class for another where its teacher is right; the rows of up to three of them."""

    label: str
    taken_for: str
    n: int
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Student and teacher on the test split.

    `agreement` is the percentage of units (rows, words, questions) that both answer alike, right or wrong. `misses` are
    in falling order of their number; of questions, the classes are whether there is an answer.
    """

    student: Grade
    teacher: Grade
    agreement: float
    classes: tuple[Class, ...]
    misses: tuple[Miss, ...]
    unit: str


def examine(task: Task, encoded: Encoded, student: Logits, teacher: Logits, *, may_be_none: bool) -> Examination:
    """Compare a student with its teacher on the test split of a task.

    Parameters
    ----------
    task : Task
    encoded : Encoded
        Its tokenised test split.
    student, teacher : float array of shape (R, C)
        Logits at the places of `encoded`.
    may_be_none : bool
        Whether a question may have no answer.
    """
    split, grade = task.test, grader(task, task.test, encoded, with_error=True)
    if task.family == "qa":
        said, taught = (best_answers(logits, split, encoded, may_be_none=may_be_none) for logits in (student, teacher))
        alike = np.array([a == b for a, b in zip(said, taught, strict=True)])
        classes: tuple[Class, ...] = ()
        misses, unit = _missed_answers(split, said, taught), "questions"
    else:
        gold_U, said_U, taught_U = encoded.labels_U, student.argmax(-1), teacher.argmax(-1)
        alike = said_U == taught_U
        rows_U = np.arange(len(split)) if encoded.reading is None else _rows_of_places(encoded)
        classes = _classes(task.labels, gold_U, said_U, taught_U)
        misses = _missed_classes(task.labels, gold_U, said_U, taught_U, rows_U)
        unit = "words" if task.family == "tokens" else "rows"
    return Examination(
        student=grade(student),
        teacher=grade(teacher),
        agreement=float(100 * alike.mean()),
        classes=classes,
        misses=misses,
        unit=unit,
    )


def _rows_of_places(encoded: Encoded) -> npt.NDArray[np.int64]:
    assert encoded.reading is not None, "asked of what is read at places alone"
    return np.repeat(encoded.reading.rows_N, encoded.reading.counts_N)


def _classes(
    labels: tuple[str, ...],
    gold_U: npt.NDArray[np.int64],
    said_U: npt.NDArray[np.int64],
    taught_U: npt.NDArray[np.int64],
) -> tuple[Class, ...]:
    made = []
    for at, label in enumerate(labels):
        precision, recall, f1 = _measures(gold_U == at, said_U == at)
        made.append(
            Class(
                label=label,
                n=int((gold_U == at).sum()),
                precision=precision,
                recall=recall,
                f1=f1,
                teacher_f1=_measures(gold_U == at, taught_U == at)[2],
            )
        )
    return tuple(made)


def _measures(gold_U: npt.NDArray[np.bool_], said_U: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Precision, recall and F1 in percent; 0 where nothing was said, or nothing there to find."""
    hits, n_said, n_gold = int((gold_U & said_U).sum()), int(said_U.sum()), int(gold_U.sum())
    return 100 * hits / max(n_said, 1), 100 * hits / max(n_gold, 1), 200 * hits / max(n_said + n_gold, 1)


def _missed_classes(
    labels: tuple[str, ...],
    gold_U: npt.NDArray[np.int64],
    said_U: npt.NDArray[np.int64],
    taught_U: npt.NDArray[np.int64],
    rows_U: npt.NDArray[np.int64],
) -> tuple[Miss, ...]:
    (missed,) = np.nonzero((taught_U == gold_U) & (said_U != gold_U))
    return _counted([(labels[gold_U[at]], labels[said_U[at]], int(rows_U[at])) for at in missed.tolist()])


def _missed_answers(split: Split, said: list[str], taught: list[str]) -> tuple[Miss, ...]:
    """Questions that the teacher answers better, by whether there is an answer and whether the student gives one."""
    found = []
    for row in range(len(split)):
        spans = split.labels_of(row).reshape(-1, 2).tolist()
        gold = [split.texts[row][1][start:end] for start, end in spans] or [""]
        if answer_f1(said[row], gold) < answer_f1(taught[row], gold):
            found.append(("an answer" if spans else NOTHING, "another answer" if said[row] else NOTHING, row))
    return _counted(found)


def _counted(found: list[tuple[str, str, int]]) -> tuple[Miss, ...]:
    counts = Counter((label, other) for label, other, _ in found)
    return tuple(
        Miss(
            label=label,
            taken_for=other,
            n=n,
            rows=tuple(dict.fromkeys(row for a, b, row in found if (a, b) == (label, other)))[:3],
        )
        for (label, other), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )

"""How shipped trials were made: the machine, the versions, and for every task its rows, its training and its teacher.

Kept as one JSON file beside the table of the trials. Reading is strict, because a report is written from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self, TypeVar

from kdrec.errors import BadArgument, DataError, did_you_mean
from kdrec.space import Aliases, aliases_of
from kdrec.types import TEACHERS, TeacherChoice

T = TypeVar("T")

ROWS: Final = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class ChosenTeacher:
    """A selected checkpoint: its fine-tuning run, its validation score, loss and calibration error."""

    learning_rate: float
    seed: int
    epoch: float
    score: float
    loss: float
    ece: float


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """One task as it was studied."""

    task: str
    family: str
    metric: str
    source: str
    licence: str
    rows: Mapping[str, int]
    """Examples by split."""
    teacher: str
    """Model card of the teacher."""
    t_ll: ChosenTeacher
    t_hs: ChosenTeacher
    training: Mapping[str, Mapping[str, float]]
    """By student: what is not a knob."""
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By student: validation score after each evaluation of training on labels alone, mean over seeds."""
    t_llg: ChosenTeacher | None = None
    """None where it was made by an earlier version."""

    def __post_init__(self) -> None:
        if set(self.rows) != set(ROWS):
            raise BadArgument(
                f"rows of task {self.task!r} must be given for {', '.join(ROWS)}, got {sorted(self.rows)}"
            )

    @property
    def aliases(self) -> Aliases:
        """Which choices of a teacher are one checkpoint."""
        chosen: dict[TeacherChoice, ChosenTeacher] = {"t_ll": self.t_ll, "t_hs": self.t_hs}
        return aliases_of(chosen if self.t_llg is None else {**chosen, "t_llg": self.t_llg})


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where and with what a whole set of trials was made."""

    commit: str
    machine: str
    """Class of the machine in words; never its name."""
    workers: int
    seeds: tuple[int, ...]
    wall_hours: float | None = None
    """From the first run's start to the last one's end."""
    cpu_hours: float | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences of whoever shipped: what was measured beside the trials, what was left."""
    tasks: tuple[TaskFacts, ...] = ()

    def of(self, task: str) -> TaskFacts | None:
        """Facts of a task by its name."""
        return next((facts for facts in self.tasks if facts.task == task), None)

    def to_json(self) -> str:
        """Text of the file; `from_json` is the inverse."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the file's text.

        Raises
        ------
        DataError
            When it is not JSON, or lacks a field, or has one that is not known.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"the provenance of the shipped trials is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise DataError("the provenance of the shipped trials must be one JSON object")
        tasks = tuple(_facts(value) for value in values.get("tasks", ()))
        lists = {name: tuple(values.get(name, ())) for name in ("seeds", "notes")}
        return _made(cls, {**values, **lists, "tasks": tasks}, "the provenance")


def _facts(values: Mapping[str, Any]) -> TaskFacts:
    where = f"the provenance of task {values.get('task')!r}"
    named = [name for name in TEACHERS if name != "t_llg" or values.get(name) is not None]
    chosen: dict[str, Any] = {name: _made(ChosenTeacher, values.get(name, {}), f"{where}, {name}") for name in named}
    values = {
        name: value for name, value in values.items() if name != "coincide"
    }  # what earlier versions wrote of them
    curves = {student: tuple(curve) for student, curve in values.get("curves", {}).items()}
    return _made(TaskFacts, {**values, **chosen, "curves": curves}, where)


def _made(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise DataError(f"{where} has the unknown field {name!r}{did_you_mean(name, known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise DataError(f"{where} is not complete: {error}") from None

"""The cells of a study, and what is different in some of them: rows, teacher, training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from kdrec.errors import BadArgument, did_you_mean
from kdrec.training import StudentTraining, TeacherTraining


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """One task x one student size: the unit that is searched and sent to a worker."""

    task: str
    student: str

    def __str__(self) -> str:
        return f"{self.task}/{self.student}"


@dataclass(frozen=True, kw_only=True)
class RowLimits:
    """At most this many rows of each split, taken in the order of their content hash; None takes all.

    `transfer` counts rows without labels, and is no bound but a number that has to be there: None takes all that own
    data has, and none of a task of the catalogue, whose rows without labels are those that `train` leaves over.
    `teacher` are the rows that the teacher is fine-tuned on, the student's `train` first; None: these alone.
    """

    train: int | None = None
    validation: int | None = None
    test: int | None = None
    transfer: int | None = None
    teacher: int | None = None

    def __post_init__(self) -> None:
        for split, rows in asdict(self).items():
            least = 0 if split == "transfer" else 10
            if rows is not None and (not isinstance(rows, int) or isinstance(rows, bool) or rows < least):
                raise BadArgument(f"rows.{split} must be a whole number of at least {least}, got {rows!r}")
        if self.teacher is not None and (self.train is None or self.teacher < self.train):
            came = "no rows.train" if self.train is None else f"rows.train = {self.train}"
            raise BadArgument(
                f"rows.teacher must be at least rows.train, whose rows it begins with, got {self.teacher} and {came}"
            )


@dataclass(frozen=True, kw_only=True)
class Override:
    """Values for the cells of one task, of one student, or of both; later overrides win.

    `values` are those of the students' training. `rows` and `teacher` are shared by all cells of a task, and so is the
    `max_length` of an override that names no student: it is the teacher's as well.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    student: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("rows", RowLimits), ("teacher", TeacherTraining)):
            given, known = getattr(self, name), [f.name for f in fields(kind)]
            if not isinstance(given, Mapping):
                raise BadArgument(f"[[override]]: {name} must be a table such as {{ {known[0]} = ... }}, got {given!r}")
            if given and (self.task is None or self.student is not None):
                raise BadArgument(
                    f"[[override]]: {name} belong to a task and all of its students, so name a task alone"
                )
            for key in given:
                if key not in known:
                    raise BadArgument(f"[[override]] {name}: unknown key {key!r}{did_you_mean(key, known)}")
        for key in ("learning_rates", "seeds"):
            if not isinstance(self.teacher.get(key, []), (list, tuple)):
                raise BadArgument(f"[[override]] teacher: {key} must be a list, got {self.teacher[key]!r}")
        if "max_length" in self.teacher:
            raise BadArgument("[[override]]: teacher and students read the same text: give max_length beside the task")

    def fits(self, cell: Cell) -> bool:
        """Whether it is for this cell."""
        return self.task in (None, cell.task) and self.student in (None, cell.student)

    def for_teacher(self, task: str) -> Mapping[str, Any]:
        """What it says of the teacher of a task."""
        if self.student is not None or self.task not in (None, task):
            return {}
        lists = {key: tuple(value) if isinstance(value, list) else value for key, value in self.teacher.items()}
        return lists | {key: value for key, value in self.values.items() if key == MAX_LENGTH}

    def check_fits_some(self, tasks: tuple[str, ...], students: tuple[str, ...]) -> None:
        """Refuse an override that no cell would see: a mistyped name must not be dropped in silence."""
        for kind, name, known in (("task", self.task, tasks), ("student", self.student, students)):
            if name is not None and name not in known:
                raise BadArgument(f"[[override]]: {kind} {name!r} is not in this study{did_you_mean(str(name), known)}")

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Override:
        """One [[override]] table, its keys known."""
        own = {key: entry[key] for key in OWN if key in entry}
        return cls(**own, values={key: value for key, value in entry.items() if key not in OWN})

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` is the inverse."""
        return {**{key: value for key in OWN if (value := getattr(self, key))}, **self.values}


OWN: Final = ("task", "student", "rows", "teacher")
"""Keys of an override that are no value of a training."""
OVERRIDE_KEYS: Final = frozenset(OWN) | {f.name for f in fields(StudentTraining)}
MAX_LENGTH: Final = "max_length"

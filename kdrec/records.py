"""What is recorded of a trial: what was known of its task, what it scored and cost, and the columns it is a row of.

The nouns of a history, as `types` has them too. A row is flat and plain; `Trial.from_row` is the inverse of `to_row`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Self

from kdrec.checks import as_flags, count, is_unicode, number, one_of, shown
from kdrec.config import KNOBS, Configuration, KDConfig, Settings
from kdrec.errors import BadArgument, did_you_mean
from kdrec.examples import FAMILIES, Family

Status = Literal["completed", "diverged", "failed"]

SHIPPED: Final = "shipped-"
"""Head of the run ids of trials that come with kdrec."""

STATUSES: Final[tuple[Status, ...]] = ("completed", "diverged", "failed")

DATA_DIGITS: Final = 16
"""Hexadecimal digits of a task's content hash that tell its rows from those of another."""
_DATA: Final = re.compile(f"[0-9a-f]{{{DATA_DIGITS}}}")


@dataclass(frozen=True, kw_only=True)
class TaskFeatures:
    """What is known of a task before any student is trained on it; None where it is not known."""

    task: str
    family: Family | None = None
    n_train: int | None = None
    n_classes: int | None = None
    label_entropy: float | None = None
    """Entropy of the training labels in nats."""
    mean_tokens: float | None = None
    teacher_score: float | None = None
    """Validation score of t_ll, 0-100."""
    teacher_nll: float | None = None
    teacher_ece: float | None = None
    n_transfer: int | None = None
    """Rows without labels that only the teacher speaks about; 0 where there are none."""
    transfer_entropy: float | None = None
    """Mean entropy of the teacher's answers on them, in nats."""
    teacher_still_improving: bool | None = None
    """Whether the teacher's validation curve was still rising when its training ended."""
    data: str | None = None
    """The first digits of the content hash of the task's rows; None where it is not known, as of imports."""
    student_params: int | None = None
    teacher_params: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or not self.task or not is_unicode(self.task):
            raise BadArgument(f"task must be a name, got {self.task!r}")
        if self.family is not None:
            one_of("family", self.family, FAMILIES)
        for name in ("n_train", "n_classes", "student_params", "teacher_params"):
            if getattr(self, name) is not None:
                count(name, getattr(self, name))
        if self.n_transfer is not None:
            count("n_transfer", self.n_transfer, 0)
        if self.data is not None and not (isinstance(self.data, str) and _DATA.fullmatch(self.data)):
            raise BadArgument(f"data must be {DATA_DIGITS} hexadecimal digits, got {shown(self.data)}")
        as_flags(self, "teacher_still_improving")
        for name, high in (
            ("label_entropy", math.inf),
            ("mean_tokens", math.inf),
            ("teacher_score", 100.0),
            ("teacher_nll", math.inf),
            ("teacher_ece", 1.0),
            ("transfer_entropy", math.inf),
        ):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0, high)
        if self.n_train is not None and self.n_classes is not None and self.n_classes > self.n_train:
            raise BadArgument(f"n_classes ({self.n_classes}) cannot be above n_train ({self.n_train})")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build features from a decoded JSON object; unknown keys are refused with the nearest known one."""
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise BadArgument(f"unknown feature {key!r}{did_you_mean(key, known)}")
        if "task" not in values:
            values = {"task": "new-task", **values}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration on one task for one student with one seed: what it scored, and what it cost."""

    features: TaskFeatures
    student: str
    config: Configuration
    seed: int
    status: Status
    val_score: float | None
    val_loss: float | None
    test_score: float | None
    seconds: float
    run_id: str = ""
    fingerprint: str = ""
    learning_rate: float | None = None
    epochs: float | None = None
    """Passes over the labelled training rows."""
    n_steps: int | None = None
    """Optimizer steps."""
    still_improving: bool | None = None
    """Whether the validation curve was still rising when training ended."""

    def __post_init__(self) -> None:
        one_of("status", self.status, STATUSES)
        count("seed", self.seed, 0)
        number("seconds", self.seconds, 0)
        for name in ("val_score", "test_score"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0, 100)
        if self.val_loss is not None:
            number("val_loss", self.val_loss, 0)
        if self.learning_rate is not None:
            number("learning_rate", self.learning_rate, 0, open_low=True)
        if self.epochs is not None:
            number("epochs", self.epochs, 0)
        if self.n_steps is not None:
            count("n_steps", self.n_steps, 0)
        as_flags(self, "still_improving")
        if self.status == "completed" and self.val_score is None:
            raise BadArgument("a completed trial has a validation score")

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.features.task

    @property
    def is_shipped(self) -> bool:
        """Whether the trial came with kdrec and was not made or imported by its user."""
        return self.run_id.startswith(SHIPPED)

    def to_row(self) -> dict[str, str | float | int | None]:
        """Flat row in the documented order of `history_columns`; `from_row` is the inverse."""
        config = self.config
        knobs = _prefixed(config.knobs()) if isinstance(config, Settings) else asdict(config)
        flat = {**asdict(self.features), **knobs, **{f.name: getattr(self, f.name) for f in fields(self)}}
        row = {column: flat[column] for column in history_columns([config])}
        return {column: int(value) if isinstance(value, bool) else value for column, value in row.items()}

    def spelled(self) -> str:
        """The row as JSON, for a hash: of a trial that says nothing in the newer columns, as before there were any."""
        row = {column: value for column, value in self.to_row().items() if value is not None or column not in _NEWER}
        return json.dumps(row, sort_keys=True)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Build a trial from a flat row; absent optional columns are None."""
        given = {key: value for key, value in row.items() if value is not None}
        named = {key.removeprefix(KNOB_PREFIX): value for key, value in given.items() if key.startswith(KNOB_PREFIX)}
        foreign = any(key.startswith(KNOB_PREFIX) for key in row)
        needed = [column for column in _NEEDED_COLUMNS if not (foreign and column in KNOBS)]
        for column in needed:
            if column not in given:
                raise BadArgument(f"a history row needs a value for {column!r}")
        own_knobs = sorted(name for name in KDConfig.__dataclass_fields__ if foreign and name in given)
        if own_knobs:
            raise BadArgument(
                f"a history row has the knobs {', '.join(KNOBS)} or foreign ones ({KNOB_PREFIX}NAME), "
                f"got {own_knobs[0]} beside {min(key for key in row if key.startswith(KNOB_PREFIX))}"
            )

        def part(kind: type) -> dict[str, Any]:
            return {f.name: given[f.name] for f in fields(kind) if f.name in given}

        measured = {name: given.get(name) for name in ("val_score", "val_loss", "test_score")}
        config = Settings.of(**named) if foreign else KDConfig(**part(KDConfig))
        own: dict[str, Any] = {**part(cls), **measured}
        return cls(**{**own, "features": TaskFeatures(**part(TaskFeatures)), "config": config})


SCHEMA_2_COLUMNS: Final = (
    *("n_transfer", "transfer_entropy", "teacher_still_improving", "data"),
    *("learning_rate", "epochs", "n_steps", "still_improving"),
)
"""Columns that came with schema 2; trials of before have none of them."""

HISTORY_COLUMNS: Final = (
    *("task", "family", "n_train", "n_classes", "label_entropy", "mean_tokens"),
    *("teacher_score", "teacher_nll", "teacher_ece", "student", "student_params", "teacher_params"),
    *("alpha", "distance", "teacher", "tau_t", "tau_s", "seed", "status"),
    *("val_score", "val_loss", "test_score", "seconds", "run_id"),
    *("scale_soft_loss", "fingerprint"),
    *SCHEMA_2_COLUMNS,
)
"""Columns of an exported history, in order. Those from `scale_soft_loss` on may be absent on import: not known (of
`scale_soft_loss`: none).

A history made elsewhere has the columns `knob.NAME` in the place of kdrec's own knobs; see `history_columns`.
"""

KNOB_PREFIX: Final = "knob."
"""Head of the columns that stand in the place of kdrec's own knobs when a history was made elsewhere."""


def history_columns(configs: Iterable[Configuration]) -> tuple[str, ...]:
    """Columns of a history of these configurations: `HISTORY_COLUMNS`, foreign knobs in the place of kdrec's own."""
    names = {name for config in configs if isinstance(config, Settings) for name in config.knobs()}
    if not names:
        return HISTORY_COLUMNS
    kept = [column for column in HISTORY_COLUMNS if column not in KDConfig.__dataclass_fields__]
    place = kept.index("seed")
    return (*kept[:place], *(f"{KNOB_PREFIX}{name}" for name in sorted(names)), *kept[place:])


def _prefixed(knobs: Mapping[str, float | str]) -> dict[str, float | str]:
    return {f"{KNOB_PREFIX}{name}": value for name, value in knobs.items()}


_NEWER: Final = frozenset(SCHEMA_2_COLUMNS)
_NEEDED_COLUMNS: Final = ("task", "student", *KNOBS, "seed", "status", "seconds")
"""Columns of a history row that nothing can stand in for."""


@dataclass(frozen=True)
class History:
    """Finished trials, whatever store they came from: all that the recommender sees."""

    trials: tuple[Trial, ...] = ()

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks seen, in order of first appearance."""
        return tuple(dict.fromkeys(trial.task for trial in self.trials))

    def students(self) -> tuple[str, ...]:
        """Names of the students seen, in order of first appearance."""
        return tuple(dict.fromkeys(trial.student for trial in self.trials))

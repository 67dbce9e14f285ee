"""The nouns of kdrec: frozen, keyword-only dataclasses that check themselves once, on construction.

Words are used as in the paper (arXiv 2401.06356) and in transformers. Nothing here computes, reads or writes; reading a
study file is in `studies`, the canonical form of a configuration in `space`. Knobs are in `config`, tasks and their
examples in `examples`, and can be had from here as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal, Self

from kdrec.checks import check_name as check_name
from kdrec.checks import count, is_unicode, number, one_of
from kdrec.config import BASELINE_CONFIG as BASELINE_CONFIG
from kdrec.config import DEFAULT_CONFIG as DEFAULT_CONFIG
from kdrec.config import KNOBS as KNOBS
from kdrec.config import TEACHERS as TEACHERS
from kdrec.config import Configuration as Configuration
from kdrec.config import Distance as Distance
from kdrec.config import KDConfig as KDConfig
from kdrec.config import KnobValue as KnobValue
from kdrec.config import Settings as Settings
from kdrec.config import SoftScale as SoftScale
from kdrec.config import TeacherChoice as TeacherChoice
from kdrec.config import trainable as trainable
from kdrec.errors import BadArgument, did_you_mean
from kdrec.examples import FAMILIES as FAMILIES
from kdrec.examples import METRICS as METRICS
from kdrec.examples import UNLABELLED as UNLABELLED
from kdrec.examples import Encoded as Encoded
from kdrec.examples import Family as Family
from kdrec.examples import Floats as Floats
from kdrec.examples import Ints as Ints
from kdrec.examples import Metric as Metric
from kdrec.examples import Reading as Reading
from kdrec.examples import Split as Split
from kdrec.examples import Task as Task
from kdrec.training import Budget as Budget
from kdrec.training import StudentTraining as StudentTraining
from kdrec.training import TeacherTraining as TeacherTraining
from kdrec.training import Training as Training

SCHEMA_VERSION: Final = 1
"""Version of what a trial means and how it is stored; part of every fingerprint."""

Status = Literal["completed", "diverged", "failed"]
TrustDefault = Literal["low", "medium", "high"]

SHIPPED: Final = "shipped-"
"""Head of the run ids of trials that come with kdrec."""

STATUSES: Final[tuple[Status, ...]] = ("completed", "diverged", "failed")
TRUSTS: Final[tuple[TrustDefault, ...]] = ("low", "medium", "high")
"""How much evidence is demanded before the default is left."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A pretrained encoder from `models/*.toml`.

    `layers` are the encoder layers kept, counted from 0 at the embeddings; None keeps all. A student with a `source`
    equal to its teacher's is cut from the teacher's pretrained weights.
    """

    name: str
    role: Literal["teacher", "student"]
    source: str
    licence: str
    n_layers: int
    hidden_size: int
    n_params: int
    max_length: int
    layers: tuple[int, ...] | None = None
    teacher: str | None = None

    def __post_init__(self) -> None:
        check_name("model", self.name)
        one_of("role", self.role, ("teacher", "student"))
        for name in ("n_layers", "hidden_size", "n_params", "max_length"):
            count(name, getattr(self, name))
        if (self.role == "student") != (self.teacher is not None):
            raise BadArgument(f"model {self.name!r}: a student names its teacher and a teacher names none")
        if self.layers is not None and (
            list(self.layers) != sorted(set(self.layers)) or len(self.layers) != self.n_layers or self.layers[0] < 0
        ):
            raise BadArgument(
                f"model {self.name!r}: layers must be n_layers = {self.n_layers} rising indices, got {self.layers}"
            )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One evaluated checkpoint of one teacher fine-tuning run: a row of the teacher's trace."""

    learning_rate: float
    seed: int
    step: int
    epoch: float
    score: float
    loss: float
    ece: float
    checkpoint: str
    """SHA-256 of the weights; empty when they were beaten on both counts when seen, and so never kept."""
    score_se: float | None = None
    """Standard error of the score over validation rows, in points; None in traces of earlier versions."""


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """One finished fine-tuning run of a teacher: how it was trained, how long, and why it ended."""

    learning_rate: float
    seed: int
    n_steps: int
    ending: str
    """`length` (as given), `patience` (no longer better), `cap` (the most steps allowed) or `diverged`."""
    still_improving: bool | None
    """None where its evaluations are too few to tell."""
    seconds: float


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
    """Rows without labels that students learn from; None where there are none, as in every trial of old."""
    transfer_entropy: float | None = None
    """Mean entropy of t_ll over the units of these rows, in nats."""
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

    def __post_init__(self) -> None:
        one_of("status", self.status, STATUSES)
        count("seed", self.seed, 0)
        number("seconds", self.seconds, 0)
        for name in ("val_score", "test_score"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0, 100)
        if self.val_loss is not None:
            number("val_loss", self.val_loss, 0)
        if self.status == "completed" and self.val_score is None:
            raise BadArgument("a completed trial has a validation score")

    @property
    def task(self) -> str:
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
        return {column: flat[column] for column in history_columns([config])}

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


HISTORY_COLUMNS: Final = (
    *("task", "family", "n_train", "n_classes", "label_entropy", "mean_tokens"),
    *("teacher_score", "teacher_nll", "teacher_ece", "student", "student_params", "teacher_params"),
    *("alpha", "distance", "teacher", "tau_t", "tau_s", "seed", "status"),
    *("val_score", "val_loss", "test_score", "seconds", "run_id"),
    *("scale_soft_loss", "fingerprint"),
)
"""Columns of an exported history, in order. The last two may be absent on import (defaults: none, empty).

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


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Expected true gain of tuning with `trials` further trials over the suggested configuration, in points."""

    trials: int | Literal["all"]
    mean: float
    lo80: float
    hi80: float
    lo90: float
    hi90: float


@dataclass(frozen=True, kw_only=True)
class NextTrial:
    """A trial worth making next, and what it is expected to be worth, in points."""

    config: Configuration
    worth: float


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """The answer: a configuration, what tuning it would buy, what to try next, whether to stop, and why."""

    task: str
    student: str
    config: Configuration
    is_default: bool
    gain: tuple[Gain, ...]
    next: tuple[NextTrial, ...]
    stop: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the documented keys in the documented order."""
        upcoming = tuple({**asdict(trial), "config": trial.config.to_dict()} for trial in self.next)
        return {**asdict(self), "config": self.config.to_dict(), "next": upcoming}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One step of a search that asks the recommender: what it said, and what was tried then (nothing: the end)."""

    step: int
    n_trials: int
    """Trials of this search made before."""
    proposed: tuple[KDConfig, ...]
    stop: bool
    reason: str
    answer: Suggestion

    @property
    def worth(self) -> float:
        """Points a trial that the best number of further trials is expected to bring: what is weighed to stop."""
        each = [gain.mean / gain.trials for gain in self.answer.gain if isinstance(gain.trials, int)]
        return round(max(each, default=0.0), 4) + 0.0

    @property
    def price(self) -> float:
        """Points that a trial has to bring."""
        return float(self.answer.evidence["price"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "worth": self.worth,
            "price": self.price,
            **asdict(self),
            "proposed": [config.to_dict() for config in self.proposed],
            "answer": self.answer.to_dict(),
        }

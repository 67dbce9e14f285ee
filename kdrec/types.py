"""The nouns of kdrec: frozen, keyword-only dataclasses that check themselves once, on construction.

Words are used as in the paper (arXiv 2401.06356) and in transformers. Nothing here computes, reads or writes; reading a
study file is in `studies`, the canonical form of a configuration in `space`. Knobs are in `config`, tasks and their
examples in `examples`, and can be had from here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from kdrec.checks import check_name as check_name
from kdrec.checks import count, one_of
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
from kdrec.errors import BadArgument
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
from kdrec.records import DATA_DIGITS as DATA_DIGITS
from kdrec.records import HISTORY_COLUMNS as HISTORY_COLUMNS
from kdrec.records import KNOB_PREFIX as KNOB_PREFIX
from kdrec.records import SCHEMA_2_COLUMNS as SCHEMA_2_COLUMNS
from kdrec.records import SHIPPED as SHIPPED
from kdrec.records import STATUSES as STATUSES
from kdrec.records import History as History
from kdrec.records import Status as Status
from kdrec.records import TaskFeatures as TaskFeatures
from kdrec.records import Trial as Trial
from kdrec.records import history_columns as history_columns
from kdrec.training import Budget as Budget
from kdrec.training import StudentTraining as StudentTraining
from kdrec.training import TeacherTraining as TeacherTraining
from kdrec.training import Training as Training

SCHEMA_VERSION: Final = 2
"""Version of how a trial is stored: the columns of a history, and the tags of a run."""

TrustDefault = Literal["low", "medium", "high"]

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

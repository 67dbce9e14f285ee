"""What a store holds of one study: its cells with their trials and the advice they were given, and its teachers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kdrec.space import Aliases, aliases_of
from kdrec.types import Candidate, Decision, FineTuning, TaskFeatures, TeacherChoice, Trial


@dataclass(frozen=True, kw_only=True)
class CellOutcome:
    """A cell as it was searched.

    `trials` are the finished ones of these rows, this teacher and this training, in the order in which they began; a
    study finds what another one made, so not all of them need be its own.
    """

    task: str
    student: str
    features: TaskFeatures
    rows: Mapping[str, int]
    """Examples by split."""
    training: Mapping[str, float]
    """What was not a knob; without the seed."""
    done: bool
    """Whether the search came to its end."""
    trials: tuple[Trial, ...]
    n_found: int = 0
    """How many of the trials another study made."""
    decisions: tuple[Decision, ...] = ()
    """What the recommender said, step by step, where the search asked it."""

    def __str__(self) -> str:
        return f"{self.task}/{self.student}"


@dataclass(frozen=True, kw_only=True)
class TeacherOutcome:
    """A task's teacher: every evaluated checkpoint of its fine-tuning, and those that were chosen.

    Stores of earlier versions know no t_llg.
    """

    task: str
    card: str
    candidates: tuple[Candidate, ...]
    t_ll: Candidate
    t_hs: Candidate
    t_llg: Candidate | None = None
    runs: tuple[FineTuning, ...] = ()
    """How each fine-tuning run was made and ended; none where a store of an earlier version does not tell."""

    @property
    def still_improving(self) -> bool | None:
        """Whether the run of t_hs still improved when it ended; None where that was not recorded or cannot be told."""
        made = (run for run in self.runs if (run.learning_rate, run.seed) == (self.t_hs.learning_rate, self.t_hs.seed))
        return next((run.still_improving for run in made), None)

    @property
    def chosen(self) -> Mapping[TeacherChoice, Candidate]:
        """The chosen checkpoints by what they were chosen as."""
        chosen: dict[TeacherChoice, Candidate] = {"t_ll": self.t_ll, "t_hs": self.t_hs}
        return chosen if self.t_llg is None else {**chosen, "t_llg": self.t_llg}

    @property
    def aliases(self) -> Aliases:
        """Which choices are one checkpoint."""
        return aliases_of(self.chosen)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A study: cells by task and student, teachers by task."""

    study: str
    cells: tuple[CellOutcome, ...]
    teachers: tuple[TeacherOutcome, ...]

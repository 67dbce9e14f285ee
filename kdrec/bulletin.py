"""What is published of a history: what to start from and whether to go on, a line for every task and student.

And what two such tables differ in, in words: the news of a night.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from kdrec.types import Suggestion

AHEAD: Final = 8
"""The gain of this many further trials stands for what tuning would still bring."""

TOLD_POINTS: Final = 0.1
"""A forecast that moved by less, with nothing else, is no news: twice the default price of a trial."""

Cell = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is recommended for one task and student; the gain is of `AHEAD` further trials, in points.

    `n_trials` are the cell's own finished trials, seeds and baseline included.
    """

    task: str
    student: str
    config: str
    knobs: Mapping[str, Any]
    is_default: bool
    stop: bool
    reason: str
    gain: float
    lo80: float
    hi80: float
    n_trials: int

    @classmethod
    def of(cls, answer: Suggestion, n_trials: int) -> Self:
        """The line of an answer."""
        gain = next(gain for gain in answer.gain if gain.trials == AHEAD)
        return cls(
            task=answer.task,
            student=answer.student,
            config=answer.config.label(),
            knobs=answer.config.to_dict(),
            is_default=answer.is_default,
            stop=answer.stop,
            reason=answer.reason,
            gain=gain.mean,
            lo80=gain.lo80,
            hi80=gain.hi80,
            n_trials=n_trials,
        )

    @property
    def cell(self) -> Cell:
        """What the line is of."""
        return self.task, self.student

    @property
    def name(self) -> str:
        """Task and student in one word."""
        return f"{self.task}/{self.student}"

    @property
    def verdict(self) -> str:
        """What to do, in two words at most."""
        return "stop" if self.stop else "go on"


@dataclass(frozen=True, kw_only=True)
class Bulletin:
    """The recommendations of one history, in the order of tasks and students.

    `history` is a digest of all trials behind them: the same digest and version of kdrec, the same lines.
    """

    history: str
    version: str
    lines: tuple[Line, ...]

    @property
    def n_trials(self) -> int:
        """Finished trials of all cells."""
        return sum(line.n_trials for line in self.lines)

    def is_of(self, history: str, version: str) -> bool:
        """Whether asking again could only give the same lines."""
        return (self.history, self.version) == (history, version)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read plain values; a `KeyError` or `TypeError` where they are of something else."""
        return cls(**{**values, "lines": tuple(Line(**line) for line in values["lines"])})


def changes(before: Bulletin | None, after: Bulletin) -> tuple[str, ...]:
    """What is new, in one sentence a cell, and why: own new trials, those of others, or another kdrec.

    Nothing where both say the same and no trial came. A forecast counts as moved from `TOLD_POINTS` on, measured
    against what was published, so that many small steps are told in the end.
    """
    if before is None:
        return (f"published for the first time, {_count(len(after.lines), 'cell')}",)
    then = {line.cell: line for line in before.lines}
    now = {line.cell for line in after.lines}
    told = []
    for line in after.lines:
        old = then.get(line.cell)
        if old is None:
            told.append(f"{line.name} is new, with {_count(line.n_trials, 'trial')}: {_advice(line)}")
        elif parts := list(_moved(old, line)):
            told.append(f"{line.name}: {'; '.join(parts)} ({_why(before, after, old, line)})")
        elif line.n_trials != old.n_trials:
            told.append(f"{line.name}: the same after {_trials_since(old, line)}, {_advice(line)}")
    gone = [f"{line.name} is gone: the history holds no trial of it" for line in before.lines if line.cell not in now]
    return *told, *gone


def _moved(old: Line, new: Line) -> Iterator[str]:
    if new.config != old.config:
        yield f"start with {new.config} instead of {old.config}"
    if new.stop != old.stop:
        yield f"{new.verdict} instead of {old.verdict}"
    if round(abs(new.gain - old.gain), 9) >= TOLD_POINTS:
        now, then = (round(gain, 2) + 0.0 for gain in (new.gain, old.gain))  # no -0.00
        yield f"{AHEAD} further trials would gain {now:+.2f} points instead of {then:+.2f}"


def _why(before: Bulletin, after: Bulletin, old: Line, new: Line) -> str:
    if new.n_trials != old.n_trials:
        return _trials_since(old, new)
    if after.version != before.version:
        return f"answered by kdrec {after.version} instead of {before.version}"
    others = after.n_trials - before.n_trials
    return f"{_more(others)} of other cells" if others else "other trials stand behind it"


def _trials_since(old: Line, new: Line) -> str:
    return f"{_more(new.n_trials - old.n_trials)} of its own, {new.n_trials} in all"


def _more(number: int) -> str:
    return f"{_count(abs(number), 'new trial' if number > 0 else 'lost trial')}"


def _advice(line: Line) -> str:
    return f"start with {line.config}, {line.verdict}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

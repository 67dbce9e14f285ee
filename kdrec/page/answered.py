"""What is said of every cell: the answer now, what was foretold without the cell's own trials, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kdrec import recommend
from kdrec.history import told_apart
from kdrec.outcome import CellOutcome, Outcome
from kdrec.page.sheet import Difference, Noise, Sheet
from kdrec.search import SearchStep
from kdrec.space import Aliases, Space, aliases_in
from kdrec.types import Gain, History, KDConfig, Suggestion
from kdrec.weak_teacher import WeakTeacher, weak_teacher

AHEAD: Final = 8
"""The gain of this many further trials stands for what tuning would still bring."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CellAnswer:
    """One cell, ready to be shown. `base` is what was foretold to start from, if that was tried, or the default."""

    sheet: Sheet
    noise: Noise
    now: Suggestion
    before: Suggestion
    advised: bool
    """Whether `before` is what the search itself was told; else the rest of the history foretells it afterwards."""
    base: KDConfig
    kept: KDConfig
    """What the search ended with: the best on validation, or what the recommender said last."""
    realised: tuple[Difference | None, ...]
    """Over `base`, of the best on validation after 0, 1, 2, ... further configurations, in the order tried."""
    path: tuple[SearchStep, ...]

    @property
    def name(self) -> str:
        """Task and student in one word."""
        return str(self.sheet.outcome)

    @property
    def weak(self) -> WeakTeacher | None:
        """Whether the student is better without its teacher than the teacher is."""
        outcome = self.sheet.outcome
        return weak_teacher(outcome.trials, outcome.features.teacher_score)

    @property
    def gained(self) -> Difference | None:
        """What the study gained over the default: test score of what it kept."""
        return self.sheet.difference(self.kept, self.sheet.default, self.noise)

    @property
    def ahead(self) -> Gain:
        """What further tuning is expected to gain."""
        return next(gain for gain in self.now.gain if gain.trials == AHEAD)

    @property
    def beyond(self) -> float:
        """Seconds of compute that the search took beyond its default."""
        return self.sheet.seconds(config for config in self.sheet.tried if config != self.sheet.default)

    @property
    def n_seeds(self) -> int:
        """Seeds that the default was run with."""
        return len(self.sheet.runs.get(self.sheet.default, ()))

    def after(self, trials: int) -> Difference | None:
        """What was realised after some further configurations; None where fewer were tried."""
        return self.realised[trials] if trials < len(self.realised) else None


def answers(outcome: Outcome, past: History, space: Space | None) -> Iterator[CellAnswer]:
    """Answer for every cell of a study from a history that holds its trials: two questions to the recommender each."""
    aliases = {teacher.task: teacher.aliases for teacher in outcome.teachers}
    for cell in outcome.cells:
        found = aliases.get(cell.task)
        yield _answer(cell, past, space, aliases_in(cell.trials) if found is None else found)


def _answer(cell: CellOutcome, past: History, space: Space | None, aliases: Aliases) -> CellAnswer:
    sheet = Sheet.of(cell, space, aliases=aliases)
    some_equal = not aliases.keys().isdisjoint(sheet.space.teachers)
    asked = sheet.space.without(aliases) if some_equal and sheet.is_whole else space
    past = told_apart(past, cell.features).history
    now = recommend.suggest(past, cell.features, cell.student, space=asked)
    rest = History(tuple(t for t in past if (t.task, t.student) != (cell.task, cell.student)))
    told = cell.decisions[0].answer if cell.decisions else None
    before = told or recommend.suggest(rest, cell.features, cell.student, space=asked)
    noise = sheet.own_noise() or Noise(points=now.evidence["noise_points"], degrees=0)
    base = before.config if before.config in sheet.runs else sheet.default
    assert isinstance(base, KDConfig)
    order = (base, *(config for config in sheet.tried if config != base))
    bests = [sheet.best(order[: place + 1]) for place in range(len(order))]
    last = cell.decisions[-1].answer.config if cell.decisions else bests[-1]
    return CellAnswer(
        sheet=sheet,
        noise=noise,
        now=now,
        before=before,
        advised=told is not None,
        base=base,
        kept=last if isinstance(last, KDConfig) and last in sheet.runs else bests[-1],
        realised=tuple(sheet.difference(best, base, noise) for best in bests),
        path=sheet.walk() if not cell.decisions else (),
    )

"""A cell's trials by configuration: what was tried in which order, what it scored, and how much of that is noise.

Searching saw validation scores. What is shown as realised is judged by the test split, which no choice saw. Means are
over the seeds that both sides of a comparison were scored with; a configuration with a diverged run has none (NaN).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Final, Literal

from kdrec.outcome import CellOutcome
from kdrec.search import SearchStep, greedy, standing
from kdrec.space import DEFAULT_SPACE, Aliases, Space, canonical
from kdrec.types import Configuration, KDConfig, Trial

Measure = Literal["val_score", "val_loss", "test_score", "seconds"]
NAN: Final = math.nan
Z95: Final = 1.6448536269514722
OWN_DEGREES: Final = 5
"""Degrees of freedom at which a cell's own seeds say how noisy it is; with fewer, the recommender's estimate does."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Standard deviation over seeds of one test score, in points, and how it is known."""

    points: float
    degrees: int
    """Of freedom of the cell's own seeds; 0 where the recommender estimates it from the whole history."""

    def half_width(self, n_seeds: int) -> float:
        """Half the 90 % interval of a difference of two means over `n_seeds` seeds each."""
        return Z95 * self.points * math.sqrt(2 / n_seeds)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Test score of a configuration less another's, in points, over `n_seeds` common seeds."""

    points: float
    half_width: float
    """Of the 90 % interval that seed noise alone makes."""
    n_seeds: int

    @property
    def is_noise(self) -> bool:
        """Whether seed noise alone may be all of it."""
        return abs(self.points) <= self.half_width


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """The trials of one cell; `runs` is in the order in which configurations were begun, by seed."""

    outcome: CellOutcome
    space: Space
    default: KDConfig
    aliases: Aliases
    runs: Mapping[KDConfig, Mapping[int, Trial]]

    @classmethod
    def of(cls, outcome: CellOutcome, space: Space | None, *, aliases: Aliases) -> Sheet:
        """Sort the trials of a cell. Without a space, it is the default one; a search begins at its default."""
        runs: dict[KDConfig, dict[int, Trial]] = {}
        for trial in outcome.trials:
            if isinstance(trial.config, KDConfig):
                runs.setdefault(trial.config, {}).setdefault(trial.seed, trial)
        space = space or DEFAULT_SPACE
        safe = canonical(space.default(), aliases=aliases)
        first = next((config for config in runs if not config.is_baseline), safe)
        default = safe if safe in runs else first
        return cls(outcome=outcome, space=space, default=default, aliases=aliases, runs=runs)

    @property
    def tried(self) -> tuple[KDConfig, ...]:
        """Configurations that use a teacher, in the order in which they were begun."""
        return tuple(config for config in self.runs if not config.is_baseline)

    @property
    def is_whole(self) -> bool:
        """Whether all that was tried is of the space."""
        return set(self.tried) <= set(self.space.configs(aliases=self.aliases))

    def mean(self, config: KDConfig, measure: Measure) -> float:
        """Mean over all seeds of a configuration; NaN when a run has none, or diverged."""
        values = [self._value(trial, measure) for trial in self.runs.get(config, {}).values()]
        return fmean(values) if values else NAN

    def n_diverged(self, config: KDConfig | None = None) -> int:
        """Runs of a configuration (of all) that ended in a loss that is no number."""
        groups = self.runs.values() if config is None else [self.runs[config]]
        return sum(trial.status != "completed" for group in groups for trial in group.values())

    def seconds(self, configs: Iterable[KDConfig]) -> float:
        """Compute of all runs of some configurations."""
        return sum(trial.seconds for config in configs for trial in self.runs[config].values())

    def difference(self, config: Configuration, base: Configuration, noise: Noise) -> Difference | None:
        """Test score of one configuration less another's; None where it cannot be had from common seeds."""
        if not (isinstance(config, KDConfig) and isinstance(base, KDConfig)):
            return None
        mine, other = self.runs.get(config, {}), self.runs.get(base, {})
        seeds = sorted(mine.keys() & other.keys())
        values = [self._value(mine[s], "test_score") - self._value(other[s], "test_score") for s in seeds]
        points = fmean(values) if values else NAN
        if math.isnan(points):
            return None
        width = 0.0 if config == base else noise.half_width(len(seeds))
        return Difference(points=points, half_width=width, n_seeds=len(seeds))

    def best(self, configs: Sequence[KDConfig]) -> KDConfig:
        """The best on validation, as every search here ranks them; of equals, the first."""
        return max(configs, key=lambda config: standing(config, self._trials, self.space))

    def own_noise(self) -> Noise | None:
        """Noise by the cell's own seeds; None where these are too few to say."""
        squares, degrees = 0.0, 0
        for trials in self.runs.values():
            scores = [trial.test_score for trial in trials.values() if trial.test_score is not None]
            if len(scores) > 1:
                squares += sum((score - fmean(scores)) ** 2 for score in scores)
                degrees += len(scores) - 1
        return Noise(points=math.sqrt(squares / degrees), degrees=degrees) if degrees >= OWN_DEGREES else None

    def walk(self) -> tuple[SearchStep, ...]:
        """The greedy search walked again on the recorded trials; nothing when it would need one that was not made."""
        if not self.is_whole:
            return ()
        path = greedy(self.space, self._recorded, aliases=self.aliases).path
        return path if {config for step in path for config in step.tried} <= self.runs.keys() else ()

    @cached_property
    def _trials(self) -> tuple[Trial, ...]:
        return tuple(trial for trials in self.runs.values() for trial in trials.values())

    def _recorded(self, configs: Sequence[KDConfig]) -> list[Trial]:
        return [trial for trial in self._trials if trial.config in configs]

    @staticmethod
    def _value(trial: Trial, measure: Measure) -> float:
        value = getattr(trial, measure)
        return NAN if value is None or (trial.status != "completed" and measure != "seconds") else float(value)

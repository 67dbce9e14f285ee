"""A history as cells: for every task and student the scores of each configuration by seed, and means that are honest.

A mean is taken over seeds of which every one was scored; a configuration with a diverged run has none (NaN), and is
counted. Searches that are replayed look at validation scores alone; what was chosen is judged by test scores.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Final, Literal, NamedTuple, TypeVar

from kdrec.space import DEFAULT_SPACE, Aliases, aliases_in, canonical
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, Trial

Split = Literal["validation", "test"]
NAN: Final = float("nan")


class Scores(NamedTuple):
    """What one run scored, in points; NaN where it was not measured, or diverged."""

    validation: float
    test: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One task and student. `runs` holds the labels-only baseline, the default and every other configuration tried."""

    task: str
    student: str
    family: str
    runs: Mapping[KDConfig, Mapping[int, Scores]]
    trials: tuple[Trial, ...]

    @property
    def configs(self) -> tuple[KDConfig, ...]:
        """Configurations that use a teacher, in the order in which they stand in the history."""
        return tuple(config for config in self.runs if not config.is_baseline)

    @cached_property
    def complete(self) -> tuple[KDConfig, ...]:
        """Those of `configs` that were scored with every one of `seeds`, on both splits."""
        return tuple(c for c in self.configs if all(self.has(c, seed) for seed in self.seeds)) if self.seeds else ()

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with which the default was scored, and at least half of the other configurations as well."""
        half = len(self.configs) / 2
        return tuple(s for s in self.scored(DEFAULT_CONFIG) if sum(self.has(c, s) for c in self.configs) >= half)

    @property
    def n_diverged(self) -> int:
        """Runs that ended in a loss that is no number."""
        return sum(math.isnan(scores.validation) for runs in self.runs.values() for scores in runs.values())

    @property
    def is_full_grid(self) -> bool:
        """Whether every configuration of the default space was tried with every seed, also where it diverged.

        A checkpoint that several choices mean is in it once.
        """
        whole = DEFAULT_SPACE.configs(aliases=self.aliases)
        return all(set(self.seeds) <= self.runs.get(config, {}).keys() for config in whole)

    @property
    def aliases(self) -> Aliases:
        """A choice that was never distilled is the same checkpoint as t_ll, and its trials stand under t_ll."""
        return aliases_in(self.trials)

    def has(self, config: KDConfig, seed: int) -> bool:
        """Whether the configuration was scored with this seed on both splits."""
        scores = self.runs.get(config, {}).get(seed)
        return scores is not None and not (math.isnan(scores.validation) or math.isnan(scores.test))

    def scored(self, config: KDConfig) -> tuple[int, ...]:
        """Seeds with which a configuration was scored on both splits."""
        return tuple(seed for seed in sorted(self.runs.get(config, {})) if self.has(config, seed))

    def mean(self, config: KDConfig, split: Split, seeds: Iterable[int] | None = None) -> float:
        """Mean score over `seeds` (those of the cell); NaN unless every one was scored."""
        wanted = tuple(self.seeds if seeds is None else seeds)
        if not wanted or not all(self.has(config, seed) for seed in wanted):
            return NAN
        return fmean(getattr(self.runs[config][seed], split) for seed in wanted)

    def best(self, configs: Sequence[KDConfig], seeds: Iterable[int] | None = None) -> KDConfig:
        """The highest mean validation score; ties go to the one that stands first, so put the default there."""
        wanted = None if seeds is None else tuple(seeds)
        return max(configs, key=lambda config: self.mean(config, "validation", wanted))


def cells(history: History) -> tuple[Cell, ...]:
    """Cells in which the default was scored, sorted by task and student; only trials of kdrec's own knobs count."""
    groups: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in history:
        if isinstance(trial.config, KDConfig):
            groups[trial.task, trial.student].append(trial)
    made = (_cell(groups[key]) for key in sorted(groups))
    return tuple(cell for cell in made if cell.seeds)


def _cell(trials: Sequence[Trial]) -> Cell:
    """One cell; the default stands first, the rest as they came."""
    runs: dict[KDConfig, dict[int, Scores]] = {DEFAULT_CONFIG: {}}
    for trial in trials:
        assert isinstance(trial.config, KDConfig)
        runs.setdefault(canonical(trial.config), {}).setdefault(trial.seed, _scores(trial))
    first = trials[0]
    family = first.features.family or "unknown"
    return Cell(task=first.task, student=first.student, family=family, runs=runs, trials=tuple(trials))


def _scores(trial: Trial) -> Scores:
    if trial.status != "completed":
        return Scores(NAN, NAN)
    return Scores(*(NAN if score is None else score for score in (trial.val_score, trial.test_score)))


def mean_over_splits(cell: Cell, value: Callable[[tuple[int, ...], tuple[int, ...]], float]) -> float:
    """Mean of ``value(choosing seeds, judging seeds)`` over the seeds, each judging once; NaN with fewer than two.

    What is chosen on some seeds and judged on another owes nothing to the luck of the seeds it was chosen on. It is
    chosen with one seed less than one has, so a little worse.
    """
    if len(cell.seeds) < 2:
        return NAN
    values = [value(tuple(s for s in cell.seeds if s != seed), (seed,)) for seed in cell.seeds]
    return sum(values) / len(values)


T = TypeVar("T")


def grouped(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Items by a word, the words in order of first appearance."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def baseline_scored(cell: Cell) -> tuple[int, ...]:
    """Seeds with which both the default and labels alone were scored."""
    both = set(cell.scored(BASELINE_CONFIG)) & set(cell.seeds)
    return tuple(sorted(both))

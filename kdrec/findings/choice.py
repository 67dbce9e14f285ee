"""What a choice costs: the worst against the best, the default against the best, and what tuning finds step by step.

Three numbers are given for each, because the best of several noisy means owes part of its lead to luck:

- *raw*: chosen and judged by the same test scores. Too large: luck counts as lead.
- *validated*: chosen by mean validation scores, judged by test scores of the same seeds. Runs that are lucky on one
  split are so on the other, so still too large.
- *split*: chosen by validation scores of all seeds but one, judged by the test score of that one, in turn. Free of
  luck, and a little small, because one seed fewer chooses.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kdrec.findings.cells import NAN, Cell, mean_over_splits
from kdrec.types import DEFAULT_CONFIG, KDConfig

Seeds = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Best less worst, and best less the middle one, of a cell's configurations, in points of the test score."""

    task: str
    student: str
    family: str
    n_configs: int
    best: float
    """Raw best mean, what percentages are of."""
    raw: float
    raw_median: float
    validated: float
    validated_median: float
    split: float
    split_median: float

    def percent(self, points: float) -> float:
        """Points as a percentage of the best score."""
        return 100 * points / self.best


@dataclass(frozen=True, kw_only=True)
class Regret:
    """What some configurations lose to the best found in their cell, in points of the test score; negative: a win."""

    task: str
    student: str
    family: str
    best: KDConfig
    """By mean validation score over all seeds."""
    raw: float
    validated: float
    split: float


def spread(cell: Cell) -> Spread:
    """The cost of a bad choice in a cell; NaN where fewer than two configurations were scored in full."""
    configs = cell.complete
    means = [cell.mean(config, "test") for config in configs]
    enough = len(configs) > 1

    def chosen(choosing: Seeds, judging: Seeds) -> tuple[float, float]:
        ranked = sorted(configs, key=lambda config: cell.mean(config, "validation", choosing))
        scores = [cell.mean(config, "test", judging) for config in ranked]
        return scores[-1] - scores[0], scores[-1] - statistics.median(scores)

    validated = chosen(cell.seeds, cell.seeds) if enough else (NAN, NAN)
    return Spread(
        task=cell.task,
        student=cell.student,
        family=cell.family,
        n_configs=len(configs),
        best=max(means, default=NAN),
        raw=max(means) - min(means) if enough else NAN,
        raw_median=max(means) - statistics.median(means) if enough else NAN,
        validated=validated[0],
        validated_median=validated[1],
        split=mean_over_splits(cell, lambda some, rest: chosen(some, rest)[0]) if enough else NAN,
        split_median=mean_over_splits(cell, lambda some, rest: chosen(some, rest)[1]) if enough else NAN,
    )


def default_regret(cell: Cell) -> Regret:
    """The default against the best of all that was scored in full in its cell."""
    return _regret(cell, [DEFAULT_CONFIG])


def safe_regret(cell: Cell) -> Regret:
    """The paper's advice against the best found: (t_ll, ce, tau_s = 1), with alpha and tau_t chosen by validation."""
    return _regret(cell, [config for config in cell.complete if is_safe(config)])


def is_safe(config: KDConfig) -> bool:
    """Whether a configuration is one of (t_ll, ce, tau_s = 1)."""
    return (config.teacher, config.distance, config.tau_s) == ("t_ll", "ce", 1.0)


def _regret(cell: Cell, kept: Sequence[KDConfig]) -> Regret:
    configs = cell.complete

    def lost(choosing: Seeds, judging: Seeds) -> float:
        best, ours = cell.best(configs, choosing), cell.best(kept, choosing)
        return cell.mean(best, "test", judging) - cell.mean(ours, "test", judging)

    here = max(cell.mean(config, "test") for config in kept)
    return Regret(
        task=cell.task,
        student=cell.student,
        family=cell.family,
        best=cell.best(configs),
        raw=max(cell.mean(config, "test") for config in configs) - here,
        validated=lost(cell.seeds, cell.seeds),
        split=mean_over_splits(cell, lost),
    )


def best_spread(spreads: Sequence[Spread]) -> Spread | None:
    """The cell where a bad choice costs most, by the number that is free of luck; None where none is known."""
    known = [one for one in spreads if one.split == one.split]
    return max(known, key=lambda one: one.percent(one.split), default=None)

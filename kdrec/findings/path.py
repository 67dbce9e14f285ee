"""Gain against number of trials: the greedy search walked again on its recorded trials, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdrec.findings.cells import NAN, Cell, mean_over_splits
from kdrec.findings.intervals import Mean, over_tasks
from kdrec.search import SearchResult, greedy
from kdrec.space import DEFAULT_SPACE
from kdrec.types import DEFAULT_CONFIG, KDConfig, Trial

Seeds = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class GainPoint:
    """Test score of the best by validation after `trials` configurations beside the default, less the default's.

    `validated` is chosen and judged with the same seeds; `split` is chosen with all but one and judged by that one.
    A search that has ended keeps what it found. `n_active` cells still had something new to try.
    """

    trials: int
    validated: Mean
    split: Mean
    n_active: int


def walk(cell: Cell, seeds: Seeds) -> SearchResult:
    """The greedy search on recorded trials of some seeds; what was not recorded counts as tried in vain."""

    def evaluate(configs: Sequence[KDConfig]) -> list[Trial]:
        wanted = set(configs)
        return [trial for trial in cell.trials if trial.config in wanted and trial.seed in seeds]

    return greedy(DEFAULT_SPACE, evaluate, aliases=cell.aliases)


def visited(cell: Cell) -> tuple[KDConfig, ...]:
    """Configurations in the order in which greedy tried them with all seeds, the default first; each scored in full."""
    result = walk(cell, cell.seeds)
    order = dict.fromkeys([DEFAULT_CONFIG, *(config for step in result.path for config in step.tried)])
    complete = set(cell.complete)
    return tuple(config for config in order if config in complete)


def gain_after(cell: Cell, order: Sequence[KDConfig], trials: int) -> tuple[float, float]:
    """Validated and split gain over the default after the first `trials` configurations of `order` beside it."""
    seen = order[: trials + 1]

    def gained(choosing: Seeds, judging: Seeds) -> float:
        best = cell.best(seen, choosing)
        return cell.mean(best, "test", judging) - cell.mean(DEFAULT_CONFIG, "test", judging)

    return (gained(cell.seeds, cell.seeds) if order else NAN), mean_over_splits(cell, gained)


def gain_curve(cells: Sequence[Cell]) -> tuple[GainPoint, ...]:
    """Means over cells after 0, 1, 2, ... configurations, up to the longest search."""
    orders = [(cell, visited(cell)) for cell in cells]
    longest = max((len(order) for _, order in orders), default=0)
    return tuple(_point(orders, trials) for trials in range(longest))


def _point(orders: Sequence[tuple[Cell, Sequence[KDConfig]]], trials: int) -> GainPoint:
    gains = [(cell.task, *gain_after(cell, order, trials)) for cell, order in orders]
    return GainPoint(
        trials=trials,
        validated=over_tasks((task, validated) for task, validated, _ in gains),
        split=over_tasks((task, split) for task, _, split in gains),
        n_active=sum(len(order) > trials for _, order in orders),
    )

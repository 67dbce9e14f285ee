"""Cells in which every configuration was tried: what greedy search misses, and whether seeds agree on an order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kdrec.findings.cells import NAN, Cell, Split, mean_over_splits
from kdrec.findings.path import visited, walk
from kdrec.types import DEFAULT_CONFIG, Floats


@dataclass(frozen=True, kw_only=True)
class GridFinding:
    """One full grid. Losses are in points of the test score; searched on all seeds but one, judged by that one."""

    task: str
    student: str
    n_configs: int
    n_seeds: int
    greedy_trials: int
    """Configurations that greedy tried with all seeds, the default included."""
    greedy_loss: float
    """Full grid's choice less greedy's: negative, greedy's is the better one."""
    default_loss: float
    """Full grid's choice less the default."""
    rank_validation: float
    rank_test: float
    """Mean rank correlation of the configurations between two seeds."""
    rank_across: float
    """Rank correlation of mean validation with mean test scores."""


def grid_finding(cell: Cell) -> GridFinding:
    """What a full grid tells; the cell has to be one (`Cell.is_full_grid`)."""
    configs = cell.complete

    def lost_by_greedy(choosing: tuple[int, ...], judging: tuple[int, ...]) -> float:
        found = walk(cell, choosing).best
        return cell.mean(cell.best(configs, choosing), "test", judging) - cell.mean(found, "test", judging)

    def lost_by_default(choosing: tuple[int, ...], judging: tuple[int, ...]) -> float:
        here = cell.mean(DEFAULT_CONFIG, "test", judging)
        return cell.mean(cell.best(configs, choosing), "test", judging) - here

    means = [np.array([cell.mean(c, split) for c in configs]) for split in ("validation", "test")]
    return GridFinding(
        task=cell.task,
        student=cell.student,
        n_configs=len(configs),
        n_seeds=len(cell.seeds),
        greedy_trials=len(visited(cell)),
        greedy_loss=mean_over_splits(cell, lost_by_greedy),
        default_loss=mean_over_splits(cell, lost_by_default),
        rank_validation=_between_seeds(cell, "validation"),
        rank_test=_between_seeds(cell, "test"),
        rank_across=rank_correlation(*means),
    )


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's: Pearson's correlation of mean ranks; NaN where one side is constant."""
    here, there = _ranks(one), _ranks(other)
    if here.std() == 0 or there.std() == 0:
        return NAN
    return float(np.corrcoef(here, there)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Ranks from 0; equals share the mean of theirs."""
    ranks: Floats = np.array([(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values])
    return ranks


def _between_seeds(cell: Cell, split: Split) -> float:
    scores = [np.array([cell.mean(config, split, [seed]) for config in cell.complete]) for seed in cell.seeds]
    found = [rank_correlation(one, other) for one, other in combinations(scores, 2)]
    known = [value for value in found if value == value]
    return sum(known) / len(known) if known else NAN

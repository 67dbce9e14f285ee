"""What the recommender has to beat: five simple ways to choose a configuration from the same table.

All have one signature, `Choose`. Each compares configurations by their measured difference from the default in the
same cell, so the level of a task never matters, and the default wins every tie. A crashed run counts as the default's
mean less what a crash costs.

Shapes: D cells, C configurations (0 is the default), T tasks, M meta-features, N observed effects, F departures,
J properties of a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

from kdrec.recommend.design import knobs, similarity, standardised
from kdrec.recommend.table import Table
from kdrec.types import Floats

Choose = Callable[[Table, np.random.Generator], int]
"""A way to choose: from a table and a source of randomness to the index of one of its candidates."""

RIDGE_GRID: Final = 10.0 ** np.arange(5, -4, -1)
"""Ridge strengths tried, the strongest first: it wins a tie."""


def always_default(table: Table, rng: np.random.Generator) -> int:
    """The default, whatever the past says."""
    return 0


def best_on_average(table: Table, rng: np.random.Generator) -> int:
    """The configuration of highest mean effect over all cells where it was run beside the default."""
    return _leader(_mean(effects(table)), table)


def nearest_task(table: Table, rng: np.random.Generator) -> int:
    """The best configuration of the most similar task that was measured; the default when no task is similar.

    A task resembles itself most, so trials of the asked task come first.
    """
    effect_DC = effects(table)
    near_T = similarity(table.tasks)[table.asked_task]
    informed_T = np.unique(table.task_D[np.isfinite(effect_DC[:, 1:]).any(axis=1)])
    near_T = np.where(np.isin(np.arange(len(near_T)), informed_T), near_T, 0.0)
    if not near_T.any():
        return 0
    return _leader(_mean(effect_DC[table.task_D == int(np.argmax(near_T))]), table)


def ridge(table: Table, rng: np.random.Generator) -> int:
    """The highest effect foretold by ridge regression on departures and their products with what a cell is like."""
    departures_CF = _departures(table)
    context_DJ = _context(table)
    effect_DC = effects(table)
    cell_N, config_N = np.nonzero(np.isfinite(effect_DC) & (np.arange(len(table.configs)) > 0))
    if not len(cell_N):
        return 0
    context_DJ[:, 1:] -= context_DJ[cell_N, 1:].mean(axis=0)  # what never varied in the past gets no weight
    design_NP = _products(departures_CF[config_N], context_DJ[cell_N])
    weights_P = ridge_weights(design_NP, effect_DC[cell_N, config_N])
    asked_CJ = np.repeat(context_DJ[[table.asked]], len(table.configs), axis=0)
    return _leader(_products(departures_CF, asked_CJ) @ weights_P, table)


def random(table: Table, rng: np.random.Generator) -> int:
    """Any candidate, all equally likely."""
    return int(rng.integers(table.n_candidates))


BASELINES: Final[dict[str, Choose]] = {
    "always default": always_default,
    "best on average": best_on_average,
    "nearest task": nearest_task,
    "ridge": ridge,
    "random": random,
}


@lru_cache(maxsize=1)  # tables are compared by identity: the baselines of one cell share the work, and no more
def effects(table: Table) -> Floats:
    """Measured differences from the default (D x C) in points; NaN where either was not measured.

    A configuration all of whose runs crashed stands at minus what a crash costs; a cell whose default never survived
    says nothing.
    """
    mean_DC = np.full((len(table.task_D), len(table.configs)), np.nan)
    mean_DC[table.cell_R, table.config_R] = table.mean_R
    lost_DC = _lost(table)
    crash_D1 = mean_DC[:, :1] - table.crashes.loss
    value_DC = np.where(lost_DC == 1, crash_D1, mean_DC * (1 - lost_DC) + crash_D1 * lost_DC)
    effect_DC: Floats = value_DC - value_DC[:, :1]
    return effect_DC


def ridge_weights(design_NP: Floats, effect_N: Floats) -> Floats:
    """Ridge regression in closed form, its strength by generalised cross-validation (Golub, Heath & Wahba 1979).

    There is no intercept: a configuration without departures is the default, whose effect is 0.
    """
    left_NQ, size_Q, right_QP = np.linalg.svd(design_NP, full_matrices=False)
    seen_Q = left_NQ.T @ effect_N
    unseen = max(float(effect_N @ effect_N - seen_Q @ seen_Q), 0.0)
    shrink_GQ = size_Q**2 / (size_Q**2 + RIDGE_GRID[:, None])
    residual_G = unseen + (((1 - shrink_GQ) * seen_Q) ** 2).sum(axis=1)
    freedom_G = len(effect_N) - shrink_GQ.sum(axis=1)
    score_G = residual_G / np.maximum(freedom_G, 1e-9) ** 2
    # A hair's breadth is a tie: with a single observation every strength scores the same, and the strongest is safest.
    chosen = int(np.argmax(score_G <= score_G.min() * (1 + 1e-9)))
    weights_P: Floats = right_QP.T @ (size_Q / (size_Q**2 + RIDGE_GRID[chosen]) * seen_Q)
    return weights_P


def _leader(effect_C: Floats, table: Table) -> int:
    """The candidate of highest effect; the first of equals, and the default (effect 0) before all others."""
    candidate_C = np.where(np.isfinite(effect_C), np.round(effect_C, 9), -np.inf)[: table.n_candidates]
    candidate_C[0] = 0.0
    return int(np.argmax(candidate_C))


def _mean(effect_DC: Floats) -> Floats:
    """Mean over the cells where there is a value; NaN where there is none."""
    seen_DC = np.isfinite(effect_DC)
    total_C = np.where(seen_DC, effect_DC, 0.0).sum(axis=0)
    count_C = seen_DC.sum(axis=0)
    mean_C: Floats = np.where(count_C > 0, total_C / np.maximum(count_C, 1), np.nan)
    return mean_C


def _lost(table: Table) -> Floats:
    """Share of the runs of every cell and configuration that crashed."""
    lost_DC = np.zeros((len(table.task_D), len(table.configs)))
    if not sum(table.crashes.crashed.values()):
        return lost_DC
    good_DC = np.zeros_like(lost_DC)
    good_DC[table.cell_R, table.config_R] = table.count_R
    place = {config: index for index, config in enumerate(table.configs)}
    names = zip(table.task_D, table.student_D, strict=True)
    cells = {(table.tasks[task].task, table.students[student]): cell for cell, (task, student) in enumerate(names)}
    for (*cell, config), runs in Counter((t.task, t.student, t.config) for t in table.trials).items():
        if config in place:  # the labels-only baseline is none of the configurations
            where = cells[cell[0], cell[1]], place[config]
            lost_DC[where] = 1 - good_DC[where] / runs
    return lost_DC


def _departures(table: Table) -> Floats:
    """Departures from the default (0/1, ordered knobs step by step) of every configuration (C x F)."""
    features = knobs(table.configs, table.configs[0])
    departures_CF: Floats = features.features_CF[:, : len(features.names)]
    return departures_CF


def _context(table: Table) -> Floats:
    """What every cell is like (D x J): 1, its task's meta-features and family, its student's size; unknown is 0."""
    families = sorted({task.family for task in table.tasks if task.family is not None})
    family_TJ = np.array([[task.family == family for family in families] for task in table.tasks], dtype=float)
    known = [size for size in table.log_params if size is not None]
    mean, spread = (np.mean(known), np.std(known) or 1.0) if known else (0.0, 1.0)
    size_S = np.array([0.0 if size is None else (size - mean) / spread for size in table.log_params])
    task_TJ = np.concatenate([np.ones((len(table.tasks), 1)), standardised(table.tasks), family_TJ], axis=1)
    return np.concatenate([task_TJ[table.task_D], size_S[table.student_D][:, None]], axis=1)


def _products(departures_NF: Floats, context_NJ: Floats) -> Floats:
    """Every departure times every property, row by row (N x FJ)."""
    products_NFJ = departures_NF[:, :, None] * context_NJ[:, None, :]
    return products_NFJ.reshape(len(departures_NF), -1)

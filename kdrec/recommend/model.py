"""The hierarchical Gaussian model of effects: fit its scales to a table, draw what the asked cell may look like.

    mean[cell, config] = m[cell] + b n_departures(config) + a[task] d[cell, config] + noise,   d[default] = 0,
    b ~ N(-0.12, 0.08^2),
    noise ~ N(0, sigma[cell]^2 / runs),
    cov(d[cell, config], d[cell', config']) = sum_k s_k^2 G_k[cell, cell'] * sum_f w_f^2 x_f[config] x_f[config']

The scales (s_k of the levels of sharing, w_f of the knobs, the noise, log a of the tasks) are fitted by their posterior
mode; Laplace draws around it carry the doubt about them into every answer. Everything is exact Gaussian algebra.

Shapes: R measured pairs, D cells, T tasks, C configurations (0 is the default), K levels, P knob parameters,
N rows of one task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kdrec.recommend.design import LEVELS, Knobs, knobs, level_kernels, similarity, student_similarity
from kdrec.recommend.table import Table
from kdrec.types import Floats, Ints

Marks = npt.NDArray[np.bool_]

LEVEL_SD: Final = np.array([0.08, 0.07, 0.08, 0.07, 0.055, 0.045])
"""Half-t prior scale of every level's effects, in points per departure, in the order of `LEVELS`."""
LEVEL_DF: Final = 3.0
"""Degrees of freedom of that prior: small effects are expected, large ones believed when seen."""
KNOB_SD: Final = 0.4
"""Prior standard deviation of a knob's log weight."""
PAIR_WEIGHT: Final = (np.log(0.6), 0.4)
OWN_WEIGHT: Final = (np.log(0.35), 0.4)
"""Prior mean and deviation of the log weight of pairs, and of a configuration's own part."""
TASK_SPREAD: Final = (np.log(0.3), 0.4)
"""Prior mean and deviation of log sd(log a): how much the scale of effects differs between tasks."""
CELL_SD: Final = 30.0
"""Prior standard deviation of a cell's level around its mean score, in points: next to nothing is assumed."""
DEPARTURE: Final = (-0.12, 0.08)
"""Prior mean and deviation of b, the common effect of any departure, in points: the default is there for a reason."""
FIT_ROWS: Final = 420
"""Measured pairs that are learned from; past that, the tasks least like the asked one are left out."""
N_DRAWS: Final = 12
OVERDRAW: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A table as arrays: observations sorted by cell, kernels of cells, features of configurations."""

    y_R: Floats
    cell_R: Ints
    config_R: Ints
    variance_R: Floats
    task_D: Ints
    kernels_KDD: Floats
    knobs: Knobs
    asked: int
    n_tasks: int
    noise_doubt: float
    expected_C: Floats
    """Prior mean effects; `y_R` is what the scores differ from them by."""

    @property
    def starts_U(self) -> Ints:
        """First row of every cell that has rows."""
        return np.flatnonzero(np.diff(self.cell_R, prepend=-1))

    @property
    def prior(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the parameters' priors; levels are half-t and handled apart."""
        n_mains, n_levels = self.knobs.powers_FP.shape[1] - 2, len(LEVELS)
        mean = [*np.log(LEVEL_SD), *np.zeros(n_mains), PAIR_WEIGHT[0], OWN_WEIGHT[0], 0.0, TASK_SPREAD[0]]
        spread = [0.7] * n_levels + [KNOB_SD] * n_mains + [PAIR_WEIGHT[1], OWN_WEIGHT[1], self.noise_doubt]
        return (
            np.array([*mean, *np.zeros(self.n_tasks)]),
            np.array([*spread, TASK_SPREAD[1], *np.ones(self.n_tasks)]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Scales:
    """A parameter vector taken apart into what the covariance needs."""

    shared_DD: Floats
    """sum_k s_k^2 G_k."""
    alike_CC: Floats
    """sum_f w_f^2 x_f x_f'."""
    scale_T: Floats
    """a of every task."""
    noise_factor: float
    """Factor on all noise variances."""


def problem(table: Table, keep_R: Marks | None = None) -> Problem:
    """Turn a table (or the rows of it that `keep_R` marks) into arrays; scores are centred cell by cell."""
    keep = np.ones(len(table.mean_R), dtype=bool) if keep_R is None else keep_R
    features = knobs(table.configs, table.configs[0])
    expected_C = DEPARTURE[0] * features.departures_C
    cell_R, mean_R = table.cell_R[keep], table.mean_R[keep] - expected_C[table.config_R[keep]]
    used_D = np.unique(np.append(cell_R, table.asked))
    used_T = np.unique(table.task_D[used_D])
    renumber_D = np.searchsorted(used_D, cell_R)
    centre_D = np.bincount(renumber_D, mean_R, len(used_D)) / np.maximum(
        np.bincount(renumber_D, minlength=len(used_D)), 1
    )
    tasks = [table.tasks[t] for t in used_T]
    task_D = np.searchsorted(used_T, table.task_D[used_D])
    return Problem(
        y_R=mean_R - centre_D[renumber_D],
        cell_R=renumber_D,
        config_R=table.config_R[keep],
        variance_R=table.noise_D[cell_R] ** 2 / table.count_R[keep],
        task_D=task_D,
        kernels_KDD=level_kernels(
            task_D,
            table.student_D[used_D],
            [task.family for task in tasks],
            similarity(table.tasks)[np.ix_(used_T, used_T)],
            student_similarity(table.log_params),
        ),
        knobs=features,
        asked=int(np.searchsorted(used_D, table.asked)),
        n_tasks=len(tasks),
        noise_doubt=1.0 / np.sqrt(2 * table.noise_df + 4),
        expected_C=expected_C,
    )


def nearest_rows(table: Table, limit: int) -> Marks:
    """Mark the rows of the tasks most like the asked one, whole tasks at a time, until `limit` rows are reached."""
    near_T = similarity(table.tasks)[table.asked_task]
    kin_T = np.array([task.family == table.tasks[table.asked_task].family for task in table.tasks])
    order = sorted(range(len(near_T)), key=lambda t: (t != table.asked_task, -near_T[t] - 0.2 * kin_T[t], t))
    task_R = table.task_D[table.cell_R]
    kept: list[int] = []
    total = 0
    for task in order:
        n_rows = int((task_R == task).sum())
        if n_rows and (not kept or total + n_rows <= limit):
            kept.append(task)
            total += n_rows
    marks: Marks = np.isin(task_R, kept)
    return marks


def take_apart(theta: Floats, p: Problem) -> Scales:
    """Split a parameter vector: log s_K, knob parameters P, log noise, log spread of tasks, standardised tasks T."""
    n_levels, n_knobs = len(LEVELS), p.knobs.powers_FP.shape[1]
    weight_F = np.exp(2 * p.knobs.powers_FP @ theta[n_levels : n_levels + n_knobs])
    features_CF = p.knobs.features_CF
    return Scales(
        shared_DD=np.tensordot(np.exp(2 * theta[:n_levels]), p.kernels_KDD, 1),
        alike_CC=(features_CF * weight_F) @ features_CF.T,
        scale_T=np.exp(np.exp(theta[n_levels + n_knobs + 1]) * theta[n_levels + n_knobs + 2 :]),
        noise_factor=float(np.exp(2 * theta[n_levels + n_knobs])),
    )


def covariance(s: Scales, p: Problem) -> tuple[Floats, Floats]:
    """Covariance of the observations, and its part that comes from effects (both R x R)."""
    scale_R = s.scale_T[p.task_D[p.cell_R]]
    signal_RR = s.shared_DD[np.ix_(p.cell_R, p.cell_R)]
    signal_RR *= s.alike_CC[np.ix_(p.config_R, p.config_R)]
    signal_RR *= scale_R[:, None]
    signal_RR *= scale_R
    total_RR = signal_RR + CELL_SD**2 * (p.cell_R[:, None] == p.cell_R)
    departures_R = DEPARTURE[1] * p.knobs.departures_C[p.config_R]
    total_RR += departures_R[:, None] * departures_R
    total_RR[np.diag_indices_from(total_RR)] += p.variance_R * s.noise_factor
    return total_RR, signal_RR


def loss_and_gradient(theta: Floats, p: Problem) -> tuple[float, Floats]:
    """Negative log posterior of the parameters and its gradient (Rasmussen & Williams 2006, eq. 5.8-5.9)."""
    n_levels, n_knobs = len(LEVELS), p.knobs.powers_FP.shape[1]
    gradient = np.zeros_like(theta)
    value = 0.0
    if len(p.y_R):
        s = take_apart(theta, p)
        value, dcov_RR, signal_RR, scale_R = _evidence(s, p)
        dsignal_RR = dcov_RR * signal_RR
        task_T = np.bincount(p.task_D[p.cell_R], 2 * dsignal_RR.sum(axis=1), p.n_tasks)
        spread, z_T = np.exp(theta[n_levels + n_knobs + 1]), theta[n_levels + n_knobs + 2 :]
        gradient[n_levels + n_knobs] = 2 * np.diagonal(dcov_RR) @ p.variance_R * s.noise_factor
        gradient[n_levels + n_knobs + 1] = task_T @ z_T * spread
        gradient[n_levels + n_knobs + 2 :] = task_T * spread
        dcov_RR *= scale_R[:, None]
        dcov_RR *= scale_R
        gradient[:n_levels] = _level_gradient(theta[:n_levels], dcov_RR, s, p)
        gradient[n_levels : n_levels + n_knobs] = _knob_gradient(theta[n_levels : n_levels + n_knobs], dcov_RR, s, p)
    prior_value, prior_gradient = _prior(theta, p)
    return value + prior_value, gradient + prior_gradient


def loss(theta: Floats, p: Problem) -> float:
    """Negative log posterior of the parameters alone."""
    value = _prior(theta, p)[0]
    if len(p.y_R):
        root_RR = np.linalg.cholesky(covariance(take_apart(theta, p), p)[0])
        value += 0.5 * float((np.linalg.solve(root_RR, p.y_R) ** 2).sum())
        value += float(np.log(np.diagonal(root_RR)).sum())
    return value


def _evidence(s: Scales, p: Problem) -> tuple[float, Floats, Floats, Floats]:
    """Negative log marginal likelihood, its derivative by the covariance, the signal's covariance, scales by row."""
    cov_RR, signal_RR = covariance(s, p)
    precision_RR = np.asarray(np.linalg.inv(cov_RR), dtype=np.float64)
    log_det = 2 * float(np.log(np.diagonal(np.linalg.cholesky(cov_RR))).sum())
    weights_R = precision_RR @ p.y_R
    value = 0.5 * float(p.y_R @ weights_R) + 0.5 * log_det
    precision_RR -= np.outer(weights_R, weights_R)
    precision_RR *= 0.5
    return value, precision_RR, signal_RR, s.scale_T[p.task_D[p.cell_R]]


def _level_gradient(theta_K: Floats, dcov_RR: Floats, s: Scales, p: Problem) -> Floats:
    by_row_RR = dcov_RR * s.alike_CC[np.ix_(p.config_R, p.config_R)]
    starts = p.starts_U
    by_cell_UU = np.add.reduceat(np.add.reduceat(by_row_RR, starts, axis=0), starts, axis=1)
    used = np.ix_(p.cell_R[starts], p.cell_R[starts])
    gradient_K: Floats = (
        2 * np.exp(2 * theta_K) * np.array([(by_cell_UU * kernel[used]).sum() for kernel in p.kernels_KDD])
    )
    return gradient_K


def _knob_gradient(theta_P: Floats, dcov_RR: Floats, s: Scales, p: Problem) -> Floats:
    by_row_RR = dcov_RR * s.shared_DD[np.ix_(p.cell_R, p.cell_R)]
    features_RF = p.knobs.features_CF[p.config_R]
    energy_F = np.einsum("rf,rf->f", features_RF, by_row_RR @ features_RF)
    weight_F = np.exp(2 * p.knobs.powers_FP @ theta_P)
    gradient_P: Floats = 2 * (weight_F * energy_F) @ p.knobs.powers_FP
    return gradient_P


def _prior(theta: Floats, p: Problem) -> tuple[float, Floats]:
    """Half-t standard deviations of levels (with the Jacobian of the logarithm), normal for all the rest."""
    mean, spread = p.prior
    n_levels = len(LEVELS)
    z = (theta - mean) / spread
    value, gradient = 0.5 * float(z[n_levels:] @ z[n_levels:]), z / spread
    square = np.exp(2 * (theta[:n_levels] - mean[:n_levels]))
    gradient[:n_levels] = (LEVEL_DF + 1) * square / (LEVEL_DF + square) - 1
    tails = 0.5 * (LEVEL_DF + 1) * np.log1p(square / LEVEL_DF)
    return value + float((tails - theta[:n_levels]).sum()), gradient


def minimise(
    function: Callable[[Floats], tuple[float, Floats]], start: Floats, spread: Floats, limit: int = 40
) -> Floats:
    """BFGS with backtracking, preconditioned by the prior's variances (Nocedal & Wright 2006, alg. 6.1)."""
    x, inverse = start, np.diag(spread**2)
    value, gradient = function(x)
    for _ in range(limit):
        step = -inverse @ gradient
        slope = float(gradient @ step)
        if -slope < 2e-3:
            break
        length = min(1.0, 1.5 / float(np.abs(step).max()))
        for _ in range(8):
            new_value, new_gradient = function(x + length * step)
            if new_value <= value + 1e-4 * length * slope:
                break
            length *= 0.4
        else:
            break
        moved, bent = length * step, new_gradient - gradient
        curvature = float(moved @ bent)
        if curvature > 1e-10:
            pushed = inverse @ bent
            inverse += (curvature + bent @ pushed) / curvature**2 * np.outer(moved, moved)
            inverse -= (np.outer(pushed, moved) + np.outer(moved, pushed)) / curvature
        x, value, gradient = x + moved, new_value, new_gradient
    return x


def fit(p: Problem) -> Floats:
    """Posterior mode of the parameters."""
    mean, spread = p.prior
    return minimise(lambda theta: loss_and_gradient(theta, p), mean, spread)


def laplace_draws(theta: Floats, p: Problem, rng: np.random.Generator, n_draws: int = N_DRAWS) -> Floats:
    """Draws around the mode; the scales of all tasks but the asked one stay at the mode.

    Three times as many mirrored normal draws are weighed by the true posterior and resampled (Rubin 1988), because a
    scale that the data hold to be small has a long tail below the mode and a short one above.
    """
    n_free = len(theta) - p.n_tasks
    free = [*range(n_free), n_free + int(p.task_D[p.asked])]
    hessian = np.zeros((len(free), len(free)))
    step = 0.05
    _, here = loss_and_gradient(theta, p)
    for row, index in enumerate(free):
        moved = theta.copy()
        moved[index] += step
        hessian[row] = (loss_and_gradient(moved, p)[1] - here)[free] / step
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    spread = 1 / np.sqrt(np.maximum(values, 1.0))
    half = rng.standard_normal((OVERDRAW * n_draws // 2, len(free)))
    normal = np.clip(np.concatenate([half, -half]), -2.5, 2.5)
    draws = np.repeat(theta[None, :], len(normal), axis=0)
    draws[:, free] += normal * spread @ vectors.T
    log_weight = 0.5 * (normal**2).sum(axis=1) - np.array([loss(draw, p) for draw in draws])
    return draws[_resample(log_weight, n_draws, rng.random())]


def _resample(log_weight: Floats, n: int, start: float) -> Ints:
    """Systematic resampling with truncated importance weights (Ionides 2008)."""
    weight = np.exp(log_weight - log_weight.max())
    weight = np.minimum(weight, weight.mean() * np.sqrt(len(weight)))
    places = (np.arange(n) + start) / n * weight.sum()
    chosen: Ints = np.minimum(np.searchsorted(np.cumsum(weight), places), len(weight) - 1)
    return chosen


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """One task foretold from all others: its rows, their mean and covariance (own level and noise included)."""

    task: int
    rows_N: Ints
    mean_N: Floats
    cov_NN: Floats


def left_out(p: Problem, s: Scales) -> Iterator[LeftOut]:
    """Foretell every task from the others by the block formula of the inverse covariance (R&W 5.12)."""
    if not len(p.y_R):
        return
    precision_RR = np.linalg.inv(covariance(s, p)[0])
    weights_R = precision_RR @ p.y_R
    task_R = p.task_D[p.cell_R]
    for task in np.unique(task_R):
        rows = np.flatnonzero(task_R == task)
        cov_NN = np.linalg.inv(precision_RR[np.ix_(rows, rows)])
        yield LeftOut(task=int(task), rows_N=rows, mean_N=p.y_R[rows] - cov_NN @ weights_R[rows], cov_NN=cov_NN)

"""What is believed of the asked cell: a mixture of Gaussians that doubts the scales, and whether the past speaks of it.

Given the scales, a task follows the others by an unknown positive factor, or goes its own way, or is opposite to them.
How often past tasks did one or the other is learned by foretelling each from the rest; the asked task's own trials then
decide between the three by Bayes' rule, so that one contrary trial is enough to doubt what the past says.

Shapes: M components, C configurations (0 is the default), B asked configurations and own rows together, O rows of other
tasks, Q positive factors, H hyper-parameter draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kdrec.recommend.design import LEVELS
from kdrec.recommend.model import CELL_SD, DEPARTURE, LeftOut, Problem, Scales, covariance, take_apart
from kdrec.recommend.normal import points
from kdrec.types import Floats, Ints

WAYS: Final = ("follows", "goes its own way", "is opposite")
WAYS_PRIOR: Final = np.array([5.6, 0.2, 0.2])
"""Dirichlet prior of how tasks relate to the rest, as if six tasks had been seen: a dozen that agree all but rule out
the others, one that was odd makes the next odd one likely enough to be looked for."""
N_FACTORS: Final = 7
N_GROUPS: Final = 3


SPREAD_Q: Final = points(N_FACTORS)
"""A factor's logarithm in equal shares, in units of its deviation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Belief:
    """A mixture of M Gaussians over the expected scores of the asked cell's configurations.

    Scores are relative to the cell's (unknown) level, so only their differences mean anything; `noise_M` is the
    variance of one run around its expected score.
    """

    weight_M: Floats
    mean_MC: Floats
    cov_MCC: Floats
    noise_M: Floats

    def moments(self) -> tuple[Floats, Floats]:
        """Mean and covariance of the whole mixture."""
        mean_C = self.weight_M @ self.mean_MC
        apart_MC = self.mean_MC - mean_C
        within_CC = np.tensordot(self.weight_M, self.cov_MCC, 1)
        return mean_C, within_CC + (apart_MC * self.weight_M[:, None]).T @ apart_MC


def effects_variance(cov_CC: Floats) -> Floats:
    """Variance of every score's difference from the default's; leading axes pass through."""
    own = np.diagonal(cov_CC, axis1=-2, axis2=-1)
    return np.maximum(own - 2 * cov_CC[..., 0] + own[..., :1], 0.0)


def believe(draws: Floats, p: Problem, noise: float, ways: Floats) -> Belief:
    """Belief in the asked cell.

    Parameters
    ----------
    draws : array (H, parameters)
        Equally likely hyper-parameters.
    noise : float
        Standard deviation over seeds of a run of the asked cell, in points.
    ways : array (3,)
        How often a task follows the rest, goes its own way, is opposite.
    """
    parts = [list(_components(theta, p, ways)) for theta in draws]
    noise_H = noise**2 * np.array([take_apart(theta, p).noise_factor for theta in draws])
    size_H = [float(np.trace(components[0][2])) for components in parts]
    groups = np.array_split(np.argsort(size_H, kind="stable"), min(N_GROUPS, len(draws)))
    merged = [_merge([(*parts[h][q], noise_H[h]) for h in group]) for group in groups for q in range(len(parts[0]))]
    weight, mean, cov, noises = (np.array(column) for column in zip(*merged, strict=True))
    return Belief(weight_M=weight / weight.sum(), mean_MC=mean, cov_MCC=cov, noise_M=noises)


def learn_ways(blocks: Sequence[LeftOut], p: Problem, s: Scales) -> Floats:
    """How often a task follows the rest, goes its own way, is opposite: posterior mode, by expectation-maximisation.

    Every past task (not the asked one) is evidence by how well each way foretells its rows.
    """
    total_RR = covariance(s, p)[0]
    evidence_TW = np.array(
        [
            [
                _log_normal(p.y_R[block.rows_N] - block.mean_N, block.cov_NN),
                _log_normal(p.y_R[block.rows_N], total_RR[np.ix_(block.rows_N, block.rows_N)]),
                _log_normal(p.y_R[block.rows_N] + block.mean_N, block.cov_NN),
            ]
            for block in blocks
            if block.task != p.task_D[p.asked]
        ]
    ).reshape(-1, len(WAYS))
    likelihood_TW = np.exp(evidence_TW - evidence_TW.max(axis=1, keepdims=True))
    ways: Floats = WAYS_PRIOR / WAYS_PRIOR.sum()
    for _ in range(30):
        share_TW = likelihood_TW * ways
        ways = WAYS_PRIOR + (share_TW / share_TW.sum(axis=1, keepdims=True)).sum(axis=0)
        ways /= ways.sum()
    return ways


def _log_normal(difference: Floats, cov: Floats) -> float:
    """Log density of a normal, less its constant."""
    return -0.5 * float(difference @ np.linalg.solve(cov, difference)) - 0.5 * float(np.linalg.slogdet(cov)[1])


def _merge(parts: list[tuple[float, Floats, Floats, float]]) -> tuple[float, Floats, Floats, float]:
    """One Gaussian of the same mean and covariance as a weighted group."""
    weight = np.array([part[0] for part in parts]) + 1e-300
    share = weight / weight.sum()
    mean = np.array([part[1] for part in parts])
    centre = share @ mean
    apart = mean - centre
    cov = np.tensordot(share, np.array([part[2] for part in parts]), 1) + (apart * share[:, None]).T @ apart
    return float(weight.sum()), centre, cov, float(share @ np.array([part[3] for part in parts]))


def _components(theta: Floats, p: Problem, ways: Floats) -> Iterator[tuple[float, Floats, Floats]]:
    """Weight, mean and covariance of the asked cell's scores, for every way and factor; weights sum to 1."""
    s = take_apart(theta, p)
    own_O = p.task_D[p.cell_R] == p.task_D[p.asked]
    block = _Block.of(p, np.flatnonzero(own_O))
    prior_BB = s.shared_DD[np.ix_(block.cell_B, block.cell_B)] * s.alike_CC[np.ix_(block.config_B, block.config_B)]
    told = _told_by_others(s, p, block, prior_BB, np.flatnonzero(~own_O))
    anew = _Told(mean_B=np.zeros(len(prior_BB)), cov_BB=prior_BB, b=told.b, shared_B=np.zeros(len(prior_BB)))
    log_spread = theta[len(LEVELS) + p.knobs.powers_FP.shape[1] + 1]
    cases = [(ways[0] / N_FACTORS, a, told) for a in np.exp(np.exp(log_spread) * SPREAD_Q)]
    cases += [(ways[1], 1.0, anew), (ways[2], -1.0, told)]
    found = [(np.log(way), *_told_by_own(*case.scores(a, block.departures_B), block, s, p)) for way, a, case in cases]
    log_weight = np.array([log_prior + evidence for log_prior, evidence, _, _ in found])
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    for share, (_, _, mean_C, cov_CC) in zip(weight, found, strict=True):
        yield float(share), mean_C, cov_CC


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """What is spoken of: the asked cell's C configurations, then the asked task's own rows."""

    cell_B: Ints
    config_B: Ints
    departures_B: Floats
    own: Ints

    @classmethod
    def of(cls, p: Problem, own: Ints) -> _Block:
        n_configs = len(p.expected_C)
        config_B = np.append(np.arange(n_configs), p.config_R[own])
        return cls(
            cell_B=np.append(np.full(n_configs, p.asked), p.cell_R[own]),
            config_B=config_B,
            departures_B=p.knobs.departures_C[config_B],
            own=own,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Told:
    """Effects before the task's own factor, the common effect b of a departure, and how the two vary together."""

    mean_B: Floats
    cov_BB: Floats
    b: tuple[float, float]
    """Mean (beyond its prior's) and variance."""
    shared_B: Floats

    def scores(self, factor: float, departures_B: Floats) -> tuple[Floats, Floats]:
        """Mean and covariance of `factor * effects + b * departures`."""
        mixed_BB = factor * self.shared_B[:, None] * departures_B
        cov_BB = factor**2 * self.cov_BB + mixed_BB + mixed_BB.T
        cov_BB += self.b[1] * departures_B[:, None] * departures_B
        return factor * self.mean_B + self.b[0] * departures_B, cov_BB


def _told_by_others(s: Scales, p: Problem, block: _Block, prior_BB: Floats, others: Ints) -> _Told:
    """Condition on other tasks' rows (Rasmussen & Williams 2006, eq. 2.23-2.24)."""
    b_variance = DEPARTURE[1] ** 2
    if not len(others):
        return _Told(
            mean_B=np.zeros(len(prior_BB)), cov_BB=prior_BB, b=(0.0, b_variance), shared_B=np.zeros(len(prior_BB))
        )
    cell_O, config_O = p.cell_R[others], p.config_R[others]
    cross_BO = s.shared_DD[np.ix_(block.cell_B, cell_O)] * s.alike_CC[np.ix_(block.config_B, config_O)]
    cross_BO *= s.scale_T[p.task_D[cell_O]]
    cross_XO = np.vstack([cross_BO, b_variance * p.knobs.departures_C[config_O]])
    solved = np.linalg.solve(covariance(s, p)[0][np.ix_(others, others)], np.column_stack([cross_XO.T, p.y_R[others]]))
    mean_X, reduced_XX = cross_XO @ solved[:, -1], cross_XO @ solved[:, :-1]
    return _Told(
        mean_B=mean_X[:-1],
        cov_BB=prior_BB - reduced_XX[:-1, :-1],
        b=(float(mean_X[-1]), float(b_variance - reduced_XX[-1, -1])),
        shared_B=-reduced_XX[:-1, -1],
    )


def _told_by_own(mean_B: Floats, cov_BB: Floats, block: _Block, s: Scales, p: Problem) -> tuple[float, Floats, Floats]:
    """Log evidence of the task's own rows, and the asked cell's scores conditioned on them."""
    n_configs, own = len(p.expected_C), block.own
    cov_BB = cov_BB + CELL_SD**2 * (block.cell_B[:, None] == block.cell_B)
    mean_C, cov_CC = p.expected_C + mean_B[:n_configs], cov_BB[:n_configs, :n_configs]
    if not len(own):
        return 0.0, mean_C, cov_CC
    total_NN = cov_BB[n_configs:, n_configs:] + np.diag(p.variance_R[own] * s.noise_factor)
    cross_CN = cov_BB[:n_configs, n_configs:]
    surprise_N = p.y_R[own] - mean_B[n_configs:]
    solved = np.linalg.solve(total_NN, np.column_stack([cross_CN.T, surprise_N]))
    evidence = -0.5 * float(surprise_N @ solved[:, -1]) - 0.5 * float(np.linalg.slogdet(total_NN)[1])
    cov_CC = cov_CC - cross_CN @ solved[:, :-1]
    return evidence, mean_C + cross_CN @ solved[:, -1], (cov_CC + cov_CC.T) / 2

"""What tuning would buy: play the tuner on draws of the truth, noise and all, and take the true difference at its end.

A tuner who believes what the recommender believes runs the suggestion and k proposed trials, one seed each, updates
its belief with these noisy scores and takes what `decide` then says. Both the winner's curse and the doubt are inside.

Shapes: C configurations, M components of the belief, N draws of the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from kdrec.recommend.belief import Belief, effects_variance
from kdrec.recommend.design import crash_group
from kdrec.recommend.table import Crashes
from kdrec.types import Configuration, Floats, Gain, Ints, TrustDefault

LEAVE_PROBABILITY: Final[Mapping[TrustDefault, float]] = {"low": 0.5, "medium": 0.7, "high": 0.9}
"""Leave the default only for a configuration that is better with this probability, by trust in the default."""
N_TRUTHS: Final = 2000
"""Draws of the truth: a Monte Carlo error of about 0.02 standard deviations in a mean gain."""
STAGES: Final = (1, 2, 4, 8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Risk:
    """Crashes as they weigh on every configuration: Beta parameters by configuration, expected cost in points."""

    bad_C: Floats
    good_C: Floats
    group_C: Ints
    loss: float

    @property
    def probability_C(self) -> Floats:
        """Posterior mean crash probability."""
        chance_C: Floats = self.bad_C / (self.bad_C + self.good_C)
        return chance_C

    @property
    def penalty_C(self) -> Floats:
        """Expected points lost by crashes, relative to the default (configuration 0)."""
        cost_C = self.probability_C * self.loss
        penalty_C: Floats = cost_C - cost_C[0]
        return penalty_C


def risk(configs: Sequence[Configuration], crashes: Crashes) -> Risk:
    """Spread what is known of crashes, by distance where there is one, over the configurations."""
    groups = [crash_group(config) for config in configs]
    parameters = np.array([crashes.beta(group) for group in groups])
    known = sorted(set(groups))
    return Risk(
        bad_C=parameters[:, 0],
        good_C=parameters[:, 1],
        group_C=np.array([known.index(group) for group in groups]),
        loss=crashes.loss,
    )


def leave_z(trust: TrustDefault = "medium") -> float:
    """How many standard deviations above the default a mean must be: the normal quantile of `LEAVE_PROBABILITY`."""
    return NormalDist().inv_cdf(LEAVE_PROBABILITY[trust])


LEAVE_Z: Final = leave_z()


def decide(net_NC: Floats, sd_NC: Floats, n_candidates: int, z: float = LEAVE_Z) -> Ints:
    """The configuration of highest expected net effect among those better than the default with enough probability.

    Enough is where the mean is `z` standard deviations up. Effects are relative to configuration 0, the default, whose
    row is 0: it wins every tie.
    """
    allowed_NC = net_NC[:, :n_candidates] >= np.maximum(z * sd_NC[:, :n_candidates], 1e-9)
    allowed_NC[:, 0] = True
    best_N: Ints = np.argmax(np.where(allowed_NC, net_NC[:, :n_candidates], -np.inf), axis=1)
    return best_N


def play(
    belief: Belief,
    danger: Risk,
    order: Sequence[int],
    n_candidates: int,
    rng: np.random.Generator,
    z: float = LEAVE_Z,
) -> tuple[Floats, tuple[int, ...]]:
    """True gains (draws x stages) over the suggestion `order[0]` when the rest of `order` is tried; and the stages.

    The last stage tries all of `order`.
    """
    stages = tuple(min(k, len(order) - 1) for k in (*STAGES, len(order) - 1))
    truth_NC, noise_N = _truths(belief, rng)
    chance_NG = rng.beta(
        danger.bad_C[_firsts(danger.group_C)],
        danger.good_C[_firsts(danger.group_C)],
        (len(truth_NC), danger.group_C.max() + 1),
    )
    chance_NC = chance_NG[:, danger.group_C]
    net_NC = truth_NC - truth_NC[:, :1] - danger.loss * (chance_NC - chance_NC[:, :1])
    tuner = _Tuner.start(belief, len(truth_NC))
    gains_by_trials = {}
    everyone = np.arange(len(truth_NC))
    for n_trials, config in enumerate(order):
        score_N = truth_NC[:, config] + noise_N * rng.standard_normal(len(truth_NC))
        crashed_N = rng.random(len(truth_NC)) < chance_NC[:, config]
        tuner.learn(config, score_N, crashed_N)
        if n_trials in stages:
            chosen_N = decide(*tuner.opinion(danger), n_candidates, z)
            gains_by_trials[n_trials] = net_NC[everyone, chosen_N] - net_NC[:, order[0]]
    if 0 in stages:
        gains_by_trials[0] = np.zeros(len(truth_NC))
    return np.stack([gains_by_trials[k] for k in stages], axis=1), stages


def _firsts(group_C: Ints) -> Ints:
    return np.unique(group_C, return_index=True)[1]


def _truths(belief: Belief, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw scores from every component of the belief, in mirrored pairs, and the noise sd that goes with each."""
    drawn, noise = [], []
    pairs = _shares(belief.weight_M, N_TRUTHS // 2)
    for mean_C, cov_CC, variance, n in zip(belief.mean_MC, belief.cov_MCC, belief.noise_M, pairs, strict=True):
        half = rng.standard_normal((n, len(mean_C)))
        drawn.append(mean_C + np.concatenate([half, -half]) @ _root(cov_CC).T)
        noise.append(np.full(2 * n, np.sqrt(variance)))
    return np.concatenate(drawn), np.concatenate(noise)


def _shares(weight_M: Floats, n: int) -> Ints:
    """Whole shares of n in proportion to the weights, by largest remainder."""
    exact = weight_M * n
    shares = np.floor(exact).astype(np.int64)
    largest = np.argsort(shares - exact, kind="stable")[: n - int(shares.sum())]
    shares[largest] += 1
    return shares


def _root(cov_CC: Floats) -> Floats:
    """A square root of a covariance that may be singular."""
    values, vectors = np.linalg.eigh(cov_CC)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


@dataclass(eq=False)
class _Tuner:
    """Beliefs of N tuners at once: means differ, covariances do not; components are weighed by what they foretold."""

    mean_MNC: Floats
    cov_MCC: Floats
    noise_M: Floats
    log_weight_MN: Floats

    @classmethod
    def start(cls, belief: Belief, n: int) -> _Tuner:
        mean = np.repeat(belief.mean_MC[:, None, :], n, axis=1)
        log_weight = np.repeat(np.log(belief.weight_M + 1e-300)[:, None], n, axis=1)
        return cls(mean, belief.cov_MCC.copy(), belief.noise_M, log_weight)

    def learn(self, config: int, score_N: Floats, crashed_N: npt.NDArray[np.bool_]) -> None:
        """One Kalman step on one score each; a crashed run has no score and moves no mean."""
        variance_M = self.cov_MCC[:, config, config] + self.noise_M
        surprise_MN = np.where(crashed_N, 0.0, score_N - self.mean_MNC[:, :, config])
        pull_MC = self.cov_MCC[:, config, :] / variance_M[:, None]
        self.mean_MNC += surprise_MN[:, :, None] * pull_MC[:, None, :]
        self.cov_MCC -= pull_MC[:, :, None] * self.cov_MCC[:, config, None, :]
        foretold_MN = -0.5 * surprise_MN**2 / variance_M[:, None] - 0.5 * np.log(variance_M)[:, None]
        self.log_weight_MN += np.where(crashed_N, 0.0, foretold_MN)

    def opinion(self, danger: Risk) -> tuple[Floats, Floats]:
        """Expected net effects and their standard deviations (N x C), over all components."""
        weight_MN = np.exp(self.log_weight_MN - self.log_weight_MN.max(axis=0))
        weight_MN /= weight_MN.sum(axis=0)
        effects_MNC = self.mean_MNC - self.mean_MNC[:, :, :1]
        mean_NC = np.einsum("mn,mnc->nc", weight_MN, effects_MNC)
        square_NC = np.einsum("mn,mnc->nc", weight_MN, effects_MNC**2)
        within_NC = weight_MN.T @ effects_variance(self.cov_MCC)
        sd_NC = np.sqrt(np.maximum(square_NC - mean_NC**2 + within_NC, 0.0))
        return mean_NC - danger.penalty_C, sd_NC


def summarise(gains_NS: Floats, stages: Sequence[int]) -> tuple[Gain, ...]:
    """Means and quantiles, rounded to a thousandth of a point; the last stage is "all"."""
    made = []
    for index in range(len(stages)):
        drawn = gains_NS[:, index]
        lo90, lo80, hi80, hi90 = (round(float(q), 3) + 0.0 for q in np.quantile(drawn, (0.05, 0.1, 0.9, 0.95)))
        made.append(
            Gain(
                trials="all" if index == len(STAGES) else STAGES[index],
                mean=round(float(drawn.mean()), 3) + 0.0,
                lo80=lo80,
                hi80=hi80,
                lo90=lo90,
                hi90=hi90,
            )
        )
    return tuple(made)

"""What a trial costs in seconds, learned from the seconds of past trials; and what a budget in hours buys.

    log seconds = level + slopes · (log training tokens, log student parameters) + task + student + loss + cell + noise

Every effect is shrunk to zero by a normal prior, so a task, student or cell with trials of its own is judged by these
and any other by the pool. Noise has Student-t tails (a machine that slept is no dear trial). Exact Gaussian algebra
for given weights; the weights are iterated.

Shapes: N trials, G groups of trials that share every effect (task, student, loss), P effects that may be asked for, B
effects of another task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, median
from typing import Any, Final

import numpy as np

from kdrec.recommend.normal import Z80
from kdrec.types import Configuration, Floats, History, Ints, TaskFeatures, Trial

LEVEL_SD: Final = 2.0
SLOPES: Final = ((0.8, 0.3), (0.5, 0.4))
"""Prior mean and deviation of the slopes: seconds grow a little slower than tokens, as fixed costs stay, and slower
than parameters, since embeddings are looked up rather than multiplied."""
EFFECT_SD: Final = {"task": 0.4, "student": 0.5, "loss": 0.15, "cell": 0.3}
"""Prior deviation of effects, in log seconds."""
UNTOLD_SPREAD: Final = 1.5
"""Deviation of log sizes where no past trial tells one."""
NOISE_PRIOR: Final = (0.15, 4.0)
"""Deviation of log seconds between equal trials, and the trials this belief counts for."""
TAIL_DF: Final = 4.0
"""Degrees of freedom of the noise: the smaller, the less an outlier weighs."""
ROUNDS: Final = 12

EXCLUDES: Final = ("teacher", "calibration", "baseline")
"""What a study needs beside the trials proposed, and their price does not hold: past trials do not tell it."""

Effects = dict[tuple[str, str], float]
"""One row of the design: kind and name of an effect, and how much of it."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Expected seconds with their 80 % interval."""

    seconds: float
    lo80: float
    hi80: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Cost:
    """What trials of the asked task and student are expected to take."""

    n_trials: int
    n_own_trials: int
    columns: tuple[tuple[str, str], ...]
    mean_P: Floats
    cov_PP: Floats
    noise: float
    shared: Effects
    """Effects of the asked cell, but for the loss."""
    doubt: float
    """Variance of the asked cell's log seconds from features that are not known."""

    def trial(self, config: Configuration) -> Estimate:
        """One trial: the noise of a single run is inside."""
        return self.total([config])

    def seconds(self, configs: Sequence[Configuration]) -> list[float]:
        """Expected seconds of each."""
        return [self.trial(config).seconds for config in configs]

    def affordable(self, configs: Sequence[Configuration], hours: float) -> int:
        """How many of `configs`, in this order, are expected to be done within `hours`."""
        spent = np.cumsum(self.seconds(configs))
        return int(np.searchsorted(spent, hours * 3600 * (1 + 1e-9), side="right"))

    def total(self, configs: Sequence[Configuration]) -> Estimate:
        """All of them, one seed each. What is not known of the cell is shared by all, noise is not."""
        if not configs:
            return Estimate(seconds=0.0, lo80=0.0, hi80=0.0)
        means, variances = zip(*(self._log_seconds(config) for config in configs), strict=True)
        each = [math.exp(m + (v + self.noise**2) / 2) for m, v in zip(means, variances, strict=True)]
        middle = sum(math.exp(mean) for mean in means)
        spread = Z80 * math.sqrt(fmean(variances) + self.noise**2 / len(configs))
        return Estimate(seconds=sum(each), lo80=middle * math.exp(-spread), hi80=middle * math.exp(spread))

    def _log_seconds(self, config: Configuration) -> tuple[float, float]:
        """Mean and variance of the log seconds of a trial, without its noise."""
        effects = {**self.shared, ("loss", _loss(config)): 1.0}
        row_P = np.array([effects.get(column, 0.0) for column in self.columns])
        unseen = sum(_prior(*column)[1] ** 2 * x**2 for column, x in effects.items() if column not in self.columns)
        return float(row_P @ self.mean_P), float(row_P @ self.cov_PP @ row_P) + unseen + self.doubt


def learn_cost(history: History, features: TaskFeatures, student: str) -> Cost | None:
    """Learn what a trial costs.

    Parameters
    ----------
    history : History
        Completed trials with positive seconds count; one that diverged ended early and tells nothing.
    features : TaskFeatures
        Of the task asked about.
    student : str
        The student asked about.

    Returns
    -------
    Cost or None
        None when no trial tells.
    """
    timed = [trial for trial in history if trial.status == "completed" and trial.seconds > 0]
    if not timed:
        return None
    sizes = _Sizes.of(timed)
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in timed:
        groups.setdefault((trial.task, trial.student, _loss(trial.config)), []).append(trial)
    names = sorted(groups)  # one order, whatever the order of the history
    rows = [{**sizes.effects(groups[name][0].features, name[1], name[0])[0], ("loss", name[2]): 1.0} for name in names]
    log_N = np.array([math.log(s) for name in names for s in sorted(t.seconds for t in groups[name])])
    group_N = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    shared, doubt = sizes.effects(features, student, features.task)
    design = _Design.of(rows, [name[0] for name in names], features.task)
    mean_P, cov_PP, noise = _fit(design, log_N, group_N)
    return Cost(
        n_trials=len(timed),
        n_own_trials=sum(trial.task == features.task and trial.student == student for trial in timed),
        columns=design.columns,
        mean_P=mean_P,
        cov_PP=cov_PP,
        noise=noise,
        shared=shared,
        doubt=doubt,
    )


UNKNOWN: Final = "no completed trial of this history says how long it took"


def summary(cost: Cost | None, chosen: Configuration, upcoming: Sequence[Configuration]) -> dict[str, Any] | None:
    """Plain values for an answer: seconds of one trial (the suggestion) and of all next trials together."""
    if cost is None:
        return None
    one, total = cost.trial(chosen), cost.total(upcoming)
    return {
        "seconds_per_trial": _rounded(one.seconds),
        "lo80": _rounded(one.lo80),
        "hi80": _rounded(one.hi80),
        "next_trials_seconds": _rounded(total.seconds),
        "next_trials_lo80": _rounded(total.lo80),
        "next_trials_hi80": _rounded(total.hi80),
        "n_trials": cost.n_trials,
        "n_own_trials": cost.n_own_trials,
        "excludes": list(EXCLUDES),
    }


def _rounded(seconds: float) -> float:
    """Three figures: more would be invented, and would differ between machines."""
    return float(f"{seconds:.3g}")


@dataclass(frozen=True)
class _Sizes:
    """What is typical of this history's tasks and students, for those that do not say."""

    tokens: float
    log_size: tuple[float, float] | None
    log_params: tuple[float, float] | None
    own_params: dict[str, int]

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> _Sizes:
        features = list({trial.task: trial.features for trial in trials}.values())
        own = {t.student: t.features.student_params for t in trials if t.features.student_params}
        tokens = [f.mean_tokens for f in features if f.mean_tokens]
        typical = median(tokens) if tokens else 20.0
        sizes = [math.log(f.n_train * (f.mean_tokens or typical)) for f in features if f.n_train]
        return cls(typical, _centre(sizes), _centre([math.log(n) for n in own.values()]), own)

    def effects(self, features: TaskFeatures, student: str, task: str) -> tuple[Effects, float]:
        """Effects of a cell, and the variance that its unknown features leave."""
        log_size = math.log(features.n_train * (features.mean_tokens or self.tokens)) if features.n_train else None
        n_params = self.own_params.get(student) or features.student_params
        size, size_sd = _from_centre(log_size, self.log_size, 0.0 if features.mean_tokens else 0.5)
        params, params_sd = _from_centre(math.log(n_params) if n_params else None, self.log_params, 0.0)
        return {
            ("level", ""): 1.0,
            ("slope", "size"): size,
            ("slope", "params"): params,
            ("task", task): 1.0,
            ("student", student): 1.0,
            ("cell", f"{task}/{student}"): 1.0,
        }, (SLOPES[0][0] * size_sd) ** 2 + (SLOPES[1][0] * params_sd) ** 2


def _centre(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean and spread; a spread of at least 1 in logs, since few tasks say little of the next one."""
    if not values:
        return None
    middle = fmean(values)
    return middle, max(1.0, math.sqrt(fmean((value - middle) ** 2 for value in values)))


def _from_centre(value: float | None, centre: tuple[float, float] | None, told_sd: float) -> tuple[float, float]:
    """How far a log size is from the typical one, and the deviation of that: a size tells only beside others."""
    if centre is None:
        return 0.0, UNTOLD_SPREAD
    return (0.0, centre[1]) if value is None else (value - centre[0], told_sd)


def _loss(config: Configuration) -> str:
    """What an example costs differs by the loss: the baseline has no teacher at all."""
    return "labels only" if config.is_baseline else str(config.knobs().get("distance", ""))


def _prior(kind: str, name: str) -> tuple[float, float]:
    """Prior mean and deviation of an effect."""
    if kind == "slope":
        return SLOPES[name == "params"]
    return 0.0, LEVEL_SD if kind == "level" else EFFECT_SD[kind]


@dataclass(frozen=True, kw_only=True)
class _Design:
    """Effects of groups: those an answer may ask for, and those of each other task and its cells.

    The latter, B of a task, meet those of no third task, so a fit takes one task after the other out of its equations
    (Schur complements) and its work grows with the tasks, not with their cube.
    """

    columns: tuple[tuple[str, str], ...]
    x_GP: Floats
    others: tuple[tuple[slice, tuple[tuple[str, str], ...], Floats], ...]
    """Of each other task: its groups, its effects, and their design of shape (groups, B)."""

    @classmethod
    def of(cls, rows: Sequence[Effects], tasks: Sequence[str], asked: str) -> _Design:
        """The design of groups whose tasks stand in order."""
        others, start, shared = [], 0, set[tuple[str, str]]()
        for task, members in groupby(tasks):
            at = slice(start, start := start + len(list(members)))
            columns = {column for row in rows[at] for column in row}
            own = {column for column in columns if column[0] in ("task", "cell") and task != asked}
            shared |= columns - own
            if own:
                others.append((at, tuple(sorted(own)), _matrix(rows[at], sorted(own))))
        kept = tuple(sorted(shared))
        return cls(columns=kept, x_GP=_matrix(rows, kept), others=tuple(others))


def _matrix(rows: Sequence[Effects], columns: Sequence[tuple[str, str]]) -> Floats:
    return np.array([[row.get(column, 0.0) for column in columns] for row in rows])


def _priors(columns: Sequence[tuple[str, str]]) -> tuple[Floats, Floats]:
    """Prior means and precisions."""
    mean_P, sd_P = np.array([_prior(*column) for column in columns]).T
    return mean_P, sd_P**-2.0


def _fit(design: _Design, log_N: Floats, group_N: Ints) -> tuple[Floats, Floats, float]:
    """Posterior mean and covariance of the effects that may be asked for, and the noise."""
    prior_P, sure_P = _priors(design.columns)
    prior_P = np.where([kind == "level" for kind, _ in design.columns], np.median(log_N), prior_P)
    ends_G = np.cumsum(np.bincount(group_N))
    expected_G: Floats = np.array([np.median(part) for part in np.split(log_N, ends_G[:-1])])
    noise, weight = NOISE_PRIOR
    for _ in range(ROUNDS):
        square_N = (log_N - expected_G[group_N]) ** 2
        weight_N = (TAIL_DF + 1) / (TAIL_DF + square_N / noise**2)
        noise = math.sqrt(((weight_N * square_N).sum() + weight * NOISE_PRIOR[0] ** 2) / (len(log_N) + weight))
        weight_G = np.bincount(group_N, weight_N) / noise**2
        pull_G = np.bincount(group_N, weight_N * log_N) / noise**2
        mean_P, cov_PP, expected_G = _solve(design, weight_G, pull_G, prior_P, sure_P)
    return mean_P, cov_PP, noise


def _solve(
    design: _Design, weight_G: Floats, pull_G: Floats, prior_P: Floats, sure_P: Floats
) -> tuple[Floats, Floats, Floats]:
    """Mean and covariance for given weights, and what every group is expected to take."""
    x_GP = design.x_GP
    precision_PP = (x_GP.T * weight_G) @ x_GP + np.diag(sure_P)
    pulled_P = x_GP.T @ pull_G + sure_P * prior_P
    solved = []
    for at, own, x_GB in design.others:
        weighted_BG = x_GB.T * weight_G[at]
        beside_BP = weighted_BG @ x_GP[at]
        precision_BB = weighted_BG @ x_GB + np.diag(_priors(own)[1])
        both = np.linalg.solve(precision_BB, np.column_stack([beside_BP, x_GB.T @ pull_G[at]]))
        precision_PP -= beside_BP.T @ both[:, :-1]
        pulled_P -= beside_BP.T @ both[:, -1]
        solved.append(both)
    cov_PP: Floats = np.asarray(np.linalg.inv(precision_PP), dtype=np.float64)
    mean_P: Floats = cov_PP @ pulled_P
    expected_G: Floats = x_GP @ mean_P
    for (at, _, x_GB), both in zip(design.others, solved, strict=True):
        expected_G[at] += x_GB @ (both[:, -1] - both[:, :-1] @ mean_P)
    return mean_P, cov_PP, expected_G

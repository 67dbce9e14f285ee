"""The geometry of the question: which configurations there are, how they and the past tasks resemble each other.

Configurations are described by their departures from the default (0/1, ordered values step by step) and pairs of
departures; tasks by standardised meta-features. Everything here is arithmetic on names and knobs: no score is read.

Shapes: C configurations, F features of a configuration, T tasks, D cells (task x student), K levels of sharing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from kdrec.space import DEFAULT_SPACE, Space
from kdrec.types import DEFAULT_CONFIG, Floats, Ints, KDConfig, TaskFeatures

Level = str
LEVELS: Final[tuple[Level, ...]] = ("all", "family", "similar tasks", "task", "student", "task x student")
"""Who shares an effect: the K levels of the model, in the order of every level axis."""

META: Final[tuple[tuple[str, Callable[[float], float]], ...]] = (
    ("n_train", math.log),
    ("n_classes", math.log),
    ("label_entropy", float),
    ("mean_tokens", lambda tokens: math.log(max(tokens, 1.0))),
    ("teacher_score", float),
    ("teacher_nll", float),
    ("teacher_ece", float),
)
"""Meta-features of a task and the scale on which they are compared."""


def found_space(configs: Iterable[KDConfig]) -> tuple[tuple[KDConfig, ...], KDConfig]:
    """Configurations that may be suggested, and the default among them, when only a history is at hand.

    The default space when it holds all that was tried; otherwise every combination of the values tried, provided that
    tau_s was always 1 or tau_t; otherwise what was tried.
    """
    tried = sorted(set(configs))
    if set(tried) <= set(DEFAULT_SPACE.configs()):
        return DEFAULT_SPACE.configs(), DEFAULT_SPACE.default()
    spanned: list[KDConfig] = []
    if all(c.tau_s in (1.0, c.tau_t) for c in tried):
        for scale in sorted({c.scale_soft_loss for c in tried}):
            spanned.extend(_spanned([c for c in tried if c.scale_soft_loss == scale]).configs())
    known = tuple(dict.fromkeys([*spanned, *tried]))
    return known, nearest(DEFAULT_CONFIG, known)


def _spanned(tried: Sequence[KDConfig]) -> Space:
    kinds = {"1" if c.tau_s == 1 else "tau_t" for c in tried}
    return Space(
        alphas=tuple(sorted({c.alpha for c in tried})),
        distances=tuple(sorted({c.distance for c in tried})),
        teachers=tuple(sorted({c.teacher for c in tried}, reverse=True)),
        teacher_temperatures=tuple(sorted({c.tau_t for c in tried})),
        student_temperatures=tuple(kind for kind in ("1", "tau_t") if kind in kinds),
        scale_soft_loss=tried[0].scale_soft_loss,
    )


def nearest(config: KDConfig, known: Sequence[KDConfig]) -> KDConfig:
    """The known configuration with the fewest departures from `config`; ties: the nearest numbers, then the order."""

    def distance(other: KDConfig) -> tuple[float, float]:
        here, there = _knobs(config), _knobs(other)
        differ = sum(here[name] != there[name] for name in here)
        return differ, abs(config.alpha - other.alpha) + abs(math.log(config.tau_t / other.tau_t))

    return min(known, key=distance)


def _knobs(config: KDConfig) -> dict[str, float | str]:
    tau_s = "1" if config.tau_s == 1 else "tau_t" if config.tau_s == config.tau_t else f"{config.tau_s:g}"
    return {
        "alpha": config.alpha,
        "distance": config.distance,
        "teacher": config.teacher,
        "tau_t": config.tau_t,
        "tau_s": tau_s,
        "scale": config.scale_soft_loss,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Knobs:
    """Features of the configurations. `log weight of feature f = powers_FP @ parameters_P`.

    The parameters P are one log weight a departure, then the log weights of a pair and of a configuration's own part.
    A pair weighs (pair) x (its two departures), so that knobs that do not matter have no interactions that matter.
    """

    names: tuple[str, ...]
    features_CF: Floats
    powers_FP: Floats


def knobs(configs: Sequence[KDConfig], default: KDConfig) -> Knobs:
    """Describe every configuration by its departures from `default`, pairs of them, and a part of its own."""
    values = [_knobs(config) for config in configs]
    start = _knobs(default)
    columns: list[tuple[str, str, list[bool]]] = []
    for knob, origin in start.items():
        present = sorted({value[knob] for value in values} - {origin}, key=lambda v: (isinstance(v, str), v))
        for level in present:
            columns.append((knob, f"{knob}={level}", [_departs(value[knob], level, origin) for value in values]))
    mains = [np.array(hit, dtype=float) for _, _, hit in columns]
    features, powers = list(mains), [np.eye(len(mains) + 2)[i] for i in range(len(mains))]
    for i, j in combinations(range(len(mains)), 2):
        both = mains[i] * mains[j]
        if columns[i][0] != columns[j][0] and both.any():
            features.append(both)
            powers.append(powers[i] + powers[j] + np.eye(len(mains) + 2)[len(mains)])
    for index, config in enumerate(configs):
        if config != default:
            features.append(np.eye(len(configs))[index])
            powers.append(np.eye(len(mains) + 2)[len(mains) + 1])
    n_parameters = len(mains) + 2
    return Knobs(
        names=tuple(name for _, name, _ in columns),
        features_CF=np.array(features).reshape(-1, len(configs)).T,
        powers_FP=np.array(powers).reshape(-1, n_parameters),
    )


def _departs(value: float | str, level: float | str, origin: float | str) -> bool:
    """Whether a value is at, or past, this step away from the default (words: at)."""
    if isinstance(value, str) or isinstance(level, str) or isinstance(origin, str):
        return value == level
    return value >= level if level > origin else value <= level


def similarity(features: Sequence[TaskFeatures]) -> Floats:
    """Similarity in (0, 1] of tasks: exp(-squared distance / 2p) of p standardised meta-features.

    An unknown feature is taken as average. A task without a single known meta-feature resembles no other.
    """
    raw_TM = np.array(
        [[np.nan if getattr(f, name) is None else scale(getattr(f, name)) for name, scale in META] for f in features]
    )
    known_TM = np.isfinite(raw_TM)
    filled_TM = np.where(known_TM, raw_TM, 0.0)
    count_M = np.maximum(known_TM.sum(axis=0), 1)
    mean_M = filled_TM.sum(axis=0) / count_M
    centred_TM = np.where(known_TM, raw_TM - mean_M, 0.0)
    spread_M = np.sqrt((centred_TM**2).sum(axis=0) / count_M)
    z_TM = centred_TM / np.where(spread_M > 1e-9, spread_M, 1.0)
    n_used = max(int((spread_M > 1e-9).sum()), 1)
    squared_TT = ((z_TM[:, None, :] - z_TM[None, :, :]) ** 2).sum(axis=2)
    near_TT: Floats = np.exp(-squared_TT / (2 * n_used))
    blank_T = ~known_TM.any(axis=1)
    near_TT[blank_T, :] = near_TT[:, blank_T] = 0.0
    np.fill_diagonal(near_TT, 1.0)
    return near_TT


def student_similarity(log_params: Sequence[float | None]) -> Floats:
    """Similarity of student sizes, falling to 0.6 at a factor of 2 in parameters; a size unknown resembles no other."""
    known = [size is not None for size in log_params]
    size_S = np.array([0.0 if size is None else size for size in log_params])
    near_SS: Floats = np.exp(-0.5 * ((size_S[:, None] - size_S[None, :]) / math.log(2)) ** 2)
    near_SS[~np.outer(known, known)] = 0.0
    np.fill_diagonal(near_SS, 1.0)
    return near_SS


def level_kernels(
    task_D: Ints, student_D: Ints, families: Sequence[str | None], near_TT: Floats, near_SS: Floats
) -> Floats:
    """How much two cells share at every level: an array of shape (K, D, D) in the order of `LEVELS`."""
    family_T = np.array([name or f"unknown {i}" for i, name in enumerate(families)])
    kin_TT = (family_T[:, None] == family_T[None, :]).astype(float)
    same_DD = (task_D[:, None] == task_D[None, :]).astype(float)
    pick_DD = np.ix_(task_D, task_D)
    return np.stack(
        [
            np.ones((len(task_D), len(task_D))),
            kin_TT[pick_DD],
            near_TT[pick_DD],
            same_DD,
            near_SS[np.ix_(student_D, student_D)],
            np.eye(len(task_D)),
        ]
    )

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
from kdrec.types import DEFAULT_CONFIG, TEACHERS, Configuration, Floats, Ints, KDConfig, KnobValue, TaskFeatures

Level = str
LEVELS: Final[tuple[Level, ...]] = ("all", "family", "similar tasks", "task", "student", "task x student")
"""Who shares an effect: the K levels of the model, in the order of every level axis."""

META: Final[tuple[tuple[str, Callable[[float], float], float], ...]] = (
    ("n_train", math.log, 0.7),
    ("n_classes", math.log, 0.7),
    ("label_entropy", float, 0.5),
    ("mean_tokens", lambda tokens: math.log(max(tokens, 1.0)), 0.5),
    ("teacher_score", float, 5.0),
    ("teacher_nll", float, 0.25),
    ("teacher_ece", float, 0.05),
)
"""Meta-features of a task, the scale on which they are compared, and the least difference there that counts as one."""


MAX_STEPS: Final = 8
"""Steps of one numeric knob; of more values, the steps lie at even ranks, and values between two steps are alike."""
MAX_PAIRS: Final = 120
"""Pairs of departures that are features: those that most configurations show. Of a random search over many-valued knobs
nearly every pair is one configuration's alone, which its own part says already."""
MAX_WEIGHTS: Final = 16
"""Departures that have a weight each; if there are more, each knob has one weight for all of its own."""
MAX_DEPARTURES: Final = 8
"""Departures that the prior mean counts: a foreign default is not better by more the more knobs there are."""


def found_space(
    configs: Iterable[Configuration], measured: Iterable[tuple[object, Configuration]] = ()
) -> tuple[tuple[Configuration, ...], Configuration]:
    """Configurations that may be suggested, and the default among them, when only a history is at hand.

    Of kdrec's own knobs: the default space when it holds all that was tried; otherwise every combination of the values
    tried, provided that tau_s was always 1 or tau_t; otherwise what was tried. Of foreign knobs: what was tried,
    because which combinations mean anything is not known; the default is what was measured in most cells, where
    searches start.

    Parameters
    ----------
    configs : iterable of Configuration
        All that were tried, of one space.
    measured : iterable of (cell, Configuration)
        Every run that has a score.
    """
    tried = sorted(set(configs), key=lambda config: config.sort_key())
    own = [config for config in tried if isinstance(config, KDConfig)]
    if len(own) < len(tried):
        return tuple(tried), _most_widely_measured(tried, measured)
    if set(own) <= set(DEFAULT_SPACE.configs()):
        return DEFAULT_SPACE.configs(), DEFAULT_SPACE.default()
    spanned: list[KDConfig] = []
    if all(c.tau_s in (1.0, c.tau_t) for c in own):
        for scale in sorted({c.scale_soft_loss for c in own}):
            spanned.extend(_spanned([c for c in own if c.scale_soft_loss == scale]).configs())
    known = tuple(dict.fromkeys([*spanned, *own]))
    return known, nearest(DEFAULT_CONFIG, known)


def _most_widely_measured(
    tried: Sequence[Configuration], measured: Iterable[tuple[object, Configuration]]
) -> Configuration:
    """The configuration measured in most cells; ties: in most runs, then the first."""
    cells: dict[Configuration, list[object]] = {config: [] for config in tried}
    for cell, config in measured:
        cells[config].append(cell)
    return max(tried, key=lambda config: (len(set(cells[config])), len(cells[config])))


def _spanned(tried: Sequence[KDConfig]) -> Space:
    kinds = {"1" if c.tau_s == 1 else "tau_t" for c in tried}
    return Space(
        alphas=tuple(sorted({c.alpha for c in tried})),
        distances=tuple(sorted({c.distance for c in tried})),
        teachers=tuple(sorted({c.teacher for c in tried}, key=TEACHERS.index)),
        teacher_temperatures=tuple(sorted({c.tau_t for c in tried})),
        student_temperatures=tuple(kind for kind in ("1", "tau_t") if kind in kinds),
        scale_soft_loss=tried[0].scale_soft_loss,
    )


def nearest(config: Configuration, known: Sequence[Configuration]) -> Configuration:
    """The known configuration with the fewest departures from `config`; ties: the nearest numbers, then the order."""

    def distance(other: Configuration) -> tuple[float, float]:
        here, there = config.knobs(), other.knobs()
        differ = sum(here.get(name) != there.get(name) for name in here.keys() | there.keys())
        return differ, _gap(config, other)

    return min(known, key=distance)


def _gap(one: Configuration, other: Configuration) -> float:
    """How far the numbers of two configurations lie apart: foreign ones relative to the larger of the two."""
    if isinstance(one, KDConfig) and isinstance(other, KDConfig):
        return abs(one.alpha - other.alpha) + abs(math.log(one.tau_t / other.tau_t))
    here, there = one.knobs(), other.knobs()
    pairs = [(here[name], there[name]) for name in sorted(here.keys() & there.keys())]
    return sum(
        abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if isinstance(a, float) and isinstance(b, float) and a != b
    )


def crash_group(config: Configuration) -> str:
    """Configurations that crash alike: of one distance, or all of them where no knob is called that."""
    distance = config.knobs().get("distance", "all")
    return distance if isinstance(distance, str) else f"{distance:g}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Knobs:
    """Features of the configurations, the departures first. `log weight of feature f = powers_FP @ parameters_P`.

    The parameters P are one log weight a departure (or a knob, where there are many), then the log weights of a pair
    and of a configuration's own part. A pair weighs (pair) x (its two departures), so that knobs that do not matter
    have no interactions that matter.
    """

    names: tuple[str, ...]
    features_CF: Floats
    powers_FP: Floats

    @property
    def departures_C(self) -> Floats:
        """How many departures the prior mean counts for every configuration."""
        counted_C: Floats = np.minimum(self.features_CF[:, : len(self.names)].sum(axis=1), MAX_DEPARTURES)
        return counted_C


@dataclass(frozen=True, kw_only=True, eq=False)
class _Departures:
    """Departures M from the default: the knob and the name of each, and which configurations have it."""

    knobs: tuple[str, ...]
    names: tuple[str, ...]
    hit_MC: Floats


def knobs(configs: Sequence[Configuration], default: Configuration) -> Knobs:
    """Describe every configuration by its departures from `default`, pairs of them, and a part of its own."""
    mains = _departures(configs, default)
    weights = mains.names if len(mains.names) <= MAX_WEIGHTS else tuple(dict.fromkeys(mains.knobs))
    owners = mains.names if len(mains.names) <= MAX_WEIGHTS else mains.knobs
    unit_PP = np.eye(len(weights) + 2)
    main_MP = unit_PP[[weights.index(owner) for owner in owners]]
    features, powers = list(mains.hit_MC), list(main_MP)
    for i, j in _pairs(mains):
        features.append(mains.hit_MC[i] * mains.hit_MC[j])
        powers.append(main_MP[i] + main_MP[j] + unit_PP[-2])
    for index, config in enumerate(configs):
        if config != default:
            features.append(np.eye(len(configs))[index])
            powers.append(unit_PP[-1])
    return Knobs(
        names=mains.names,
        features_CF=np.array(features).reshape(-1, len(configs)).T,
        powers_FP=np.array(powers).reshape(-1, len(unit_PP)),
    )


def _departures(configs: Sequence[Configuration], default: Configuration) -> _Departures:
    values, start = [config.knobs() for config in configs], default.knobs()
    later = sorted({name for value in values for name in value} - start.keys())
    columns: list[tuple[str, str, list[bool]]] = []
    for knob in (*start, *later):
        present, origin = [value.get(knob) for value in values], start.get(knob)
        ordered = not any(isinstance(value, str) for value in (*present, origin))
        for level in _levels(present, origin, ordered=ordered):
            name = f"{knob}={'absent' if level is None else level}"
            columns.append((knob, name, [_departs(value, level, origin, ordered=ordered) for value in present]))
    return _Departures(
        knobs=tuple(knob for knob, _, _ in columns),
        names=tuple(name for _, name, _ in columns),
        hit_MC=np.array([hit for _, _, hit in columns], dtype=float).reshape(-1, len(configs)),
    )


def _levels(present: Iterable[KnobValue | None], origin: KnobValue | None, *, ordered: bool) -> list[KnobValue | None]:
    """Values of one knob other than the default's, in order; of many numbers, `MAX_STEPS` at even ranks."""
    others = set(present) - {origin}
    found: list[KnobValue | None] = sorted(
        (value for value in others if value is not None), key=lambda v: (isinstance(v, str), v)
    )
    if ordered and len(found) > MAX_STEPS:
        found = [found[(2 * step + 1) * len(found) // (2 * MAX_STEPS)] for step in range(MAX_STEPS)]
    return [*found, None] if None in others else found


def _departs(value: KnobValue | None, level: KnobValue | None, origin: KnobValue | None, *, ordered: bool) -> bool:
    """Whether a value is at, or past, this step away from the default; words, and a knob that is absent, only at."""
    if not ordered or not isinstance(value, float) or not isinstance(level, float):
        return value == level
    return value >= level if not isinstance(origin, float) or level > origin else value <= level


def _pairs(mains: _Departures) -> list[tuple[int, int]]:
    """Departures of two knobs that some configuration has both; of many pairs, those that most configurations have."""
    both_MM = mains.hit_MC @ mains.hit_MC.T
    shown = [
        (i, j)
        for i, j in combinations(range(len(mains.names)), 2)
        if mains.knobs[i] != mains.knobs[j] and both_MM[i, j] > 0
    ]
    commonest = sorted(shown, key=lambda pair: -both_MM[pair])[:MAX_PAIRS]
    return sorted(commonest)


def standardised(features: Sequence[TaskFeatures]) -> Floats:
    """Meta-features of tasks (T x M), centred and over their spread or their least scale; an unknown one is 0."""
    raw_TM = np.array(
        [[np.nan if getattr(f, name) is None else scale(getattr(f, name)) for name, scale, _ in META] for f in features]
    )
    known_TM = np.isfinite(raw_TM)
    filled_TM = np.where(known_TM, raw_TM, 0.0)
    count_M = np.maximum(known_TM.sum(axis=0), 1)
    mean_M = filled_TM.sum(axis=0) / count_M
    centred_TM = np.where(known_TM, raw_TM - mean_M, 0.0)
    spread_M = np.sqrt((centred_TM**2).sum(axis=0) / count_M)
    least_M = np.array([least for _, _, least in META])
    # What differs by rounding alone does not differ.
    z_TM: Floats = np.where(spread_M > 1e-9, centred_TM / np.maximum(spread_M, least_M), 0.0)
    return z_TM


def similarity(features: Sequence[TaskFeatures]) -> Floats:
    """Similarity in (0, 1] of tasks: exp(-squared distance / 2p) of p standardised meta-features.

    A feature that hardly varies is compared on its least scale, so that 500 rows more or less make no stranger. An
    unknown feature is taken as average. A task without a single known meta-feature resembles no other.
    """
    z_TM = standardised(features)
    n_used = max(int(z_TM.any(axis=0).sum()), 1)
    squared_TT = ((z_TM[:, None, :] - z_TM[None, :, :]) ** 2).sum(axis=2)
    near_TT: Floats = np.exp(-squared_TT / (2 * n_used))
    blank_T = np.array([all(getattr(f, name) is None for name, *_ in META) for f in features])
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

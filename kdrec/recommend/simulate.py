"""Synthetic histories with known truth: what the recommender is examined on, made by another model of the world.

Knobs act through random response curves with Laplace-tailed strengths, not through the recommender's Gaussian
departures; tasks carry hidden traits that their meta-features show only in part; noise is heavy-tailed, differs by cell
and by knob, and a run's validation and test score share its luck. A history is what a greedy search saw of it.

Shapes: C configurations, B basis functions of the knobs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np

from kdrec.errors import BadArgument, did_you_mean
from kdrec.space import DEFAULT_SPACE
from kdrec.types import Configuration, Family, Floats, History, TaskFeatures, Trial

SITUATIONS: Final = (
    "default is best",
    "default is bad for one family",
    "no knob matters",
    "effects depend on size",
    "crashes of one distance",
    "one task opposite",
    "tasks of different scale",
    "one task in history",
)
STUDENTS: Final[Mapping[str, int]] = {"base": 17_000_000, "small": 13_000_000, "tiny": 6_000_000}
TEACHER_PARAMS: Final = 33_000_000
FAMILIES: Final[tuple[Family, ...]] = ("sentence", "pair", "tokens")
_CRASH_DEPTH: Final = (6.0, 8.0)
"""A crash costs 6 points and an exponential of mean 8 more; 3 of 10 crashes diverge."""


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Tasks whose expected scores are known: what every (task, student, configuration) scores on average."""

    situation: str
    configs: tuple[Configuration, ...]
    """All configurations; the default first."""
    truth: Mapping[tuple[str, str], Floats]
    """Expected score of a run that does not crash, by cell, over configurations (C)."""
    noise: Mapping[tuple[str, str], Floats]
    """Standard deviation over seeds, by cell, over configurations (C)."""
    crash_C: Floats
    """Probability that a run crashes."""
    features: Mapping[str, TaskFeatures]
    students: Mapping[str, int]

    def expected(self, task: str, student: str) -> Floats:
        """Expected score of a run over configurations (C), crashes included."""
        return self.truth[task, student] - self.crash_C * sum(_CRASH_DEPTH)

    def asked(self, task: str, student: str) -> TaskFeatures:
        """What is known of a task and of the student it is distilled into."""
        return replace(self.features[task], student_params=self.students[student], teacher_params=TEACHER_PARAMS)

    def run(self, task: str, student: str, config: Configuration, seed: int, rng: np.random.Generator) -> Trial:
        """One noisy run: validation and test score share four fifths of its variance."""
        place, cell = self.configs.index(config), (task, student)
        luck, *split = rng.standard_t(5, size=3) * math.sqrt(3 / 5)
        drop = 0.0
        if rng.random() < self.crash_C[place]:
            if rng.random() < 0.3:
                return self._trial(cell, config, seed, None)
            drop = _CRASH_DEPTH[0] + rng.exponential(_CRASH_DEPTH[1])
        spread = self.noise[cell][place]
        deviation = spread * (math.sqrt(0.8) * luck + math.sqrt(0.2) * np.array(split))
        return self._trial(cell, config, seed, np.clip(self.truth[cell][place] - drop + deviation, 0, 100))

    def _trial(self, cell: tuple[str, str], config: Configuration, seed: int, scores: Floats | None) -> Trial:
        task, student = cell
        return Trial(
            features=self.asked(task, student),
            student=student,
            config=config,
            seed=seed,
            status="diverged" if scores is None else "completed",
            val_score=None if scores is None else float(scores[0]),
            val_loss=None,
            test_score=None if scores is None else float(scores[1]),
            seconds=10.0,
        )


def make_world(
    situation: str, seed: int, *, n_tasks: int = 13, configs: Sequence[Configuration] | None = None
) -> World:
    """Draw a world.

    Parameters
    ----------
    situation : str
        One of `SITUATIONS`.
    seed : int
        Same arguments, same world.
    n_tasks : int
        Number of tasks, at least 2: one is always the one to be asked about.
    configs : sequence of Configuration, optional
        All configurations, the default first; by default the 24 of the default space.
    """
    if situation not in SITUATIONS:
        raise BadArgument(f"unknown situation {situation!r}{did_you_mean(situation, SITUATIONS)}")
    if n_tasks < 2:
        raise BadArgument(f"n_tasks must be at least 2, got {n_tasks}")
    rng = np.random.default_rng([SITUATIONS.index(situation), seed, n_tasks])
    if configs is None:
        default = DEFAULT_SPACE.default()
        configs = (default, *(config for config in DEFAULT_SPACE.configs() if config != default))
    basis_CB = _basis(configs, rng)
    nature = _Nature.draw(situation, basis_CB, rng)
    features, traits = _tasks(n_tasks, rng)
    odd = int(rng.integers(n_tasks))
    truth: dict[tuple[str, str], Floats] = {}
    noise: dict[tuple[str, str], Floats] = {}
    noisier_C = np.exp(0.25 * basis_CB[:, 0] * rng.standard_normal())
    for number, (task, feature) in enumerate(features.items()):
        sigma = math.exp(rng.normal(math.log(0.4), 0.4))
        sign = -1 if situation == SITUATIONS[5] and number == odd else 1
        task_C = sign * nature.of_task(feature, traits[number], rng)
        for place, student in enumerate(STUDENTS):
            effect_C = nature.of_cell(task_C, place, rng)
            level = (feature.teacher_score or 0.0) - rng.uniform(0.5, 4) * (1 + place)
            truth[task, student] = level + effect_C
            noise[task, student] = sigma * (1 + 0.25 * place) * noisier_C
    return World(
        situation=situation,
        configs=tuple(configs),
        truth=truth,
        noise=noise,
        crash_C=_crashes(situation, configs, rng),
        features=features,
        students=STUDENTS,
    )


def greedy_history(
    world: World, tasks: Sequence[str], rng: np.random.Generator, *, n_seeds: int = 2, students: Sequence[str] = ()
) -> History:
    """What a greedy search with `n_seeds` seeds would have recorded in every cell of `tasks`."""
    made: list[Trial] = []
    for task in tasks:
        for student in students or world.students:
            made.extend(_greedy_cell(world, task, student, rng, n_seeds))
    return History(tuple(made))


def _greedy_cell(world: World, task: str, student: str, rng: np.random.Generator, n_seeds: int) -> list[Trial]:
    """Walk to better neighbours (one departure away) from the default until two passes over them change nothing."""
    seen: dict[Configuration, list[Trial]] = {}

    def score(config: Configuration) -> float:
        if config not in seen:
            seen[config] = [world.run(task, student, config, seed, rng) for seed in range(n_seeds)]
        return float(np.mean([-100.0 if t.val_score is None else t.val_score for t in seen[config]]))

    here = world.configs[0]
    for _ in range(2):
        start = here
        for other in world.configs:
            if _departures(here, other) == 1 and score(other) > score(here):
                here = other
        if here == start:
            break
    return [trial for trials in seen.values() for trial in trials]


def _departures(one: Configuration, other: Configuration) -> int:
    """Number of knobs that differ; the two temperatures count as one, and as none when the distance differs."""
    here, there = one.knobs(), other.knobs()
    differ = {name for name in here if here.get(name) != there.get(name)}
    if "distance" in differ or {"tau_t", "tau_s"} <= differ:
        differ -= {"tau_s"} if "distance" not in differ else {"tau_t", "tau_s"}
    return len(differ)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Nature:
    """Effects that all tasks share, and strengths of the basis functions by what they share less widely."""

    basis_CB: Floats
    common_C: Floats
    by_family: Mapping[str, Floats]
    by_trait: Floats
    by_size: Floats
    size: float
    spread: float

    @classmethod
    def draw(cls, situation: str, basis_CB: Floats, rng: np.random.Generator) -> _Nature:
        n = basis_CB.shape[1]
        size = 0.0 if situation == SITUATIONS[2] else 0.3 * math.exp(rng.normal(0, 0.25))
        common_C = basis_CB @ _laplace(rng, size * (2 if situation == SITUATIONS[5] else 1), n)
        if situation == SITUATIONS[0]:
            common_C, size = -2.5 * np.abs(common_C), 0.4 * size
        breaker_B = np.abs(_laplace(rng, 1.2, n)) * np.sign(basis_CB.sum(axis=0) + 1e-12) * (rng.random(n) < 0.5)
        broken = FAMILIES[int(rng.integers(2))] if situation == SITUATIONS[1] else ""
        by_family: dict[str, Floats] = {
            family: _laplace(rng, 0.4 * size, n) + (family == broken) * breaker_B for family in FAMILIES
        }
        by_size = np.stack([_laplace(rng, 0.3 * size, n) * (place - 1) for place in range(len(STUDENTS))])
        if situation == SITUATIONS[3]:
            by_size[-1] += breaker_B
        return cls(
            basis_CB=basis_CB,
            common_C=common_C,
            by_family=by_family,
            by_trait=np.stack([_laplace(rng, 0.35 * size, n) for _ in range(2)]),
            by_size=by_size,
            size=size,
            spread=0.85 if situation == SITUATIONS[6] else 0.3,
        )

    def of_task(self, feature: TaskFeatures, traits: Floats, rng: np.random.Generator) -> Floats:
        """Effects in one task: the common ones, its family's, by hidden traits, its own, all times its scale."""
        own_B = _laplace(rng, 0.4 * self.size, self.basis_CB.shape[1])
        by_task_B = self.by_family[feature.family or ""] + np.tanh(traits) @ self.by_trait + own_B
        effect_C: Floats = math.exp(rng.normal(0, self.spread)) * (self.common_C + self.basis_CB @ by_task_B)
        return effect_C

    def of_cell(self, task_C: Floats, place: int, rng: np.random.Generator) -> Floats:
        """Effects over the default in one cell, with a ripple that no knob explains."""
        cell_B = self.by_size[place] + _laplace(rng, 0.2 * self.size, self.basis_CB.shape[1])
        ripple_C = 0.15 * self.size * rng.standard_t(4, size=len(task_C))
        effect_C: Floats = task_C + self.basis_CB @ cell_B + ripple_C
        effect_C -= effect_C[0]
        return effect_C


def _laplace(rng: np.random.Generator, sd: float, n: int) -> Floats:
    return rng.laplace(0.0, sd / math.sqrt(2), n)


def _basis(configs: Sequence[Configuration], rng: np.random.Generator) -> Floats:
    """Random response curves of the knobs and products of some pairs, all zero at the default (C x B)."""
    values = [config.knobs() for config in configs]
    columns: list[Floats] = []
    owners: list[str] = []
    for name in values[0]:
        levels = sorted({value[name] for value in values}, key=lambda level: (isinstance(level, str), level))
        if len(levels) < 2:
            continue
        position = {level: place / (len(levels) - 1) for place, level in enumerate(levels)}
        bend = math.exp(rng.normal(0, 0.4))
        curve = np.array([position[value[name]] ** bend for value in values])
        columns.append(curve - curve[0])
        owners.append(name)
        if len(levels) > 2:
            hump = np.array([4 * position[value[name]] * (1 - position[value[name]]) for value in values])
            columns.append(0.6 * (hump - hump[0]))
            owners.append(name)
    for one, other in combinations(range(len(owners)), 2):
        if owners[one] != owners[other] and rng.random() < 0.6:
            columns.append(0.6 * columns[one] * columns[other])
    return np.stack(columns, axis=1)


def _tasks(n: int, rng: np.random.Generator) -> tuple[dict[str, TaskFeatures], Floats]:
    """Tasks with two hidden traits each, of which size and loss of the teacher are noisy pictures."""
    traits = rng.standard_normal((n, 2))
    made = {}
    for number, (one, two) in enumerate(traits):
        classes = int(rng.integers(2, 20))
        name = f"task{number:02d}"
        made[name] = TaskFeatures(
            task=name,
            family=FAMILIES[int(rng.choice(3, p=(0.5, 0.3, 0.2)))],
            n_train=int(math.exp(8 + 0.9 * one + rng.normal(0, 0.6))) + 200,
            n_classes=classes,
            label_entropy=math.log(classes) * rng.uniform(0.6, 1),
            mean_tokens=rng.uniform(10, 90),
            teacher_score=rng.uniform(65, 95),
            teacher_nll=math.exp(-1 + 0.5 * two + rng.normal(0, 0.3)),
            teacher_ece=rng.uniform(0.01, 0.2),
        )
    return made, traits


def _crashes(situation: str, configs: Sequence[Configuration], rng: np.random.Generator) -> Floats:
    chance = rng.uniform(0.1, 0.3) if situation == SITUATIONS[4] else 0.0
    return np.array([chance if config.knobs().get("distance") == "mse" else 0.0 for config in configs])

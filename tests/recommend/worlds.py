"""Worlds with a known truth, for judging the recommender: none of them is the recommender's own model.

Effects of knobs are few strong and many weak ones (Laplace tails), tasks differ by a factor and by a family switch,
noise differs by cell and has heavy tails, and histories are what a greedy search with two seeds saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdrec.space import DEFAULT_SPACE
from kdrec.types import History, KDConfig, TaskFeatures, Trial

CONFIGS = DEFAULT_SPACE.configs()
DEFAULT = DEFAULT_SPACE.default()
STUDENTS = {"big": 20_000_000, "mid": 8_000_000, "low": 3_000_000}
SITUATIONS = (
    "default best",
    "family breaks default",
    "no knob matters",
    "size matters",
    "crashes",
    "one opposite",
    "scales",
)


@dataclass
class World:
    """True expected scores by (task, student, config), noise, crash chance by distance, and features by task."""

    truth: dict
    noise: dict
    crash: dict
    features: dict

    def trial(self, task, student, config, seed, rng):
        cell = (task, student)
        params = {"student_params": STUDENTS[student], "teacher_params": 40_000_000}
        features = TaskFeatures(**{**self.features[task], **params})
        common = dict(features=features, student=student, config=config, seed=seed, val_loss=None, seconds=10.0)
        if rng.random() < self.crash[config.distance]:
            if rng.random() < 0.3:
                return Trial(**common, status="diverged", val_score=None, test_score=None)
            drop = 6 + rng.exponential(8)
        else:
            drop = 0.0
        draw = rng.standard_t(5, size=2) * self.noise[cell] * np.sqrt(3 / 5)
        val, test = np.clip(self.truth[task, student, config] - drop + draw, 0, 100)
        return Trial(**common, status="completed", val_score=float(val), test_score=float(test))

    def expected(self, task, student, config, loss=10.0):
        """Expected score, with what crashes take off it (mean drop of a crash, divergence counted alike)."""
        return self.truth[task, student, config] - self.crash[config.distance] * loss


def knob_vector(rng, size):
    """Main effects of five knobs and a few interactions, with Laplace tails."""
    return rng.laplace(0, size / np.sqrt(2), 9)


def effect(config: KDConfig, v) -> float:
    a, m, h = config.alpha == 1, config.distance == "mse", config.teacher == "t_hs"
    t, s = np.log2(config.tau_t), config.tau_s > 1
    parts = (a, m, h, 0.6 * t, 0.8 * s, a * m, h * m, 0.5 * a * t, s * t * 0.4)
    return float(np.dot(parts, v))


def make_world(situation: str, rng, n_tasks=13) -> World:
    size = {"no knob matters": 0.0, "default best": 0.35}.get(situation, 0.3)
    common = knob_vector(rng, size)
    if situation == "default best":
        common = -np.abs(common)
    breaker = np.abs(knob_vector(rng, 1.2)) * (rng.random(9) < 0.5)
    truth, noise, features = {}, {}, {}
    for i in range(n_tasks):
        task = f"task{i:02d}"
        family = "sentence" if rng.random() < 0.6 else "pair"
        level = rng.uniform(60, 93)
        classes = int(rng.integers(2, 12))
        features[task] = dict(
            task=task,
            family=family,
            n_train=int(np.exp(rng.uniform(6, 11))),
            n_classes=classes,
            label_entropy=float(np.log(classes) * rng.uniform(0.6, 1)),
            mean_tokens=float(rng.uniform(10, 90)),
            teacher_score=float(min(level + rng.uniform(1, 5), 99)),
            teacher_nll=float(rng.uniform(0.1, 1.2)),
            teacher_ece=float(rng.uniform(0.01, 0.2)),
        )
        scale = np.exp(rng.normal(0, 0.9)) if situation == "scales" else np.exp(rng.normal(0, 0.25))
        own = knob_vector(rng, 0.5 * size)
        sign = -1.0 if situation == "one opposite" and i == 0 else 1.0
        strong = 2.0 if situation in ("one opposite", "scales") else 1.0
        sigma = np.exp(rng.normal(np.log(0.45), 0.35))
        for j, student in enumerate(STUDENTS):
            v = sign * strong * common + own + knob_vector(rng, 0.25 * size)
            if situation == "family breaks default" and family == "pair":
                v = v + breaker
            if situation == "size matters" and j == 2:
                v = v + breaker
            noise[task, student] = sigma * (1 + 0.3 * j)
            for config in CONFIGS:
                ripple = rng.normal(0, 0.25 * size)
                truth[task, student, config] = (
                    level - 3 * j + scale * (effect(config, v) + ripple * (config != DEFAULT))
                )
    crash = {"ce": 0.0, "mse": 0.25 if situation == "crashes" else 0.0}
    return World(truth=truth, noise=noise, crash=crash, features=features)


def greedy_history(world: World, rng, tasks, n_seeds=2, students=tuple(STUDENTS)) -> list[Trial]:
    """What a greedy search with `n_seeds` seeds would have recorded on every cell of `tasks`."""
    made = []
    for task in tasks:
        for student in students:
            seen: dict = {}

            def score(config, task=task, student=student, seen=seen):
                if config not in seen:
                    seen[config] = [world.trial(task, student, config, seed, rng) for seed in range(n_seeds)]
                values = [t.val_score if t.val_score is not None else 0.0 for t in seen[config]]
                return float(np.mean(values))

            here = DEFAULT
            for _ in range(2):
                start = here
                for other in CONFIGS:
                    if _departures(here, other) == 1 and score(other) > score(here):
                        here = other
                if here == start:
                    break
            made.extend(trial for trials in seen.values() for trial in trials)
    return made


def _departures(a: KDConfig, b: KDConfig) -> int:
    taus = (a.tau_t, a.tau_s) != (b.tau_t, b.tau_s) and a.distance == b.distance
    return int(a.alpha != b.alpha) + int(a.distance != b.distance) + int(a.teacher != b.teacher) + int(taus)


def realised_gain(world: World, history: History, suggestion, task, student, k, rng, suggest):
    """True gain of tuning with `k` trials: run them, hand them back, take what is suggested then."""
    runs = [suggestion.config, *(trial.config for trial in suggestion.next[:k])]
    own = tuple(world.trial(task, student, config, 100, rng) for config in runs)
    features = TaskFeatures(**{**world.features[task], "student_params": STUDENTS[student]})
    after = suggest(History(history.trials + own), features, student)
    return world.expected(task, student, after.config) - world.expected(task, student, suggestion.config)
